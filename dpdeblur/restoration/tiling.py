"""Cutting a picture of any size into tiles that a network can take, and blending what comes back without a seam.

Strips are for what needs no network and no overlap.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from dpdeblur.photo import Image

#: Pixels of a strip: half a dozen pictures of so many are made at once.
_STRIP_PX = 2**17
#: How much more than the least tiles may compute if they are the larger for it.
_LEEWAY = 1.02
#: Length of the canvas along one axis, side of the tiles, and where they start.
_Axis = tuple[int, int, tuple[int, ...]]


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
    rows, columns = (_plan_axis(*axis, tile_px=tile_px, overlap_px=overlap_px) for axis in pairs)
    return _join_axes(rows, columns, overlap_px)


def fit_tiles(
    size: tuple[int, int],
    *,
    area_px: int,
    largest_px: int,
    row_weight: float = 0.0,
    overlap_px: int,
    multiple: tuple[int, int],
    smallest: tuple[int, int],
) -> TilePlan:
    """Lay tiles of a limited area over a picture so that little is computed twice; the smallest where none fits.

    Of plans that compute nearly as little as any, the one is taken whose tiles come closest to the limit, so that
    pictures of all sizes take about as much memory.

    Args:
        size: Height and width of the picture.
        area_px: The most pixels that a tile may have, and with it the row of tiles that it stands in, by its weight.
        largest_px: The longest that its sides may be.
        row_weight: What a pixel of a row of tiles, as wide as the picture, counts beside one of the tile itself.
        overlap_px: As for `plan_tiles`.
        multiple: As for `plan_tiles`.
        smallest: As for `plan_tiles`.
    """
    pairs = zip(size, multiple, smallest, strict=True)
    # a smaller side may still do with as many tiles, and then computes less
    choices = [
        {_plan_axis(*axis, tile_px=tile_px, overlap_px=overlap_px) for tile_px in range(1, largest_px + 1, axis[1])}
        for axis in pairs
    ]
    fitting = [
        (rows, columns)
        for rows, columns in itertools.product(*choices)
        if _count_kept((rows, columns), size[1], row_weight) <= area_px and _is_sound((rows, columns), overlap_px)
    ]
    if not fitting:
        for tile_px in range(largest_px, 0, -min(multiple)):
            plan = plan_tiles(size, tile_px=tile_px, overlap_px=overlap_px, multiple=multiple, smallest=smallest)
            if count_kept_px(plan.tile, size[1], row_weight) <= area_px:
                break
        return plan
    most = _LEEWAY * min(_count_computed(*axes) for axes in fitting)
    frugal = (axes for axes in fitting if _count_computed(*axes) <= most)
    return _join_axes(*max(frugal, key=lambda axes: _count_kept(axes, size[1], row_weight)), overlap_px)


def _count_kept(axes: tuple[_Axis, _Axis], width: int, row_weight: float) -> float:
    rows, columns = axes
    return count_kept_px((rows[1], columns[1]), width, row_weight)


def count_kept_px(tile: tuple[int, int], width: int, row_weight: float) -> float:
    """The pixels of a tile, and those of its row in a picture of a width, by their weight."""
    return math.prod(tile) + row_weight * tile[0] * width


def _is_sound(axes: tuple[_Axis, _Axis], overlap_px: int) -> bool:
    """Whether tiles, along axes with several of them, are neither short of overlap nor narrow."""
    sides = [tile for _, tile, _ in axes]
    return all(
        tile >= 2 * overlap_px and tile - step >= overlap_px and 2 * tile >= max(sides)
        for _, tile, starts in axes
        for step in np.diff(starts)
    )


def _count_computed(rows: _Axis, columns: _Axis) -> int:
    return len(rows[2]) * rows[1] * len(columns[2]) * columns[1]


def _join_axes(rows: _Axis, columns: _Axis, overlap_px: int) -> TilePlan:
    (height, tile_height, tops), (width, tile_width, lefts) = rows, columns
    return TilePlan((height, width), (tile_height, tile_width), overlap_px, tops, lefts)


def _plan_axis(length: int, multiple: int, smallest: int, *, tile_px: int, overlap_px: int) -> _Axis:
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
    size: tuple[int, int],
    plan: TilePlan,
    start: Callable[[int, int], Callable[[], Image]],
    advance: Callable[[float], None] = lambda share: None,
    ahead: int = 1,
) -> Iterator[Image]:
    """Run a function over all tiles and blend its results, a row of tiles at a time.

    Args:
        size: Height and width of the picture.
        plan: For that height and width.
        start: Takes a tile's first row and column, starts the work on it, and returns what waits for its result: an
            array (h, w, 3), which may reach beyond the picture.
        advance: Told the share of the work that each tile was.
        ahead: How many of the next tiles are started before one is waited for, so that a device need not wait in
            between.

    Yields:
        The blended result from the top on, (rows, W, 3) float32; nothing but the last row of tiles is kept. What is
        yielded holds until the next is asked for.
    """
    (height, width), (tile_height, tile_width) = size, plan.tile
    if plan.count == 1:
        result = start(plan.tops[0], plan.lefts[0])()[:height, :width]
        advance(1.0)
        yield result
        return
    vertical, horizontal = _share_axis(plan.tops, tile_height), _share_axis(plan.lefts, tile_width)
    # kept from row to row, and made before the network takes memory
    band = np.zeros((tile_height, width, 3), np.float32)
    results = run_ahead(start, itertools.product(plan.tops, plan.lefts), ahead)
    for top, next_top, row_weights in zip(plan.tops, (*plan.tops[1:], height), vertical, strict=True):
        end = min(top + tile_height, height)
        for left, column_weights in zip(plan.lefts, horizontal, strict=True):
            right = min(left + tile_width, width)
            result = next(results)[: end - top, : right - left]
            advance(1 / plan.count)
            weights = row_weights[: end - top, None, None] * column_weights[None, : right - left, None]
            band[: end - top, left:right] += result * weights
            del result  # while the next tile is computed
        yield band[: next_top - top]
        kept = tile_height - (next_top - top)
        band[:kept] = band[next_top - top :]
        band[kept:] = 0


def run_ahead(
    start: Callable[..., Callable[[], Image]], arguments: Iterable[tuple[object, ...]], ahead: int
) -> Iterator[Image]:
    """Start on `ahead` tiles at once, and on one more before each is waited for; returns the results in order."""
    following = iter(arguments)
    waiting = deque(itertools.starmap(start, itertools.islice(following, ahead)))

    def wait_for_all() -> Iterator[Image]:
        for place in following:
            waiting.append(start(*place))
            yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    return wait_for_all()


def _share_axis(starts: tuple[int, ...], tile: int) -> list[npt.NDArray[np.float32]]:
    """Weights of all tiles along one axis that add up to 1 at every pixel."""
    weights = [weigh_axis(starts, tile, index) for index in range(len(starts))]
    total = np.zeros(starts[-1] + tile)
    for first, part in zip(starts, weights, strict=True):
        total[first : first + tile] += part
    return [
        (part / total[first : first + tile]).astype(np.float32) for first, part in zip(starts, weights, strict=True)
    ]


def pad_tile(part: Image, tile: tuple[int, int]) -> Image:
    """Continue what a picture has of a tile by reflection beyond the lower and right edge, to (h, w, C)."""
    missing = (tile[0] - part.shape[0], tile[1] - part.shape[1])
    if missing == (0, 0):
        return part
    # symmetric padding works for any amount, even when a picture of one pixel has to fill a tile
    return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def list_strips(rows: slice, width: int) -> Iterator[slice]:
    """Divide rows of a picture into strips that are worked on one after the other; start and stop are given."""
    step = max(1, _STRIP_PX // width)
    for top in range(rows.start, rows.stop, step):
        yield slice(top, min(top + step, rows.stop))
