"""Tiles must not be seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpdeblur.tiling import plan_tiles, process_tiles, weigh_axis

ONE_CODE_VALUE = 1 / 65535


def _box_blur(views):
    """A 9x9 mean with replicated borders: a network whose receptive field is 4 pixels to either side."""
    import cv2

    return cv2.blur(views[0], (9, 9), borderType=cv2.BORDER_REPLICATE).reshape(views[0].shape)


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
    np.testing.assert_allclose(process_tiles((picture,), plan, lambda views: views[0]), picture, atol=1e-6)


def test_a_network_of_small_receptive_field_shows_no_seam():
    rng = np.random.default_rng(1)
    picture = rng.random((300, 260, 3), np.float32)
    plan = plan_tiles((300, 260), tile_px=96, overlap_px=32, multiple=(16, 16), smallest=(16, 16))
    # the canvas is larger than the picture: its lower and right border see the reflection, as the whole must too
    whole = plan_tiles((300, 260), tile_px=4096, overlap_px=32, multiple=(16, 16), smallest=(16, 16))
    assert plan.count > 4 and whole.count == 1
    difference = process_tiles((picture,), plan, _box_blur) - process_tiles((picture,), whole, _box_blur)
    assert np.abs(difference).max() < ONE_CODE_VALUE


def test_without_overlap_the_same_network_does_show_seams():
    picture = np.random.default_rng(1).random((300, 260, 3), np.float32)
    plan = plan_tiles((300, 260), tile_px=96, overlap_px=0, multiple=(16, 16), smallest=(16, 16))
    whole = plan_tiles((300, 260), tile_px=4096, overlap_px=0, multiple=(16, 16), smallest=(16, 16))
    difference = process_tiles((picture,), plan, _box_blur) - process_tiles((picture,), whole, _box_blur)
    assert np.abs(difference).max() > 100 * ONE_CODE_VALUE


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (17, 3)])
def test_pictures_smaller_than_a_tile_are_padded_and_cropped(size):
    picture = np.random.default_rng(2).random((*size, 1), np.float32)
    plan = plan_tiles(size, tile_px=64, overlap_px=16, multiple=(32, 32), smallest=(32, 32))
    seen = []

    def identity(views):
        seen.append(views[0].shape)
        return views[0]

    np.testing.assert_allclose(process_tiles((picture,), plan, identity), picture, atol=1e-6)
    assert all(h % 32 == 0 and w % 32 == 0 for h, w, _ in seen)


def test_progress_adds_up_to_one():
    picture = np.zeros((200, 200, 1), np.float32)
    plan = plan_tiles((200, 200), tile_px=64, overlap_px=16, multiple=(16, 16), smallest=(16, 16))
    shares = []
    process_tiles((picture,), plan, lambda views: views[0], shares.append)
    assert sum(shares) == pytest.approx(1.0)
    assert len(shares) == plan.count
