"""Fused convolutions against the layers one by one, as torch computes them with gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dpdeblur.networks.layers import convolve, convolve_precisely


def make_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("is_added", [False, True])
@pytest.mark.parametrize("slope", [None, 0.0, 0.2])
@pytest.mark.parametrize("is_normed", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 1, "stride": 2, "bias": False},
        {"kernel_size": 3, "padding": 4, "dilation": 4},
        {"kernel_size": 1},
        {"kernel_size": 9, "padding": 4, "groups": 8, "bias": False},
    ],
)
def test_fused_convolution_equals_its_parts(
    options: dict[str, int], is_normed: bool, slope: float | None, is_added: bool, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(8, 8, **options)
    x = torch.randn(2, 8, 10, 12).contiguous(memory_format=memory_format)
    norm = make_norm(8) if is_normed else None
    expected = layer(x)
    if norm is not None:
        expected = norm(expected)
    if slope is not None:
        expected = torch.where(expected > 0, expected, slope * expected)
    plus = torch.randn_like(expected) if is_added else None
    kept = None if plus is None else plus.clone()
    expected = expected if plus is None else expected + plus
    with torch.no_grad():
        result = convolve(x, layer, norm=norm, slope=slope, plus=plus)
        assert plus is None or torch.equal(plus, kept)
        again = convolve(x, layer, norm=norm, slope=slope, plus=kept, overwrite=True)
    assert (result - expected).abs().max() < 1e-5
    assert (again - expected).abs().max() < 1e-5
    assert torch.equal(convolve(x, layer, norm=norm, slope=slope, plus=plus), expected)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = convolve(x, layer, norm=norm, slope=slope, plus=plus)
    # a sum keeps the precision of what was added to
    assert rough.dtype == (torch.float32 if is_added else torch.bfloat16)
    assert (rough - expected).abs().max() < 0.02 * expected.abs().max()


def test_fused_convolution_of_a_volume_equals_its_parts() -> None:
    torch.manual_seed(2)
    layer, norm = nn.Conv3d(4, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm3d(6).eval()
    norm.running_mean.normal_()
    x = torch.randn(1, 4, 4, 9, 7)
    with torch.no_grad():
        result = convolve(x, layer, norm=norm, slope=0.0)
    assert (result - torch.relu(norm(layer(x)))).abs().max() < 1e-5


def test_float64_is_computed_in_float64() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1).double()
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(convolve(x, layer, slope=0.2, plus=x), x + nn.functional.leaky_relu(layer(x), 0.2))


def test_norms_in_training_mode_see_the_batch() -> None:
    norm = nn.BatchNorm2d(4).train()
    with torch.no_grad():
        result = convolve(5 + torch.randn(4, 4, 8, 8), nn.Conv2d(4, 4, 1), norm=norm)
    assert result.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert norm.num_batches_tracked == 1


def test_the_first_and_last_layers_are_computed_precisely_under_autocast() -> None:
    layer = nn.Conv2d(3, 5, 3, padding=1)
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        result, rough = convolve_precisely(x, layer), convolve(x, layer)
    with torch.no_grad():
        expected = layer(x)
    assert result.dtype == torch.float32
    assert (result - expected).abs().max() < 1e-6 < (rough.float() - expected).abs().max()
