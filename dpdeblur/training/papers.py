"""The recipes of the three networks' papers.

GKMNet (Quan, Wu and Ji, NeurIPS 2021, sections 3 and 4): the loss is summed over three scales; squared error for the
first 1000 epochs, then SSIM and squared error in turns of 500; Adam at 1e-4, at 1e-5 from epoch 2000 of 3000; batches
of 4 crops of 256 pixels; Xavier initialisation of the attention module. (The paper writes "1000 iterations", which at
its own 88 iterations an epoch would be 11 epochs before turns of 500; epochs are meant.)

DPANet (Li et al., section III-C3 and IV): Charbonnier's distance with epsilon 1e-3; Adam at 2e-5, halved every 60 of
150 epochs; batches of 4 crops of 512 pixels. (The authors' own training began with some 300 epochs of squared error.)

K3DN (Yang et al., CVPR 2023, section 3.4 and 4.1): a deblurring loss plus a weighted reblurring loss, which blurs the
sharp reference by the same kernels run backwards and compares with the mean of the views; AdamW at 3e-4; batches of 4.
The authors train the SRP blocks last with the rest frozen. Losses, weight, length and crops stand in a supplement that
is not public; chosen here: Charbonnier's distance for both, weight 0.1, 300 epochs of which the last fifth is the SRP
stage, a cosine, crops of 288 x 224 (one window of the released network). Until that stage the SRP blocks pass their
input on unchanged.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from dpdeblur.networks.gkmnet import GKMNet
from dpdeblur.networks.k3dn import K3DN
from dpdeblur.networks.light import blend_views
from dpdeblur.networks.network import Network
from dpdeblur.training.losses import charbonnier, structural_dissimilarity
from dpdeblur.training.recipe import Objective, Outcome, Pair, Progress, Recipe
from dpdeblur.training.restore import reduce_reference, restore_pair, restore_scales

_SRP_STAGE = 0.8


def is_similarity_turn(epoch: float) -> bool:
    """Whether GKMNet's loss is SSIM at this epoch: from 1000 to 1500, 2000 to 2500."""
    return epoch >= 1000 and (epoch - 1000) % 1000 < 500


class TurningObjective(Objective):
    """GKMNet's: squared error and SSIM in turns, summed over the scales."""

    def forward(self, network: Network, batch: Pair, progress: Progress) -> Outcome:
        """Restore a batch and weigh the result as the epoch has it."""
        results = restore_scales(network, batch)
        references = reduce_reference(batch.sharp, len(results))
        compare = structural_dissimilarity if is_similarity_turn(progress.epoch) else functional.mse_loss
        loss = torch.stack([compare(r, s) for r, s in zip(results, references, strict=True)]).sum()
        return Outcome(loss, results[0])


class CharbonnierObjective(Objective):
    """DPANet's: Charbonnier's distance."""

    def forward(self, network: Network, batch: Pair, progress: Progress) -> Outcome:
        """Restore a batch and weigh the result."""
        result = restore_pair(network, batch.left, batch.right)
        return Outcome(charbonnier(result, batch.sharp), result)


class ReblurringObjective(Objective):
    """K3DN's: deblurring plus weighted reblurring with the shared kernels (Eq. 17 and 18)."""

    def __init__(self, weight: float = 0.1) -> None:
        """Keep the weight of the reblurring loss."""
        super().__init__()
        self.weight = weight

    def forward(self, network: Network, batch: Pair, progress: Progress) -> Outcome:
        """Restore the views, blur the reference, and weigh both."""
        if not isinstance(network, K3DN):
            raise TypeError(f"only K3DN blurs with its own kernels, not {type(network).__name__}")
        vertical, horizontal = network.size_multiple
        height, width = batch.sharp.shape[-2:]
        pad = (0, -width % horizontal, 0, -height % vertical)
        padded = [functional.pad(p + network.value_offset, pad, mode="replicate") for p in batch]
        result = (network(*padded[:2])[..., :height, :width] - network.value_offset).float()
        blurred = network.reblur(padded[2], *padded[:2])[..., :height, :width] - network.value_offset
        deblurring = charbonnier(result, batch.sharp)
        reblurring = charbonnier(blurred.float(), blend_views(batch.left, batch.right))
        figures = {"deblurring": deblurring.detach(), "reblurring": reblurring.detach()}
        return Outcome(deblurring + self.weight * reblurring, result, figures)


def step_down_late(progress: Progress) -> float:
    """GKMNet's learning rate: a tenth from epoch 2000."""
    return 0.1 if progress.epoch >= 2000 else 1.0


def halve_every_60_epochs(progress: Progress) -> float:
    """DPANet's learning rate (and JDRL's)."""
    return float(0.5 ** (progress.epoch // 60))


def decay_twice(progress: Progress) -> float:
    """A cosine from 1 to 0.01 over each of K3DN's two stages."""
    stage = (
        progress.done / _SRP_STAGE if progress.done < _SRP_STAGE else (progress.done - _SRP_STAGE) / (1 - _SRP_STAGE)
    )
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(stage, 1.0)))


def train_srp_last(name: str, progress: Progress) -> bool:
    """K3DN: everything but the SRP blocks first, then only they."""
    return name.startswith("srp.") == (progress.done >= _SRP_STAGE)


@torch.no_grad()
def close_srp(network: Network) -> None:
    """Let K3DN's SRP blocks pass their input on, until their stage trains them."""
    for name, parameter in network.named_parameters():
        if name.startswith("srp.") and ".leave." in name:
            parameter.zero_()


def initialise_attention(network: Network) -> None:
    """Xavier's initialisation (Glorot and Bengio, 2010) of GKMNet's attention module."""
    if isinstance(network, GKMNet):
        for module in (*network.features.modules(), *network.coefficients.modules()):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)


def make_turning_objective(network: Network) -> Objective:
    """GKMNet's objective."""
    return TurningObjective()


def make_charbonnier_objective(network: Network) -> Objective:
    """DPANet's objective."""
    return CharbonnierObjective()


def make_reblurring_objective(network: Network) -> Objective:
    """K3DN's objective."""
    return ReblurringObjective()


GKMNET = Recipe(
    name="gkmnet",
    source="Quan, Wu and Ji, NeurIPS 2021.",
    make_objective=make_turning_objective,
    schedule=step_down_late,
    network="gkmnet",
    epochs=3000,
    learning_rate=1e-4,
    prepare=initialise_attention,
)

DPANET = Recipe(
    name="dpanet",
    source='Li, Yi, Ren, Li and Zuo, "Learning Dual-Pixel Alignment for Defocus Deblurring".',
    make_objective=make_charbonnier_objective,
    schedule=halve_every_60_epochs,
    network="dpanet",
    epochs=150,
    learning_rate=2e-5,
    height=512,
    width=512,
)

K3DN_PAPER = Recipe(
    name="k3dn",
    source="Yang, Pan, Liu and Liu, CVPR 2023; its losses, weight and length are not public.",
    make_objective=make_reblurring_objective,
    schedule=decay_twice,
    network="k3dn",
    epochs=300,
    learning_rate=3e-4,
    optimizer="adamw",
    decay=1e-2,
    height=288,
    width=224,
    trains=train_srp_last,
    prepare=close_srp,
)
