"""The estimate of blur against discs of known radius."""

import tracemalloc

import cv2
import numpy as np
import pytest

from dpdeblur.restoration import tiling
from dpdeblur.restoration.scale import choose_scale, estimate_blur_radius, map_blur_radius


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    """Overlapping discs with sizes by a power law, (900, 900, 1) linear: the statistics of photographs."""
    rng = np.random.default_rng(4)
    canvas = np.zeros((900, 900), np.float32)
    for radius in rng.uniform(1 / 250**2, 1 / 1.5**2, 9000) ** -0.5:
        x, y = rng.integers(0, 900, 2)
        cv2.circle(canvas, (int(x), int(y)), max(1, round(radius)), float(rng.uniform(0.02, 0.9)), -1)
    return canvas[..., None]


def _blur(image: np.ndarray, radius: float) -> np.ndarray:
    axis = np.arange(-np.ceil(radius) - 1, np.ceil(radius) + 2)
    disc = np.clip(radius + 0.5 - np.hypot(axis[:, None], axis[None]), 0, 1).astype(np.float32)
    return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)[..., None]


@pytest.mark.parametrize("radius", [3.0, 5.0, 8.0, 12.0])
def test_the_radius_of_a_disc_is_found_within_seven_tenths_of_an_octave(sharp: np.ndarray, radius: float):
    noisy = _blur(sharp, radius) + np.random.default_rng(1).normal(0, 0.002, sharp.shape).astype(np.float32)
    assert abs(np.log2(estimate_blur_radius(noisy) / radius)) < 0.7


def test_a_sharp_picture_is_worked_on_at_its_own_size(sharp: np.ndarray):
    assert choose_scale(sharp, 3.0) == 1.0


def test_twice_the_blur_halves_the_scale(sharp: np.ndarray):
    ratio = choose_scale(_blur(sharp, 6.0), 2.0) / choose_scale(_blur(sharp, 12.0), 2.0)
    assert ratio == pytest.approx(2.0, rel=0.35)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 700, 1), (30, 30, 3)])
def test_pictures_too_small_to_tell_are_taken_as_sharp(shape: tuple[int, ...]):
    assert choose_scale(np.full(shape, 0.5, np.float32), 3.0) == 1.0


@pytest.mark.parametrize("size", [(900, 900), (899, 455)])
def test_a_picture_is_measured_by_strips_as_it_is_whole(
    sharp: np.ndarray, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
):
    noise = np.random.default_rng(1).normal(0, 0.01, (*size, 1)).astype(np.float32)
    blurred = _blur(sharp, 4.0)[: size[0], : size[1]] + noise
    monkeypatch.setattr(tiling, "_STRIP_PX", 2 * blurred.size)
    whole = map_blur_radius(blurred)
    monkeypatch.setattr(tiling, "_STRIP_PX", 37 * size[1])
    for by_strips, expected in zip(map_blur_radius(blurred), whole, strict=True):
        np.testing.assert_allclose(by_strips, expected, rtol=1e-4, atol=0)


def test_a_large_picture_is_measured_with_little_memory_beyond_itself(sharp: np.ndarray):
    large = np.tile(_blur(sharp, 4.0), (5, 5, 1))
    estimate_blur_radius(sharp)
    tracemalloc.start()
    estimate_blur_radius(large)
    # OpenCV's own results are numpy's: half the size and its Gaussian, each a quarter, and strips
    assert tracemalloc.get_traced_memory()[1] < 0.75 * large.nbytes
    tracemalloc.stop()
