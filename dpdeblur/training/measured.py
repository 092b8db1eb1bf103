"""Measured kernels as a bank: pairs of one size, brought to any radius.

A bank is (N, 2, h, w): left and right kernels of one size of blur, such as the 48 pairs of a Pixel 4 that Xin et al.
(ICCV 2021) calibrated over the field. Blur is similar at every size of the circle of confusion, so a pair serves for
all of them by scaling.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: Radius in pixels, at the bank's own scale, of the kernels in a measured bank (the Pixel 4's are 24 to 30 px across).
MEASURED_RADIUS_PX = 13.5

#: Width of the box that is averaged before sampling, and the reduction from which it is used: point samples of a
#: kernel shrunk s times alias unless it is first averaged over s pixels.
_BOXES = ((1, 0.0), (3, 2.0), (5, 4.0), (9, 7.0))


def sample_bank(bank: Tensor, index: Tensor, scale: Tensor, axis: Tensor) -> Tensor:
    """Shrink the bank's pairs.

    Args:
        bank: (N, 2, h, w) measured pairs, centred in odd h and w.
        index: (B,) which pair; negative ones are answered with the first.
        scale: (B, K) bank pixels a pixel of the result, negative to turn the kernels by half a turn.
        axis: (size,) coordinates of the result's pixels, 0 in the middle.

    Returns:
        (B, K, 2, size, size), non-negative, of no particular sum.
    """
    batch, depth = scale.shape
    place = axis / ((bank.shape[-1] - 1) / 2) * scale.reshape(-1, 1)
    grid_x = place[:, None, :].expand(-1, len(axis), -1)
    grid = torch.stack([grid_x, grid_x.mT], -1)
    pairs = bank[index.clamp(min=0)].repeat_interleave(depth, 0)
    reduction = scale.abs().reshape(-1, 1, 1, 1)
    sampled = torch.zeros(batch * depth, 2, len(axis), len(axis), device=bank.device)
    for box, start in _BOXES:
        smooth = functional.avg_pool2d(pairs, box, 1, box // 2)
        level = functional.grid_sample(smooth, grid, mode="bilinear", align_corners=True)
        sampled = torch.where(reduction >= start, level, sampled)
    return sampled.view(batch, depth, 2, len(axis), len(axis)).clamp(min=0)
