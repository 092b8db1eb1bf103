"""Disparity against textures that were shifted in closed form and against simulated lenses; views that are alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from captures import draw_views

from dpdeblur.photo import Image, Photo
from dpdeblur.restoration.disparity_map import has_second_view, map_disparity
from dpdeblur.training.kernels import ideal_lenses
from dpdeblur.training.simulator import Scene, render_views

HEIGHT_PX, WIDTH_PX = 192, 288


def draw_waves(columns: npt.NDArray[np.floating], seed: int = 0) -> Image:
    """A texture known at every place: 60 waves of 6 to 80 pixels; `columns` (H, W) is where each pixel looks."""
    rng = np.random.default_rng(seed)
    rows = np.arange(columns.shape[0])[:, None]
    picture = np.zeros(columns.shape)
    for length, angle, phase in zip(
        rng.uniform(6, 80, 60), rng.uniform(0, np.pi, 60), rng.uniform(0, 7, 60), strict=True
    ):
        picture += np.sin(2 * np.pi / length * (np.cos(angle) * columns + np.sin(angle) * rows) + phase)
    return (0.35 + 0.03 * picture).astype(np.float32)[..., None]


def draw_pair(
    disparity: float | npt.NDArray[np.floating], height: int = HEIGHT_PX, width: int = WIDTH_PX
) -> tuple[Image, Image]:
    """Views in which the point at column x lies at x + disparity / 2 on the left, x - disparity / 2 on the right."""
    columns = np.broadcast_to(np.arange(width, dtype=float), (height, width))
    return draw_waves(columns - np.asarray(disparity) / 2), draw_waves(columns + np.asarray(disparity) / 2)


@pytest.mark.parametrize("disparity", [-9.0, -2.4, -0.3, 0.0, 0.05, 0.77, 4.0])
def test_a_shifted_texture_gives_its_shift_to_a_twentieth_of_a_pixel(disparity: float) -> None:
    found = map_disparity(*draw_pair(disparity))
    inner = found.disparity_px[16:-16, 16:-16]
    assert np.abs(inner - disparity).mean() < 0.05
    assert found.confidence.mean() > 0.9


def test_both_maps_have_the_size_of_a_small_photo_in_float32() -> None:
    found = map_disparity(*draw_pair(1.0))
    for values in (found.disparity_px, found.confidence):
        assert (values.shape, values.dtype) == ((HEIGHT_PX, WIDTH_PX), np.float32)


def test_a_large_photo_is_measured_on_a_smaller_grid_in_pixels_of_the_photo() -> None:
    left, right = (np.kron(view[..., 0], np.ones((6, 6), np.float32))[..., None] for view in draw_pair(1.5))
    found = map_disparity(left, right)
    assert max(found.disparity_px.shape) == 1024
    assert np.abs(found.disparity_px[64:-64, 64:-64] - 9.0).mean() < 0.3


def test_each_side_of_a_depth_edge_has_its_own_disparity() -> None:
    disparity = np.where(np.arange(WIDTH_PX) < WIDTH_PX // 2, 1.5, -0.75)
    found = map_disparity(*draw_pair(disparity)).disparity_px
    assert np.median(found[:, 20:120]) == pytest.approx(1.5, abs=0.05)
    assert np.median(found[:, 168:268]) == pytest.approx(-0.75, abs=0.05)


def test_a_difference_of_exposure_and_shading_moves_nothing() -> None:
    left, right = draw_pair(1.2)
    shaded = right * np.linspace(0.8, 1.1, WIDTH_PX, dtype=np.float32)[None, :, None]
    assert np.abs(map_disparity(left, shaded).disparity_px[16:-16, 16:-16] - 1.2).mean() < 0.06


def test_what_cannot_be_compared_is_not_trusted_and_takes_its_surroundings() -> None:
    rows, columns = np.indices((HEIGHT_PX, WIDTH_PX))
    distance = np.hypot(rows - 96, columns - 144)
    faded = np.clip((distance - 50) / 20, 0, 1).astype(np.float32)[..., None]
    left, right = (0.4 + faded * (view - 0.4) for view in draw_pair(2.0))
    found = map_disparity(left, right)
    assert found.confidence[96, 144] < 0.5
    assert found.confidence[20, 30] > 0.95
    # the fading itself stands still, so the surroundings do not say 2 with one voice
    assert found.disparity_px[96, 144] == pytest.approx(2.0, abs=0.8)


@pytest.mark.parametrize(("radius_px", "ramp"), [(2.0, 1.0), (6.0, 0.4), (-6.0, 0.4), (4.0, 1.0), (12.0, 0.4)])
def test_a_lens_gives_the_distance_of_the_centroids_of_its_kernels(radius_px: float, ramp: float) -> None:
    """A disc with the intensity 1 + a x / r has its centroid at a r / 4: the views are a r / 2 apart."""
    texture = torch.from_numpy(np.repeat(draw_waves(np.indices((320, 320))[1]), 3, axis=2)).permute(2, 0, 1)
    ones = torch.ones(1, 1, 1, 320, 320)
    scene = Scene(texture[None, None].contiguous(), ones, ones.clone(), torch.tensor([[[radius_px]]]))
    views = render_views(scene, ideal_lenses(1, ramp=ramp), 20)
    left, right = (view[0].permute(1, 2, 0).numpy()[20:-20, 20:-20] for view in views)
    found = map_disparity(left, right)
    expected = ramp * radius_px / 2
    assert np.median(found.disparity_px) == pytest.approx(expected, rel=0.2, abs=0.03)


def make_photo(left: Image, right: Image | None) -> Photo:
    return Photo((), "pair", left, left=left, right=right)


def draw_desk() -> tuple[Image, Image]:
    """A dual-pixel photo with parts in and out of focus, (192, 288, 3) linear."""
    left, right = draw_views(HEIGHT_PX, WIDTH_PX)
    return left.astype(np.float32), right.astype(np.float32)


def test_a_dual_pixel_photo_has_a_second_view() -> None:
    assert has_second_view(make_photo(*draw_desk()))
    assert has_second_view(make_photo(*draw_pair(0.3)))


def test_a_single_image_has_none() -> None:
    assert not has_second_view(make_photo(draw_desk()[0], None))


def _clip(image: Image) -> Image:
    return np.clip(image, 0, 1)


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.97, 1.3])
@pytest.mark.parametrize("finish", [np.copy, _clip], ids=["unbounded", "clipped"])
def test_the_same_view_at_another_exposure_is_no_second_view(gain: float, finish: Callable[[Image], Image]) -> None:
    left = draw_desk()[0]
    assert not has_second_view(make_photo(finish(left), finish(np.float32(gain) * left)))


@pytest.mark.parametrize("noise", [0.0005, 0.005, 0.03])
def test_the_same_view_with_its_own_noise_is_no_second_view(noise: float) -> None:
    left = draw_desk()[0]
    rng = np.random.default_rng(5)
    noisy = [left + rng.normal(0, noise, left.shape).astype(np.float32) for _ in range(2)]
    assert not has_second_view(make_photo(*noisy))
    assert not has_second_view(make_photo(noisy[0], np.float32(0.9) * noisy[1]))


def test_a_dual_pixel_photo_keeps_its_second_view_in_noise() -> None:
    rng = np.random.default_rng(5)
    left, right = (view + rng.normal(0, 0.01, view.shape).astype(np.float32) for view in draw_desk())
    assert has_second_view(make_photo(left, right))


def test_views_that_are_shaded_differently_are_two() -> None:
    left = draw_desk()[0]
    shading = np.linspace(0.95, 1.05, WIDTH_PX, dtype=np.float32)[None, :, None]
    assert has_second_view(make_photo(left, left * shading))


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_an_even_picture_has_none_and_shows_nothing_to_trust(value: float) -> None:
    even = np.full((40, 60, 1), value, np.float32)
    assert map_disparity(even, even.copy()).confidence.max() < 0.1
    assert not has_second_view(make_photo(even, even.copy()))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 500, 3), (7, 3, 1)])
def test_the_smallest_pictures_are_measured_too(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(2).uniform(0.2, 0.8, shape).astype(np.float32)
    assert map_disparity(image, image).disparity_px.shape == shape[:2]
    assert not has_second_view(make_photo(image, image))
