"""JDRL: training on pairs whose sharp reference does not lie on the blurred picture.

Li, Ren, Shu and Zuo, "Learning Single Image Defocus Deblurring with Misaligned Training Pairs", AAAI 2023. Any network
can be trained so. With blurred picture B, reference S and the network's result R:

    loss = deblurring + 0.5 * reblurring                                                             (Eq. 1)
    deblurring = charbonnier(M1 * (warp(S) - R)) + charbonnier(M2 * (warp(R) - S))                   (Eq. 2 to 5)
    reblurring = charbonnier(reblur(R, B) - B)                                                       (Eq. 6 to 10)

The first term lets R take its texture from a reference that flow has moved onto it, the second the other way round
("cycle deformation"); M1 and M2 leave out where the flow is not to be trusted (`dpdeblur.training.warping`). Both would
let R drift along with the reference. The third holds it in place, because kernels that are alike in all directions must
turn R into B (`dpdeblur.training.reblur`). For the first 15 of 100 epochs R is too poor to find flow on: there the
reference is warped to B, and the loss is its Charbonnier distance from R alone, as in the authors' program.

Deliberate differences from the paper:
- Flow comes from OpenCV's dense inverse search instead of PWC-Net: no weights are needed. No gradient passes through it
  in either, only through the warp.
- Charbonnier is the mean over pixels and channels of sqrt(d^2 + 0.001^2), as the authors' program has it; Eq. 5 and 10
  read as one norm for a whole picture.
- Pixels that the warp would take from outside the picture are masked as well, in the first stage too.
- The mask compares each pixel's flow with one affine motion fitted to all of them (`mask="motion"`). The paper compares
  its length with the mean length (`mask="length"`; the authors' program compares the colours of a picture of the flow),
  which under a zoom keeps only a ring.
- B is the mean of the views for dual-pixel networks: its kernels are about alike in all directions, a view's are not.
- Networks with results at several scales (GKMNet) have the first term at each of them.
- Where the budget is not the paper's 100 epochs, its stages keep their shares: the first one is 15 % of the training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dpdeblur.networks.light import blend_views
from dpdeblur.networks.network import Network
from dpdeblur.training.losses import charbonnier
from dpdeblur.training.papers import halve_every_60_epochs
from dpdeblur.training.reblur import ReblurNetwork
from dpdeblur.training.recipe import Objective, Outcome, Pair, Progress, Recipe
from dpdeblur.training.restore import reduce_reference, restore_scales
from dpdeblur.training.warping import estimate_flow, mask_by_length, mask_by_motion, warp

MASKS = {"motion": mask_by_motion, "length": mask_by_length}


@dataclasses.dataclass(frozen=True)
class JdrlOptions:
    """How to train by JDRL.

    Attributes:
        initial_epochs: Epochs in which the reference is warped to the blurred picture.
        threshold: Of the calibration mask, lambda in Eq. 4.
        mask: What the mask compares the flow with, see above.
        reblur_weight: Alpha in Eq. 1.
        reblur_width: Channels of the two networks that reblur; 64 is the paper's.
    """

    initial_epochs: float = 15
    threshold: float = 0.35
    mask: Literal["motion", "length"] = "motion"
    reblur_weight: float = 0.5
    reblur_width: int = 64


class JdrlObjective(Objective):
    """The loss, with the reblurring network that is trained along and thrown away in the end."""

    def __init__(self, options: JdrlOptions) -> None:
        """Build the reblurring network."""
        super().__init__()
        self.options = options
        self.reblur = ReblurNetwork(options.reblur_width)

    def forward(self, network: Network, batch: Pair, progress: Progress) -> Outcome:
        """Restore a batch and judge the result, see `judge`."""
        results, blurred = restore_scales(network, batch), blend_views(batch.left, batch.right)
        return self.judge(results, blurred, batch.sharp, is_initial=progress.epoch < self.options.initial_epochs)

    def judge(self, results: Sequence[Tensor], blurred: Tensor, reference: Tensor, *, is_initial: bool) -> Outcome:
        """Weigh the results of a batch.

        Args:
            results: The network's results, encoded: (B, 3, H, W), then for networks with several scales the half, ...
            blurred: (B, 3, H, W) encoded in [0, 1].
            reference: The same, sharp but somewhere else by a few pixels.
            is_initial: Whether training is in its first stage.

        Returns:
            The loss (Eq. 1); its figures are the terms and the share of the pixels that the masks keep.
        """
        result = results[0].float()
        if is_initial:
            moved, inside = warp(reference, estimate_flow(blurred, reference))
            deblurring = compare_scales(results, moved, inside)
            reblurring, kept = torch.zeros_like(deblurring), inside.mean()
        else:
            moved_reference, here = self._warp_masked(reference, onto=result)
            moved_result, there = self._warp_masked(result, onto=reference)
            deblurring = compare_scales(results, moved_reference, here)
            deblurring = deblurring + charbonnier(there * moved_result, there * reference)
            reblurring = charbonnier(self.reblur(result, blurred), blurred)
            kept = (here.mean() + there.mean()) / 2
        loss = deblurring + self.options.reblur_weight * reblurring
        figures = {"deblurring": deblurring.detach(), "reblurring": reblurring.detach(), "kept": kept}
        return Outcome(loss, result, figures)

    def _warp_masked(self, source: Tensor, *, onto: Tensor) -> tuple[Tensor, Tensor]:
        """Warp a picture onto another by their flow; the second tensor is the mask, (B, 1, H, W)."""
        flow = estimate_flow(onto, source)
        moved, inside = warp(source, flow)
        return moved, inside * MASKS[self.options.mask](flow, self.options.threshold)


def compare_scales(results: Sequence[Tensor], reference: Tensor, mask: Tensor) -> Tensor:
    """Sum over the scales of the masked Charbonnier distance between a result and the reference reduced to its size."""
    references, masks = (reduce_reference(picture, len(results)) for picture in (reference, mask))
    terms = [charbonnier(m * r.float(), m * s) for r, s, m in zip(results, references, masks, strict=True)]
    return torch.stack(terms).sum()


def make_jdrl_objective(network: Network) -> Objective:
    """JDRL's objective, with the paper's numbers."""
    return JdrlObjective(JdrlOptions())


JDRL = Recipe(
    name="jdrl",
    source="Li, Ren, Shu and Zuo, AAAI 2023, for any network; it names no batch size, 4 is DPDD's custom.",
    make_objective=make_jdrl_objective,
    schedule=halve_every_60_epochs,
    network="gkmnet",
    epochs=100,
    learning_rate=2e-5,
    height=512,
    width=512,
)
