"""The scale at which a network works on a photo: coarse enough that the blur is as wide as it was in training.

Photographs have nearly as much contrast in one octave of detail as in the next coarser one (D. J. Field, "Relations
between the statistics of natural images", JOSA A 1987). Blur takes the finer octaves away, so the octave from which on
contrast falls to half of its neighbour's tells the radius of the blur: by convolving sharp photographs with discs of 2
to 16 pixels the radius was found to be 1.53 * 2^octave, for nine photographs of ten within a third of an octave.

Depth makes the blur vary over a photo, so it is measured in blocks, and the photo is worked on at the scale of its
middle block, counted by contrast.
"""

from __future__ import annotations

from typing import Protocol

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
#: Rows above and below a strip that its Gaussian reaches, as OpenCV cuts it off at one pixel's deviation.
_MARGIN_PX = 4
#: Pixels from which noise is told, about; more would only take longer.
_MOST_SAMPLES = 2**20


class Light(Protocol):
    """A picture in linear light that is looked at a few rows at a time: an array, or what makes its rows when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C)."""

    def __getitem__(self, rows: slice, /) -> Image:
        """(rows, W, C) float32."""


def map_blur_radius(blurred: Light) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Estimate the radius of the blur in blocks of about 160 pixels.

    Args:
        blurred: (H, W, C) float32 linear light.

    Returns:
        radius_px: (rows, columns), the disc that would blur as much; 0 where a block is sharp or too even to tell.
        contrast: (rows, columns), how much there is to tell from.
    """
    height, width = blurred.shape[:2]
    blocks = (max(1, round(width / BLOCK_PX)), max(1, round(height / BLOCK_PX)))
    powers: list[Image] = []
    if min(height, width) >= _SMALLEST_PX:
        finest, noise, gray = _measure_finest(blurred, blocks)
        powers.append(finest)
        while min(gray.shape) >= _SMALLEST_PX:
            power = np.asarray(cv2.resize(_measure_detail(gray), blocks, interpolation=cv2.INTER_AREA), np.float32)
            # noise averages out by half an octave; what is left of it is no detail
            powers.append(np.maximum(power - (noise / 2 ** len(powers)) ** 2, _NOTHING))
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


def estimate_blur_radius(blurred: Light) -> float:
    """The radius in pixels of the blur in the middle block of a photo, by contrast; 0 when it is sharp.

    Args:
        blurred: (H, W, C) float32 linear light.
    """
    radius, contrast = (values.ravel() for values in map_blur_radius(blurred))
    order = np.argsort(radius)
    share = np.cumsum(contrast[order], dtype=np.float64)
    return float(radius[order][np.searchsorted(share, share[-1] / 2)]) if share[-1] > 0 else 0.0


def choose_scale(blurred: Light, fitting_radius_px: float) -> float:
    """The working scale that brings a photo's blur to the radius a network restores best, at most 1.

    Args:
        blurred: (H, W, C) float32 linear light: the photo, or the mean of its views.
        fitting_radius_px: The radius, from the weights' card.
    """
    radius_px = estimate_blur_radius(blurred)
    return 1.0 if radius_px <= fitting_radius_px else max(fitting_radius_px / radius_px, _SMALLEST_SCALE)


def _measure_finest(light: Light, blocks: tuple[int, int]) -> tuple[Image, float, Image]:
    """Measure a picture by strips, because maps of its own size would take as much memory as the photo.

    Args:
        light: (H, W, C) linear light.
        blocks: Their numbers, (columns, rows).

    Returns:
        power: (rows, columns), the power of its finest octave in each block.
        noise: Its standard deviation.
        gray: (H // 2, W // 2), the picture, sRGB-encoded, at half its size.
    """
    height, width = light.shape[:2]
    powers: Image = np.empty((height, blocks[0]), np.float32)
    small: Image = np.empty((height // 2, width // 2), np.float32)
    step = -(-height * width // _MOST_SAMPLES)
    samples: list[Image] = []
    for half in list_strips(slice(0, len(small)), 2 * width):
        start, stop = 2 * half.start, height if half.stop == len(small) else 2 * half.stop
        first = max(0, start - _MARGIN_PX)
        gray = encode_srgb(np.clip(light[first : min(height, stop + _MARGIN_PX)].mean(axis=2), 0, 1))
        rows = slice(start - first, stop - first)
        detail = _measure_detail(gray)[rows]
        powers[start:stop] = cv2.resize(detail, (blocks[0], len(detail)), interpolation=cv2.INTER_AREA)
        even = gray[rows.start : rows.start + 2 * (half.stop - half.start), : 2 * small.shape[1]]
        small[half] = cv2.resize(even, small[half].shape[::-1], interpolation=cv2.INTER_AREA)
        # every so many rows of the picture, but not its edges
        places = np.arange(-(-max(start, 1) // step) * step, min(stop, height - 1), step) - first
        samples.append(_filter_noise(gray, places))
    noise = 1.4826 * float(np.median(np.concatenate(samples), overwrite_input=True))
    power = np.asarray(cv2.resize(powers, blocks, interpolation=cv2.INTER_AREA), np.float32)
    return np.maximum(power - noise**2, _NOTHING), noise, small


def _measure_detail(gray: Image) -> Image:
    """The power of what is finer than a Gaussian of a pixel, pixel by pixel."""
    detail = cv2.GaussianBlur(gray, (0, 0), 1.0)
    np.square(np.subtract(gray, detail, out=detail), out=detail)
    return np.asarray(detail, np.float32)


def _filter_noise(gray: Image, rows: npt.NDArray[np.intp]) -> Image:
    """What noise leaves of some rows where edges and slopes cancel out, flat and without a sign.

    Its median is that of the noise (J. Immerkaer, "Fast noise variance estimation", CVIU 1996).
    """
    across = gray[rows - 1] - 2 * gray[rows] + gray[rows + 1]
    flat = across[:, :-2] - 2 * across[:, 1:-1] + across[:, 2:]
    return np.asarray(np.abs(flat).ravel() / 6, np.float32)
