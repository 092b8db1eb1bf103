"""The sensor against closed forms and against the published behaviour of its mosaic's interpolation."""

import dataclasses

import numpy as np
import pytest
import torch

from dpdeblur.networks.light import decode_srgb
from dpdeblur.training.optics import draw_optics
from dpdeblur.training.sensor import Sensor, draw_sensors, finish_pair, interpolate_mosaic


def _sensor(**changes: float) -> Sensor:
    """A sensor with hardly any noise, but for the changes."""
    plain = {"exposure": 1, "capacity": 1e9, "read_noise": 0, "step": 1e-7, "balance": 1, "gain_error": 0}
    plain |= {"shading": 0, "is_gray": 0, "is_mosaic": 0, "levels": 0}
    return Sensor(**{name: torch.full((1, 1, 1, 1), float(value)) for name, value in (plain | changes).items()})


def _finish(light: torch.Tensor, **changes: float) -> list[torch.Tensor]:
    pictures = finish_pair(light, light, light, _sensor(**changes), torch.Generator().manual_seed(0))
    return [decode_srgb(picture) for picture in pictures]


def test_photon_noise_of_a_view_has_twice_the_variance_of_the_pictures():
    flat = torch.full((1, 3, 256, 256), 0.25)
    left, right, sharp = _finish(flat, capacity=1e4)
    # 0.25 of 5000 electrons, in units of 5000
    assert float(left.var()) == pytest.approx(0.25 / 5000, rel=0.03)
    assert float((left - right).var()) == pytest.approx(2 * 0.25 / 5000, rel=0.03)
    assert float(left.mean()) == pytest.approx(0.25, rel=1e-3)
    torch.testing.assert_close(sharp, flat, atol=1e-6, rtol=0)


def test_few_photons_are_counted_as_poisson_counts_them():
    # light 0.02 of 100 electrons a view: two are expected, none with probability exp(-2)
    left, _, _ = _finish(torch.full((1, 3, 256, 256), 0.02), capacity=200)
    electrons = left * 100
    assert float((electrons - electrons.round()).abs().max()) < 0.01
    assert float((electrons.round() == 0).float().mean()) == pytest.approx(np.exp(-2), rel=0.03)


def test_read_noise_is_added_to_each_view():
    left, right, _ = _finish(torch.full((1, 3, 256, 256), 0.25), read_noise=1e6)
    assert float(left.std()) == pytest.approx(1e6 / 5e8, rel=0.02)
    assert float((left - right).std()) == pytest.approx(2**0.5 * 1e6 / 5e8, rel=0.02)


def test_values_are_whole_codes():
    step = 2 / 15871
    light = torch.linspace(0.1, 0.9, 3 * 64 * 64).view(1, 3, 64, 64)
    left, _, _ = _finish(light, step=step)
    codes = left / step
    assert float((codes - codes.round()).abs().max()) < 0.02
    # half a code, and four standard deviations of 5e8 electrons' Poisson noise
    assert float((left - light).abs().max()) < 0.5 * step + 4 * (0.9 / 5e8) ** 0.5


def test_bright_light_is_clipped_after_exposure_and_before_the_white_balance():
    light = torch.full((1, 3, 8, 8), 0.9)
    sensor = dataclasses.replace(_sensor(exposure=1.5), balance=torch.tensor([2.0, 1.0, 1.0]).view(1, 3, 1, 1))
    left, _, sharp = finish_pair(light, light, light, sensor, torch.Generator().manual_seed(0))
    assert float(left.min()) > 0.9999 and float(sharp.min()) == pytest.approx(1, abs=1e-6)
    dim = torch.full((1, 3, 8, 8), 0.2)
    left, _, _ = finish_pair(dim, dim, dim, sensor, torch.Generator().manual_seed(0))
    torch.testing.assert_close(decode_srgb(left), 1.5 * dim, atol=3e-4, rtol=0)


def test_vignetting_darkens_opposite_sides_of_the_views():
    left, right, _ = _finish(torch.full((1, 3, 8, 65), 0.5), shading=0.06, gain_error=0.01)
    for view, side in ((left, 1), (right, -1)):
        expected = 0.5 * (1 + side * (0.01 + 0.06 * torch.linspace(-1, 1, 65)))
        torch.testing.assert_close(view[0, 0, 0], expected, atol=3e-4, rtol=0)


def test_a_gray_capture_has_three_equal_channels_with_one_noise():
    light = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    left, _, sharp = _finish(light, is_gray=1, capacity=1e3, read_noise=3)
    for picture in (left, sharp):
        torch.testing.assert_close(picture[:, 0], picture[:, 1], atol=1e-6, rtol=0)
        torch.testing.assert_close(picture[:, 2], picture[:, 1], atol=1e-6, rtol=0)
    torch.testing.assert_close(sharp[:, 1], 0.25 * light[:, 0] + 0.5 * light[:, 1] + 0.25 * light[:, 2])


def test_eight_bit_files_have_256_values():
    light = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    left = finish_pair(light, light, light, _sensor(levels=255), torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(left * 255, (left * 255).round(), atol=1e-4, rtol=0)


def test_the_mosaic_keeps_flat_colours_and_straight_gray_ramps():
    flat = torch.tensor([0.2, 0.5, 0.7]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    torch.testing.assert_close(interpolate_mosaic(flat), flat, atol=1e-6, rtol=0)
    ramp = (torch.arange(16.0).view(1, 1, 1, -1) + 2 * torch.arange(16.0).view(1, 1, -1, 1)).expand(1, 3, 16, 16)
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(interpolate_mosaic(ramp)[inner], ramp[inner], atol=1e-5, rtol=0)


def test_the_mosaic_keeps_each_sites_own_colour_and_interpolates_as_opencv_nearly_does():
    import cv2

    generator = torch.Generator().manual_seed(4)
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 12, generator=generator), (96, 96), mode="bicubic", align_corners=False
    ).clamp(0, 1)
    ours = interpolate_mosaic(smooth)[0]
    torch.testing.assert_close(ours[0, 0::2, 0::2], smooth[0, 0, 0::2, 0::2])
    torch.testing.assert_close(ours[1, 0::2, 1::2], smooth[0, 1, 0::2, 1::2])
    torch.testing.assert_close(ours[2, 1::2, 1::2], smooth[0, 2, 1::2, 1::2])
    mosaic = smooth[0, 1].clone()
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = smooth[0, 0, 0::2, 0::2], smooth[0, 2, 1::2, 1::2]
    # OpenCV names the pattern by its second row's second site; its own interpolation is bilinear
    other = cv2.cvtColor((mosaic.numpy() * 65535).astype(np.uint16), cv2.COLOR_BayerBG2RGB) / 65535
    difference = np.abs(ours.permute(1, 2, 0).numpy() - other)[4:-4, 4:-4]
    assert difference.mean() < 0.01 and difference.max() < 0.1


def test_gradients_help_the_mosaic_as_published():
    """Malvar et al. gain some 5 dB over bilinear interpolation on photographs."""
    from skimage import data

    picture = torch.from_numpy(data.astronaut()[:256, :256].astype(np.float32) / 255).permute(2, 0, 1)[None]
    error = (interpolate_mosaic(picture) - picture)[..., 4:-4, 4:-4].pow(2).mean()
    import cv2

    mosaic = picture[0, 1].clone()
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = picture[0, 0, 0::2, 0::2], picture[0, 2, 1::2, 1::2]
    bilinear = cv2.cvtColor((mosaic.numpy() * 255).round().astype(np.uint8), cv2.COLOR_BayerBG2RGB) / 255
    bilinear_error = np.mean((bilinear - picture[0].permute(1, 2, 0).numpy())[4:-4, 4:-4] ** 2)
    assert 10 * np.log10(bilinear_error / float(error)) > 3


def test_drawn_captures_span_real_cameras():
    generator = torch.Generator().manual_seed(0)
    optics = draw_optics(torch.full((4000,), 4.0), generator)
    sensor = draw_sensors(optics, generator)
    # electrons of one pixel: 2000 a square micrometre at ISO 100
    electrons = (sensor.capacity.flatten() / optics.reduction**2).log10()
    density = electrons - 2 * optics.pixel_pitch_um.log10()
    assert float(density.max()) == pytest.approx(np.log10(2000 * 2), abs=0.01)
    assert float(density.min()) > np.log10(2000 * 100 / 3300)
    assert float(sensor.balance[:, 1].min()) == 1 and float(sensor.balance.min()) == 1
    is_gray, is_mosaic = sensor.is_gray.flatten(), sensor.is_mosaic.flatten()
    assert float(is_gray.mean()) == pytest.approx(0.4, abs=0.03)
    assert 0.05 < float(is_mosaic.mean()) < 0.3 and float((is_mosaic * is_gray).sum()) == 0
    assert float(optics.reduction[is_mosaic > 0].max()) < 2
    assert bool((sensor.balance[is_gray > 0] == 1).all())
