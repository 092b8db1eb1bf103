"""The simulated sensor against closed forms."""

from __future__ import annotations

import captures
import numpy as np
import pytest
from mosaics import BLACK, WB, WHITE, sample_rggb

RANGE = WHITE - BLACK[0]


def test_white_becomes_each_channels_share_of_the_range() -> None:
    frame = captures.mosaic_from_linear(np.ones((32, 32, 3)))
    for (row, column), multiplier in zip(((0, 0), (0, 1), (1, 0), (1, 1)), WB, strict=True):
        np.testing.assert_array_equal(frame[row::2, column::2], round(512 + RANGE * 1024 / multiplier))


def test_the_recorded_value_stops_at_saturation() -> None:
    frame = captures.mosaic_from_linear(np.full((32, 32, 3), 3.0), read_noise=20)
    assert frame.max() == WHITE and np.all(frame[0::2, 1::2] == WHITE)


def test_frame_0_is_half_of_each_view_and_frame_1_half_of_the_left_one() -> None:
    left, right = captures.draw_views(64, 96)
    black1 = (511, 510, 509, 508)
    frame0, frame1 = captures.dual_frames(left, right, black1=black1)
    blacks = np.tile(np.reshape(black1, (2, 2)), (32, 48))
    np.testing.assert_allclose(frame1, blacks + sample_rggb(left) / 2 * (WHITE - blacks), atol=0.5)
    np.testing.assert_allclose(frame0, 512 + (sample_rggb(left) + sample_rggb(right)) / 2 * RANGE, atol=0.5)


def test_photodiodes_have_independent_shot_noise_and_frame_0_holds_their_sum() -> None:
    views = np.full((256, 256, 3), 0.5), np.full((256, 256, 3), 0.3)
    electrons, read_noise = 20000.0, 5.0
    frames = captures.dual_frames(*views, electrons_at_white=electrons, read_noise=read_noise, seed=3)
    green0, green1 = (frame[0::2, 1::2].astype(np.float64) for frame in frames)  # green: multiplier 1, no colour matrix
    per_electron = RANGE / electrons
    left_variance, right_variance = 0.25 * electrons * per_electron**2, 0.15 * electrons * per_electron**2
    own = read_noise**2 + 1 / 12  # the read noise and the rounding
    # 16384 samples: a variance is known to 1.1 % (one standard deviation), so 5 % is more than four of them
    assert np.var(green1) == pytest.approx(left_variance + own, rel=0.05)
    assert np.var(green0) == pytest.approx(left_variance + right_variance + own, rel=0.05)
    assert np.cov(green0.ravel(), green1.ravel())[0, 1] == pytest.approx(left_variance, rel=0.07)


def test_views_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        captures.dual_frames(np.zeros((32, 32, 3)), np.zeros((32, 34, 3)))


def test_a_picture_of_odd_size_has_no_mosaic() -> None:
    with pytest.raises(ValueError, match="even, even, 3"):
        captures.mosaic_from_linear(np.zeros((33, 32, 3)))


def test_the_disc_lies_further_right_in_the_left_view() -> None:
    left, right = captures.draw_views(96, 192, disparity=40)
    # in a view's middle row the disc's peak is 0.66 green over a background below 0.35
    assert abs(int(left[48, :, 1].argmax()) - (96 + 20)) <= 2
    assert abs(int(right[48, :, 1].argmax()) - (96 - 20)) <= 2
    assert 0.02 <= min(left.min(), right.min()) and max(left.max(), right.max()) <= 0.9


def test_a_pixel_view_averages_two_rows_and_keeps_the_black_level() -> None:
    green = np.array([[0.0, 1.0, 0.25], [0.0, 1.0, 0.75]])
    np.testing.assert_array_equal(captures.record_pixel_view(green), [[4096, 65535, round(4096 + 61439 / 2)]])
