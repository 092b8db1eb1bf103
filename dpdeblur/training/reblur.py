"""Reblurring with isotropic kernels: the part of JDRL that keeps a restored picture in its place.

Li, Ren, Shu and Zuo, "Learning Single Image Defocus Deblurring with Misaligned Training Pairs", AAAI 2023. Two small
networks look at the restored and the blurred picture. One predicts, for every pixel, seeds of radially symmetric
kernels of 3x3 to 15x15 pixels (Eq. 6 and 7), the other how to mix the pictures that those kernels make with the
restored one itself (Eq. 8 and 9). No such kernel can move a picture, so what reblurs to the blurred picture lies on it.

The paper builds (2i-1)x(2i-1) values for every pixel and kernel. Cells at the same distance from the centre have the
same value, and the square of every kernel holds each ring of radius i-1 or less as a whole. So pictures are summed
along each ring once, for all kernels together, and a kernel is one weight for each ring and one for its corners: 31
maps a channel instead of 679, with the same result (tested against the direct sum).

As the authors' program has it and the paper does not say: seeds are taken by their absolute value. Deliberate
differences: the border is repeated outwards, and the networks' width is a parameter (64 is the paper's).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: m of the paper: the largest kernel has 2 * 8 - 1 = 15 pixels a side.
LARGEST = 8
#: The lengths of the seeds, i = 2 ... m, and with them the kernels.
LENGTHS = tuple(range(2, LARGEST + 1))
#: M of the paper, 35: the values of all seeds of a pixel.
SEED_VALUES = sum(LENGTHS)


def list_rings(length: int) -> list[int]:
    """The squared radii of the cells of a (2i-1)x(2i-1) kernel that lie within i-1 of its centre, each once."""
    radius = length - 1
    squares = {x * x + y * y for x in range(length) for y in range(length)}
    return sorted(square for square in squares if square <= radius * radius)


def interpolation_matrix(length: int) -> Tensor:
    """Eq. 7 as a matrix: seed values at radius 0, 1 ... i-1 to values at the radii of `list_rings`, (rings, i)."""
    radius = torch.tensor(list_rings(length), dtype=torch.float64).sqrt()
    return (1 - (radius[:, None] - torch.arange(length)).abs()).clamp(min=0).float()


def ring_filters() -> Tensor:
    """Sums along each ring of the largest kernel, then over the corners of each kernel: (31, 1, 15, 15) of 0 and 1."""
    axis = torch.arange(1 - LARGEST, LARGEST)
    square = axis[:, None] ** 2 + axis**2
    side = torch.maximum(axis[:, None].abs(), axis.abs())
    rings = [square == ring for ring in list_rings(LARGEST)]
    corners = [(square > (i - 1) ** 2) & (side <= i - 1) for i in LENGTHS]
    return torch.stack(rings + corners).float()[:, None]


def weigh_rings(seed: Tensor) -> tuple[Tensor, Tensor]:
    """Turn seeds into kernels: polar interpolation (Eq. 7), then softmax over the kernel's cells.

    Args:
        seed: (B, i, H, W), the value at radius 0, 1 ... i-1.

    Returns:
        The value of a cell on each ring, (B, rings, H, W), and of a cell in the corners, further out than i-1, whose
        value before the softmax is 0: (B, 1, H, W). All cells together sum to one.
    """
    length = seed.shape[1]
    filters = ring_filters().to(seed.device)
    rings, count = list_rings(LARGEST), len(list_rings(length))
    corner_cells = filters[len(rings) + LENGTHS.index(length)].sum()
    cells = torch.cat([filters[:count].sum((1, 2, 3)), corner_cells[None]]).view(1, -1, 1, 1)
    matrix = interpolation_matrix(length).to(seed.device)
    inner = torch.einsum("ri,bihw->brhw", matrix, seed.float().abs())
    values = torch.cat([inner, torch.zeros_like(inner[:, :1])], 1)
    weights = torch.softmax(values + cells.log(), 1) / cells
    return weights[:, :-1], weights[:, -1:]


def blur_by_seeds(picture: Tensor, seeds: Tensor) -> list[Tensor]:
    """Blur a picture with each pixel's own kernels.

    Args:
        picture: (B, C, H, W).
        seeds: (B, 35, H, W), the seeds of length 2, 3 ... 8 one after the other.

    Returns:
        The picture itself, then blurred with the kernels of 3x3, 5x5 ... 15x15: eight of (B, C, H, W) float32.
    """
    padded = functional.pad(picture.float(), (LARGEST - 1,) * 4, mode="replicate")
    sums = functional.conv2d(padded.flatten(0, 1)[:, None], ring_filters().to(picture.device))
    sums = sums.reshape(*picture.shape[:2], -1, *picture.shape[2:])
    rings = len(list_rings(LARGEST))
    blurred = [picture.float()]
    for number, seed in enumerate(torch.split(seeds, list(LENGTHS), 1)):
        inner, corner = weigh_rings(seed)
        along = torch.einsum("brhw,bcrhw->bchw", inner, sums[:, :, : inner.shape[1]])
        blurred.append(along + corner * sums[:, :, rings + number])
    return blurred


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.second(functional.relu(self.first(features)))
        return features + hidden


def _build_predictor(width: int, outputs: int) -> nn.Sequential:
    """The paper's Table 7: a convolution, three residual blocks, a convolution; He's initialisation."""
    blocks = [_ResidualBlock(width) for _ in range(3)]
    network = nn.Sequential(nn.Conv2d(6, width, 3, padding=1), *blocks, nn.Conv2d(width, outputs, 3, padding=1))
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.zeros_(parameter)
    return network


class ReblurNetwork(nn.Module):
    """Reblurs a restored picture towards the blurred one: R of the paper's Fig. 3."""

    def __init__(self, width: int = 64) -> None:
        """Set up kernel and weight prediction with `width` channels."""
        super().__init__()
        self.seeds = _build_predictor(width, SEED_VALUES)
        self.weights = _build_predictor(width, LARGEST)

    def forward(self, restored: Tensor, blurred: Tensor) -> Tensor:
        """Reblur `restored`, (B, 3, H, W), by what it takes to become `blurred`; returns (B, 3, H, W) float32."""
        both = torch.cat([restored, blurred.to(restored.dtype)], 1)
        shares = torch.softmax(self.weights(both).float(), 1)  # Eq. 8
        seeds = self.seeds(both)
        with torch.autocast(restored.device.type, enabled=False):
            pictures = torch.stack(blur_by_seeds(restored, seeds), 1)
            return (shares[:, :, None] * pictures).sum(1)  # Eq. 9
