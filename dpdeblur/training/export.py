"""From a run's best weights to a file with a card, for `dpdeblur run --weights`."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from dpdeblur.networks import NETWORKS
from dpdeblur.training.options import TrainOptions, resolve_recipe
from dpdeblur.weights import Card, save_weights


def export_weights(options: TrainOptions, scores: dict[str, float]) -> Path | None:
    """Write OUT/NETWORK.safetensors from OUT/best.pt; under torchrun only the first process does.

    Args:
        options: Of the run.
        scores: What it reached, see `train`.

    Returns:
        The file, or None in the other processes.

    Raises:
        WeightsError: The file cannot be written.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        return None
    recipe = resolve_recipe(options)
    network = NETWORKS[recipe.network].build(**recipe.form)
    network.load_state_dict(torch.load(options.out / "best.pt", map_location="cpu", weights_only=True))
    state = torch.load(options.out / "state.pt", map_location="cpu", weights_only=True)
    data = [f"simulated from {options.textures}"] if options.textures is not None else []
    data += [f"pairs of {options.pairs}"] if options.pairs is not None else []
    card = Card(
        network=recipe.network,
        form=dict(recipe.form),
        # blur as wide as half of the widest that was trained on is restored best
        fitting_radius_px=max(1.0, options.largest_radius_px / 2),
        scores=scores,
        training={
            "recipe": recipe.name,
            "data": " and ".join(data),
            "crops": f"{recipe.batch} x {recipe.width}x{recipe.height}",
            "steps": state["step"],
            "minutes": round(state["minutes"], 1),
            "seed": options.seed,
        },
        licence="as you choose: your own training",
    )
    path = options.out / f"{recipe.network}.safetensors"
    save_weights(path, recipe.network, network, card)
    return path
