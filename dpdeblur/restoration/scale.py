"""The scale at which a network works on a photo: coarse enough that the blur is as wide as it was in training.

Photographs have nearly as much contrast in one octave of detail as in the next coarser one (D. J. Field, "Relations
between the statistics of natural images", JOSA A 1987). Blur takes the finer octaves away, so the octave from which on
contrast falls to half of its neighbour's tells the radius of the blur: by convolving sharp photographs with discs of 2
to 16 pixels the radius was found to be 1.53 * 2^octave, for nine photographs of ten within a third of an octave.

Depth makes the blur vary over a photo, so it is measured in blocks, and the photo is worked on at the scale of its
middle block, counted by contrast.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.colour.spaces import encode_srgb
from dpdeblur.photo import Image
from dpdeblur.restoration.tiling import list_strips

RADIUS_PER_OCTAVE_PX = 1.53
BLOCK_PX = 160
_STEEP = 0.5
_SMALLEST_PX = 24
_SMALLEST_SCALE = 1 / 16
_NOTHING = 1e-12


def map_blur_radius(blurred: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Estimate the radius of the blur in blocks of about 160 pixels.

    Args:
        blurred: (H, W, C) float32 linear light.

    Returns:
        radius_px: (rows, columns), the disc that would blur as much; 0 where a block is sharp or too even to tell.
        contrast: (rows, columns), how much there is to tell from.
    """
    gray: Image = np.empty(blurred.shape[:2], np.float32)
    for rows in list_strips(slice(0, len(gray)), gray.shape[1]):
        gray[rows] = encode_srgb(np.clip(blurred[rows].mean(axis=2), 0, 1))
    blocks = (max(1, round(gray.shape[1] / BLOCK_PX)), max(1, round(gray.shape[0] / BLOCK_PX)))
    noise = _estimate_noise(gray)
    powers: list[Image] = []
    while min(gray.shape) >= _SMALLEST_PX:
        detail = cv2.GaussianBlur(gray, (0, 0), 1.0)
        np.square(np.subtract(gray, detail, out=detail), out=detail)
        # noise averages out by half an octave; what is left of it is no detail
        detail -= (noise / 2 ** len(powers)) ** 2
        power = np.asarray(cv2.resize(detail, blocks, interpolation=cv2.INTER_AREA), np.float32)
        powers.append(np.maximum(power, _NOTHING))
        del detail
        gray = np.asarray(cv2.resize(gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
    if len(powers) < 2:
        empty = np.zeros(blocks[::-1], np.float32)
        return empty, empty
    stack = np.stack(powers)
    logs = 0.5 * np.log2(stack[:-1] / stack[1:]) - np.log2(_STEEP)
    octaves = np.full(blocks[::-1], -np.inf)
    for octave in range(len(logs)):
        here, above = logs[octave], logs[octave + 1] if octave + 1 < len(logs) else np.ones_like(logs[0])
        # coarser octaves come later and count: the last steep one is where the blur ends
        share = np.where(above > 0, here / np.minimum(here - above, -1e-6), 1.0)
        octaves = np.where(here <= 0, octave + share, octaves)
    return (RADIUS_PER_OCTAVE_PX * 2.0**octaves).astype(np.float32), np.sqrt(stack[2:5].sum(axis=0))


def estimate_blur_radius(blurred: Image) -> float:
    """The radius in pixels of the blur in the middle block of a photo, by contrast; 0 when it is sharp.

    Args:
        blurred: (H, W, C) float32 linear light.
    """
    radius, contrast = (values.ravel() for values in map_blur_radius(blurred))
    order = np.argsort(radius)
    share = np.cumsum(contrast[order], dtype=np.float64)
    return float(radius[order][np.searchsorted(share, share[-1] / 2)]) if share[-1] > 0 else 0.0


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
    filtered = cv2.filter2D(gray, -1, mask)
    return 1.4826 * float(np.median(np.abs(filtered, out=filtered), overwrite_input=True))
