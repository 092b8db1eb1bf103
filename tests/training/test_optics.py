"""The thin lens against numbers worked by hand and against the lens equation itself."""

import pytest
import torch

from dpdeblur.training.optics import circle_of_confusion, draw_optics


def test_circle_of_confusion_agrees_with_the_thin_lens_worked_by_hand():
    # 50 mm f/2 focused at 2 m; a point at 4 m is imaged at 1/(1/50 - 1/4000) = 50.6329 mm, the sensor is at
    # 1/(1/50 - 1/2000) = 51.2821 mm, the pupil is 25 mm wide: diameter 25 * 0.64914 / 50.6329 = 0.320513 mm
    radius = circle_of_confusion(torch.tensor([4.0, 2.0]), focus_m=2, focal_length_mm=50, f_number=2, pixel_pitch_um=10)
    torch.testing.assert_close(radius, torch.tensor([16.0256, 0.0]), atol=1e-3, rtol=0)
    assert circle_of_confusion(torch.tensor(1.0), focus_m=2, focal_length_mm=50, f_number=2, pixel_pitch_um=10) < 0


def test_drawn_cameras_obey_the_lens_equation():
    generator = torch.Generator().manual_seed(0)
    optics = draw_optics(torch.full((256,), 5.0), generator)
    depth = 0.3 + 20 * torch.rand(256, 3, generator=generator)
    focal, focus = (optics.focal_length_mm.double() / 1000)[:, None], optics.focus_m.double()[:, None]
    image, sensor = 1 / (1 / focal - 1 / depth.double()), 1 / (1 / focal - 1 / focus)
    # similar triangles: the cone from the pupil to the image is as wide at the sensor as it is far from its tip
    diameter = focal / optics.f_number.double()[:, None] * (sensor - image) / image
    pixel = (optics.pixel_pitch_um * optics.reduction).double()[:, None] * 1e-6
    torch.testing.assert_close(optics.measure_radius(depth).double(), diameter / 2 / pixel, rtol=2e-4, atol=2e-4)


def test_a_depth_is_found_for_every_radius_a_camera_has():
    generator = torch.Generator().manual_seed(1)
    strength = 0.5 + 8 * torch.rand(512, generator=generator)
    optics = draw_optics(strength, generator)
    radius = torch.stack([-strength, 0 * strength, torch.minimum(strength, optics.largest_radius())], 1)
    depth = optics.find_depth(radius)
    assert depth.min() > 0
    torch.testing.assert_close(optics.measure_radius(depth), radius, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(depth[:, 1], optics.focus_m, rtol=1e-5, atol=0)


def test_cameras_are_within_what_is_built_and_reach_the_wanted_strength():
    strength = torch.full((4000,), 4.0)
    optics = draw_optics(strength, torch.Generator().manual_seed(2))
    is_phone = optics.focal_length_mm < 10
    assert float(is_phone.float().mean()) == pytest.approx(0.3, abs=0.03)
    for value, low, high in (
        (optics.f_number, 1.4, 8.0),
        (optics.pixel_pitch_um, 1.0, 6.5),
        (optics.focus_m, 0.07, 10.5),
        (optics.focal_length_mm, 4.0, 105.0),
    ):
        assert low <= float(value.min()) and float(value.max()) <= high
    assert float(optics.reduction.min()) >= 1
    reaches = optics.measure_radius(torch.full((4000,), 1e9)) >= strength
    assert float(reaches.float().mean()) > 0.9
    assert bool((optics.reduction[~reaches] == 1).all())
