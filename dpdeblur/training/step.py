"""One step of training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpdeblur.networks.light import blend_views
from dpdeblur.training.recipe import Pair, Progress, Recipe
from dpdeblur.training.state import Trainee, TrainState

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Stepper:
    """Takes steps: the recipe's objective, learning rate and choice of parameters, on batches of the state's source."""

    def __init__(self, state: TrainState, recipe: Recipe, *, precision: str, mean_views: bool, freeze: str) -> None:
        """Prepare for the first step; `freeze` names parameters that are never trained."""
        self.state = state
        self.recipe = recipe
        self.dtype = DTYPES[precision]
        self.mean_views = mean_views
        self.freeze = freeze
        self.trained: frozenset[str] = frozenset()
        self.wrapped: nn.Module = state.trainee

    def take(self, progress: Progress) -> None:
        """Draw a batch and take one step on it."""
        state, network = self.state, self.state.trainee.network
        self._choose_parameters(progress)
        for group in state.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * self.recipe.schedule(progress)
        batch = state.source.draw()
        if self.mean_views:
            mean = blend_views(batch.left, batch.right)
            batch = Pair(mean, mean, batch.sharp)
        with torch.autocast(batch.sharp.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss, result, figures = self.wrapped(batch, progress)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
        state.scaler.unscale_(state.optimizer)
        parameters = list(state.trainee.parameters())
        nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
        # a batch whose gradient is not finite must not reach the weights; decided on the device, without waiting for it
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.step += 1
        state.average.update(network, state.step)
        self._count(batch, result, {"loss": loss.detach(), **figures})

    def _choose_parameters(self, progress: Progress) -> None:
        """Train what the recipe trains at this time; what is frozen keeps its normalisation's statistics too."""
        trainee = self.state.trainee
        trained = frozenset(
            name
            for name, _ in trainee.network.named_parameters()
            if self.recipe.trains(name, progress) and not (self.freeze and self.freeze in name)
        )
        if trained == self.trained:
            return
        self.trained = trained
        trainee.train()
        for name, parameter in trainee.network.named_parameters():
            parameter.requires_grad_(name in trained)
        for module in trainee.network.modules():
            own = list(module.parameters(recurse=False))
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()
        self.wrapped = self.state.processes.wrap(trainee)

    @torch.no_grad()
    def _count(self, batch: Pair, result: Tensor, figures: dict[str, Tensor]) -> None:
        """Add the step's figures to those of the log's next row, on the device."""
        for name, picture in (("psnr_in", blend_views(batch.left, batch.right)), ("psnr_out", result)):
            error = (picture.float() - batch.sharp).pow(2).mean((1, 2, 3)).clamp(min=1e-9)
            figures[name] = -10 * torch.log10(error).mean()
        for name, value in figures.items():
            self.state.sums[name] = self.state.sums.get(name, torch.zeros_like(value)) + value
        self.state.counted += 1


def compile_network(trainee: Trainee) -> None:
    """Compile the method that training calls."""
    network = trainee.network
    method = "forward_scales" if hasattr(network, "forward_scales") else "forward"
    setattr(network, method, torch.compile(getattr(network, method)))
