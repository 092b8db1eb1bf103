"""Everything a run is made of, and how it survives a kill: saved whole, resumed to the bit."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dpdeblur.errors import UsageError
from dpdeblur.networks.network import Network
from dpdeblur.training.processes import Processes
from dpdeblur.training.recipe import Objective, Pair, Progress, Recipe
from dpdeblur.training.sources import Source


class Average:
    """An exponential moving average of a network's floating-point state, buffers included."""

    def __init__(self, network: Network, decay: float) -> None:
        """Start from the network's present state."""
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Move towards the network's present state; early on faster, so that the start is forgotten."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        current = network.state_dict()
        floats = [k for k, v in current.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.state[k] for k in floats], [current[k] for k in floats], weight)
        for key in current.keys() - set(floats):
            self.state[key].copy_(current[key])


class Trainee(nn.Module):
    """A network and what it is trained for, as one module whose gradients processes share."""

    def __init__(self, network: Network, objective: Objective) -> None:
        """Join both."""
        super().__init__()
        self.network = network
        self.objective = objective

    def forward(self, batch: Pair, progress: Progress) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Loss, result and figures of a batch, in containers that DistributedDataParallel looks into."""
        outcome = self.objective(self.network, batch, progress)
        return outcome.loss, outcome.result, dict(outcome.figures)


def build_optimizer(recipe: Recipe, trainee: Trainee, *, on_gpu: bool) -> torch.optim.Optimizer:
    """The recipe's optimizer for the parameters of network and objective."""
    build: Callable[..., torch.optim.Optimizer] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[
        recipe.optimizer
    ]
    return build(
        trainee.parameters(), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.decay, fused=on_gpu
    )


def load_tensors(path: Path, device: str) -> Any:
    """Read what a training saved; nothing in it is executed.

    Raises:
        UsageError: It cannot be read, or is something else.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, ValueError, LookupError, RuntimeError, pickle.UnpicklingError) as error:
        cause = f"cannot be read ({getattr(error, 'strerror', None) or 'damaged, or no file of a training'})"
        raise UsageError(cause, path=path, remedy="move it away, or choose another folder") from error


@dataclasses.dataclass
class TrainState:
    """A run between two steps.

    Attributes:
        trainee: Network and objective.
        average: Of the network's weights.
        optimizer: Of all parameters.
        scaler: Of the loss, for float16; without effect otherwise.
        source: Of the batches.
        processes: That share the run.
        step: Steps taken.
        minutes: Time spent up to the last save.
        best: Best scores so far, and their sum under "score".
        sums: Loss, PSNR of input and result, and the objective's figures, added up since the last row of the log.
        counted: Steps in `sums`.
    """

    trainee: Trainee
    average: Average
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    source: Source
    processes: Processes
    step: int = 0
    minutes: float = 0.0
    best: dict[str, float] = dataclasses.field(default_factory=lambda: {"score": -math.inf})
    sums: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    counted: int = 0

    def save(self, path: Path, minutes: float) -> None:
        """Write the state in one step; all processes call this, the first one writes."""
        device = torch.device(self.processes.device)
        own: dict[str, Any] = {"source": self.source.describe(), "random": torch.get_rng_state()}
        if device.type == "cuda":
            own["random_gpu"] = torch.cuda.get_rng_state(device)
        ranks = self.processes.gather(own)
        if not self.processes.is_first:
            return
        state = {
            "trainee": self.trainee.state_dict(),
            "average": self.average.state,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ranks": ranks,
            "step": self.step,
            "minutes": minutes,
            "best": self.best,
            "sums": self.sums,
            "counted": self.counted,
        }
        partial = path.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a saved state.

        Raises:
            UsageError: The state is damaged, another network's, or was saved by another number of processes.
        """
        state = load_tensors(path, self.processes.device)
        if "ranks" not in state or state["trainee"].keys() != self.trainee.state_dict().keys():
            raise UsageError("was left by another kind of run", path=path, remedy="choose another folder for this one")
        if len(state["ranks"]) != self.processes.count:
            raise UsageError(
                f"was left by {len(state['ranks'])} processes", path=path, remedy="go on with as many, or start anew"
            )
        own = state["ranks"][self.processes.rank]
        self.trainee.load_state_dict(state["trainee"])
        self.average.state = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.source.restore(own["source"])
        torch.set_rng_state(own["random"].cpu())
        if "random_gpu" in own:
            torch.cuda.set_rng_state(own["random_gpu"].cpu(), torch.device(self.processes.device))
        for name in ("step", "minutes", "best", "sums", "counted"):
            setattr(self, name, state[name])
