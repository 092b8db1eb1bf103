"""Where a photo is out of focus, and how far: by the disparity of its views, or by its blur where it has one view."""

from __future__ import annotations

import dataclasses
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.photo import Image, Photo
from dpdeblur.restoration.disparity_map import has_second_view, map_disparity
from dpdeblur.restoration.scale import map_blur_radius

#: `disparity`: column in the left view minus column in the right view, signed, see `DisparityMap`.
#: `blur radius`: radius of the disc that blurs as much, without a sign, in blocks of 160 pixels, see `map_blur_radius`.
Quantity = Literal["disparity", "blur radius"]

#: Contrast (sRGB-encoded, rms) at which a block's radius is trusted by half.
_HALF_TRUSTED = 0.02


@dataclasses.dataclass(frozen=True)
class DefocusMap:
    """A map of defocus, on a grid coarser than the photo and lying as on the sensor.

    Attributes:
        quantity: What it holds.
        values_px: (h, w) float32, in pixels of the photo; 0 in focus.
        confidence: (h, w) float32 in [0, 1].
    """

    quantity: Quantity
    values_px: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]


def map_defocus(photo: Photo) -> DefocusMap:
    """Measure where a photo is out of focus: disparity where it has a second view, or else the radius of its blur."""
    if photo.left is not None and photo.right is not None and has_second_view(photo):
        disparity = map_disparity(photo.left, photo.right)
        return DefocusMap("disparity", disparity.disparity_px, disparity.confidence)
    return map_blur(photo.base)


def map_blur(image: Image) -> DefocusMap:
    """Measure the radius of the blur of a single picture.

    Args:
        image: (H, W, C) float32 linear light.
    """
    radius_px, contrast = map_blur_radius(image)
    confidence = contrast**2 / (contrast**2 + np.float32(_HALF_TRUSTED**2))
    return DefocusMap("blur radius", radius_px, np.asarray(confidence, np.float32))


def enlarge_rows(values: npt.NDArray[np.float32], size: tuple[int, int], rows: slice) -> npt.NDArray[np.float32]:
    """The given rows of a map enlarged to `size` (height, width), by linear interpolation, without enlarging the rest.

    Args:
        values: (h, w).
        size: Height and width of the whole.
        rows: Which of its rows; start and stop are given.

    Returns:
        (rows, width) float32.
    """
    # pixel centres, not corners, coincide
    places = np.clip((np.arange(rows.start, rows.stop) + 0.5) * (len(values) / size[0]) - 0.5, 0, len(values) - 1)
    above = places.astype(np.intp)
    below = np.minimum(above + 1, len(values) - 1)
    share = (places - above).astype(np.float32)[:, None]
    part = values[above] * (1 - share) + values[below] * share
    enlarged = cv2.resize(part, (size[1], len(part)), interpolation=cv2.INTER_LINEAR)
    return np.asarray(enlarged, np.float32).reshape(len(part), size[1])
