"""Light in and out of the networks: what they see of a photo, and how the change they predict comes back to it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.colour import decode_srgb, encode_srgb
from dpdeblur.photo import Image, Photo

_STRIP_ROWS = 512


def mean_views(views: tuple[Image, ...]) -> Image:
    """The mean of one or two pictures."""
    return views[0] if len(views) == 1 else np.multiply(views[0] + views[1], np.float32(0.5))


def to_linear_srgb(photo: Photo, image: Image) -> Image:
    """(H, W, C) in the photo's primaries -> (H, W, 3) linear sRGB."""
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    matrix = photo.colour.to_linear_srgb
    if np.allclose(matrix, np.eye(3)):
        return image
    return (image @ matrix.T).astype(np.float32)


def reduce_image(image: Image, size: tuple[int, int]) -> Image:
    """Area-average an image in linear light to (height, width); returns it untouched at its own size."""
    if image.shape[:2] == size:
        return image
    reduced = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, np.float32).reshape(*size, image.shape[2])


def apply_change(photo: Photo, change: Image, strength: float) -> Image:
    """Add a predicted change to the photo itself.

    The change is a difference of sRGB-encoded values, so it is added there, and only the difference that it makes in
    linear light goes back to the photo's own primaries: where nothing changes, the photo's values stay as they are.

    Args:
        photo: Its `base` is changed.
        change: (h, w, 3), at the working scale.
        strength: Factor on the change.

    Returns:
        (H, W, C) float32 linear in the photo's primaries.
    """
    height, width, channels = photo.base.shape
    back = np.linalg.inv(photo.colour.to_linear_srgb).T.astype(np.float32)
    image = np.empty_like(photo.base)
    if channels == 1:
        change = change.mean(axis=2, keepdims=True)
    for top in range(0, height, _STRIP_ROWS):
        rows = slice(top, min(top + _STRIP_ROWS, height))
        part = strength * _enlarge_rows(change, (height, width), rows)
        base = photo.base[rows]
        seen = base if channels == 1 else to_linear_srgb(photo, base)
        encoded = encode_srgb(seen)
        difference = decode_srgb(encoded + part) - decode_srgb(encoded)
        if channels == 3 and seen is not base:
            difference = difference @ back
        image[rows] = base + difference
    return image


def _enlarge_rows(change: Image, size: tuple[int, int], rows: slice) -> Image:
    """The given rows of `change` enlarged to `size` by bicubic interpolation, without enlarging the rest."""
    if change.shape[:2] == size:
        return change[rows]
    # pixel centres, not corners, coincide
    centres = (np.arange(rows.start, rows.stop) + 0.5) * (change.shape[0] / size[0]) - 0.5
    above = np.floor(centres).astype(int)
    first, last = max(0, int(above[0]) - 1), min(change.shape[0], int(above[-1]) + 3)
    wide = cv2.resize(change[first:last], (size[1], last - first), interpolation=cv2.INTER_CUBIC)
    wide = wide.reshape(last - first, size[1], change.shape[2])
    enlarged = np.zeros((len(centres), *wide.shape[1:]), np.float32)
    for tap in range(-1, 3):
        weights = _weigh_cubic(centres - above - tap).astype(np.float32)
        enlarged += weights[:, None, None] * wide[np.clip(above + tap - first, 0, last - first - 1)]
    return enlarged


def _weigh_cubic(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cubic convolution (R. G. Keys, IEEE Trans. ASSP 1981) with a = -0.75, as cv2.resize has it."""
    d = np.abs(distance)
    near = (1.25 * d - 2.25) * d**2 + 1
    far = -0.75 * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, far)
