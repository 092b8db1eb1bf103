"""Metrics against scikit-image, torchmetrics and closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as torch_ssim

from dpdeblur.evaluation.metrics import Floats, compute_mae, compute_psnr, compute_relative_rmse, compute_ssim


def draw_pictures(channels: int, bits: int = 16) -> tuple[Floats, Floats]:
    """A textured reference and a noisy, darker result, as codes of that depth divided by the full code."""
    generator = np.random.default_rng(7)
    rows, columns, colours = np.mgrid[0:61, 0:83, 0:channels]
    reference = 0.5 + 0.4 * np.sin(rows / 4 + colours) * np.cos(columns / 6)
    result = 0.93 * reference + 0.03 * generator.standard_normal(reference.shape)
    peak = 2**bits - 1
    return np.rint(np.clip(result, 0, 1) * peak) / peak, np.rint(reference * peak) / peak


def to_tensor(picture: Floats) -> torch.Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]


@pytest.fixture
def in_double_precision() -> Iterator[None]:
    """Have torchmetrics make its constants in float64: logarithms of float32 differ from processor to processor."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_agrees_with_scikit_image_and_torchmetrics(in_double_precision: None, channels: int, bits: int) -> None:
    result, reference = draw_pictures(channels, bits)
    psnr = compute_psnr(result, reference)
    assert psnr == pytest.approx(peak_signal_noise_ratio(reference, result, data_range=1), abs=1e-6)
    by_torchmetrics = torch_psnr(to_tensor(result), to_tensor(reference), data_range=1.0)
    assert psnr == pytest.approx(float(by_torchmetrics), abs=1e-6)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_published_ssim_agrees_with_scikit_images_default(channels: int, bits: int) -> None:
    result, reference = draw_pictures(channels, bits)
    expected = structural_similarity(reference, result, data_range=1, channel_axis=-1)
    assert compute_ssim(result, reference) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_gaussian_ssim_agrees_with_scikit_image_and_torchmetrics(channels: int) -> None:
    result, reference = draw_pictures(channels)
    ssim = compute_ssim(result, reference, "gaussian")
    by_scikit_image = structural_similarity(
        reference, result, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1
    )
    _, by_torchmetrics = torch_ssim(
        to_tensor(result), to_tensor(reference), data_range=1.0, sigma=1.5, kernel_size=11, return_full_image=True
    )
    assert ssim == pytest.approx(by_scikit_image, abs=1e-6)
    # it mirrors pictures at their borders; the published scores leave the borders out
    assert ssim == pytest.approx(float(by_torchmetrics[..., 5:-5, 5:-5].mean()), abs=1e-6)


def test_the_two_windows_of_ssim_are_not_the_same() -> None:
    result, reference = draw_pictures(1)
    assert abs(compute_ssim(result, reference) - compute_ssim(result, reference, "gaussian")) > 1e-3


def test_mae_of_a_known_difference_is_its_mean() -> None:
    reference = np.full((4, 4, 3), 0.5)
    result = reference.copy()
    result[0, 0] = (0.5, 0.6, 0.1)
    assert compute_mae(result, reference) == pytest.approx(0.5 / 48)


def test_equal_pictures_have_no_error() -> None:
    _, reference = draw_pictures(3)
    assert compute_psnr(reference, reference) == math.inf
    assert compute_ssim(reference, reference) == pytest.approx(1, abs=1e-12)
    assert compute_mae(reference, reference) == compute_relative_rmse(math.inf) == 0


def test_relative_rmse_of_one_picture_is_the_root_of_the_mean_squared_error() -> None:
    result, reference = draw_pictures(3)
    expected = math.sqrt(mean_squared_error(reference, result))
    assert compute_relative_rmse(compute_psnr(result, reference)) == pytest.approx(expected, rel=1e-9)


#: PSNR and RMSE_rel (in hundredths) of the 15 rows of K3DN's table 1.
K3DN_TABLE_1 = (
    *((23.89, 6.39), (23.69, 6.54), (23.90, 6.38), (25.13, 5.54), (25.22, 5.48), (25.39, 5.38), (25.41, 5.36)),
    *((25.73, 5.17), (25.71, 5.18), (25.99, 5.01), (26.40, 4.79), (26.66, 4.65), (26.74, 4.60), (26.84, 4.55)),
    (27.06, 4.44),
)


@pytest.mark.parametrize(("psnr", "published"), K3DN_TABLE_1)
def test_relative_rmse_of_a_set_is_what_k3dn_printed_beside_its_mean_psnr(psnr: float, published: float) -> None:
    # half a unit of the last digit printed, of both
    assert compute_relative_rmse(psnr + 0.005) - 5e-5 <= published / 100 <= compute_relative_rmse(psnr - 0.005) + 5e-5


def test_a_mask_leaves_out_what_it_does_not_hold() -> None:
    result, reference = draw_pictures(3)
    spoilt = result.copy()
    spoilt[:20] = 0
    mask = np.zeros(result.shape[:2], bool)
    mask[20:] = True
    assert compute_psnr(spoilt, reference, mask) == compute_psnr(result[20:], reference[20:])
    assert compute_mae(spoilt, reference, mask) == compute_mae(result[20:], reference[20:])
    mask[20:23] = False  # windows there reach above row 20
    assert compute_ssim(spoilt, reference, mask=mask) == pytest.approx(compute_ssim(result[20:], reference[20:]))


def test_ssim_of_pictures_smaller_than_its_window_is_refused() -> None:
    with pytest.raises(ValueError, match="7x7"):
        compute_ssim(np.zeros((6, 40, 1)), np.zeros((6, 40, 1)))
