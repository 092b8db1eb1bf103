"""A contact sheet of results, the worst first: parts at full size, maps of the error, and K3DN's figure 8."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Sequence

import cv2
import numpy as np

from dpdeblur.evaluation.axes import Axes, Range, draw_legend
from dpdeblur.evaluation.canvas import FAINT, GRAY, INK, SERIES, WHITE, Canvas, Pixels, fit_image
from dpdeblur.evaluation.focus import LARGEST_ERROR, FocusErrors
from dpdeblur.evaluation.metrics import Floats
from dpdeblur.evaluation.scoring import INPUT, SceneResult

#: How many photos a sheet shows.
LARGEST_COUNT = 40
#: The error, of 1, that is drawn as the brightest.
BRIGHTEST = 0.2

_PART_PX = (360, 270)
_GAP_PX, _MARGIN_PX, _HEAD_PX = 12, 40, 214
_SEARCH_PX = 65


@dataclasses.dataclass(frozen=True)
class Band:
    """What the sheet shows of one photo.

    Attributes:
        psnr: Of the worst result: what photos are sorted by.
        name: The photo's.
        parts: Of the blurred photo, each result and the reference, by name: (h, w, 3), at full size.
        errors: Of the blurred photo and each result, coloured, the whole picture reduced.
        whole: The reference, reduced, with a frame around the part.
        labels: Below the names: PSNR and gain.
    """

    psnr: float
    name: str
    parts: dict[str, Pixels]
    errors: dict[str, Pixels]
    whole: Pixels
    labels: dict[str, str]


def make_band(result: SceneResult) -> Band:
    """Take from a scene what the sheet shows of it."""
    comparisons = result.comparisons
    blurred = comparisons[INPUT]
    results = {name: one for name, one in comparisons.items() if name != INPUT} or {INPUT: blurred}
    worst = min(results.values(), key=lambda one: one.scores.psnr)
    corner = _find_worst_part(worst.result - worst.reference)
    parts = {name: _cut(one.result, corner) for name, one in comparisons.items()}
    parts["reference"] = _cut(blurred.reference, corner)
    labels = {INPUT: f"{blurred.scores.psnr:.2f} dB"}
    for name, one in comparisons.items():
        if name != INPUT:
            labels[name] = f"{one.scores.psnr:.2f} dB ({one.scores.psnr - blurred.scores.psnr:+.2f})"
    errors = {name: _colour_error(one.result - one.reference) for name, one in comparisons.items()}
    whole = _frame_part(blurred.reference, corner)
    return Band(worst.scores.psnr, result.scene.name, parts, errors, whole, labels)


def _find_worst_part(difference: Floats) -> tuple[int, int]:
    """The upper left corner of the part around the place of the largest error, in the mean of a small window."""
    error = cv2.blur(np.abs(difference).mean(axis=2), (_SEARCH_PX, _SEARCH_PX), borderType=cv2.BORDER_REFLECT)
    row, column = np.unravel_index(int(np.argmax(error)), error.shape)
    (width, height), (rows, columns) = _PART_PX, error.shape
    top = min(max(int(row) - height // 2, 0), max(rows - height, 0))
    left = min(max(int(column) - width // 2, 0), max(columns - width, 0))
    return top, left


def _show(picture: Floats) -> Pixels:
    codes = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return np.repeat(codes, 3, axis=2) if codes.shape[2] == 1 else codes


def _cut(picture: Floats, corner: tuple[int, int]) -> Pixels:
    top, left = corner
    return _show(picture[top : top + _PART_PX[1], left : left + _PART_PX[0]])


def _colour_error(difference: Floats) -> Pixels:
    """The channels' mean absolute error, reduced, as brightness: black 0, pale yellow `BRIGHTEST`."""
    return fit_image(_colour_values(np.abs(difference).mean(axis=2)), *_PART_PX)


def _colour_values(error: Floats) -> Pixels:
    codes = np.rint(np.clip(error / BRIGHTEST, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def _frame_part(picture: Floats, corner: tuple[int, int]) -> Pixels:
    small = np.ascontiguousarray(fit_image(_show(picture), *_PART_PX))
    factor = small.shape[1] / picture.shape[1]
    top, left = (round(place * factor) for place in corner)
    right = round(min(corner[1] + _PART_PX[0], picture.shape[1]) * factor) - 1
    bottom = round(min(corner[0] + _PART_PX[1], picture.shape[0]) * factor) - 1
    cv2.rectangle(small, (left, top), (right, bottom), INK, 4)
    cv2.rectangle(small, (left, top), (right, bottom), WHITE, 2)
    return small


class ContactSheet:
    """Keeps the worst photos while a set is scored, and draws them at the end."""

    def __init__(self, limit: int = LARGEST_COUNT) -> None:
        """Begin with none."""
        self._limit = limit
        self._worst: list[tuple[float, int, Band]] = []
        self._seen = 0

    def add(self, result: SceneResult) -> None:
        """Take a photo in, if it is among the worst so far."""
        band = make_band(result)
        self._seen += 1
        # the heap's first is the best of the worst, and goes first
        heapq.heappush(self._worst, (-band.psnr, self._seen, band))
        if len(self._worst) > self._limit:
            heapq.heappop(self._worst)

    def list_bands(self) -> list[Band]:
        """The photos that are kept, the worst first."""
        return [band for _, _, band in sorted(self._worst, key=lambda entry: (-entry[0], entry[1]))]

    def draw(self, title: str, methods: Sequence[str], focus: dict[str, FocusErrors]) -> Canvas:
        """Draw the sheet.

        Args:
            title: The data set and how it was scored.
            methods: The columns between the blurred photo and the reference.
            focus: By method, how much pixels in focus were changed.
        """
        bands = self.list_bands()
        columns = [INPUT, *methods, "reference"]
        width = max(1240, 2 * _MARGIN_PX + len(columns) * (_PART_PX[0] + _GAP_PX) - _GAP_PX)
        band_px = 2 * _PART_PX[1] + _GAP_PX + 110
        has_focus = any(errors.counts.any() for errors in focus.values())
        canvas = Canvas(width, _HEAD_PX + band_px * len(bands) + (560 if has_focus else 0))
        self._draw_head(canvas, title, len(bands))
        for number, band in enumerate(bands):
            _draw_band(canvas, band, columns, _HEAD_PX + number * band_px, number + 1)
        if has_focus:
            _draw_focus(canvas, focus, _HEAD_PX + band_px * len(bands))
        return canvas

    def _draw_head(self, canvas: Canvas, title: str, shown: int) -> None:
        which = f"the {shown} worst of {self._seen}, the worst first" if shown < self._seen else "the worst first"
        canvas.write(_MARGIN_PX, 62, which[0].upper() + which[1:], size=32, bold=True)
        what, _, how = title.partition(": ")
        for y, line in ((100, what), (132, how)):
            room = canvas.width - 2 * _MARGIN_PX
            canvas.write(_MARGIN_PX, y, canvas.shorten(line, room, size=22), size=22, colour=GRAY)
        x = _MARGIN_PX + 12 + canvas.write(_MARGIN_PX, 176, "upper: parts at full size; lower: error, 0", size=20)
        ramp = _colour_values(np.linspace(0, BRIGHTEST, 160)[None])
        canvas.paste(np.repeat(ramp, 18, axis=0), round(x), 162)
        canvas.write(x + 172, 176, f"{BRIGHTEST:g} or more of 1", size=20)


def _draw_band(canvas: Canvas, band: Band, columns: Sequence[str], top: int, number: int) -> None:
    canvas.draw_line([(_MARGIN_PX, top), (canvas.width - _MARGIN_PX, top)], FAINT, 2)
    canvas.write(_MARGIN_PX, top + 38, canvas.shorten(f"{number}  {band.name}", 900), bold=True, size=24)
    step = _PART_PX[0] + _GAP_PX
    for place, column in enumerate(columns):
        left = _MARGIN_PX + place * step
        if column not in band.parts:
            canvas.write(left, top + 72, f"{canvas.shorten(column, 220)}: failed", size=20, colour=GRAY)
            continue
        end = canvas.write(left, top + 72, canvas.shorten(column, 170, size=20), size=20, bold=True)
        canvas.write(left + end + 12, top + 72, band.labels.get(column, ""), size=20, colour=GRAY)
        canvas.paste(band.parts[column], left, top + 84)
        below = band.errors.get(column, band.whole)
        canvas.paste(below, left, top + 84 + _PART_PX[1] + _GAP_PX)


def _draw_focus(canvas: Canvas, focus: dict[str, FocusErrors], top: int) -> None:
    """The share of the pixels in focus by how much they were changed."""
    canvas.draw_line([(_MARGIN_PX, top), (canvas.width - _MARGIN_PX, top)], FAINT, 2)
    canvas.write(_MARGIN_PX, top + 48, "Pixels that were in focus, changed by at most", size=26, bold=True)
    left = _MARGIN_PX + 70
    width = min(1400, canvas.width - left - _MARGIN_PX - 20)
    curves = {method: errors.draw_curve() * 100 for method, errors in focus.items() if errors.counts.any()}
    low = min(float(curve[4]) for curve in curves.values())
    axes = Axes(canvas, left, top + 120, width, 340, Range(0, LARGEST_ERROR), Range(max(0, low - 5), 100.5))
    axes.draw_y("", suffix=" %")
    axes.draw_x("root mean squared difference of a pixel, of 1", count=10)
    entries = [(method, SERIES[place % len(SERIES)]) for place, method in enumerate(focus)]
    for method, colour in entries:
        if method in curves:
            steps = [LARGEST_ERROR * step / (len(curves[method]) - 1) for step in range(len(curves[method]))]
            shown = [float(value) if value >= axes.y.low else math.nan for value in curves[method]]
            axes.draw_curve(steps, shown, colour)
    draw_legend(canvas, left, top + 96, entries)
