"""What lies over a photo in the report: the map of defocus in colours, and the areas that are clipped.

Both are PNG with a palette: a few kilobytes, their transparency in the colours.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.photo import Image
from dpdeblur.restoration.defocus import DefocusMap, Quantity
from dpdeblur.writers.picture import orient_pixels

#: Red, green, blue, opacity, 0 to 255.
Colour = tuple[int, int, int, int]

#: Equal steps from the lowest to the highest value. Told apart with any kind of colour vision; the photo shows through
#: where it is in focus.
RAMPS: dict[Quantity, tuple[Colour, ...]] = {
    "disparity": ((16, 82, 190, 190), (96, 165, 250, 120), (255, 255, 255, 0), (251, 169, 76, 120), (196, 64, 8, 190)),
    "blur radius": ((255, 255, 255, 0), (254, 217, 118, 100), (240, 96, 52, 150), (128, 16, 64, 190)),
}
_LIGHTS: Colour = (255, 32, 32, 235)
_SHADOWS: Colour = (40, 110, 255, 235)

_SIDE_PX = 256
_CLIPPING_SIDE_PX = 480
_LEVELS, _TRUSTS = 32, 8
_LEAST_RANGE_PX = 0.5
#: Linear light that an 8-bit sRGB value can no longer tell from white, and from black: decoded from 254.5 and 0.5.
WHITE, BLACK = 0.99554, 0.000152
_STRIP_CELLS = 40


@dataclasses.dataclass(frozen=True)
class Overlay:
    """A map of defocus in colours.

    Attributes:
        png: The picture, upright.
        quantity: What it shows.
        low_px: The value of the first colour.
        high_px: The value of the last.
    """

    png: bytes
    quantity: Quantity
    low_px: float
    high_px: float


@dataclasses.dataclass(frozen=True)
class Clipping:
    """Where a picture is clipped.

    Attributes:
        png: Red where a channel is white and blue where all are black, upright; None where nothing is clipped.
        white_share: Share of the pixels in which a channel is white.
        black_share: Share of those in which all are black.
    """

    png: bytes | None
    white_share: float
    black_share: float


def colour_defocus(defocus: DefocusMap, size: tuple[int, int], orientation: int) -> Overlay:
    """Draw a map of defocus over (height, width) of its photo: 0 is transparent, and so is what is not certain."""
    scale = _SIDE_PX / max(size)
    target = (max(1, round(size[1] * scale)), max(1, round(size[0] * scale)))
    values, confidence = (
        np.asarray(cv2.resize(grid, target, interpolation=cv2.INTER_LINEAR), np.float32)
        for grid in (defocus.values_px, defocus.confidence)
    )
    certain = np.abs(values[confidence > 0.3])
    largest_px = _round_up(max(_LEAST_RANGE_PX, float(np.percentile(certain, 98)) if certain.size else 0.0))
    low_px = -largest_px if defocus.quantity == "disparity" else 0.0
    position = np.clip((values - low_px) / (largest_px - low_px), 0, 1)
    codes = np.rint(position * (_LEVELS - 1)) * _TRUSTS + np.rint(np.clip(confidence, 0, 1) * (_TRUSTS - 1))
    palette = [
        (*colour[:3], round(colour[3] * trust / (_TRUSTS - 1)))
        for colour in _blend_ramp(RAMPS[defocus.quantity])
        for trust in range(_TRUSTS)
    ]
    upright = orient_pixels(codes.astype(np.float32), orientation).astype(np.uint8)
    return Overlay(pack_png(upright, palette), defocus.quantity, low_px, largest_px)


def find_clipping(image: Image, orientation: int) -> Clipping:
    """Find where a picture is white or black.

    Args:
        image: (H, W, C) float32 linear light, as on the sensor.
        orientation: EXIF Orientation, 1 to 8.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _CLIPPING_SIDE_PX / max(height, width))
    codes = np.zeros((max(1, round(height * scale)), max(1, round(width * scale))), np.uint8)
    counts = [0, 0]
    for first in range(0, len(codes), _STRIP_CELLS):
        cells = codes[first : first + _STRIP_CELLS]
        rows = slice(first * height // len(codes), (first + len(cells)) * height // len(codes))
        brightest = np.maximum.reduce([image[rows, :, channel] for channel in range(image.shape[2])])
        for index, mask in enumerate((brightest >= WHITE, brightest <= BLACK)):
            counts[index] += int(np.count_nonzero(mask))
            # a single pixel must show: a cell is marked where any of its pixels is
            share = cv2.resize(mask.astype(np.float32), cells.shape[::-1], interpolation=cv2.INTER_AREA)
            cells[share.reshape(cells.shape) > 0] = index + 1
    white_share, black_share = (count / (height * width) for count in counts)
    upright = orient_pixels(codes.astype(np.float32), orientation).astype(np.uint8)
    png = pack_png(upright, [(0, 0, 0, 0), _LIGHTS, _SHADOWS]) if any(counts) else None
    return Clipping(png, white_share, black_share)


def pack_png(indices: npt.NDArray[np.uint8], palette: Sequence[Colour]) -> bytes:
    """Write a PNG with a palette (PNG, third edition: colour type 3, chunks PLTE and tRNS).

    Args:
        indices: (H, W), each an index into the palette.
        palette: At most 256 colours.
    """
    height, width = indices.shape
    rows = np.zeros((height, 1 + width), np.uint8)  # each row begins with its filter: 0 is none
    rows[:, 1:] = indices
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(bytes(colour[:3]) for colour in palette)),
        (b"tRNS", bytes(colour[3] for colour in palette)),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _blend_ramp(ramp: Sequence[Colour]) -> list[Colour]:
    """The colours of all levels, between those of a ramp."""
    stops = np.linspace(0, 1, len(ramp))
    levels = np.linspace(0, 1, _LEVELS)
    channels = [np.interp(levels, stops, [colour[channel] for colour in ramp]) for channel in range(4)]
    return [(round(r), round(g), round(b), round(a)) for r, g, b, a in zip(*channels, strict=True)]


def _round_up(value: float) -> float:
    """The next of 0.5, 1, 2, 5, 10, ..."""
    decade = 10.0 ** math.floor(math.log10(value))
    return next(step * decade for step in (1, 2, 5, 10) if step * decade >= value * (1 - 1e-6))
