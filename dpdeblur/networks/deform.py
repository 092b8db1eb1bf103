"""Modulated deformable convolution (DCNv2) in plain torch: any device, any floating dtype, no compiled extension.

Zhu, Hu, Lin and Dai, "Deformable ConvNets v2: More Deformable, Better Results", CVPR 2019. Each of the nine taps of a
3x3 kernel samples the features at its own offset, bilinearly, and weighs what it finds by its own modulation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

TAPS = 9
FIELD_CHANNELS = 3 * TAPS
# without gradients, samples are made for so many values at a time instead of nine copies of the maps: 32 MiB of
# float32, and 512 MiB elsewhere than on a CPU, where starting on each part takes longer than working through it
_CHUNK_VALUES = 2**23
_LARGE_CHUNK_VALUES = 2**27


def deform_convolve(features: Tensor, offsets: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with a 3x3 kernel whose taps are moved and weighed per pixel; stride 1, padding 1.

    Tap t = 3 row + column of pixel (y, x) samples at (y + row - 1 + dy, x + column - 1 + dx), bilinearly; positions
    outside the image are zero, so a sample fades out within one pixel of the border.

    The nine samples of a pixel stand side by side in a map of nine times the width, channels last, over which an
    ordinary convolution of 1 x 9 taps steps by nine.

    Args:
        features: (B, C, H, W).
        offsets: (B, 18, H, W) in pixels: dy, dx of tap 0, dy, dx of tap 1, and so on. float32 at least, because
            coordinates in half precision are off by pixels.
        modulation: (B, 9, H, W), one factor per tap.
        weight: (O, C, 3, 3).
        bias: (O,).

    Returns:
        (B, O, H, W) in the dtype of the features.
    """
    batch, channels, height, width = features.shape
    rows = height
    on_processor = features.device.type == "cpu"
    if not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        values = _CHUNK_VALUES if on_processor else _LARGE_CHUNK_VALUES
        rows = max(1, values // (batch * channels * TAPS * width))
    # positions need float32, and so do gradients; bags keep shares, not positions, in the features' precision
    dtype = features.dtype if on_processor and not torch.is_grad_enabled() else offsets.dtype
    sample = _sample_bags if on_processor else _sample_grid
    source = _frame_maps(features.to(dtype)) if on_processor else features.to(dtype)
    kernel, bias = weight.flatten(2).unsqueeze(2).to(dtype), bias.to(dtype)

    def convolve_rows(top: int) -> Tensor:
        part = slice(top, top + rows)
        y, x = _find_positions(offsets[:, :, part].permute(0, 2, 3, 1).contiguous(), top)
        samples = sample(source, y, x, modulation[:, :, part].permute(0, 2, 3, 1).contiguous())
        return functional.conv2d(samples, kernel, bias, stride=(1, TAPS)).to(features.dtype)

    if rows >= height:
        return convolve_rows(0)
    # each part goes to its place at once: kept until the end they would take the result's memory twice
    shape = (batch, weight.shape[0], height, width)
    result = torch.empty(shape, dtype=features.dtype, device=features.device, memory_format=torch.channels_last)
    for top in range(0, height, rows):
        result[:, :, top : top + rows] = convolve_rows(top)
    return result


def _find_positions(shifts: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Where the taps of rows from `top` on sample: (B, rows, W, 18) offsets to y and x, (B, rows, W, 9) each."""
    _, rows, width, _ = shifts.shape
    device, dtype = shifts.device, shifts.dtype
    tap = torch.arange(TAPS, device=device)
    row = torch.arange(top, top + rows, device=device, dtype=dtype).view(rows, 1, 1)
    column = torch.arange(width, device=device, dtype=dtype).view(width, 1)
    y = shifts[..., 0::2] + row + (tap // 3 - 1)
    x = shifts[..., 1::2] + column + (tap % 3 - 1)
    return y, x


def _frame_maps(features: Tensor) -> Tensor:
    """Put zeros around maps, one above and to the left and two below and to the right, channels last."""
    return functional.pad(features.contiguous(memory_format=torch.channels_last), (1, 2, 1, 2))


def _sample_bags(framed: Tensor, y: Tensor, x: Tensor, modulation: Tensor) -> Tensor:
    """Sample framed maps as weighted sums of four rows of a table, which a processor does many times faster.

    Args:
        framed: (B, C, H + 3, W + 3) by `_frame_maps`.
        y: (B, rows, W, 9), rows of the unframed maps.
        x: (B, rows, W, 9), columns.
        modulation: (B, rows, W, 9), a factor for each sample.

    Returns:
        (B, C, rows, 9 W), channels last: the nine samples of a pixel side by side.
    """
    batch, channels, height, width = framed.shape
    # a sample one pixel outside, or further, has weights on zeros only
    y, x = y.clamp(-1, height - 3), x.clamp(-1, width - 3)
    above, before = y.floor(), x.floor()
    down, right = y - above, x - before
    first = ((above + 1) * width + (before + 1)).to(torch.int32)
    first = first + torch.arange(batch, device=y.device, dtype=torch.int32).view(-1, 1, 1, 1) * (height * width)
    neighbours = torch.tensor((0, 1, width, width + 1), device=y.device, dtype=torch.int32)
    upper, lower = modulation * (1 - down), modulation * down
    shares = torch.stack((upper * (1 - right), upper * right, lower * (1 - right), lower * right), -1)
    samples = functional.embedding_bag(
        (first.unsqueeze(-1) + neighbours).reshape(-1, 4),
        framed.permute(0, 2, 3, 1).reshape(-1, channels),
        mode="sum",
        per_sample_weights=shares.reshape(-1, 4).to(framed.dtype),
    )
    return samples.view(batch, y.shape[1], -1, channels).permute(0, 3, 1, 2)


def _sample_grid(features: Tensor, y: Tensor, x: Tensor, modulation: Tensor) -> Tensor:
    """Sample maps with torch's own grid sampler, which is made for accelerators; see `_sample_bags`.

    Args:
        features: (B, C, H, W), in the precision of the positions.
        y: (B, rows, W, 9).
        x: (B, rows, W, 9).
        modulation: (B, rows, W, 9).

    Returns:
        (B, C, rows, 9 W).
    """
    height, width = features.shape[2:]
    # grid_sample counts from edge to edge: -1 is the left edge of pixel 0, and 1 the right edge of the last pixel
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1).flatten(2, 3)
    samples = functional.grid_sample(features, grid, align_corners=False)
    return samples * modulation.flatten(2).unsqueeze(1)


class DeformableConv(nn.Module):
    """A 3x3 deformable convolution that keeps the number of channels."""

    def __init__(self, channels: int) -> None:
        """Set up weight and bias as nn.Conv2d does."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        nn.init.uniform_(self.bias, -1 / math.sqrt(TAPS * channels), 1 / math.sqrt(TAPS * channels))

    def forward(self, features: Tensor, field: Tensor) -> Tensor:
        """Align (B, C, H, W) by a field (B, 27, H, W): 18 offsets, then 9 values whose sigmoid is the modulation.

        Coordinates are kept in float32 at least, whatever autocast says.
        """
        field = field.to(torch.promote_types(field.dtype, torch.float32))
        offsets, modulation = field[:, : 2 * TAPS], torch.sigmoid(field[:, 2 * TAPS :])
        return deform_convolve(features, offsets, modulation, self.weight, self.bias)
