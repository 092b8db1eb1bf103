"""Bringing reference and result together before they are compared: by values, by one motion, or pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from dpdeblur.errors import DpDeblurError
from dpdeblur.evaluation.metrics import Floats, Mask
from dpdeblur.training.warping import estimate_flow, warp

_SMALLEST_PX = 16
_REFERENCE_SIGMA_PX, _VIEW_SIGMA_PX = 6.0, 1.5
_ECC_STEPS, _ECC_GAIN = 100, 1e-7


def fit_values(picture: Floats, reference: Floats) -> Floats:
    """Fit a picture's values to the reference's: gain and offset of each channel by least squares.

    Args:
        picture: (H, W, C).
        reference: The same.

    Returns:
        (H, W, C), not clipped. An even channel comes back as the reference's mean.
    """
    deviation = picture - picture.mean(axis=(0, 1))
    mean = reference.mean(axis=(0, 1))
    power = np.mean(deviation**2, axis=(0, 1))
    shared = np.mean(deviation * (reference - mean), axis=(0, 1))
    gain = np.divide(shared, power, out=np.zeros_like(power), where=power > 0)
    return np.asarray(deviation * gain + mean, np.float64)


def register_reference(reference: Floats, view: Floats) -> Floats:
    """Lay the reference on a view by one affine motion that maximises their correlation.

    G. Evangelidis, E. Psarakis, "Parametric image alignment using enhanced correlation coefficient maximization", IEEE
    TPAMI 30(10), 2008, by OpenCV. The reference is blurred first (sigma 6 pixels) to look like the view.

    Args:
        reference: (H, W) encoded, sharp.
        view: (H, W) encoded, blurred.

    Returns:
        (H, W), resampled by cubic interpolation and mirrored at the borders; not clipped.

    Raises:
        DpDeblurError: No motion was found.
    """
    sharp = reference.astype(np.float32)
    soft = cv2.GaussianBlur(sharp, (0, 0), _REFERENCE_SIGMA_PX)
    seen = cv2.GaussianBlur(view.astype(np.float32), (0, 0), _VIEW_SIGMA_PX)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _ECC_STEPS, _ECC_GAIN)
    try:
        _, motion = cv2.findTransformECC(seen, soft, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, criteria)
    except cv2.error as error:
        raise DpDeblurError("the reference cannot be laid on the views: they have too little in common") from error
    method = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(sharp, motion, sharp.shape[::-1], flags=method, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(laid, np.float64)


def deform_reference(reference: Floats, result: Floats) -> tuple[Floats, Mask]:
    """Deform the reference towards a result by optical flow: how JDRL scores pairs that do not line up.

    Y. Li et al., "Learning Single Image Defocus Deblurring with Misaligned Training Pairs", AAAI 2023, "Experiments on
    SDD dataset": the flow between result and reference deforms the reference, and the metrics compare the result with
    that. The paper's flow is PWC-Net's; here it is dense inverse search, which needs no weights, so figures are near
    the paper's and not equal to them. The flow is found from the result, so it forgives whatever it can explain, and a
    blurred result it forgives less well: compare figures of one kind only.

    Args:
        reference: (H, W, C) encoded in [0, 1].
        result: The same.

    Returns:
        The deformed reference, (H, W, C), and (H, W) where it came from inside the reference: only there may results
        be compared. The paper's evaluation has no such mask.

    Raises:
        DpDeblurError: The pictures are too small for a flow.
    """
    if min(result.shape[:2]) < _SMALLEST_PX:
        raise DpDeblurError(f"pictures below {_SMALLEST_PX} pixels are too small for optical flow")
    target, source = (
        torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32))[None]
        for picture in (result, reference)
    )
    deformed, inside = warp(source, estimate_flow(target, source))
    return deformed[0].permute(1, 2, 0).double().numpy(), inside[0, 0].numpy() > 0
