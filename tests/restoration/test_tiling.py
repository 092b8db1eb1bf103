"""Tiles must not be seen."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpdeblur.photo import Image
from dpdeblur.restoration.tiling import TilePlan, fit_tiles, pad_tile, plan_tiles, process_tiles, weigh_axis

ONE_CODE_VALUE = 1 / 65535


def _box_blur(tile):
    """A 9x9 mean with replicated borders: a network whose receptive field is 4 pixels to either side."""
    import cv2

    return cv2.blur(tile, (9, 9), borderType=cv2.BORDER_REPLICATE).reshape(tile.shape)


def _process(picture: Image, plan: TilePlan, act: Callable[[Image], Image], **options: Any) -> Image:
    """Put a picture through a function, tile by tile."""

    def start(top, left):
        tile = pad_tile(picture[top : top + plan.tile[0], left : left + plan.tile[1]], plan.tile)
        return lambda: act(tile)

    return _join(process_tiles(picture.shape[:2], plan, start, **options))


def _join(bands: Iterator[Image]) -> Image:
    """Put bands together, each of which holds until the next is asked for."""
    return np.concatenate([band.copy() for band in bands])


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    tile=st.integers(1, 200),
    overlap=st.integers(0, 150),
    multiple=st.sampled_from([1, 16, 32]),
)
def test_every_pixel_is_covered_with_a_positive_weight(height, width, tile, overlap, multiple):
    plan = plan_tiles(
        (height, width), tile_px=tile, overlap_px=overlap, multiple=(multiple, multiple), smallest=(multiple, multiple)
    )
    for length, size, starts in zip(plan.canvas, plan.tile, (plan.tops, plan.lefts), strict=True):
        total = np.zeros(length)
        for index, start in enumerate(starts):
            assert start % multiple == 0 and start + size <= length
            total[start : start + size] += weigh_axis(starts, size, index)
        assert total.min() > 0
        assert starts[-1] + size == length
    assert plan.canvas[0] >= height and plan.canvas[1] >= width


def test_the_identity_gives_the_picture_back():
    rng = np.random.default_rng(0)
    picture = rng.random((211, 173, 3), np.float32)
    plan = plan_tiles((211, 173), tile_px=64, overlap_px=24, multiple=(16, 16), smallest=(16, 16))
    assert plan.count > 10
    np.testing.assert_allclose(_process(picture, plan, lambda tile: tile), picture, atol=1e-6)


def test_a_network_of_small_receptive_field_shows_no_seam():
    rng = np.random.default_rng(1)
    picture = rng.random((300, 260, 3), np.float32)
    plan = plan_tiles((300, 260), tile_px=96, overlap_px=32, multiple=(16, 16), smallest=(16, 16))
    # the canvas is larger than the picture: its lower and right border see the reflection, as the whole must too
    whole = plan_tiles((300, 260), tile_px=4096, overlap_px=32, multiple=(16, 16), smallest=(16, 16))
    assert plan.count > 4 and whole.count == 1
    difference = _process(picture, plan, _box_blur) - _process(picture, whole, _box_blur)
    assert np.abs(difference).max() < ONE_CODE_VALUE


def test_without_overlap_the_same_network_does_show_seams():
    picture = np.random.default_rng(1).random((300, 260, 3), np.float32)
    plan = plan_tiles((300, 260), tile_px=96, overlap_px=0, multiple=(16, 16), smallest=(16, 16))
    whole = plan_tiles((300, 260), tile_px=4096, overlap_px=0, multiple=(16, 16), smallest=(16, 16))
    difference = _process(picture, plan, _box_blur) - _process(picture, whole, _box_blur)
    assert np.abs(difference).max() > 100 * ONE_CODE_VALUE


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (17, 3)])
def test_pictures_smaller_than_a_tile_are_padded_and_cropped(size):
    picture = np.random.default_rng(2).random((*size, 3), np.float32)
    plan = plan_tiles(size, tile_px=64, overlap_px=16, multiple=(32, 32), smallest=(32, 32))
    seen = []

    def identity(tile):
        seen.append(tile.shape)
        return tile

    np.testing.assert_allclose(_process(picture, plan, identity), picture, atol=1e-6)
    assert all(h % 32 == 0 and w % 32 == 0 for h, w, _ in seen)


def test_progress_adds_up_to_one():
    picture = np.zeros((200, 200, 3), np.float32)
    plan = plan_tiles((200, 200), tile_px=64, overlap_px=16, multiple=(16, 16), smallest=(16, 16))
    shares = []
    _process(picture, plan, lambda tile: tile, advance=shares.append)
    assert sum(shares) == pytest.approx(1.0)
    assert len(shares) == plan.count


def test_blending_is_the_weighted_mean_of_all_tiles():
    rng = np.random.default_rng(4)
    plan = plan_tiles((150, 140), tile_px=64, overlap_px=24, multiple=(16, 16), smallest=(16, 16))
    tiles = {(top, left): rng.random((64, 64, 3), np.float32) for top in plan.tops for left in plan.lefts}
    total, weight = np.zeros((*plan.canvas, 3)), np.zeros((*plan.canvas, 1))
    for row, top in enumerate(plan.tops):
        for column, left in enumerate(plan.lefts):
            weights = np.outer(weigh_axis(plan.tops, 64, row), weigh_axis(plan.lefts, 64, column))[..., None]
            total[top : top + 64, left : left + 64] += tiles[top, left] * weights
            weight[top : top + 64, left : left + 64] += weights
    blended = _join(process_tiles((150, 140), plan, lambda *place: lambda: tiles[place]))
    np.testing.assert_allclose(blended, (total / weight)[:150, :140], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (1, ["start 0", "start 16", "wait 0", "start 32", "wait 16", "start 48", "wait 32", "wait 48"]),
        (3, ["start 0", "start 16", "start 32", "start 48", "wait 0", "wait 16", "wait 32", "wait 48"]),
        (9, ["start 0", "start 16", "start 32", "start 48", "wait 0", "wait 16", "wait 32", "wait 48"]),
    ],
)
def test_tiles_are_started_before_earlier_ones_are_waited_for(ahead, expected):
    plan = plan_tiles((16, 64), tile_px=16, overlap_px=0, multiple=(16, 16), smallest=(16, 16))
    events = []

    def start(top, left):
        events.append(f"start {left}")
        return lambda: events.append(f"wait {left}") or np.zeros((16, 16, 3), np.float32)

    list(process_tiles((16, 64), plan, start, ahead=ahead))
    assert events == expected


def test_no_more_than_a_row_of_tiles_is_done_before_its_result_is_taken():
    plan = plan_tiles((200, 64), tile_px=64, overlap_px=16, multiple=(16, 16), smallest=(16, 16))
    started = []

    def start(top, left):
        started.append(top)
        return lambda: np.zeros((64, 64, 3), np.float32)

    bands = process_tiles((200, 64), plan, start)
    first = next(bands)
    # the row itself and the one tile that is ahead
    assert len(first) == plan.tops[1] and started == [plan.tops[0], plan.tops[1]]


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    area=st.integers(1, 600_000),
    overlap=st.sampled_from([0, 16, 64, 128]),
    multiple=st.sampled_from([(16, 16), (32, 32), (48, 32)]),
)
@settings(deadline=None)
def test_fitted_tiles_keep_to_the_area_and_compute_hardly_more_than_square_ones(height, width, area, overlap, multiple):
    needs = {"overlap_px": overlap, "multiple": multiple, "smallest": multiple}
    plan = fit_tiles((height, width), area_px=area, largest_px=1024, **needs)
    tile_area = plan.tile[0] * plan.tile[1]
    assert tile_area <= area or plan.tile == multiple
    assert plan.canvas[0] - plan.tops[-1] == plan.tile[0] and plan.canvas[1] - plan.lefts[-1] == plan.tile[1]
    for starts, tile in ((plan.tops, plan.tile[0]), (plan.lefts, plan.tile[1])):
        if tile >= 2 * (overlap + max(multiple)):
            assert all(later - first <= tile - overlap for first, later in itertools.pairwise(starts))
    for side in range(2 * overlap, 1024, 16):
        square = plan_tiles((height, width), tile_px=side, **needs)
        if min(square.tile) >= 2 * (overlap + max(multiple)) and square.tile[0] * square.tile[1] <= area:
            assert plan.count * tile_area <= 1.04 * square.count * square.tile[0] * square.tile[1]


def test_the_outer_quarter_of_an_overlap_counts_nothing_and_its_middle_half():
    # tiles of 64 pixels that share 32: nothing for 8 pixels, then a straight line to 1 over 16
    line = (np.arange(16) + 0.5) / 16
    expected = np.concatenate([np.zeros(8), line, np.ones(8 + 32)])
    assert weigh_axis((0, 32), 64, 1) == pytest.approx(expected, abs=1e-6)
    assert weigh_axis((0, 32), 64, 0) == pytest.approx(expected[::-1], abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.02, 0.2])
def test_the_row_that_a_tile_stands_in_counts_by_its_weight(weight):
    needs = {"overlap_px": 64, "multiple": (16, 16), "smallest": (16, 16)}
    plan = fit_tiles((4000, 6000), area_px=900_000, largest_px=2048, row_weight=weight, **needs)
    assert plan.tile[0] * plan.tile[1] + weight * plan.tile[0] * 6000 <= 900_000
    assert plan.tile[0] * plan.tile[1] > 300_000


@pytest.mark.parametrize("size", [(1155, 1732), (2309, 3464), (4472, 6708)])
def test_neither_what_is_computed_twice_nor_a_tile_depends_much_on_the_size(size):
    plan = fit_tiles(size, area_px=400_000, largest_px=1024, overlap_px=64, multiple=(16, 16), smallest=(16, 16))
    assert 1.165 < plan.count * plan.tile[0] * plan.tile[1] / (size[0] * size[1]) < 1.255
    assert 389_000 < plan.tile[0] * plan.tile[1] <= 400_000
