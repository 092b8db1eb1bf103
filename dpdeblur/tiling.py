"""Cutting a picture of any size into tiles that a network can take, and blending what comes back without a seam."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dpdeblur.photo import Image


@dataclasses.dataclass(frozen=True)
class TilePlan:
    """Where the tiles lie on a padded canvas.

    Attributes:
        canvas: Height and width of the canvas, at least the picture's.
        tile: Height and width of every tile.
        overlap_px: How far neighbours share pixels: the outer quarter of it on either side counts nothing, so that what
            a border spoils is dropped, and the weight passes from one to the other in between.
        tops: First rows of the tiles.
        lefts: First columns.
    """

    canvas: tuple[int, int]
    tile: tuple[int, int]
    overlap_px: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.tops) * len(self.lefts)


def plan_tiles(
    size: tuple[int, int], *, tile_px: int, overlap_px: int, multiple: tuple[int, int], smallest: tuple[int, int]
) -> TilePlan:
    """Lay tiles over a picture.

    Args:
        size: Height and width of the picture.
        tile_px: Wanted side of the tiles; rounded up to what the network takes.
        overlap_px: Wanted overlap; rounded up to the network's multiple, and at most half a tile.
        multiple: The network's size multiple, vertically and horizontally.
        smallest: The network's smallest height and width.
    """
    pairs = zip(size, multiple, smallest, strict=True)
    axes = [_plan_axis(*axis, tile_px=tile_px, overlap_px=overlap_px) for axis in pairs]
    (height, tile_height, tops), (width, tile_width, lefts) = axes
    return TilePlan((height, width), (tile_height, tile_width), overlap_px, tops, lefts)


def _plan_axis(
    length: int, multiple: int, smallest: int, *, tile_px: int, overlap_px: int
) -> tuple[int, int, tuple[int, ...]]:
    canvas = max(-(-length // multiple) * multiple, -(-smallest // multiple) * multiple)
    tile = max(-(-tile_px // multiple) * multiple, -(-smallest // multiple) * multiple)
    if tile >= canvas:
        return canvas, canvas, (0,)
    overlap = min(-(-overlap_px // multiple) * multiple, tile // 2 // multiple * multiple)
    stride = max(tile - overlap, multiple)
    count = -(-(canvas - tile) // stride) + 1
    # even steps, all multiples of the network's, waste nothing: the last tile ends where the canvas does
    steps = (canvas - tile) // multiple
    return canvas, tile, tuple(round(i * steps / (count - 1)) * multiple for i in range(count))


def weigh_axis(starts: tuple[int, ...], tile: int, index: int) -> npt.NDArray[np.float32]:
    """Weights of one tile along one axis, (tile,): 1 inside, falling to 0 towards neighbours, with them 1 again."""
    weights = np.ones(tile, np.float64)
    position = np.arange(tile) + 0.5
    for neighbour, is_before in ((index - 1, True), (index + 1, False)):
        if 0 <= neighbour < len(starts):
            overlap = tile - abs(starts[neighbour] - starts[index])
            depth = position if is_before else tile - position
            if overlap > 0:
                weights *= np.clip((depth / overlap - 0.25) / 0.5, 0, 1)
    return weights.astype(np.float32)


def process_tiles(
    views: tuple[Image, ...],
    plan: TilePlan,
    process: Callable[[tuple[Image, ...]], Image],
    advance: Callable[[float], None] = lambda share: None,
) -> Image:
    """Run a function over all tiles and blend its results.

    Args:
        views: One or two pictures of the same shape (H, W, C).
        plan: For that height and width.
        process: Takes a tile of every view, (h, w, C), and returns (h, w, C).
        advance: Told the share of the work that each tile was.

    Returns:
        (H, W, C) float32.
    """
    height, width, channels = views[0].shape
    if plan.count == 1:
        result = process(tuple(cut_tile(view, 0, 0, plan.tile) for view in views))[:height, :width]
        advance(1.0)
        return result
    total = np.zeros((height, width, channels), np.float32)
    weight_sum = np.zeros((height, width, 1), np.float32)
    tile_height, tile_width = plan.tile
    for row, top in enumerate(plan.tops):
        vertical = weigh_axis(plan.tops, tile_height, row)
        for column, left in enumerate(plan.lefts):
            result = process(tuple(cut_tile(view, top, left, plan.tile) for view in views))
            weights = vertical[:, None, None] * weigh_axis(plan.lefts, tile_width, column)[None, :, None]
            inside = (slice(top, min(top + tile_height, height)), slice(left, min(left + tile_width, width)))
            part = (slice(0, inside[0].stop - top), slice(0, inside[1].stop - left))
            total[inside] += result[part] * weights[part]
            weight_sum[inside] += weights[part]
            advance(1 / plan.count)
    return np.divide(total, weight_sum, out=total)


def cut_tile(view: Image, top: int, left: int, tile: tuple[int, int]) -> Image:
    """Cut a tile, (h, w, C); beyond the picture's lower and right edge it is continued by reflection."""
    part = view[top : top + tile[0], left : left + tile[1]]
    missing = (tile[0] - part.shape[0], tile[1] - part.shape[1])
    if missing == (0, 0):
        return part
    # symmetric padding works for any amount, even when a picture of one pixel has to fill a tile
    return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
