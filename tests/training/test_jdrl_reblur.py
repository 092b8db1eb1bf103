"""Isotropic kernels against the paper's Eq. 7 cell by cell, and what the reblurring network can learn."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dpdeblur.training.reblur import LENGTHS, SEED_VALUES, ReblurNetwork, blur_by_seeds


def draw_kernel(seed: list[float]) -> np.ndarray:
    """Eq. 7 as the paper writes it, cell by cell, and the softmax over all cells."""
    length = len(seed)
    values = np.zeros((2 * length - 1, 2 * length - 1))
    for row in range(1 - length, length):
        for column in range(1 - length, length):
            radius = math.hypot(row, column)
            low, high = math.floor(radius), math.ceil(radius)
            if radius > length - 1:
                value = 0.0
            elif low == high:
                value = seed[low]
            else:
                value = (radius - high) / (low - high) * seed[low] + (radius - low) / (high - low) * seed[high]
            values[row + length - 1, column + length - 1] = value
    raised = np.exp(values)
    return raised / raised.sum()


def read_kernels(seeds: Tensor) -> list[np.ndarray]:
    """The kernels that constant seeds make, as the picture of one bright pixel: (15, 15) each."""
    spot = torch.zeros(1, 1, 29, 29)
    spot[..., 14, 14] = 1
    pictures = blur_by_seeds(spot, seeds.view(1, -1, 1, 1).expand(1, -1, 29, 29))
    return [picture[0, 0, 7:22, 7:22].numpy() for picture in pictures]


@pytest.fixture
def seeds() -> Tensor:
    """Seeds of every length, of both signs."""
    return 2 * torch.randn(SEED_VALUES, generator=torch.Generator().manual_seed(2))


def test_there_are_as_many_seed_values_as_the_paper_says():
    assert (LENGTHS, SEED_VALUES) == ((2, 3, 4, 5, 6, 7, 8), 35)


def test_kernels_are_those_of_equation_7_cell_by_cell(seeds: Tensor):
    kernels = read_kernels(seeds)
    for kernel, seed in zip(kernels[1:], seeds.split(list(LENGTHS)), strict=True):
        margin = 8 - len(seed)
        expected = np.pad(draw_kernel(seed.abs().tolist()), margin)
        np.testing.assert_allclose(kernel, expected, atol=1e-6)


def test_kernels_sum_to_one_and_look_alike_in_every_direction(seeds: Tensor):
    axis = np.arange(-7, 8)
    square = axis[:, None] ** 2 + axis**2
    for kernel, length in zip(read_kernels(seeds)[1:], LENGTHS, strict=True):
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        inside = np.maximum(np.abs(axis[:, None]), np.abs(axis)) <= length - 1
        for ring in np.unique(square[inside]):
            assert np.ptp(kernel[inside & (square == ring)]) < 1e-6
        assert np.abs((kernel * axis).sum()) < 1e-5  # its centre is the middle: it moves nothing
        assert np.abs((kernel * axis[:, None]).sum()) < 1e-5


def test_the_first_picture_is_the_restored_one(seeds: Tensor):
    picture = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(blur_by_seeds(picture, seeds.view(1, -1, 1, 1).expand(1, -1, 20, 24))[0], picture)


def test_each_pixel_has_its_own_kernel(seeds: Tensor):
    picture = torch.rand(1, 2, 20, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    varied = torch.randn(1, SEED_VALUES, 20, 24, generator=torch.Generator().manual_seed(1))
    blurred = blur_by_seeds(picture, varied)[-1]
    row, column = 9, 13
    kernel = draw_kernel(varied[0, -8:, row, column].abs().tolist())
    padded = np.pad(picture[0].numpy(), ((0, 0), (7, 7), (7, 7)), mode="edge")
    expected = (padded[:, row : row + 15, column : column + 15] * kernel).sum((1, 2))
    np.testing.assert_allclose(blurred[0, :, row, column].numpy(), expected, atol=1e-6)


def test_an_even_picture_stays_as_it_is():
    network = ReblurNetwork(width=4)
    even = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(network(even, even), even, atol=1e-5, rtol=0)


def learn_to_reblur(kernel: Tensor, steps: int) -> tuple[float, float]:
    """Train a reblurring network on noise blurred by a kernel; error on other noise before and after."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = ReblurNetwork(width=8)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    margin = kernel.shape[-1] // 2

    def draw() -> tuple[Tensor, Tensor]:
        coarse = torch.rand(2, 3, 16, 16, generator=generator)
        sharp = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        padded = functional.pad(sharp, (margin,) * 4, mode="replicate")
        blurred = functional.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)
        return sharp, blurred

    test = draw()

    def error() -> float:
        with torch.no_grad():
            return float((network(*test) - test[1]).abs().mean())

    before = error()
    for _ in range(steps):
        sharp, blurred = draw()
        optimizer.zero_grad()
        (network(sharp, blurred) - blurred).abs().mean().backward()
        optimizer.step()
    return before, error()


def test_blur_by_a_gaussian_can_be_learned():
    axis = torch.arange(-6.0, 7.0)
    profile = torch.exp(-(axis**2) / (2 * 1.6**2))
    kernel = profile[:, None] * profile
    before, after = learn_to_reblur(kernel / kernel.sum(), steps=50)
    assert after < 0.3 * before


def test_blur_by_a_disc_can_be_learned():
    axis = torch.arange(-3.0, 4.0)
    disc = (axis[:, None] ** 2 + axis**2 <= 3.3**2).float()
    before, after = learn_to_reblur(disc / disc.sum(), steps=50)
    assert after < 0.45 * before


def test_a_shift_cannot_be_learned():
    shift = torch.zeros(7, 7)
    shift[3, 6] = 1  # three pixels to the left: no kernel that is alike in all directions does that
    before, after = learn_to_reblur(shift, steps=50)
    assert after > 0.7 * before
