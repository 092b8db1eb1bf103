"""Shared layers against closed forms and a plain numpy loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpdeblur.networks.correlation import correlate


def correlate_by_loop(left: np.ndarray, right: np.ndarray, radius: int) -> np.ndarray:
    """The definition, one output cell at a time."""
    batch, _, height, width = left.shape
    side = 2 * radius + 1
    volume = np.zeros((batch, side * side, height, width))
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            for y in range(height):
                for x in range(width):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        product = left[:, :, y, x] * right[:, :, y + dy, x + dx]
                        volume[:, (dy + radius) * side + dx + radius, y, x] = product.mean(axis=1)
    return volume


@pytest.mark.parametrize(("height", "width", "radius"), [(5, 7, 4), (3, 16, 2), (6, 19, 4), (1, 1, 4), (4, 33, 1)])
def test_correlation_is_the_mean_product_with_each_shifted_neighbour(height: int, width: int, radius: int) -> None:
    random = np.random.RandomState(height * 100 + width)
    left, right = random.standard_normal((2, 2, 3, height, width))
    volume = correlate(torch.from_numpy(left), torch.from_numpy(right), radius)
    np.testing.assert_allclose(volume.numpy(), correlate_by_loop(left, right, radius), atol=1e-12)


def test_correlation_peaks_at_the_shift_between_the_views() -> None:
    right = torch.randn(1, 32, 20, 40, generator=torch.Generator().manual_seed(1))
    left = torch.roll(right, shifts=(-2, 3), dims=(2, 3))  # left(y, x) = right(y + 2, x - 3)
    volume = correlate(left, right)
    inside = volume[0, :, 4:-4, 4:-4]
    assert inside.mean(dim=(1, 2)).argmax().item() == (2 + 4) * 9 + (-3 + 4)


def test_correlation_gradients_match_finite_differences() -> None:
    generator = torch.Generator().manual_seed(2)
    left = torch.randn(2, 2, 3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    right = torch.randn(2, 2, 3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: correlate(a, b, 2), (left, right))


def test_correlation_does_not_depend_on_the_memory_layout() -> None:
    generator = torch.Generator().manual_seed(3)
    left = torch.randn(2, 8, 6, 20, generator=generator)
    right = torch.randn(2, 8, 6, 20, generator=generator)
    last = correlate(left.to(memory_format=torch.channels_last), right.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, correlate(left, right))


def test_correlation_in_bfloat16_keeps_two_digits() -> None:
    generator = torch.Generator().manual_seed(4)
    left = torch.randn(1, 64, 8, 24, generator=generator)
    right = torch.randn(1, 64, 8, 24, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = correlate(left, right)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - correlate(left, right)).abs().max() < 0.02
