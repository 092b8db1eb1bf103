"""The simulator against closed forms, OpenCV's convolution and traced rays."""

import cv2
import numpy as np
import pytest
import torch

from dpdeblur.networks.light import decode_srgb, encode_srgb
from dpdeblur.training.kernels import FAMILIES, build_kernels, draw_lenses, ideal_lenses
from dpdeblur.training.simulator import (
    Scene,
    find_fast_size,
    render_radius,
    render_sharp,
    render_views,
)


def _single_layer(radius: float, size: int = 96) -> Scene:
    texture = torch.rand(1, 1, 3, size, size, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(1, 1, 1, size, size)
    return Scene(texture, ones, ones.clone(), torch.tensor([[[radius]]]))


def _two_layers(far_radius: float, near_radius: float, size: int = 96) -> Scene:
    """A round window of texture before another texture."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 3, size // 4, size // 4, generator=generator)
    texture = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=False).clamp(0, 1)
    axis = torch.arange(size) - size / 2
    distance = torch.sqrt(axis[:, None] ** 2 + axis**2)
    opacity = torch.stack([torch.ones(size, size), 1 - torch.sigmoid((distance - 20) / 0.8)])[None, :, None]
    radius = torch.tensor([[[far_radius], [near_radius]]])
    return Scene(texture[None], opacity, torch.ones(1, 2, 1, size, size), radius)


def _trace_rays(scene: Scene, kernels: torch.Tensor, largest_px: float) -> torch.Tensor:
    """Add the sharp pictures that each point of the pupil sees, weighed as it shines: (2, 3, H, W)."""
    size, half = scene.texture.shape[-1], kernels.shape[-1] // 2
    frequency = torch.fft.fftfreq(size)

    def shift(image: torch.Tensor, y: float, x: float) -> torch.Tensor:
        wave = torch.exp(-2j * np.pi * (frequency[:, None] * y + frequency * x))
        return torch.fft.ifft2(torch.fft.fft2(image) * wave).real

    (far, near), opacity = scene.texture[0], scene.opacity[0, 1]
    far_radius, near_radius = scene.radius_px[0, :, 0] / largest_px
    views = torch.zeros(2, 3, size, size)
    for i, j in torch.nonzero(kernels.amax(0) > 1e-5).tolist():
        y, x = i - half, j - half
        seen = shift(opacity * near, y * near_radius, x * near_radius)
        seen = seen + (1 - shift(opacity, y * near_radius, x * near_radius)) * shift(
            far, y * far_radius, x * far_radius
        )
        views += kernels[:, i, j].view(2, 1, 1, 1) * seen
    return views


def test_a_scene_in_focus_is_seen_as_it_is():
    scene = _single_layer(0.0)
    for view in render_views(scene, ideal_lenses(1), 8):
        torch.testing.assert_close(view, render_sharp(scene), atol=1e-5, rtol=0)


def test_layers_in_focus_are_seen_as_they_are():
    scene = _two_layers(0.0, 0.0)
    for view in render_views(scene, draw_lenses(1, torch.Generator().manual_seed(3)), 8):
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


@pytest.mark.parametrize("family", range(len(FAMILIES)))
def test_the_other_side_of_focus_exchanges_the_views(family: int):
    lenses = ideal_lenses(1, family=family)
    left, right = render_views(_two_layers(6.0, 3.0), lenses, 10)
    other_left, other_right = render_views(_two_layers(-6.0, -3.0), lenses, 10)
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


@pytest.mark.parametrize("near_radius", [8.0, -8.0, 4.0])
def test_layers_of_one_depth_are_blurred_as_one_picture(near_radius: float):
    scene = _two_layers(near_radius, near_radius)
    lenses = ideal_lenses(1)
    kernels = build_kernels(lenses, torch.tensor([[near_radius]]), 14)[0, 0].numpy()
    sharp = render_sharp(scene)[0].permute(1, 2, 0).numpy()
    for view, kernel in zip(render_views(scene, lenses, 14), kernels, strict=True):
        expected = cv2.filter2D(sharp, -1, kernel[::-1, ::-1].copy())
        difference = view[0].permute(1, 2, 0).numpy() - expected
        assert np.abs(difference[14:-14, 14:-14]).max() < 2e-3


@pytest.mark.parametrize(
    ("near_radius", "far_radius", "largest_error"),
    [(-8.0, 0.0, 1e-4), (0.0, 8.0, 1e-4), (6.0, 8.0, 0.008), (4.0, 8.0, 0.01), (-8.0, -6.0, 0.008), (-4.0, 8.0, 0.015)],
)
def test_edges_between_layers_are_nearly_what_traced_rays_see(
    near_radius: float, far_radius: float, largest_error: float
):
    scene = _two_layers(far_radius, near_radius)
    lenses = ideal_lenses(1)
    kernels = build_kernels(lenses, torch.tensor([[8.0]]), 14)[0, 0]
    traced = _trace_rays(scene, kernels, 8.0)
    rendered = torch.cat(render_views(scene, lenses, 14))
    axis = torch.arange(96) - 48
    edge = (torch.sqrt(axis[:, None] ** 2 + axis**2) - 20).abs() < 9
    assert float((rendered - traced)[..., edge].pow(2).mean().sqrt()) < largest_error
    # the textures themselves vary by far more
    assert float(traced[..., edge].std()) > 0.05


@pytest.mark.parametrize(
    ("near_radius", "far_radius", "share"), [(6.0, 8.0, 0.45), (8.0, 6.0, 0.25), (4.0, 8.0, 0.65), (8.0, 4.0, 0.4)]
)
def test_edges_out_of_focus_are_nearer_to_traced_rays_than_plain_blending(
    near_radius: float, far_radius: float, share: float, monkeypatch: pytest.MonkeyPatch
):
    scene, lenses = _two_layers(far_radius, near_radius), ideal_lenses(1)
    traced = _trace_rays(scene, build_kernels(lenses, torch.tensor([[8.0]]), 14)[0, 0], 8.0)

    def measure() -> float:
        return float((torch.cat(render_views(scene, lenses, 14)) - traced).pow(2).mean().sqrt())

    ours = measure()
    everything = [torch.ones_like(scene.opacity[:, 0])] * 2
    monkeypatch.setattr("dpdeblur.training.simulator._find_visible", lambda scene: everything)
    assert ours < share * measure()


def test_slices_of_one_depth_are_one_plane():
    whole = _single_layer(4.0)
    shares = torch.rand(1, 1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    shares = shares / shares.sum(2, keepdim=True)
    cut = Scene(whole.texture, whole.opacity, shares, torch.full((1, 1, 3), 4.0))
    for one, other in zip(render_views(whole, ideal_lenses(1), 8), render_views(cut, ideal_lenses(1), 8), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_the_map_of_radii_shows_the_nearest_layer():
    scene = _two_layers(5.0, -2.0)
    radius = render_radius(scene)[0, 0]
    assert float(radius[48, 48]) == -2 and float(radius[4, 4]) == 5
    assert set(radius.unique().tolist()) == {-2.0, 5.0}


def test_fast_sizes_are_the_next_products_of_small_primes():
    assert [find_fast_size(n) for n in (2, 11, 121, 148, 151, 225, 257)] == [2, 12, 126, 150, 160, 240, 270]


def test_srgb_curve_has_the_values_of_the_standard():
    linear = torch.tensor([0.0, 0.0031308, 0.2140411, 1.0])
    torch.testing.assert_close(encode_srgb(linear), torch.tensor([0.0, 0.0404499, 0.5, 1.0]), atol=2e-6, rtol=0)
    torch.testing.assert_close(decode_srgb(encode_srgb(linear)), linear, atol=1e-6, rtol=0)
