"""The recipes, by name: `dpdeblur train --recipe NAME`. One file and one line each."""

from __future__ import annotations

from dpdeblur.training.recipe import Recipe

RECIPES: dict[str, Recipe] = {}
