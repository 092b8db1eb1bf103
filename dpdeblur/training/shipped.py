"""The recipe of the shipped weights, for any network: Charbonnier and gradients, AdamW, warm-up and cosine.

Not a paper's: what a throwaway network learned fastest with on real scenes. Charbonnier's distance (as in DPANet and
JDRL) weighs every pixel; the absolute difference of the gradients weighs edges, which blur takes away. Networks with
several scales are supervised at each.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from dpdeblur.networks.network import Network
from dpdeblur.training.losses import charbonnier, gradient_difference
from dpdeblur.training.recipe import Objective, Outcome, Pair, Progress, Recipe
from dpdeblur.training.restore import reduce_reference, restore_scales

_WARM_UP_STEPS = 200


class DetailObjective(Objective):
    """Charbonnier's distance plus weighted gradient differences, summed over the network's scales."""

    def __init__(self, gradient_weight: float) -> None:
        """Keep the weight of the gradient term."""
        super().__init__()
        self.gradient_weight = gradient_weight

    def forward(self, network: Network, batch: Pair, progress: Progress) -> Outcome:
        """Restore a batch and weigh the result."""
        results = restore_scales(network, batch)
        references = reduce_reference(batch.sharp, len(results))
        loss = torch.stack([self._compare(r, s) for r, s in zip(results, references, strict=True)]).sum()
        return Outcome(loss, results[0])

    def _compare(self, image: Tensor, reference: Tensor) -> Tensor:
        return charbonnier(image, reference) + self.gradient_weight * gradient_difference(image, reference)


def make_detail_objective(network: Network, *, gradient_weight: float = 0.5) -> Objective:
    """The objective for any network."""
    return DetailObjective(gradient_weight)


def decay_by_cosine(progress: Progress) -> float:
    """200 steps of warm-up, then a cosine from 1 to 0.01 over the budget."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress.done, 1.0)))
    return min(1.0, (progress.step + 1) / _WARM_UP_STEPS) * (0.01 + 0.99 * cosine)


SHIPPED = Recipe(
    name="shipped",
    source="No paper: what the weights that come with dpdeblur were trained with.",
    make_objective=functools.partial(make_detail_objective, gradient_weight=0.5),
    schedule=decay_by_cosine,
    network="k3dn",
    epochs=500,
    learning_rate=5e-4,
    optimizer="adamw",
    betas=(0.9, 0.99),
    decay=1e-4,
    batch=16,
    height=288,
    width=224,
)
