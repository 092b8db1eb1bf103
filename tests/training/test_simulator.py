"""The simulator against closed forms and against OpenCV's convolution."""

import cv2
import numpy as np
import pytest
import torch

from dpdeblur.training.data import SceneOptions, draw_scenes, simulate_batches
from dpdeblur.training.kernels import build_kernels, ideal_lenses
from dpdeblur.training.simulator import (
    Scene,
    circle_of_confusion,
    decode_srgb,
    draw_sensors,
    encode_srgb,
    finish_pair,
    render_sharp,
    render_views,
)
from dpdeblur.training.textures import TILE_PX, draw_textures, load_textures


@pytest.fixture(scope="module")
def bank() -> torch.Tensor:
    return torch.from_numpy(draw_textures(4, seed=1)).permute(0, 3, 1, 2).contiguous()


def _single_layer(radius: float, size: int = 96) -> Scene:
    texture = torch.rand(1, 1, 3, size, size, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(1, 1, 1, size, size)
    return Scene(texture, ones, ones.clone(), torch.tensor([[[radius]]]))


def test_a_scene_in_focus_is_seen_as_it_is():
    scene = _single_layer(0.0)
    for view in render_views(scene, ideal_lenses(1), 8):
        torch.testing.assert_close(view, render_sharp(scene), atol=1e-5, rtol=0)


def test_one_layer_is_a_plain_convolution_as_opencv_computes_it():
    scene = _single_layer(5.0)
    lenses = ideal_lenses(1)
    kernels = build_kernels(lenses, torch.tensor([[5.0]]), 10)[0, 0].numpy()
    for view, kernel in zip(render_views(scene, lenses, 10), kernels, strict=True):
        # filter2D correlates: the kernel is turned to convolve
        expected = cv2.filter2D(scene.texture[0, 0].permute(1, 2, 0).numpy(), -1, kernel[::-1, ::-1].copy())
        np.testing.assert_allclose(
            view[0].permute(1, 2, 0).numpy()[10:-10, 10:-10], expected[10:-10, 10:-10], atol=2e-5
        )


def test_light_is_conserved_by_an_opaque_plane():
    scene = _single_layer(7.0)
    for view in render_views(scene, ideal_lenses(1), 12):
        torch.testing.assert_close(view.mean((-2, -1)), scene.texture[:, 0].mean((-2, -1)), atol=1e-4, rtol=0)


def test_the_other_side_of_focus_exchanges_the_views():
    left, right = render_views(_single_layer(6.0), ideal_lenses(1), 10)
    other_left, other_right = render_views(_single_layer(-6.0), ideal_lenses(1), 10)
    torch.testing.assert_close(left, other_right, atol=1e-5, rtol=0)
    torch.testing.assert_close(right, other_left, atol=1e-5, rtol=0)


def test_a_sharp_near_object_hides_a_blurred_background():
    size = 64
    texture = torch.zeros(1, 2, 3, size, size)
    texture[:, 0] = 1.0  # white and far out of focus behind
    opacity = torch.ones(1, 2, 1, size, size)
    opacity[:, 1, :, :, : size // 2] = 0  # black and in focus on the right
    scene = Scene(texture, opacity, torch.ones(1, 2, 1, size, size), torch.tensor([[[8.0], [0.0]]]))
    for view in render_views(scene, ideal_lenses(1), 12):
        assert view[..., 16:48, 33:48].abs().max() < 1e-5
        assert view[..., 16:48, 16:31].min() > 0.999


def test_a_blurred_near_edge_lets_half_the_background_through():
    size = 96
    texture = torch.zeros(1, 2, 3, size, size)
    texture[:, 0] = 1.0
    opacity = torch.ones(1, 2, 1, size, size)
    opacity[:, 1, :, :, : size // 2] = 0
    scene = Scene(texture, opacity, torch.ones(1, 2, 1, size, size), torch.tensor([[[0.0], [-8.0]]]))
    left, right = render_views(scene, ideal_lenses(1, ramp=0.0), 12)
    # the mean of the two pixels beside the edge is on the edge: a symmetric kernel covers half of it
    torch.testing.assert_close(left[0, 0, 48, 47:49].mean(), torch.tensor(0.5), atol=1e-3, rtol=0)
    torch.testing.assert_close(left, right, atol=1e-5, rtol=0)


def test_slices_of_one_depth_are_one_plane():
    whole = _single_layer(4.0)
    shares = torch.rand(1, 1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    shares = shares / shares.sum(2, keepdim=True)
    cut = Scene(whole.texture, whole.opacity, shares, torch.full((1, 1, 3), 4.0))
    for one, other in zip(render_views(whole, ideal_lenses(1), 8), render_views(cut, ideal_lenses(1), 8), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_circle_of_confusion_agrees_with_the_thin_lens_worked_by_hand():
    # 50 mm f/2 focused at 2 m; a point at 4 m is imaged at 1/(1/50 - 1/4000) = 50.6329 mm, the sensor is at
    # 1/(1/50 - 1/2000) = 51.2821 mm, the pupil is 25 mm wide: diameter 25 * 0.64914 / 50.6329 = 0.320513 mm
    radius = circle_of_confusion(torch.tensor([4.0, 2.0]), focus_m=2, focal_length_mm=50, f_number=2, pixel_pitch_um=10)
    torch.testing.assert_close(radius, torch.tensor([16.0256, 0.0]), atol=1e-3, rtol=0)
    assert circle_of_confusion(torch.tensor(1.0), focus_m=2, focal_length_mm=50, f_number=2, pixel_pitch_um=10) < 0


def test_srgb_curve_has_the_values_of_the_standard():
    linear = torch.tensor([0.0, 0.0031308, 0.2140411, 1.0])
    torch.testing.assert_close(encode_srgb(linear), torch.tensor([0.0, 0.0404499, 0.5, 1.0]), atol=2e-6, rtol=0)
    torch.testing.assert_close(decode_srgb(encode_srgb(linear)), linear, atol=1e-6, rtol=0)


def test_shot_noise_has_twice_the_variance_in_a_view():
    generator = torch.Generator().manual_seed(0)
    sensor = draw_sensors(1, generator)
    one = torch.ones(1, 1, 1, 1)
    sensor = type(sensor)(one * 1e-4, one * 0, one * 0, one * 0, one * 0, one * 0)
    flat = torch.full((1, 3, 256, 256), 0.25)
    left, right, sharp = finish_pair(flat, flat, flat, sensor, generator)
    assert float(decode_srgb(left).var()) == pytest.approx(2 * 1e-4 * 0.25, rel=0.03)
    assert float((decode_srgb(left) - decode_srgb(right)).var()) == pytest.approx(4 * 1e-4 * 0.25, rel=0.03)
    torch.testing.assert_close(decode_srgb(sharp), flat, atol=1e-6, rtol=0)


def test_batches_have_the_promised_shape_and_range_and_repeat_with_the_seed(bank: torch.Tensor):
    options = SceneOptions(height=48, width=64, largest_radius_px=4)
    first, again = (next(simulate_batches(bank, 2, options, torch.Generator().manual_seed(7))) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.shape == (2, 3, 48, 64)
        assert 0 <= float(one.min()) and float(one.max()) <= 1
        torch.testing.assert_close(one, other)
    assert (first[0] - first[2]).abs().mean() > 1e-3


def test_shares_of_the_slices_add_up_to_one(bank: torch.Tensor):
    scene = draw_scenes(
        bank, 3, SceneOptions(height=32, width=32, largest_radius_px=3), torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(scene.slices.sum(2), torch.ones_like(scene.slices[:, :, 0]))
    assert float(scene.opacity[:, 0].min()) == 1


def test_textures_are_cut_from_any_folder(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (TILE_PX + 100, 2 * TILE_PX, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    tiles = load_textures(tmp_path)
    np.testing.assert_array_equal(tiles, [image[:TILE_PX, :TILE_PX], image[:TILE_PX, TILE_PX:]])
