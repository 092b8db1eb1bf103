"""What a report shows of one photo: small pictures of it before and after, within a budget of bytes."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.colour.spaces import ColourSpace, encode_srgb
from dpdeblur.photo import Image
from dpdeblur.restoration.defocus import DefocusMap
from dpdeblur.writers.overlay import Clipping, Overlay, colour_defocus, find_clipping
from dpdeblur.writers.picture import orient_pixels

#: (H, W) or (H, W, 3) BGR, sRGB-encoded, upright.
Pixels = npt.NDArray[np.uint8]

_THUMBNAIL_PX = 256
_LARGEST_PREVIEW_PX = 2560
_LARGEST_DETAIL_PX = 1200
_SMALLEST_PX = 64
#: Shares of the budget, as they stand in the file, of the thumbnail, both pictures, and both details at 100 %. The rest
#: is left to the overlays and the text.
_THUMBNAIL_SHARE, _PICTURES_SHARE, _DETAIL_SHARE = 0.07, 0.52, 0.28
#: Base64 writes three bytes as four.
_INFLATION = 4 / 3
_QUALITIES = (86, 78, 70, 60)
#: Bytes a pixel that JPEGs of photographs seldom stay below: what sizes are tried first by.
_BYTES_PER_PX = 0.1


@dataclasses.dataclass(frozen=True)
class Side:
    """A picture to compare.

    Attributes:
        image: (H, W, C) float32 linear light, C = 1 or 3, as on the sensor.
        colour: Its primaries.
        orientation: EXIF Orientation, 1 to 8.
    """

    image: Image
    colour: ColourSpace
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        height, width = self.image.shape[:2]
        return (width, height) if self.orientation < 5 else (height, width)

    def reduce(self, longest_px: int) -> Pixels:
        """The whole picture with a longer side of at most so many pixels."""
        height, width = self.image.shape[:2]
        scale = longest_px / max(height, width)
        image = self.image
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
        return self._finish(orient_pixels(image.reshape(*image.shape[:2], -1), self.orientation))

    def cut(self, x: int, y: int, width: int, height: int) -> Pixels:
        """A rectangle of the upright picture at its own size."""
        return self._finish(orient_pixels(self.image, self.orientation)[y : y + height, x : x + width])

    def _finish(self, linear: Image) -> Pixels:
        if linear.shape[2] == 3:
            linear = linear @ self.colour.to_linear_srgb.T.astype(np.float32)
        codes = np.rint(encode_srgb(np.clip(linear, 0, 1)) * 255).astype(np.uint8)
        return np.ascontiguousarray(codes[..., ::-1] if codes.shape[2] == 3 else codes[..., 0])


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two JPEGs of the same part of a photo, of one size.

    Attributes:
        before: As it was.
        after: As it became.
        x: The part's left edge in the upright photo, in pixels.
        y: Its upper edge.
        width: Its width in pixels of the photo; the JPEGs may have fewer.
        height: Its height.
    """

    before: bytes
    after: bytes
    x: int
    y: int
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class Preview:
    """What a report shows of one photo.

    Attributes:
        thumbnail: A small JPEG of what it became.
        whole: The whole photo, reduced to the budget.
        detail: The part that changed most, at 100 %; None where `whole` has all pixels.
        defocus: The map of defocus, or None.
        clipping: Where the result is clipped.
        change: Mean absolute change of the sRGB-encoded values, in [0, 1].
        exif: Camera and exposure, as (name, value).
        full: Names of JPEGs with all pixels, before and after, relative to the report; None where there are none.
        warnings: What could not be made, one sentence each.
    """

    thumbnail: bytes
    whole: Comparison
    detail: Comparison | None
    defocus: Overlay | None
    clipping: Clipping
    change: float
    exif: tuple[tuple[str, str], ...] = ()
    full: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()


def make_preview(before: Side, after: Side, defocus: DefocusMap | None, budget_bytes: int) -> Preview:
    """Make the pictures for a report.

    Args:
        before: The photo as it was.
        after: What it became, of the same upright size.
        defocus: Its map of defocus, lying like `before`, or None.
        budget_bytes: What all of it may take in the report.
    """
    width, height = after.size
    assert before.size == after.size, "pictures to compare have one size"
    limit = int(budget_bytes * _PICTURES_SHARE / _INFLATION)
    side_px = min(max(width, height), _LARGEST_PREVIEW_PX, _guess_side(limit, width, height))
    pictures = before.reduce(side_px), after.reduce(side_px)
    change = np.asarray(cv2.absdiff(*pictures), np.uint8)
    (jpeg_before, jpeg_after), shown_px = _fit(pictures, limit)
    (thumbnail,), _ = _fit((_reduce(pictures[1], _THUMBNAIL_PX),), int(budget_bytes * _THUMBNAIL_SHARE / _INFLATION))
    detail = None
    if shown_px < max(width, height):
        detail = _cut_detail(before, after, change, int(budget_bytes * _DETAIL_SHARE / _INFLATION))
    return Preview(
        thumbnail=thumbnail,
        whole=Comparison(jpeg_before, jpeg_after, 0, 0, width, height),
        detail=detail,
        defocus=None if defocus is None else colour_defocus(defocus, before.image.shape[:2], before.orientation),
        clipping=find_clipping(after.image, after.orientation),
        change=float(change.mean() / 255),
    )


def _cut_detail(before: Side, after: Side, change: Pixels, limit: int) -> Comparison:
    """Cut out what changed most at 100 %, as large as the limit allows."""
    width, height = after.size
    side_px = min(_LARGEST_DETAIL_PX, _guess_side(limit, 4, 3))
    while True:
        part = min(width, side_px), min(height, side_px * 3 // 4)
        x, y = _find_most(change, (width, height), part)
        cuts = before.cut(x, y, *part), after.cut(x, y, *part)
        for quality in _QUALITIES:
            jpegs = [_encode(cut, quality) for cut in cuts]
            if sum(map(len, jpegs)) <= limit or (side_px <= _SMALLEST_PX and quality == _QUALITIES[-1]):
                return Comparison(jpegs[0], jpegs[1], x, y, *part)
        side_px = max(_SMALLEST_PX, side_px * 3 // 4)


def _find_most(change: Pixels, size: tuple[int, int], part: tuple[int, int]) -> tuple[int, int]:
    """Where a part of so many pixels of the photo holds most change: its left upper corner, in the photo's pixels."""
    amount = change.astype(np.float32)
    if amount.ndim == 3:
        amount = amount.mean(axis=2)
    scale = amount.shape[1] / size[0]
    window = [max(1, min(limit, round(length * scale))) for length, limit in zip(part, amount.shape[::-1], strict=True)]
    sums = cv2.boxFilter(amount, -1, window, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inside = sums[: amount.shape[0] - window[1] + 1, : amount.shape[1] - window[0] + 1]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return min(int(x / scale), size[0] - part[0]), min(int(y / scale), size[1] - part[1])


def _guess_side(limit: int, width: int, height: int) -> int:
    """The longer side of the largest pair of JPEGs that might keep within the limit."""
    return max(_SMALLEST_PX, int(math.sqrt(limit / 2 / _BYTES_PER_PX * max(width, height) / min(width, height))))


def _fit(pictures: tuple[Pixels, ...], limit: int) -> tuple[list[bytes], int]:
    """Encode pictures of one size within a limit: coarser first, then with fewer pixels, down to 64.

    Returns:
        The JPEGs, and the pixels of their longer side.
    """
    while True:
        side_px = max(pictures[0].shape[:2])
        for quality in _QUALITIES:
            jpegs = [_encode(picture, quality) for picture in pictures]
            if sum(map(len, jpegs)) <= limit:
                return jpegs, side_px
        if side_px <= _SMALLEST_PX:
            return jpegs, side_px
        pictures = tuple(_reduce(picture, max(_SMALLEST_PX, side_px * 3 // 4)) for picture in pictures)


def _reduce(picture: Pixels, longest_px: int) -> Pixels:
    scale = longest_px / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _encode(picture: Pixels, quality: int) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    is_coded, coded = cv2.imencode(".jpg", picture, settings)
    assert is_coded, "OpenCV raises where it cannot code"
    return coded.tobytes()
