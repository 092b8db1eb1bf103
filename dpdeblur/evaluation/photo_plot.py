"""What `info --plot` draws of a photo: the picture, its views' disparity, and how much of it is blurred how far."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.colour.spaces import encode_srgb
from dpdeblur.evaluation.axes import Axes, Range
from dpdeblur.evaluation.canvas import GRAY, SERIES, Canvas, Pixels, fit_image
from dpdeblur.photo import Image, Photo
from dpdeblur.restoration.change import mean_views, to_linear_srgb
from dpdeblur.restoration.disparity_map import DisparityMap, map_disparity
from dpdeblur.restoration.scale import estimate_blur_radius, map_blur_radius
from dpdeblur.writers.picture import orient_pixels

#: How many photos one picture shows.
LARGEST_COUNT = 60

_PANEL_PX, _ROW_PX, _GAP_PX, _MARGIN_PX = 520, 390, 36, 44
#: Before and behind the plane of focus, and in it.
_POSITIVE, _NEGATIVE, _ZERO = (213, 94, 0), (0, 98, 190), (246, 246, 244)
_BINS_PX = (0, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclasses.dataclass(frozen=True)
class PhotoPlot:
    """What is drawn of one photo: small pictures and a few numbers, so that many can be kept.

    Attributes:
        name: Of its file.
        picture: (h, w, 3), upright.
        disparity: (h, w, 3), upright, coloured; or None for a photo with one view.
        largest_px: The disparity of the strongest colour.
        blur_shares: Share of the photo's contrast in each bin of `_BINS_PX`.
        radius_px: The middle of the blur.
    """

    name: str
    picture: Pixels
    disparity: Pixels | None
    largest_px: float
    blur_shares: npt.NDArray[np.float64]
    radius_px: float


def measure_photo(name: str, photo: Photo) -> PhotoPlot:
    """Measure what is drawn of a photo."""
    picture = _show(photo, photo.base)
    disparity, largest_px = None, 0.0
    blurred = photo.base
    if photo.left is not None and photo.right is not None:
        blurred = mean_views((photo.left, photo.right))
        found = map_disparity(photo.left, photo.right)
        largest_px = _find_largest(found)
        disparity = _show_disparity(photo, found, largest_px)
    radius, contrast = (values.ravel() for values in map_blur_radius(blurred))
    counts, _ = np.histogram(np.clip(radius, 0, _BINS_PX[-1] - 1e-3), _BINS_PX, weights=contrast)
    shares = counts / max(float(counts.sum()), 1e-12)
    return PhotoPlot(name, picture, disparity, largest_px, shares, estimate_blur_radius(blurred))


def _show(photo: Photo, linear: Image) -> Pixels:
    """An upright, encoded picture of the panel's size."""
    upright = orient_pixels(linear, photo.orientation)
    factor = min(1.0, _PANEL_PX / upright.shape[1], _ROW_PX / upright.shape[0])
    size = max(1, round(upright.shape[1] * factor)), max(1, round(upright.shape[0] * factor))
    small = np.asarray(cv2.resize(np.ascontiguousarray(upright), size, interpolation=cv2.INTER_AREA), np.float32)
    small = to_linear_srgb(photo, small.reshape(size[1], size[0], -1))
    return fit_image(np.rint(np.clip(encode_srgb(small), 0, 1) * 255).astype(np.uint8), _PANEL_PX, _ROW_PX)


def _find_largest(found: DisparityMap) -> float:
    """The disparity that nearly all trusted places stay below, at least half a pixel."""
    trusted = np.abs(found.disparity_px)[found.confidence > 0.5]
    return max(0.5, float(np.quantile(trusted, 0.98))) if trusted.size else 0.5


def _show_disparity(photo: Photo, found: DisparityMap, largest_px: float) -> Pixels:
    """Disparity as colour over a pale gray picture; pale where it is not to be trusted."""
    share = np.clip(found.disparity_px / largest_px, -1, 1)[..., None]
    ends = np.where(share > 0, np.array(_POSITIVE, np.float32), np.array(_NEGATIVE, np.float32))
    colour = np.array(_ZERO, np.float32) + np.abs(share) * (ends - np.array(_ZERO, np.float32))
    gray = encode_srgb(np.clip(photo.base.mean(axis=2, keepdims=True), 0, 1))
    small = cv2.resize(gray, share.shape[1::-1], interpolation=cv2.INTER_AREA)[..., None]
    shade = 0.55 + 0.45 * small
    trust = found.confidence[..., None]
    mixed = (trust * colour + (1 - trust) * np.float32(236)) * shade
    upright = np.ascontiguousarray(orient_pixels(mixed.astype(np.float32), photo.orientation))
    return fit_image(np.clip(np.rint(upright), 0, 255).astype(np.uint8), _PANEL_PX, _ROW_PX)


def draw_photos(photos: Sequence[PhotoPlot]) -> Canvas:
    """Draw photos one below the other: picture, disparity, histogram of blur."""
    row_px = _ROW_PX + 128
    canvas = Canvas(3 * _PANEL_PX + 2 * _GAP_PX + 2 * _MARGIN_PX + 40, 40 + row_px * len(photos))
    for number, photo in enumerate(photos):
        top = 40 + number * row_px
        left = _MARGIN_PX
        canvas.write(left, top + 26, canvas.shorten(photo.name, _PANEL_PX), bold=True)
        canvas.paste(photo.picture, left, top + 48)
        left += _PANEL_PX + _GAP_PX
        if photo.disparity is None:
            canvas.write(left, top + 26, "disparity", bold=True)
            canvas.write(left, top + 90, "one view: there is none", colour=GRAY)
        else:
            canvas.write(left, top + 26, "disparity", bold=True)
            canvas.paste(photo.disparity, left, top + 48)
            _draw_scale(canvas, left, top + 62 + photo.disparity.shape[0], photo.largest_px)
        _draw_histogram(canvas, photo, left + _PANEL_PX + _GAP_PX + 60, top)
    return canvas


def _draw_scale(canvas: Canvas, left: int, top: int, largest_px: float) -> None:
    """The colours of the disparity map, and what they mean."""
    width = 120
    for column in range(width):
        share = 2 * column / (width - 1) - 1
        end = _POSITIVE if share > 0 else _NEGATIVE
        colour = tuple(round(zero + abs(share) * (e - zero)) for zero, e in zip(_ZERO, end, strict=True))
        canvas.draw_box(left + column, top, 1, 16, (colour[0], colour[1], colour[2]))
    canvas.draw_box(left, top, width, 16, GRAY, 1)
    text = f"−{largest_px:.1f} … +{largest_px:.1f} px, left minus right, 0 in focus"
    canvas.write(left + width + 12, top + 15, text, size=18, colour=GRAY)


def _draw_histogram(canvas: Canvas, photo: PhotoPlot, left: int, top: int) -> None:
    """Bars of the photo's contrast by the radius of its blur."""
    canvas.write(left - 60, top + 26, "blur", bold=True)
    bins = len(_BINS_PX) - 1
    axes = Axes(
        canvas, left, top + 60, _PANEL_PX - 60, _ROW_PX - 60,
        Range(0, bins), Range(0, max(0.1, float(photo.blur_shares.max()) * 1.08)),
    )  # fmt: skip
    percent = Axes(canvas, left, axes.top, axes.width, axes.height, axes.x, Range(0, axes.y.high * 100))
    percent.draw_y("", count=4, suffix=" %")
    for number, share in enumerate(photo.blur_shares):
        x, y = axes.place(number, float(share))
        right, bottom = axes.place(number + 1, 0)
        canvas.draw_box(x + 2, y, right - x - 4, bottom - y, SERIES[0])
    bottom = axes.top + axes.height
    canvas.draw_line([(left, bottom), (left + axes.width, bottom)], GRAY, 2)
    for number, edge in enumerate(_BINS_PX):
        x, _ = axes.place(number, 0)
        canvas.write(x, bottom + 24, f"{edge:g}", size=18, colour=GRAY, align="centre")
    middle = "sharp" if photo.radius_px == 0 else f"{photo.radius_px:.1f} px"
    text = f"radius in pixels, share of the contrast; the middle is {middle}"
    canvas.write(left + axes.width / 2, bottom + 56, text, size=20, align="centre")
