"""Deformable convolution against closed forms and a loop over pixels."""

import math

import pytest
import torch
from torch.nn import functional

from dpdeblur.networks import deform
from dpdeblur.networks.deform import DeformableConv, deform_convolve


def make_case(batch: int = 2, height: int = 7, width: int = 9) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "features": torch.rand(batch, 4, height, width, dtype=torch.float64),
        "offsets": torch.zeros(batch, 18, height, width, dtype=torch.float64),
        "modulation": torch.ones(batch, 9, height, width, dtype=torch.float64),
        "weight": torch.randn(5, 4, 3, 3, dtype=torch.float64),
        "bias": torch.randn(5, dtype=torch.float64),
    }


def sample_bilinearly(plane: torch.Tensor, y: float, x: float) -> float:
    value = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * float(plane[row, column])
    return value


def convolve_naively(case: dict[str, torch.Tensor]) -> torch.Tensor:
    """Loop over pixels, taps and channels, with offsets interleaved (dy, dx) per tap in row-major order."""
    batch, channels, height, width = case["features"].shape
    result = case["bias"].view(1, -1, 1, 1).repeat(batch, 1, height, width)
    for image in range(batch):
        for y in range(height):
            for x in range(width):
                for tap in range(9):
                    dy, dx = (float(value) for value in case["offsets"][image, 2 * tap : 2 * tap + 2, y, x])
                    row, column = y + tap // 3 - 1 + dy, x + tap % 3 - 1 + dx
                    factor = float(case["modulation"][image, tap, y, x])
                    for channel in range(channels):
                        value = factor * sample_bilinearly(case["features"][image, channel], row, column)
                        result[image, :, y, x] += case["weight"][:, channel, tap // 3, tap % 3] * value
    return result


@pytest.mark.parametrize("batch", [1, 2])
def test_zero_offsets_and_unit_modulation_are_an_ordinary_convolution(batch: int) -> None:
    case = make_case(batch)
    expected = functional.conv2d(case["features"], case["weight"], case["bias"], padding=1)
    assert (deform_convolve(**case) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("dy", "dx"), [(2, -1), (-3, 0), (0, 4)])
def test_integer_offsets_convolve_the_shifted_image(batch: int, dy: int, dx: int) -> None:
    case = make_case(batch)
    case["offsets"][:, 0::2] = dy
    case["offsets"][:, 1::2] = dx
    # a wide border of zeros, from which the shifted image is cut one pixel larger than the result
    padded = functional.pad(case["features"], (6, 6, 6, 6))
    shifted = padded[:, :, 5 + dy : 5 + dy + 9, 5 + dx : 5 + dx + 11]
    expected = functional.conv2d(shifted, case["weight"], case["bias"])
    assert (deform_convolve(**case) - expected).abs().max() < 1e-12


def test_zero_modulation_leaves_the_bias() -> None:
    case = make_case()
    case["modulation"].zero_()
    assert torch.equal(deform_convolve(**case), case["bias"].view(1, 5, 1, 1).expand(2, 5, 7, 9))


def test_samples_outside_the_image_are_zero() -> None:
    case = make_case()
    case["offsets"].fill_(20.0)
    assert torch.equal(deform_convolve(**case), case["bias"].view(1, 5, 1, 1).expand(2, 5, 7, 9))


@pytest.mark.parametrize("batch", [1, 2])
def test_fractional_offsets_agree_with_a_loop_over_pixels(batch: int) -> None:
    case = make_case(batch, height=4, width=5)
    case["offsets"].normal_(std=1.5)
    case["modulation"].uniform_(0, 1)
    assert (deform_convolve(**case) - convolve_naively(case)).abs().max() < 1e-12


def test_chunks_of_rows_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case()
    case["offsets"].normal_(std=1.5)
    with torch.no_grad():
        whole = deform_convolve(**case)
        # 2 x 4 x 9 x 9 values per row: three rows at a time, so that the last chunk is a single row
        monkeypatch.setattr(deform, "_CHUNK_VALUES", 3 * 2 * 4 * 9 * 9)
        assert (deform_convolve(**case) - whole).abs().max() < 1e-12


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_agree_with_finite_differences(batch: int) -> None:
    case = make_case(batch, height=3, width=4)
    # away from whole positions, where a bilinear sample has a kink
    case["offsets"].uniform_(0.2, 0.8)
    inputs = tuple(value.requires_grad_() for value in case.values())
    assert torch.autograd.gradcheck(deform_convolve, inputs, fast_mode=True)


def test_module_halves_every_tap_for_a_field_of_zeros() -> None:
    torch.manual_seed(2)
    layer = DeformableConv(6).double()
    features = torch.rand(1, 6, 5, 8, dtype=torch.float64)
    with torch.no_grad():
        result = layer(features, torch.zeros(1, 27, 5, 8, dtype=torch.float64))
        expected = functional.conv2d(features, layer.weight / 2, layer.bias, padding=1)
    assert (result - expected).abs().max() < 1e-12


def test_coordinates_stay_exact_for_features_in_half_precision() -> None:
    torch.manual_seed(3)
    layer = DeformableConv(4).to(torch.bfloat16)
    features = torch.rand(1, 4, 4, 600, dtype=torch.bfloat16)
    with torch.no_grad():
        result = layer(features, torch.zeros(1, 27, 4, 600, dtype=torch.bfloat16))
        expected = functional.conv2d(features.float(), layer.weight.float() / 2, layer.bias.float(), padding=1)
    assert result.dtype == torch.bfloat16
    # bfloat16 keeps 8 bits: a wrong column would differ by a tenth and more
    assert (result.float() - expected).abs().max() < 0.01


def test_both_ways_of_sampling_find_the_same() -> None:
    torch.manual_seed(4)
    features = torch.rand(2, 4, 7, 9, dtype=torch.float64)
    y, x = (torch.rand(2, 5, 9, 9, dtype=torch.float64) * 14 - 3 for _ in range(2))
    modulation = torch.rand(2, 5, 9, 9, dtype=torch.float64)
    bags = deform._sample_bags(deform._frame_maps(features), y, x, modulation)
    grid = deform._sample_grid(features, y, x, modulation)
    assert bags.shape == grid.shape == (2, 4, 5, 81)
    assert (bags - grid).abs().max() < 1e-12
