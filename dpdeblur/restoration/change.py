"""Light in and out of the networks: what they see of a photo, and how the change they predict comes back to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.colour.spaces import decode_srgb, encode_srgb
from dpdeblur.photo import Image, Photo
from dpdeblur.restoration.reduction import reduce_part
from dpdeblur.restoration.tiling import list_strips, pad_tile


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


def from_linear_srgb(photo: Photo, linear: Image) -> Image:
    """(H, W, 3) linear sRGB -> (H, W, C) in the photo's primaries, for a gray photo the mean of the colours."""
    if photo.base.shape[2] == 1:
        return np.asarray(linear.mean(axis=2, keepdims=True), np.float32)
    return np.asarray(linear @ np.linalg.inv(photo.colour.to_linear_srgb).T, np.float32)


@dataclasses.dataclass(frozen=True)
class GrayMix:
    """The mean light of a photo's pictures over their colours, (H, W, 1) linear, made when its rows are asked for.

    Attributes:
        photo: The photo.
        images: One or two pictures of it, (H, W, C) in the photo's primaries.
    """

    photo: Photo
    images: tuple[Image, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 1)."""
        return (*self.images[0].shape[:2], 1)

    def __getitem__(self, rows: slice) -> Image:
        """(rows, W, 1) float32."""
        part = mean_views(tuple(image[rows] for image in self.images))
        return np.asarray(to_linear_srgb(self.photo, part).mean(axis=2, keepdims=True), np.float32)


@dataclasses.dataclass(frozen=True)
class Sight:
    """What a network sees of a photo, made a tile at a time, because the whole would take as much memory as the photo.

    Attributes:
        photo: The photo.
        images: One or two pictures of it, (H, W, C) in the photo's primaries.
        size: Height and width at the working scale.
        is_mixed: Whether the network sees their mean.
    """

    photo: Photo
    images: tuple[Image, ...]
    size: tuple[int, int]
    is_mixed: bool

    def cut(self, top: int, left: int, tile: tuple[int, int]) -> tuple[Image, ...]:
        """Cut a tile: (h, w, 3) linear sRGB each, averaged to the working scale, continued beyond the edges."""
        rows, columns = slice(top, min(top + tile[0], self.size[0])), slice(left, min(left + tile[1], self.size[1]))
        parts = tuple(reduce_part(image, self.size, rows, columns) for image in self.images)
        parts = (mean_views(parts),) if self.is_mixed else parts
        return tuple(pad_tile(to_linear_srgb(self.photo, part), tile) for part in parts)


def encode_picture(linear: Image) -> Image:
    """Encode linear sRGB for a network, within [0, 1]."""
    return np.clip(encode_srgb(linear), 0, 1)


def apply_change(
    photo: Photo, size: tuple[int, int], bands: Iterable[Image], strength: float
) -> Iterator[tuple[slice, Image]]:
    """Add a predicted change to the photo itself.

    The change is a difference of sRGB-encoded values, so it is added there, and only the difference that it makes in
    linear light goes back to the photo's own primaries: where nothing changes, the photo's values stay as they are.

    Args:
        photo: Its `base` is looked at; a strip of it may be overwritten once its own was yielded.
        size: Height and width of the change, at the working scale.
        bands: The change from the top on, (rows, w, 3) each.
        strength: Factor on the change.

    Yields:
        Rows from the top on, and what they become: (rows, W, C) float32 linear in the photo's primaries.
    """
    height, width, channels = photo.base.shape
    back = np.linalg.inv(photo.colour.to_linear_srgb).T.astype(np.float32)
    if channels == 1:
        bands = (band.mean(axis=2, keepdims=True) for band in bands)
    for rows, part in _enlarge_bands(bands, size, (height, width)):
        base = photo.base[rows]
        seen = base if channels == 1 else to_linear_srgb(photo, base)
        encoded = encode_srgb(seen)
        difference = decode_srgb(encoded + strength * part) - decode_srgb(encoded)
        if channels == 3 and seen is not base:
            difference = difference @ back
        yield rows, np.add(base, difference, out=difference)


def _enlarge_bands(
    bands: Iterable[Image], size: tuple[int, int], full_size: tuple[int, int]
) -> Iterator[tuple[slice, Image]]:
    """Enlarge a picture of `size`, of which bands come from the top on, to strips; yields each with its rows."""
    above = _find_rows_above(slice(0, full_size[0]), size[0], full_size[0])
    known, first, done = np.empty((0, 0, 0), np.float32), 0, 0
    for band in _divide_bands(bands):
        known = np.concatenate((known, band)) if len(known) else band
        end = first + len(known)
        # the cubic reaches two rows further down than the row above
        ready = full_size[0] if end == size[0] else int(np.searchsorted(above + 2, end))
        for rows in list_strips(slice(done, ready), full_size[1]):
            yield rows, _enlarge_rows(known, first, size, full_size, rows)
        done = ready
        if done < full_size[0]:
            needed = min(max(0, int(above[done]) - 1), end)
            known, first = known[needed - first :].copy(), needed


def _divide_bands(bands: Iterable[Image]) -> Iterator[Image]:
    """The same rows in strips, so that little is joined and kept at a time."""
    for band in bands:
        for rows in list_strips(slice(0, len(band)), band.shape[1]):
            yield band[rows]


def _find_rows_above(rows: slice, count: int, full_count: int) -> npt.NDArray[np.intp]:
    """The row of `count` that lies above each of the given rows of `full_count`, or at it."""
    return np.floor(_find_centres(rows, count, full_count)).astype(np.intp)


def _find_centres(rows: slice, count: int, full_count: int) -> npt.NDArray[np.float64]:
    # pixel centres, not corners, coincide
    return (np.arange(rows.start, rows.stop) + 0.5) * (count / full_count) - 0.5


def _enlarge_rows(
    known: Image, first_known: int, size: tuple[int, int], full_size: tuple[int, int], rows: slice
) -> Image:
    """Rows of a picture of `size` enlarged by bicubic interpolation; `known` holds those it needs, and others."""
    if size == full_size:
        return known[rows.start - first_known : rows.stop - first_known]
    centres = _find_centres(rows, size[0], full_size[0])
    above = _find_rows_above(rows, size[0], full_size[0])
    first, last = max(0, int(above[0]) - 1), min(size[0], int(above[-1]) + 3)
    part = known[first - first_known : last - first_known]
    wide = cv2.resize(part, (full_size[1], last - first), interpolation=cv2.INTER_CUBIC)
    wide = wide.reshape(last - first, full_size[1], part.shape[2])
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
