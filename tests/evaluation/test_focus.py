"""Pixels in focus, and how much they were changed."""

from __future__ import annotations

import numpy as np
import pytest

from dpdeblur.evaluation.focus import THRESHOLDS, FocusErrors, find_focus


def test_pixels_are_in_focus_where_a_window_agrees_with_the_reference() -> None:
    reference = np.full((40, 60, 3), 0.5)
    blurred = reference.copy()
    blurred[:, 30:] += 0.02
    focus = find_focus(blurred, reference)
    # a window of 9 pixels agrees while fewer than half of its columns differ by twice the limit
    assert focus[:, :30].all()
    assert not focus[:, 30:].any()


def test_a_single_channel_that_differs_counts_by_its_share() -> None:
    reference = np.full((20, 20, 3), 0.5)
    blurred = reference.copy()
    blurred[..., 0] += 0.027  # a mean of 0.009 over the channels
    assert find_focus(blurred, reference).all()
    blurred[..., 0] += 0.006
    assert not find_focus(blurred, reference).any()


def test_the_distribution_counts_only_pixels_in_focus() -> None:
    blurred = np.full((10, 10, 3), 0.5)
    result = blurred.copy()
    result[0] += 0.01  # ten pixels
    result[1, :5] += 0.06  # five
    result[2, 0] += 0.3  # one
    result[5:] += 0.2  # not in focus
    focus = np.zeros((10, 10), bool)
    focus[:5] = True
    errors = FocusErrors()
    errors.add(result, blurred, focus)
    assert errors.focus_share == 0.5
    assert [errors.find_share(threshold) for threshold in THRESHOLDS] == pytest.approx(
        [34 / 50, 34 / 50, 44 / 50, 44 / 50, 44 / 50]
    )
    curve = errors.draw_curve()
    assert len(curve) == 201
    assert curve[-1] == pytest.approx(49 / 50)  # at 0.1, the one of 0.3 is beyond


def test_a_pixels_error_is_the_root_of_its_channels_mean_square() -> None:
    blurred = np.zeros((1, 1, 3))
    errors = FocusErrors()
    errors.add(np.array([[[0.03, 0.0, 0.0]]]), blurred, np.ones((1, 1), bool))
    # sqrt(0.03^2 / 3) = 0.01732
    assert (errors.find_share(0.017), errors.find_share(0.0175)) == (0, 1)


def test_photos_add_up() -> None:
    blurred = np.zeros((2, 2, 1))
    errors = FocusErrors()
    errors.add(blurred, blurred, np.ones((2, 2), bool))
    errors.add(blurred + 0.02, blurred, np.array([[True, False], [False, False]]))
    assert errors.focus_share == 5 / 8
    assert errors.find_share(0.01) == 4 / 5
    assert errors.find_share(0.02) == 1


def test_without_a_pixel_in_focus_there_is_no_share() -> None:
    errors = FocusErrors()
    errors.add(np.ones((2, 2, 1)), np.zeros((2, 2, 1)), np.zeros((2, 2), bool))
    assert errors.focus_share == 0
    assert np.isnan(errors.find_share(0.05))
