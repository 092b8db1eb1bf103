"""Local correlation: what DPANet's cost volumes and K3DN's local similarities are made of.

Plain torch on any device, in any floating dtype, with gradients of its own, so that nothing but the inputs is kept.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from dpdeblur.networks.layers import lower

_SQUARE_PX = 8
# values of windows that are worked through at a time: 4 MiB of float32 in a processor's cache, 512 MiB elsewhere
_BAND_VALUES = 2**20
_LARGE_BAND_VALUES = 2**27


def correlate(left: Tensor, right: Tensor, radius: int = 4) -> Tensor:
    """Compare each position of one map with the neighbourhood of the same position in the other.

    Value `d` at `x` is the mean over channels of `left(x) * right(x + d)`, zero where `x + d` lies outside.

    Maps are cut into squares of 8 x 8 positions, and each is multiplied with the window of all that its positions meet;
    the wanted values are diagonals of the product: 81 of 256 for a radius of 4. Smaller squares waste less arithmetic
    (144 for 4 x 4) but copy each position into more windows (9 instead of 4), which takes longer.

    Args:
        left: (B, C, H, W).
        right: (B, C, H, W).
        radius: The largest shift in either direction.

    Returns:
        (B, (2 radius + 1)^2, H, W), shifts in row-major order, horizontal fastest, in the inputs' dtype (autocast's
        where that is on), channels last.
    """
    volume: Tensor = _Correlation.apply(lower(left), lower(right), radius)
    return volume


@dataclasses.dataclass(frozen=True)
class _Squares:
    """How maps are cut: `rows` x `columns` squares, and a window of `reach` x `reach` positions around each."""

    rows: int
    columns: int
    radius: int

    @property
    def margin(self) -> int:
        """By how much a window is wider than its square on each side: the radius in half squares.

        So a window is as wide as several whole squares, as which its gradients are added up.
        """
        half = _SQUARE_PX // 2
        return -(-self.radius // half) * half

    @property
    def reach(self) -> int:
        return _SQUARE_PX + 2 * self.margin

    def list_bands(self, maps: Tensor) -> Iterator[slice]:
        """Rows of squares that are worked on together; compiled code takes all at once."""
        values = maps.shape[0] * maps.shape[1] * self.columns * self.reach**2
        fitting = max(1, (_BAND_VALUES if maps.device.type == "cpu" else _LARGE_BAND_VALUES) // values)
        step = self.rows if torch.compiler.is_compiling() else fitting
        return (slice(top, min(top + step, self.rows)) for top in range(0, self.rows, step))

    def pad(self, maps: Tensor, margin: int = 0) -> Tensor:
        """Zeros around (B, C, H, W), so that the squares, or the windows, are whole; channels last."""
        below, beside = (n * _SQUARE_PX - s for n, s in zip((self.rows, self.columns), maps.shape[2:], strict=True))
        maps = maps.contiguous(memory_format=torch.channels_last)
        return F.pad(maps, (margin, margin + beside, margin, margin + below)) if margin + beside + below else maps

    def view_squares(self, maps: Tensor, band: slice, offset: tuple[int, int] = (0, 0)) -> Tensor:
        """See a band of (B, C, H, W) as (B, rows, columns, 8, 8, C), from an offset in squares on."""
        top, left = (squares * _SQUARE_PX for squares in (band.start + offset[0], offset[1]))
        rows = band.stop - band.start
        part = maps[:, :, top : top + rows * _SQUARE_PX, left : left + self.columns * _SQUARE_PX]
        part = part.unflatten(3, (self.columns, _SQUARE_PX)).unflatten(2, (rows, _SQUARE_PX))
        return part.permute(0, 2, 4, 3, 5, 1)

    def copy_squares(self, maps: Tensor, band: slice) -> Tensor:
        """Cut a band of (B, C, H, W) into a batch of (64, C), divided by C.

        They are scaled before the product: sums over many channels would overflow in half precision.
        """
        view = self.view_squares(maps, band)
        squares = torch.empty_like(view, memory_format=torch.contiguous_format)
        torch.mul(view, 1 / maps.shape[1], out=squares)
        return squares.view(-1, _SQUARE_PX**2, maps.shape[1])

    def copy_windows(self, maps: Tensor, band: slice) -> Tensor:
        """Cut the windows of a band of padded (B, C, H, W) into a batch of (reach^2, C)."""
        part = maps[:, :, band.start * _SQUARE_PX : band.stop * _SQUARE_PX + 2 * self.margin]
        windows = part.unfold(2, self.reach, _SQUARE_PX).unfold(3, self.reach, _SQUARE_PX)
        return windows.permute(0, 2, 3, 4, 5, 1).reshape(-1, self.reach**2, maps.shape[1])

    def view_diagonals(self, products: Tensor, shape: torch.Size) -> Tensor:
        """See in a batch of (64, reach^2) what belongs to the shifts: (B, rows, columns, 8, 8, shifts^2)."""
        side, reach = 2 * self.radius + 1, self.reach
        strides = (_SQUARE_PX * reach**2 + reach, reach**2 + 1, reach, 1)
        first = (self.margin - self.radius) * (reach + 1)
        diagonals = products.as_strided(
            (products.shape[0], _SQUARE_PX, _SQUARE_PX, side, side), (products.stride(0), *strides), first
        )
        return diagonals.unflatten(0, shape[:3])


class _Correlation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, left: Tensor, right: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(left, right)
        batch, _, height, width = left.shape
        squares = _Squares(-(-height // _SQUARE_PX), -(-width // _SQUARE_PX), radius)
        ctx.squares = squares
        side = 2 * radius + 1
        volume = left.new_empty(batch, squares.rows * _SQUARE_PX, squares.columns * _SQUARE_PX, side**2)
        volume = volume.permute(0, 3, 1, 2)
        left, right = squares.pad(left), squares.pad(right, squares.margin)
        for band in squares.list_bands(left):
            products = squares.copy_squares(left, band) @ squares.copy_windows(right, band).transpose(1, 2)
            target = squares.view_squares(volume, band).unflatten(-1, (side, side))
            target.copy_(squares.view_diagonals(products, target.shape))
        return volume[:, :, :height, :width]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right = ctx.saved_tensors
        squares, (height, width) = ctx.squares, left.shape[2:]
        margin, side = squares.margin, 2 * squares.radius + 1
        left, right = squares.pad(left), squares.pad(right, margin)
        gradient = squares.pad(gradient.to(left.dtype))
        left_gradient, right_gradient = torch.empty_like(left), torch.zeros_like(right)
        products: Tensor | None = None
        for band in squares.list_bands(left):
            own, windows = squares.copy_squares(left, band), squares.copy_windows(right, band)
            if products is None or len(products) != len(own):
                products = own.new_zeros(len(own), own.shape[1], windows.shape[1])
            # what lies beside the diagonals stays zero from band to band
            source = squares.view_squares(gradient, band).unflatten(-1, (side, side))
            squares.view_diagonals(products, source.shape).copy_(source)
            target = squares.view_squares(left_gradient, band)
            target.copy_((products @ windows).view(target.shape).div_(left.shape[1]))
            # windows overlap: each square of a window is added to where it came from
            parts = (products.transpose(1, 2) @ own).unflatten(1, (squares.reach, squares.reach))
            for row, column in itertools.product(range(squares.reach // _SQUARE_PX), repeat=2):
                target = squares.view_squares(right_gradient, band, (row, column))
                part = parts[:, row * _SQUARE_PX :, column * _SQUARE_PX :][:, :_SQUARE_PX, :_SQUARE_PX]
                target.add_(part.unflatten(0, target.shape[:3]))
        inside = (..., slice(margin, margin + height), slice(margin, margin + width))
        return left_gradient[..., :height, :width], right_gradient[inside], None
