"""Blur kernels against closed forms."""

import dataclasses
import math

import pytest
import torch

from dpdeblur.training.kernels import (
    BUTTERWORTH,
    FAMILIES,
    HALF,
    RAMP,
    TRANSLATING,
    Lenses,
    build_kernels,
    draw_lenses,
    ideal_lenses,
)
from dpdeblur.training.measured import MEASURED_RADIUS_PX

ALL_FAMILIES = (0.25, 0.25, 0.25, 0.25)


def _drawn(count: int = 64, seed: int = 5, bank_size: int = 0) -> Lenses:
    generator = torch.Generator().manual_seed(seed)
    return draw_lenses(count, generator, shares=ALL_FAMILIES, bank_size=bank_size, measured_share=0.5)


def _disc_bank() -> torch.Tensor:
    """Two calibrated pairs of known form: ramped discs of the bank's radius, off centre by (2, -1) px."""
    y, x = torch.meshgrid(torch.arange(61.0) - 30, torch.arange(61.0) - 30, indexing="ij")
    y, x = y + 1, x - 2
    disc = (torch.sqrt(x**2 + y**2) <= MEASURED_RADIUS_PX).float()
    pair = torch.stack([disc * (1 - 0.5 * x / MEASURED_RADIUS_PX), disc * (1 + 0.5 * x / MEASURED_RADIUS_PX)])
    return (pair / pair.sum((-2, -1), keepdim=True))[None].expand(2, -1, -1, -1).contiguous()


def _mean_x(kernel: torch.Tensor) -> float:
    half = kernel.shape[-1] // 2
    return float((kernel.sum(-2) * (torch.arange(2.0 * half + 1) - half)).sum())


def test_every_kernel_conserves_energy_and_is_never_negative():
    radii = torch.linspace(-9, 9, 64)[:, None]
    for bank in (None, _disc_bank()):
        kernels = build_kernels(_drawn(bank_size=0 if bank is None else 2), radii, 16, bank)
        assert kernels.min() >= 0
        torch.testing.assert_close(kernels.sum((-2, -1)), torch.ones(64, 1, 2), atol=1e-5, rtol=0)


def test_zero_radius_is_a_single_pixel():
    kernels = build_kernels(_drawn(), torch.zeros(64, 1), 4)
    expected = torch.zeros(9, 9)
    expected[4, 4] = 1
    torch.testing.assert_close(kernels, expected.expand_as(kernels), atol=1e-6, rtol=0)


def test_opposite_radius_turns_the_kernel_by_half_a_turn():
    radii = torch.linspace(0.5, 9, 64)[:, None]
    for bank in (None, _disc_bank()):
        lenses = _drawn(bank_size=0 if bank is None else 2)
        behind, before = (build_kernels(lenses, sign * radii, 16, bank) for sign in (1, -1))
        torch.testing.assert_close(before, behind.flip(-2, -1), atol=2e-6, rtol=0)


@pytest.mark.parametrize("family", range(len(FAMILIES)))
def test_opposite_radius_exchanges_the_views_of_a_symmetric_lens(family: int):
    lenses = ideal_lenses(8, family=family)
    radii = torch.linspace(1, 8, 8)[:, None]
    behind, before = (build_kernels(lenses, sign * radii, 14) for sign in (1, -1))
    torch.testing.assert_close(before, behind.flip(2), atol=2e-6, rtol=0)


@pytest.mark.parametrize("ramp", [0.0, 0.4, 1.0])
def test_moments_of_the_ramped_disc_match_the_integral(ramp: float):
    # of disc * (1 + a x / r): mean x = a r / 4, mean x^2 = r^2 / 4
    radius = 8.0
    kernel = build_kernels(ideal_lenses(1, ramp=ramp, softness_px=0.1), torch.tensor([[radius]]), 14)[0, 0, 0]
    assert _mean_x(kernel) == pytest.approx(ramp * radius / 4, abs=0.06)
    x = torch.arange(29.0) - 14
    assert float((kernel.sum(0) * x**2).sum()) == pytest.approx(radius**2 / 4, rel=0.02)


def test_the_translating_disc_is_the_sum_of_the_intersections_of_a_disc_moving_by_its_diameter():
    radius, size = 8.0, 29
    y, x = torch.meshgrid(torch.arange(size) - 14.0, torch.arange(size) - 14.0, indexing="ij")
    disc = (x**2 + y**2 <= radius**2).float()
    shifts = torch.arange(0, 2 * radius + 0.05, 0.1)
    swept = sum(disc * ((x - shift) ** 2 + y**2 <= radius**2) for shift in shifts)
    lenses = ideal_lenses(1, family=TRANSLATING, softness_px=0.05)
    kernel = build_kernels(lenses, torch.tensor([[radius]]), 14)[0, 0, 0]
    difference = (kernel - swept / swept.sum()).abs().sum()
    assert float(difference) < 0.05
    # the integral of x (sqrt(1 - y^2) + x) over the unit disc, divided by that of sqrt(1 - y^2) + x: 3 pi / 32
    assert _mean_x(kernel) == pytest.approx(3 * math.pi / 32 * radius, rel=0.03)


def test_the_half_disc_has_its_centroid_where_geometry_says():
    kernels = build_kernels(ideal_lenses(1, family=HALF, softness_px=0.1), torch.tensor([[8.0]]), 14)[0, 0]
    for kernel, side in zip(kernels, (1, -1), strict=True):
        assert _mean_x(kernel) == pytest.approx(side * 4 * 8 / (3 * math.pi), abs=0.1)
    # the two halves share the 17 pixels on the axis of a disc of 201
    assert float(torch.minimum(kernels[0], kernels[1]).sum()) < 17 / 201 + 0.005


def test_the_butterworth_disc_is_as_hollow_as_its_formula():
    radius = 12.0
    lenses = ideal_lenses(1, family=BUTTERWORTH, ramp=0.0, softness_px=0.1)
    kernel = build_kernels(lenses, torch.tensor([[radius]]), 19)[0, 0, 0]
    # n = 6, alpha = 0.7, beta = 0.25: the filter is 0 in the middle, so beta of the brightest is left there, while at
    # 0.8 radii it is 1 / (1 + (0.7 / 0.8)^12) = 0.832 of a largest 1 / (1 + 0.7^12) = 0.986
    bright = 0.25 + 0.75 * 0.832 / 0.986
    # the soft edge lets 1 / (1 + exp(-0.2 / (0.14 sqrt(3) / pi))) = 0.931 pass at 0.8 radii
    place = round(0.8 * radius)
    at_place = place / radius
    assert at_place == pytest.approx(0.8, abs=0.04)
    assert float(kernel[19, 19] / kernel[19, 19 + place]) == pytest.approx(0.25 / (bright * 0.931), rel=0.06)


def test_every_pair_is_centred_together():
    kernels = build_kernels(_drawn(bank_size=2), torch.linspace(-9, 9, 64)[:, None], 18, _disc_bank())
    axis = torch.arange(37.0) - 18
    for dim in (-1, -2):
        centroid = (kernels.sum(dim) * axis).sum(-1).mean(-1)
        assert centroid.abs().max() < 0.02


def test_a_measured_pair_is_scaled_to_the_radius():
    lenses = _drawn(bank_size=2)
    radii = torch.full((64, 1), 6.0)
    measured = build_kernels(lenses, radii, 14, _disc_bank())[lenses.bank_index >= 0]
    x = torch.arange(29.0) - 14
    second = ((measured.sum(-2) * x**2).sum(-1)).mean(-1)
    assert len(measured) > 10
    torch.testing.assert_close(second, torch.full_like(second, 6.0**2 / 4), rtol=0.05, atol=0)


def test_large_discs_have_the_area_of_a_disc():
    kernel = build_kernels(ideal_lenses(1, ramp=0.0, softness_px=0.1), torch.tensor([[9.0]]), 14)[0, 0, 0]
    assert 1 / float(kernel.max()) == pytest.approx(math.pi * 81, rel=0.02)


@pytest.mark.parametrize("corners", [5, 6, 9])
def test_a_polygon_has_its_blades_and_the_area_of_its_disc(corners: int):
    radius = 20.0
    lenses = dataclasses.replace(ideal_lenses(1, ramp=0.0, softness_px=0.2), corners=torch.tensor([float(corners)]))
    kernel = build_kernels(lenses, torch.tensor([[radius]]), 30)[0, 0, 0]
    inside = kernel > 0.5 * kernel.max()
    # a regular polygon with circumradius R has the area n/2 R^2 sin(2 pi / n); ours has R^2 cos(pi / n) = r^2
    area = corners / 2 * radius**2 / math.cos(math.pi / corners) * math.sin(2 * math.pi / corners)
    assert float(inside.sum()) == pytest.approx(area, rel=0.03)
    y, x = torch.nonzero(inside, as_tuple=True)
    reach = torch.sqrt((x - 30.0) ** 2 + (y - 30.0) ** 2).max()
    assert float(reach) == pytest.approx(radius / math.sqrt(math.cos(math.pi / corners)), abs=1.5)


def test_a_cats_eye_narrows_towards_the_border_of_the_field_and_points_at_the_middle():
    def measure(field: tuple[float, float]) -> tuple[float, float]:
        lenses = ideal_lenses(1, ramp=0.0, softness_px=0.2)
        lenses = dataclasses.replace(lenses, vignetting=torch.tensor([0.6]), field=torch.tensor([field]))
        kernel = build_kernels(lenses, torch.tensor([[10.0]]), 15)[0, 0, 0]
        axis = torch.arange(31.0) - 15
        return tuple(float((kernel.sum(dim) * axis**2).sum() ** 0.5) for dim in (0, 1))

    wide, tall = measure((0.0, 0.0))
    assert wide == pytest.approx(5.0, abs=0.1) and tall == pytest.approx(5.0, abs=0.1)
    # two unit discs 0.6 apart (the second of 1.05): at the side the lens-shaped rest is as tall as before but narrower
    side_wide, side_tall = measure((1.0, 0.0))
    assert side_wide < 0.82 * wide and side_tall > 0.9 * tall
    assert measure((0.0, -1.0)) == pytest.approx((side_tall, side_wide), abs=0.02)
    assert side_wide < measure((0.5, 0.0))[0] < wide


def test_astigmatism_makes_an_ellipse_only_off_the_axis():
    lenses = dataclasses.replace(ideal_lenses(2, ramp=0.0), astigmatism=torch.tensor([0.08, 0.08]))
    lenses = dataclasses.replace(lenses, field=torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    kernels = build_kernels(lenses, torch.full((2, 1), 10.0), 15)[:, 0, 0]
    axis = torch.arange(31.0) - 15
    wide, tall = ((kernels.sum(dim) * axis**2).sum(-1) ** 0.5 for dim in (1, 2))
    assert float(wide[0] / tall[0]) == pytest.approx(1, abs=0.003)
    assert float(wide[1] / tall[1]) == pytest.approx(1 / 1.08, rel=0.015)


def test_slopes_are_drawn_as_measured_and_families_as_asked():
    lenses = draw_lenses(4000, torch.Generator().manual_seed(0), shares=(0.5, 0.2, 0.3, 0.0))
    left, right = lenses.ramp.unbind(1)
    assert float(left.min()) >= 0.2 and float(left.max()) <= 1.0
    assert float(right.max()) <= -0.2 and float(right.min()) >= -1.0
    assert float(left.median()) == pytest.approx(0.4, abs=0.03)
    shares = torch.bincount(lenses.family, minlength=4) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.2, 0.3, 0.0]), atol=0.03, rtol=0)
    assert float((lenses.family == RAMP).float().mean()) == pytest.approx(0.5, abs=0.03)
