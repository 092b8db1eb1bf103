"""How far apart the two views of a dual-pixel photo lie, place by place, and whether there is a second view at all.

Out of focus, the halves of the lens see a point at different places of a row. The distance is found by gradient
matching (Lucas and Kanade, IJCAI 1981), here along rows only, from coarse to fine, in Gaussian windows, with the
difference of contrast between the views as a second unknown. Both views are moved by half the distance, so that the
map lies on the photo itself. K3DN's own disparity is a vector of 256 features without a unit, so it draws no map.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.colour.spaces import encode_srgb
from dpdeblur.photo import Image, Photo

#: A gray picture or a map: (H, W) float32.
Map = npt.NDArray[np.float32]

#: Longer side of the pictures that are compared. Blur has taken the finer detail away, and noise averages out.
_LONGEST_PX = 1024
_SMALLEST_PX = 24
_LEVELS = 5
_ITERATIONS = 3
_WINDOW_PX = 9.0
#: Contrast coarser than the window is difference of exposure and shading, not detail.
_COARSE_PX = 12.0
#: Detail is correlated over a few pixels, so a window holds fewer independent ones than it has.
_INDEPENDENT = 2 * np.pi * _WINDOW_PX**2 / 8
_LARGEST_STEP_PX = 1.0
_SMOOTH_PX = 5.0
#: What is thought of the disparity before any measurement, at the coarsest level; and how far a level may stray from
#: a coarser one that is certain, because depth has edges.
_WIDE_PX, _DOUBT_PX = 1.0, 0.25
#: Standard error, in pixels of the pictures that are compared, at which a place is trusted by half.
_HALF_TRUSTED_PX = 0.25
#: Contrast below this (sRGB-encoded, rms) is taken for noise where the views happen to agree perfectly.
_FAINT = 2e-4
_NOTHING = 1e-12

#: A second view differs by at least this disparity (in pixels of the pictures that are compared) or this share of
#: exposure, by so many standard errors, in at least this share of the picture.
_LEAST_DISPARITY_PX = 0.04
_LEAST_SHADING = 0.01
_STANDARD_ERRORS = 5.0
_LEAST_SHARE = 0.02
#: Linear light between which exposure can be compared: neither clipped nor lost in noise.
_DARKEST, _BRIGHTEST = 0.005, 0.95


@dataclasses.dataclass(frozen=True)
class DisparityMap:
    """The distance between the views, measured on a grid of at most 1024 pixels.

    Attributes:
        disparity_px: (h, w) float32. A point's column in the left view minus its column in the right view, in pixels
            of the photo (not of the grid), as on the sensor: 0 in focus, and of opposite sign on the two sides of
            focus. In the real views it was tried on, of a Canon EOS R6 Mark II and a Pixel 4, it is positive before
            the plane of focus and negative behind it; the simulator has it the other way round. `--swap-views`
            turns it over.
        confidence: (h, w) float32 in [0, 1]: 1 / (1 + (standard error / 0.25 grid pixels)^2), near 0 where there is
            nothing to compare. There the disparity is that of the surroundings.
    """

    disparity_px: Map
    confidence: Map


def map_disparity(left: Image, right: Image) -> DisparityMap:
    """Measure the disparity between two views.

    Args:
        left: (H, W, C) float32 linear light.
        right: The same.
    """
    levels = _build_pyramid(*(_encode(_mix(_reduce(view))) for view in (left, right)))
    disparity: Map = np.zeros(levels[-1][0].shape, np.float32)
    variance: Map = np.full(disparity.shape, _WIDE_PX**2, np.float32)
    for views in reversed(levels):
        height, width = views[0].shape
        factor = np.float32(width / disparity.shape[1])
        expected = factor * _enlarge(disparity, (height, width))
        doubt = factor**2 * _enlarge(variance, (height, width)) + np.float32(_DOUBT_PX**2)
        detail = _take_detail(views[0]), _take_detail(views[1])
        disparity = expected
        for _ in range(_ITERATIONS):
            disparity, variance = _improve(*detail, disparity, (expected, doubt))
    confidence = 1 / (1 + variance / np.float32(_HALF_TRUSTED_PX**2))
    return DisparityMap(disparity * np.float32(left.shape[1] / disparity.shape[1]), np.asarray(confidence, np.float32))


def has_second_view(photo: Photo) -> bool:
    """Whether a photo has two views that differ by more than a constant exposure and noise.

    Where disparity and exposure are alike everywhere, the second view says nothing that the first does not: the same
    picture stored twice, or a photo that is in focus all over.
    """
    if photo.left is None or photo.right is None:
        return False
    small = _reduce(photo.left), _reduce(photo.right)
    left, right = (_mix(view) for view in small)
    # one channel that is clipped bends the gray
    brightest = np.maximum(small[0].max(axis=2), small[1].max(axis=2))
    usable = (np.minimum(left, right) > _DARKEST) & (brightest < _BRIGHTEST)
    if not usable.any():
        return False
    ratio = np.where(usable, left / np.maximum(right, np.float32(_DARKEST)), np.float32(1))
    exposure = np.float32(np.median(ratio[usable]))
    if _is_seen(_compare_exposure(np.asarray(ratio / exposure, np.float32), usable), _LEAST_SHADING):
        return True
    # the views are brought to one exposure in linear light, before clipping: encoding would bend a difference
    together = _encode(np.minimum(left / exposure, 1)), _encode(np.minimum(right, 1 / exposure))
    return any(
        _is_seen(_match(_take_detail(views[0]), _take_detail(views[1]))[:2], _LEAST_DISPARITY_PX)
        for views in _build_pyramid(*together)
    )


def _compare_exposure(ratio: Map, usable: npt.NDArray[np.bool_]) -> tuple[Map, Map]:
    """The mean deviation of a ratio from 1 in each window, and the variance of that mean."""
    weight = usable.astype(np.float32)
    share = _average(weight)
    known = np.maximum(share, np.float32(0.1))
    deviation = np.clip(ratio - 1, -0.5, 0.5).astype(np.float32) * weight
    mean = _average(deviation) / known
    variance = np.maximum(_average(deviation * deviation) / known - mean * mean, 0) / _INDEPENDENT
    return np.where(share > 0.5, mean, np.float32(0)), np.asarray(variance, np.float32)


def _is_seen(measured: tuple[Map, Map], least: float) -> bool:
    """Whether values with their variances are large, beyond doubt, in some part of the picture."""
    value, variance = measured
    is_large = (np.abs(value) > least) & (np.abs(value) > _STANDARD_ERRORS * np.sqrt(variance))
    return bool(is_large.mean() > _LEAST_SHARE)


def _reduce(view: Image) -> Image:
    """A view of at most 1024 pixels, (h, w, C)."""
    scale = _LONGEST_PX / max(view.shape[:2])
    if scale >= 1:
        return view
    size = max(1, round(view.shape[1] * scale)), max(1, round(view.shape[0] * scale))
    reduced = cv2.resize(view, size, interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, np.float32).reshape(size[1], size[0], view.shape[2])


def _mix(view: Image) -> Map:
    """The mean of the colours."""
    return np.ascontiguousarray(view.mean(axis=2), np.float32)


def _encode(gray: Map) -> Map:
    """Encoding evens out noise and contrast between shadows and lights."""
    return np.ascontiguousarray(encode_srgb(np.clip(gray, 0, 1)), np.float32)


def _build_pyramid(left: Map, right: Map) -> list[tuple[Map, Map]]:
    """Both views, halved again and again, the finest first."""
    levels = [(left, right)]
    while len(levels) < _LEVELS and min(levels[-1][0].shape) >= 2 * _SMALLEST_PX:
        levels.append((_halve(levels[-1][0]), _halve(levels[-1][1])))
    return levels


def _enlarge(values: Map, size: tuple[int, int]) -> Map:
    """Values at (height, width), by bilinear interpolation; at that size already they are what they are."""
    return np.asarray(cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _halve(gray: Map) -> Map:
    return np.asarray(cv2.resize(gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)


def _take_detail(gray: Map) -> Map:
    """What is finer than the window and coarser than a pixel."""
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), 1.0) - cv2.GaussianBlur(gray, (0, 0), _COARSE_PX), np.float32)


def _smooth(values: Map) -> Map:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), _SMOOTH_PX), np.float32)


def _average(values: Map) -> Map:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), _WINDOW_PX), np.float32)


def _improve(left: Map, right: Map, disparity: Map, coarser: tuple[Map, Map]) -> tuple[Map, Map]:
    """One step: how far the views have to move, window by window, and the variance of the answer.

    Args:
        left: Its detail.
        right: Likewise.
        disparity: What the last step found.
        coarser: What the coarser level found, and its variance, which counts as much as it is certain.
    """
    # OpenCV interpolates at 32nds of a pixel: at exactly these places nothing is lost
    disparity = np.asarray(np.round(disparity * 16) / 16, np.float32)
    step, variance = _match(_move(left, disparity / 2), _move(right, disparity / -2))
    measured = disparity + np.clip(step, -_LARGEST_STEP_PX, _LARGEST_STEP_PX)
    expected, doubt = coarser
    joint = np.asarray(1 / (1 / variance + 1 / doubt), np.float32)
    disparity = joint * (measured / variance + expected / doubt)
    trust = np.asarray(1 / (joint + _DOUBT_PX**2), np.float32)
    return _smooth(np.asarray(disparity * trust, np.float32)) / _smooth(trust), joint


def _move(view: Map, shift_px: npt.NDArray[np.floating]) -> Map:
    """The view read at columns that are shifted by (H, W) pixels.

    Linear interpolation moves a ramp by just that much; OpenCV's cubic one makes stairs of it (0.08 px off).
    """
    height, width = view.shape
    columns = np.asarray(np.arange(width) + shift_px, np.float32)
    rows = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    return np.asarray(cv2.remap(view, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _match(left: Map, right: Map) -> tuple[Map, Map]:
    """The small disparity between two pictures' detail, window by window, and the variance of the answer."""
    mean, difference = np.float32(0.5) * (left + right), left - right
    slope = np.asarray(cv2.Sobel(mean, cv2.CV_32F, 1, 0, ksize=1, scale=0.5), np.float32)
    # difference = gain * mean - disparity * slope, by least squares in each window
    slopes, means, mixed = _average(slope * slope), _average(mean * mean) + _NOTHING, _average(slope * mean)
    by_slope, by_mean = _average(difference * slope), _average(difference * mean)
    power = slopes - mixed * mixed / means + _NOTHING
    disparity = -(by_slope - by_mean * mixed / means) / power
    gain = (by_mean + disparity * mixed) / means
    left_over = _average(np.asarray(difference - gain * mean + disparity * slope, np.float32) ** 2)
    variance = (left_over + _FAINT**2) / (_INDEPENDENT * power)
    return np.asarray(disparity, np.float32), np.asarray(variance, np.float32)
