"""Blur kernels against closed forms."""

import math

import pytest
import torch

from dpdeblur.training.kernels import MEASURED_RADIUS_PX, build_kernels, draw_lenses, ideal_lenses


def _drawn(count: int = 64, seed: int = 5, bank_size: int = 0):
    return draw_lenses(count, torch.Generator().manual_seed(seed), bank_size=bank_size, measured_share=0.5)


def _disc_bank() -> torch.Tensor:
    """Two calibrated pairs of known form: ramped discs of the bank's radius, off centre by (2, -1) px."""
    y, x = torch.meshgrid(torch.arange(61.0) - 30, torch.arange(61.0) - 30, indexing="ij")
    y, x = y + 1, x - 2
    disc = (torch.sqrt(x**2 + y**2) <= MEASURED_RADIUS_PX).float()
    pair = torch.stack([disc * (1 - 0.5 * x / MEASURED_RADIUS_PX), disc * (1 + 0.5 * x / MEASURED_RADIUS_PX)])
    return (pair / pair.sum((-2, -1), keepdim=True))[None].expand(2, -1, -1, -1).contiguous()


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
    behind, before = (build_kernels(_drawn(), sign * radii, 16) for sign in (1, -1))
    torch.testing.assert_close(before, behind.flip(-2, -1), atol=2e-6, rtol=0)


def test_opposite_radius_exchanges_the_views_of_a_symmetric_lens():
    lenses = ideal_lenses(8)
    radii = torch.linspace(1, 8, 8)[:, None]
    behind, before = (build_kernels(lenses, sign * radii, 14) for sign in (1, -1))
    torch.testing.assert_close(before, behind.flip(2), atol=2e-6, rtol=0)


@pytest.mark.parametrize("ramp", [0.0, 0.4, 1.0])
def test_moments_of_the_ramped_disc_match_the_integral(ramp: float):
    # of disc * (1 + a x / r): mean x = a r / 4, mean x^2 = r^2 / 4
    radius = 8.0
    kernel = build_kernels(ideal_lenses(1, ramp=ramp, softness_px=0.15), torch.tensor([[radius]]), 14)[0, 0, 0]
    x = torch.arange(29.0) - 14
    mean = float((kernel.sum(0) * x).sum())
    assert mean == pytest.approx(ramp * radius / 4, abs=0.06)
    assert float((kernel.sum(0) * x**2).sum()) == pytest.approx(radius**2 / 4, rel=0.02)


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
