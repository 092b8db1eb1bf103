"""The scale at which a network works on a photo: coarse enough that the blur is as wide as it was in training.

Photographs have nearly as much contrast in one octave of detail as in the next coarser one (D. J. Field, "Relations
between the statistics of natural images", JOSA A 1987). Blur takes the finer octaves away, so the octave from which
on contrast falls to half of its neighbour's tells the radius of the blur: by convolving sharp photographs with discs
of 2 to 16 pixels the radius was found to be 1.53 * 2^octave, for nine photographs of ten within a third of an octave.
"""

from __future__ import annotations

import cv2
import numpy as np

from dpdeblur.colour import encode_srgb
from dpdeblur.photo import Image

RADIUS_PER_OCTAVE_PX = 1.53
_STEEP = 0.5
_SMALLEST_PX = 24
_SMALLEST_SCALE = 1 / 16


def estimate_blur_radius(blurred: Image) -> float:
    """Estimate the radius in pixels of the blur that most of a photo's contrast has.

    Args:
        blurred: (H, W, C) float32 linear light.

    Returns:
        Radius of the disc that would blur as much; 0 for a picture that is sharp, or has too little to tell from.
    """
    gray = np.ascontiguousarray(encode_srgb(np.clip(blurred.mean(axis=2), 0, 1)), np.float32)
    noise = _estimate_noise(gray)
    contrasts: list[float] = []
    while min(gray.shape) >= _SMALLEST_PX:
        detail = gray - cv2.GaussianBlur(gray, (0, 0), 1.0)
        # noise averages out by half an octave; what is left of it is no detail
        contrasts.append(max(float((detail[2:-2, 2:-2] ** 2).mean()) - (noise / 2 ** len(contrasts)) ** 2, 1e-12))
        gray = np.asarray(cv2.resize(gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
    ratios = np.sqrt(np.array(contrasts[:-1]) / np.array(contrasts[1:]))
    steep = np.flatnonzero(ratios <= _STEEP)
    if len(steep) == 0:
        return 0.0
    octave = int(steep[-1])
    if octave == len(ratios) - 1:
        return RADIUS_PER_OCTAVE_PX * 2.0 ** (octave + 1)
    below, above = np.log(ratios[octave]), np.log(ratios[octave + 1])
    return float(RADIUS_PER_OCTAVE_PX * 2.0 ** (octave + (np.log(_STEEP) - below) / (above - below)))


def choose_scale(blurred: Image, fitting_radius_px: float) -> float:
    """The working scale that brings a photo's blur to the radius a network restores best, at most 1.

    Args:
        blurred: (H, W, C) float32 linear light: the photo, or the mean of its views.
        fitting_radius_px: The radius, from the weights' card.
    """
    radius_px = estimate_blur_radius(blurred)
    return 1.0 if radius_px <= fitting_radius_px else max(fitting_radius_px / radius_px, _SMALLEST_SCALE)


def _estimate_noise(gray: Image) -> float:
    """Standard deviation of the noise (Immerkaer, "Fast noise variance estimation", CVIU 1996; by the median)."""
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    return 1.4826 * float(np.median(np.abs(cv2.filter2D(gray, -1, mask))))
