"""Both adds up what K3DN and GKMNet change, each in its own range of values and on what it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dpdeblur.colour import spaces
from dpdeblur.networks.both import Both
from dpdeblur.networks.light import blend_views, decode_srgb, encode_srgb

FORM = {"base": 4, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1}


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def both() -> Both:
    """Both networks away from the identity that they start as."""
    torch.manual_seed(5)
    network = Both(**FORM).eval()
    with torch.no_grad():
        network.k3dn.output.weight.add_(0.05 * torch.randn_like(network.k3dn.output.weight))
        nn.init.normal_(network.gkmnet.mixture.output.weight, std=0.02)
    return network


@torch.no_grad()
def test_it_adds_shares_of_what_each_changes_alone(both: Both) -> None:
    left, right = (_draw(2, 3, 32, 64, seed=seed) for seed in (1, 2))
    mean = spaces.encode_srgb((spaces.decode_srgb(left.numpy()) + spaces.decode_srgb(right.numpy())) / 2)
    mean = torch.from_numpy(mean)
    by_views = both.k3dn(left - 0.5, right - 0.5) + 0.5
    by_mean = both.gkmnet(mean)
    assert (by_views - by_mean).abs().max() > 0.01
    expected = mean + 0.65 * (by_views - mean) + 0.45 * (by_mean - mean)
    torch.testing.assert_close(both(left, right), expected, atol=2e-6, rtol=0)


@torch.no_grad()
def test_untrained_it_is_the_mean_of_the_views() -> None:
    view = _draw(1, 3, 32, 32, seed=3)
    torch.testing.assert_close(Both(**FORM).eval()(view, view), view, atol=2e-6, rtol=0)


def test_its_tiles_suit_both(both: Both) -> None:
    assert all(one % other == 0 for one, other in zip(both.size_multiple, both.gkmnet.size_multiple, strict=True))
    assert both.overlap_px == max(both.k3dn.overlap_px, both.gkmnet.overlap_px)
    assert both.gkmnet.largest_tile_px <= both.largest_tile_px < both.gkmnet.largest_tile_px + 32
    assert both.bytes_per_px > max(both.k3dn.bytes_per_px, both.gkmnet.bytes_per_px)


def test_a_loss_on_the_sum_reaches_both(both: Both) -> None:
    both.train()
    both(*(_draw(1, 3, 64, 64, seed=seed) for seed in (1, 2))).square().mean().backward()
    for part in (both.k3dn, both.gkmnet):
        assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in part.parameters())


def test_light_on_tensors_is_that_on_arrays() -> None:
    values = np.linspace(0, 1, 4097, dtype=np.float32)
    tensor = torch.from_numpy(values)
    assert encode_srgb(tensor).numpy() == pytest.approx(spaces.encode_srgb(values), abs=1e-6)
    assert decode_srgb(tensor).numpy() == pytest.approx(spaces.decode_srgb(values), abs=1e-6)
    assert blend_views(tensor, tensor).numpy() == pytest.approx(values, abs=1e-6)
