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
# without gradients, samples are made for so many values at a time: 64 MiB of float32 instead of nine copies of the maps
_CHUNK_VALUES = 2**24


def deform_convolve(features: Tensor, offsets: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with a 3x3 kernel whose taps are moved and weighed per pixel; stride 1, padding 1.

    Tap t = 3 row + column of pixel (y, x) samples at (y + row - 1 + dy, x + column - 1 + dx), bilinearly; positions
    outside the image are zero, so a sample fades out within one pixel of the border.

    Args:
        features: (B, C, H, W).
        offsets: (B, 18, H, W) in pixels: dy, dx of tap 0, dy, dx of tap 1, and so on. float32 at least, because
            coordinates in half precision are off by pixels.
        modulation: (B, 9, H, W), one factor per tap.
        weight: (O, C, 3, 3).
        bias: (O,).

    Returns:
        (B, O, H, W) in the dtype of the features; samples are taken in that of the offsets.
    """
    height, width = features.shape[2:]
    if torch.is_grad_enabled():
        rows = height
    else:
        rows = max(1, _CHUNK_VALUES // (features.shape[0] * features.shape[1] * TAPS * width))
    parts = []
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        parts.append(_convolve_rows(features, offsets[:, :, part], modulation[:, :, part], weight, top))
    return (torch.cat(parts, 2) + bias.view(1, -1, 1, 1)).to(features.dtype)


def _convolve_rows(features: Tensor, offsets: Tensor, modulation: Tensor, weight: Tensor, top: int) -> Tensor:
    """Convolve the rows that `offsets` covers, of which the first is row `top` of the features."""
    batch, channels, height, width = features.shape
    rows = offsets.shape[2]
    device, dtype = offsets.device, offsets.dtype
    tap = torch.arange(TAPS, device=device).view(TAPS, 1, 1)
    y = torch.arange(top, top + rows, device=device, dtype=dtype).view(1, rows, 1) + (tap // 3 - 1)
    x = torch.arange(width, device=device, dtype=dtype).view(1, 1, width) + (tap % 3 - 1)
    shifts = offsets.unflatten(1, (TAPS, 2))
    # grid_sample counts from edge to edge: -1 is the left edge of pixel 0, and 1 the right edge of the last pixel
    grid = torch.stack(((2 * (x + shifts[:, :, 1]) + 1) / width - 1, (2 * (y + shifts[:, :, 0]) + 1) / height - 1), -1)
    if batch == 1:
        # the taps become a batch of views of the one image, because torch samples in parallel over the batch only
        grid = grid.view(TAPS, rows, width, 2)
        samples = functional.grid_sample(features.to(dtype).expand(TAPS, -1, -1, -1), grid, align_corners=False)
        samples = (samples * modulation.view(TAPS, 1, rows, width)).view(1, TAPS * channels, rows * width)
        kernel = weight.flatten(2).transpose(1, 2).flatten(1)
    else:
        grid = grid.view(batch, TAPS * rows, width, 2)
        samples = functional.grid_sample(features.to(dtype), grid, align_corners=False)
        samples = samples.view(batch, channels, TAPS, rows, width) * modulation.unsqueeze(1)
        samples = samples.view(batch, channels * TAPS, rows * width)
        kernel = weight.flatten(1)
    return (kernel.to(dtype) @ samples).unflatten(2, (rows, width))


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
