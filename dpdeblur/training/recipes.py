"""The recipes, by name: `dpdeblur train --recipe NAME`. One line each."""

from __future__ import annotations

from dpdeblur.training.jdrl import JDRL
from dpdeblur.training.papers import DPANET, GKMNET, K3DN_PAPER
from dpdeblur.training.recipe import Recipe
from dpdeblur.training.shipped import SHIPPED

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (SHIPPED, GKMNET, DPANET, K3DN_PAPER, JDRL)}
