"""What every network declares, so that padding, tiling, value range and channel order are handled in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn


class Network(nn.Module):
    """A network that restores sRGB-encoded RGB pictures.

    `forward` takes one picture, or the left and the right view, (B, 3, H, W), and returns (B, 3, H, W). The caller adds
    `value_offset` to values in [0, 1] before, takes it off after, and brings the channels into `channel_order`.

    Attributes:
        views: Pictures that `forward` takes.
        size_multiple: Height and width must be multiples of these.
        min_size: Smallest height and width.
        overlap_px: Overlap of tiles at which no seam shows.
        largest_tile_px: Longest side of tiles that are not asked for; by default longer ones would gain nothing.
        bytes_per_px: Memory that a pixel of a tile takes in float32 without gradients, measured on a CPU
            (tests/benchmarks/memory.py).
        half_bytes_per_px: The same in bfloat16.
        value_offset: See above.
        channel_order: See above.
    """

    views: Literal[1, 2]
    size_multiple: tuple[int, int]
    min_size: tuple[int, int]
    overlap_px: int
    largest_tile_px: int = 2048
    bytes_per_px: int
    half_bytes_per_px: int
    value_offset: float
    channel_order: Literal["rgb", "bgr"]

    if TYPE_CHECKING:

        def __call__(self, *pictures: Tensor) -> Tensor:
            """Run `forward` with its hooks."""
