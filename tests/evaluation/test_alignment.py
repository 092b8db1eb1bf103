"""Fitting, laying and deforming references, on pictures whose true motion is known."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from dpdeblur.errors import DpDeblurError
from dpdeblur.evaluation.alignment import deform_reference, fit_values, register_reference
from dpdeblur.evaluation.metrics import Floats, compute_psnr

Place = Callable[[Floats, Floats], Floats]


def draw(x: Floats, y: Floats) -> Floats:
    """A smooth picture, known between its pixels too."""
    return np.asarray(0.5 + 0.2 * np.sin(x / 5 + y / 17) + 0.2 * np.cos(y / 4 - x / 23), np.float64)


def grid(height: int = 96, width: int = 128) -> tuple[Floats, Floats]:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    return columns, rows


def test_values_are_fitted_as_least_squares_would() -> None:
    generator = np.random.default_rng(3)
    picture, reference = generator.random((20, 30, 3)), generator.random((20, 30, 3))
    fitted = fit_values(picture, reference)
    for channel in range(3):
        terms = np.stack([picture[..., channel].ravel(), np.ones(600)], axis=1)
        solution, *_ = np.linalg.lstsq(terms, reference[..., channel].ravel(), rcond=None)
        np.testing.assert_allclose(fitted[..., channel].ravel(), terms @ solution, atol=1e-12)


def test_an_even_picture_is_fitted_by_the_references_mean() -> None:
    reference = np.random.default_rng(0).random((9, 9, 1))
    np.testing.assert_allclose(fit_values(np.full((9, 9, 1), 0.3), reference), reference.mean())


def test_a_reference_is_laid_back_from_where_the_lens_moved_it() -> None:
    x, y = grid(160, 200)

    def coarse(x: Floats, y: Floats) -> Floats:
        return np.asarray(0.5 + 0.2 * np.sin(x / 13 + y / 41) + 0.2 * np.cos(y / 15 - x / 37), np.float64)

    moved = coarse(1.004 * x + 2.2, 1.004 * y - 1.3)
    laid = register_reference(moved, coarse(x, y))
    inner = slice(12, -12)
    assert np.abs(laid - coarse(x, y))[inner, inner].max() < 0.01 < np.abs(moved - coarse(x, y))[inner, inner].max()


def test_a_reference_with_nothing_in_common_is_refused() -> None:
    x, y = grid()
    with pytest.raises(DpDeblurError, match="too little in common"):
        register_reference(np.full_like(x, 0.5), draw(x, y))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_shifted_reference_is_deformed_back(channels: int) -> None:
    x, y = grid()
    result, reference = (
        np.repeat(picture[..., None], channels, axis=2) for picture in (draw(x, y), draw(x - 3, y + 2))
    )
    deformed, inside = deform_reference(reference, result)
    assert deformed.shape == reference.shape
    # 3 columns and 2 rows of the result show what lies outside the reference
    assert inside.mean() == pytest.approx((125 / 128) * (94 / 96), abs=0.02)
    core = np.zeros_like(inside)
    core[8:-8, 8:-8] = True
    assert compute_psnr(result, deformed, inside & core) > 40
    assert compute_psnr(result, reference, inside & core) < 20


def test_a_zoomed_reference_is_deformed_back() -> None:
    x, y = grid()
    result, reference = draw(x, y)[..., None], draw(64 + 1.03 * (x - 64), 48 + 1.03 * (y - 48))[..., None]
    deformed, inside = deform_reference(reference, result)
    core = np.zeros_like(inside)
    core[8:-8, 8:-8] = True
    assert compute_psnr(result, deformed, inside & core) > 37 > 30 > compute_psnr(result, reference, inside & core)


def test_an_aligned_reference_stays_where_it_is() -> None:
    x, y = grid()
    picture = draw(x, y)[..., None]
    deformed, inside = deform_reference(picture, picture)
    assert inside.mean() > 0.97
    assert compute_psnr(picture, deformed, inside) > 50


def test_blur_is_not_taken_for_motion() -> None:
    """What a result lacks in sharpness must not be explained away by the flow."""
    noise = np.random.default_rng(5).random((96, 128))
    sharp = cv2.GaussianBlur(noise, (0, 0), 1.5)
    sharp = (sharp - sharp.min()) / (sharp.max() - sharp.min())
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)[..., None]
    sharp = sharp[..., None]
    deformed, inside = deform_reference(sharp, blurred)
    plain = compute_psnr(blurred, sharp)
    assert compute_psnr(blurred, deformed, inside) < plain + 3


def test_pictures_too_small_for_a_flow_are_refused() -> None:
    with pytest.raises(DpDeblurError, match="too small for optical flow"):
        deform_reference(np.zeros((12, 40, 1)), np.zeros((12, 40, 1)))
