"""What a training recipe is: an objective, a schedule, and the numbers that a paper trained with.

The loop (loop.py) knows nothing of papers: it asks the recipe for an `Objective`, hands it batches, and follows the
recipe's schedule. A recipe lives in one file and is registered by one line in recipes.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor, nn

from dpdeblur.networks.network import Network


class Pair(NamedTuple):
    """A batch to learn from: (B, 3, H, W) each, sRGB-encoded RGB in [0, 1], on the training device."""

    left: Tensor
    right: Tensor
    sharp: Tensor


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: Steps taken before this one.
        done: Share of the whole budget that is used up, 0 to 1.
        epochs: Length of the recipe in epochs. A shorter budget is spread over the same epochs, so that every change
            on the way comes in proportion.
    """

    step: int
    done: float
    epochs: float

    @property
    def epoch(self) -> float:
        """The recipe's epoch that the run has reached, from 0."""
        return self.done * self.epochs


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an objective makes of one batch.

    Attributes:
        loss: Scalar to minimise.
        result: (B, 3, H, W) what the network restored, encoded as the batch is.
        figures: Scalars for the log, such as a term of the loss; their names must not change during a run.
    """

    loss: Tensor
    result: Tensor
    figures: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)


class Objective(nn.Module):
    """What a recipe minimises.

    Parameters of its own (a reblurring network, say) are trained, saved and resumed with the network's; only the
    network's are averaged and kept in the weights. `forward` runs under autocast.
    """

    def forward(self, network: Network, batch: Pair, progress: Progress) -> Outcome:
        """Run the network on a batch and weigh the result."""
        raise NotImplementedError

    if TYPE_CHECKING:

        def __call__(self, network: Network, batch: Pair, progress: Progress) -> Outcome:
            """Run `forward` with its hooks."""


def train_everything(name: str, progress: Progress) -> bool:
    """The usual answer to `Recipe.trains`."""
    return True


def leave_as_built(network: Network) -> None:
    """The usual `Recipe.prepare`."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults of `dpdeblur train --recipe NAME`.

    Attributes:
        name: Key in `RECIPES`.
        source: The paper and where it is silent, in a sentence or two.
        make_objective: Builds the objective for a network.
        schedule: Factor on the learning rate.
        network: Key of `NETWORKS` trained unless told otherwise.
        form: Keyword arguments of that network's builder.
        epochs: The paper's length; an epoch is 350 samples, the size of DPDD's training set, where data is simulated.
        learning_rate: Peak.
        optimizer: Which one.
        betas: Of the optimizer.
        decay: Weight decay.
        clip_norm: The gradient is scaled to at most this norm.
        batch: Samples of a step, over all processes.
        height: Of the crops, in pixels.
        width: Of the crops, in pixels.
        average: Decay a step of the moving average of the weights.
        trains: Whether a parameter of the network, by name, is trained at this time.
        prepare: Changes a new network before the first step.
    """

    name: str
    source: str
    make_objective: Callable[[Network], Objective]
    schedule: Callable[[Progress], float]
    network: str
    epochs: float
    learning_rate: float
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    decay: float = 0.0
    clip_norm: float = 0.5
    batch: int = 4
    height: int = 256
    width: int = 256
    average: float = 0.999
    form: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trains: Callable[[str, Progress], bool] = train_everything
    prepare: Callable[[Network], None] = leave_as_built
