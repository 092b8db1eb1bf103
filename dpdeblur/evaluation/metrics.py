"""PSNR, SSIM, MAE and RMSE_rel, defined as in the evaluations of the papers; everything in float64.

Pictures are encoded values (sRGB, as stored in the files), divided by the full code: black 0, white 1. The papers name
the metrics without giving parameters, so the parameters are those of the evaluation that they share: the one published
with DPDD (A. Abuolaim, M. S. Brown, "Defocus Deblurring Using Dual-Pixel Data", ECCV 2020), which DPANet, JDRL and K3DN
follow. Scores of a set are the means of its pictures' scores, except RMSE_rel (see there).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Window = Literal["uniform", "gaussian"]

_UNIFORM_WINDOW_PX = 7
_GAUSSIAN_WINDOW_PX = 11
_GAUSSIAN_SIGMA_PX = 1.5
_K1, _K2 = 0.01, 0.03


@dataclasses.dataclass(frozen=True)
class Scores:
    """What one picture, or a set of them, came to.

    Attributes:
        psnr: In dB; infinite where result and reference are the same.
        ssim: At most 1.
        mae: 0 to 1.
        rmse_rel: 0 to 1.
        lpips: Or None where it was not computed.
    """

    psnr: float
    ssim: float
    mae: float
    rmse_rel: float
    lpips: float | None = None


def compute_psnr(result: Floats, reference: Floats, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio: 10 log10(1 / mean squared error), over all pixels and channels at once.

    Args:
        result: (H, W, C) in [0, 1].
        reference: The same.
        mask: (H, W), the pixels that count, or None for all.

    Returns:
        dB; infinite for equal pictures.
    """
    error = float(np.mean(_take(result - reference, mask) ** 2))
    return -10 * math.log10(error) if error > 0 else math.inf


def compute_mae(result: Floats, reference: Floats, mask: Mask | None = None) -> float:
    """Mean absolute error over all pixels and channels.

    Args:
        result: (H, W, C) in [0, 1].
        reference: The same.
        mask: (H, W), the pixels that count, or None for all.
    """
    return float(np.mean(np.abs(_take(result - reference, mask))))


def compute_relative_rmse(psnr: float) -> float:
    """RMSE_rel of K3DN's tables (Yang et al., CVPR 2023): the root of the mean squared error relative to the peak.

    The paper takes the name from L. Pan et al., "Dual Pixel Exploration", CVPR 2021, and gives no formula. Of the 41
    rows in its tables 1 to 3, 39 (all 15 of DPDD) are 10^(-PSNR / 20) of the PSNR beside them, within the rounding of
    both; two of DDD-syn are smaller by up to 0.7 %. So RMSE_rel of a set comes from the set's mean PSNR: it is the
    geometric mean of the pictures' errors, not the arithmetic one.

    Args:
        psnr: In dB, of a picture or the mean of a set.
    """
    return 10 ** (-psnr / 20)


def compute_ssim(result: Floats, reference: Floats, window: Window = "uniform", mask: Mask | None = None) -> float:
    """Structural similarity (Z. Wang et al., IEEE Trans. Image Processing 13(4), 2004), mean over pixels and channels.

    The papers cite Wang et al., whose window is a Gaussian of sigma 1.5 in 11x11 pixels. What the evaluations of DPDD,
    DPANet, JDRL and K3DN compute is scikit-image's default: a uniform window of 7x7 pixels with sample covariances.
    Published figures can only be compared with that one. K1 = 0.01, K2 = 0.03; borders that no whole window covers do
    not count.

    Args:
        result: (H, W, C) in [0, 1].
        reference: The same.
        window: `uniform` as published, or `gaussian` as Wang et al. have it (population covariances).
        mask: (H, W), the windows' centres that count, or None for all.

    Raises:
        ValueError: The pictures are smaller than the window.
    """
    size = _UNIFORM_WINDOW_PX if window == "uniform" else _GAUSSIAN_WINDOW_PX
    if min(result.shape[:2]) < size:
        raise ValueError(f"SSIM needs pictures of at least {size}x{size} pixels")
    border = size // 2
    inside = slice(border, -border), slice(border, -border)
    seen = None if mask is None else mask[inside]
    return float(
        np.mean(
            [
                np.mean(_take(_map_ssim(result[..., channel], reference[..., channel], window)[inside], seen))
                for channel in range(result.shape[2])
            ]
        )
    )


def _map_ssim(x: Floats, y: Floats, window: Window) -> Floats:
    """SSIM of one channel, (H, W), at every pixel."""
    mean_x, mean_y = _average(x, window), _average(y, window)
    count = _UNIFORM_WINDOW_PX**2
    unbias = count / (count - 1) if window == "uniform" else 1.0
    variance_x = unbias * (_average(x * x, window) - mean_x**2)
    variance_y = unbias * (_average(y * y, window) - mean_y**2)
    covariance = unbias * (_average(x * y, window) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + _K1**2) / (mean_x**2 + mean_y**2 + _K1**2)
    return np.asarray(luminance * (2 * covariance + _K2**2) / (variance_x + variance_y + _K2**2), np.float64)


def _average(values: Floats, window: Window) -> Floats:
    values = np.ascontiguousarray(values)
    if window == "uniform":
        size = (_UNIFORM_WINDOW_PX, _UNIFORM_WINDOW_PX)
        return np.asarray(cv2.blur(values, size, borderType=cv2.BORDER_REFLECT), np.float64)
    kernel = cv2.getGaussianKernel(_GAUSSIAN_WINDOW_PX, _GAUSSIAN_SIGMA_PX, cv2.CV_64F)
    return np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT), np.float64)


def _take(values: Floats, mask: Mask | None) -> Floats:
    return values if mask is None else values[mask]
