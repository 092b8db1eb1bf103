"""What a training run can be told; what is left out, the recipe says."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal

from dpdeblur.errors import UsageError
from dpdeblur.networks import NETWORKS
from dpdeblur.training.kernels import FAMILIES, USUAL_SHARES
from dpdeblur.training.recipe import Recipe
from dpdeblur.training.recipes import RECIPES
from dpdeblur.training.shipped import make_detail_objective

#: Samples of an epoch of simulated data: the pairs of DPDD's training set, by which the papers count.
SIMULATED_EPOCH = 350


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """One training run. None means the recipe's own.

    Attributes:
        recipe: Key of `RECIPES`.
        network: Key of `NETWORKS`.
        form: Keyword arguments of the network's builder.
        textures: Folder of sharp photographs to simulate from, or None for no simulated data.
        pairs: Folder in the DPDD layout (train_l/source, train_r/source, train_c/target), or None.
        pairs_share: Share of each batch that comes from `pairs`; by default half where both are given.
        out: Folder of the checkpoint, log and contact sheet; a state found there is resumed.
        minutes: Time budget of the whole run, earlier parts included; goes before the recipe's epochs.
        steps: Budget in steps; goes before `minutes`.
        stop_after: Minutes after which this process stops and saves, to be resumed; None for the budget's end.
        kernels: (N, 2, h, w) measured kernel pairs as .npy, or None.
        scenes: Pack of real scenes to judge by; without it, simulated scenes that are not trained on.
        initial: state_dict to start from (.pt of this loop), or None.
        batch: Samples of a step, over all processes.
        height: Of the crops in pixels.
        width: Of the crops in pixels.
        largest_radius_px: Of the simulated blur.
        measured_share: Share of lenses with measured kernels.
        family_shares: Share of each of `kernels.FAMILIES` among the other lenses.
        mean_views: Show the network the mean of the views twice instead of the views (for comparison).
        freeze: Parameters whose name holds this text are never trained, or "" (for comparison).
        learning_rate: Peak.
        decay: Weight decay.
        gradient_weight: Weight of the gradient term of the recipe "shipped".
        average: Decay of the moving average of the weights a step.
        procedural: Number of procedural textures beside the photographs.
        device: torch device; under torchrun "cuda" becomes this process's GPU.
        precision: What to compute in.
        compile: Whether to compile the network.
        seed: Of everything random.
        score_every: Seconds between scores.
        save_every: Seconds between saved states.
        tensorboard: Whether to write TensorBoard's log beside the CSV (needs the package).
    """

    recipe: str = "shipped"
    network: str | None = None
    form: dict[str, Any] | None = None
    textures: Path | None = None
    pairs: Path | None = None
    pairs_share: float | None = None
    out: Path = Path("training")
    minutes: float | None = None
    steps: int | None = None
    stop_after: float | None = None
    kernels: Path | None = None
    scenes: Path | None = None
    initial: Path | None = None
    batch: int | None = None
    height: int | None = None
    width: int | None = None
    largest_radius_px: float = 9.0
    measured_share: float = 0.3
    family_shares: tuple[float, ...] = USUAL_SHARES
    mean_views: bool = False
    freeze: str = ""
    learning_rate: float | None = None
    decay: float | None = None
    gradient_weight: float | None = None
    average: float | None = None
    procedural: int = 96
    device: str = "cpu"
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    compile: bool = False
    seed: int = 1
    score_every: float = 60.0
    save_every: float = 60.0
    tensorboard: bool = False


def resolve_recipe(options: TrainOptions) -> Recipe:
    """The recipe with everything that the options change.

    Raises:
        UsageError: The options ask for what is not there or does not fit together.
    """
    if options.recipe not in RECIPES:
        raise UsageError(f"there is no recipe '{options.recipe}'", remedy=f"choose one of {', '.join(RECIPES)}")
    if options.textures is None and options.pairs is None:
        raise UsageError("nothing to train on", remedy="name a folder of sharp photos or one in the DPDD layout")
    if len(options.family_shares) != len(FAMILIES) or min(options.family_shares) < 0 or not any(options.family_shares):
        raise UsageError(f"the shares of the lenses must be {len(FAMILIES)} numbers", remedy=", ".join(FAMILIES))
    recipe = RECIPES[options.recipe]
    names = ("network", "form", "batch", "height", "width", "learning_rate", "decay", "average")
    recipe = dataclasses.replace(
        recipe, **{name: value for name in names if (value := getattr(options, name)) is not None}
    )
    if recipe.network not in NETWORKS:
        raise UsageError(f"there is no network '{recipe.network}'", remedy=f"choose one of {', '.join(NETWORKS)}")
    if recipe.name == "k3dn" and recipe.network != "k3dn":
        raise UsageError("K3DN's recipe blurs with K3DN's own kernels", remedy="train another network by 'shipped'")
    if options.gradient_weight is not None:
        if recipe.name != "shipped":
            raise UsageError(f"the recipe '{recipe.name}' has no gradient term", remedy="leave the weight out")
        objective = functools.partial(make_detail_objective, gradient_weight=options.gradient_weight)
        recipe = dataclasses.replace(recipe, make_objective=objective)
    return recipe
