"""Layers that two networks share: local correlation. Plain torch, any device, any floating dtype."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK_PX = 16


def correlate(left: Tensor, right: Tensor, radius: int = 4) -> Tensor:
    """Compare each position of one map with the neighbourhood of the same position in the other.

    Value `d` at `x` is the mean over channels of `left(x) * right(x + d)`, zero where `x + d` lies outside. DPANet
    builds its cost volumes with it, K3DN its local similarities.

    Rows are cut into blocks of 16 positions, so that each vertical shift is one batched matrix product of 16 positions
    against the 16 + 2 `radius` that they can meet; the wanted values are diagonals of it. Nothing larger than 1.5 times
    an input is kept for the backward pass.

    Args:
        left: (B, C, H, W).
        right: (B, C, H, W).
        radius: The largest shift in either direction.

    Returns:
        (B, (2 radius + 1)^2, H, W), shifts in row-major order, horizontal fastest, in the inputs' dtype (autocast's
        where that is on).
    """
    batch, channels, height, width = left.shape
    side = 2 * radius + 1
    reach = _BLOCK_PX + 2 * radius
    blocks = -(-width // _BLOCK_PX)
    spare = blocks * _BLOCK_PX - width
    # scaled before the product: sums over many channels would overflow in half precision
    queries = F.pad(left / channels, (0, spare)).permute(2, 0, 3, 1)
    queries = queries.reshape(height * batch * blocks, _BLOCK_PX, channels)
    # rows come first, so that each vertical shift is a slice that needs no copy
    keys = F.pad(right, (radius, radius + spare, radius, radius)).permute(2, 0, 3, 1).unfold(2, reach, _BLOCK_PX)
    keys = keys.transpose(3, 4).reshape((height + 2 * radius) * batch * blocks, reach, channels).transpose(1, 2)
    step = batch * blocks
    rows = []
    for shift in range(side):
        products = torch.bmm(queries, keys[shift * step : (shift + height) * step])
        # position i meets columns i .. i + 2 radius: windows that start one column later in each row
        diagonals = products.flatten(1).unfold(1, side, reach + 1)
        rows.append(diagonals.reshape(height, batch, blocks * _BLOCK_PX, side))
    volume = torch.cat(rows, dim=3)[:, :, :width]
    return volume.permute(1, 3, 0, 2)
