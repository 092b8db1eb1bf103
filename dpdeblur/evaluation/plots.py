"""Plots of many numbers: every picture's PSNR, and the course of a training."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

from dpdeblur.errors import ReadError
from dpdeblur.evaluation.axes import Axes, Range, draw_legend, span
from dpdeblur.evaluation.canvas import GRAY, SERIES, Canvas, Colour
from dpdeblur.evaluation.scoring import INPUT
from dpdeblur.evaluation.summary import PhotoScores

#: More photos than these are drawn without their names.
_NAMED_PHOTOS = 60


def draw_scores(photos: Sequence[PhotoScores], methods: Sequence[str]) -> Canvas:
    """Draw the PSNR of every photo, as it was and as each method restored it, by the PSNR that it had.

    Args:
        photos: All scores.
        methods: Which to draw, in order.
    """
    found: dict[str, dict[str, float]] = {}
    for one in photos:
        found.setdefault(one.photo, {})[one.method] = one.scores.psnr
    names = sorted(found, key=lambda name: found[name].get(INPUT, math.nan))
    values = [psnr for scores in found.values() for psnr in scores.values()]
    entries = [("blurred", GRAY), *((method, SERIES[i % len(SERIES)]) for i, method in enumerate(methods))]
    if len(names) <= _NAMED_PHOTOS:
        return _draw_dumbbells(names, found, entries, span(values))
    canvas = Canvas(1640, 860)
    axes = Axes(canvas, 110, 140, 1480, 600, Range(1, len(names)), span(values))
    axes.draw_y("", suffix=" dB")
    axes.draw_x("photos, by the PSNR that they had")
    places = [float(place) for place in range(1, len(names) + 1)]
    axes.draw_curve(places, [found[photo].get(INPUT, math.nan) for photo in names], GRAY)
    for method, colour in entries[1:]:
        for place, photo in zip(places, names, strict=True):
            psnr = found[photo].get(method, math.nan)
            if math.isfinite(psnr):
                canvas.draw_dot(*axes.place(place, psnr), 6, colour)
    canvas.write(110, 60, "PSNR of each photo", size=30, bold=True)
    draw_legend(canvas, 110, 108, entries)
    return canvas


def _draw_dumbbells(
    names: Sequence[str],
    found: dict[str, dict[str, float]],
    entries: Sequence[tuple[str, Colour]],
    x: Range,
) -> Canvas:
    """One line a photo: a ring for what it was, dots for what became of it."""
    step, top = 40, 140
    canvas = Canvas(1640, top + step * len(names) + 110)
    canvas.write(44, 60, "PSNR of each photo", size=30, bold=True)
    draw_legend(canvas, 44, 108, entries)
    label_px = min(420.0, max(canvas.measure(name, size=20) for name in names))
    left = 44 + label_px + 24
    axes = Axes(canvas, left, top, 1590 - left, step * len(names), x, Range(0, len(names)))
    axes.draw_x("dB")
    for number, name in enumerate(names):
        y = top + step * (number + 0.5)
        canvas.write(left - 20, y + 7, canvas.shorten(name, label_px, size=20), size=20, align="right")
        places = {key: axes.place(psnr, 0)[0] for key, psnr in found[name].items() if math.isfinite(psnr)}
        if places:
            canvas.draw_line([(min(places.values()), y), (max(places.values()), y)], (200, 204, 212), 3)
        for place, (method, colour) in enumerate(entries[1:]):
            if method in places:  # later ones are smaller: of two at one place, both are seen
                canvas.draw_dot(places[method], y, max(10 - 3 * place, 4), colour)
        if INPUT in places:  # a ring, which hides nothing
            canvas.draw_ring(places[INPUT], y, 10, GRAY)
    return canvas


def read_log(path: Path) -> dict[str, list[float]]:
    """Read a training's log: a CSV with a head, numbers below it.

    Returns:
        The columns by name, in order; empty cells are NaN.

    Raises:
        ReadError: It is no such table.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        cause = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise ReadError(cause, path=path, remedy="name a training's log.csv") from error
    if len(rows) < 2 or len(rows[0]) < 2:
        raise ReadError("is no log of a training", path=path, remedy="name a training's log.csv")
    columns: dict[str, list[float]] = {name: [] for name in rows[0]}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise ReadError(f"line {number} has {len(row)} cells, the head has {len(rows[0])}", path=path)
        for name, cell in zip(rows[0], row, strict=True):
            try:
                columns[name].append(float(cell) if cell else math.nan)
            except ValueError as error:
                raise ReadError(f"line {number} holds {cell!r}, which is no number", path=path) from error
    return columns


#: Columns that share a panel, by what their names look like; any other column gets a panel of its own.
_PANELS = (
    ("PSNR on simulated pairs, dB", re.compile(r"psnr.*")),
    ("gain on real scenes, dB", re.compile(r".+@.+")),
    ("loss", re.compile(r".*loss.*")),
    ("learning rate", re.compile(r"rate|lr|learning_rate")),
)
_AXES = {"minutes": "minutes", "step": "steps", "steps": "steps", "epoch": "epochs"}


def draw_training(columns: dict[str, list[float]], title: str) -> Canvas:
    """Draw the course of a training, a panel for each kind of number.

    Args:
        columns: Of its log.
        title: Above the plot.
    """
    along = next((name for name in _AXES if name in columns), None)
    xs = columns[along] if along else [float(row) for row in range(1, len(next(iter(columns.values()))) + 1)]
    panels: dict[str, list[str]] = {}
    for name in columns:
        if name not in _AXES:
            panel = next((label for label, pattern in _PANELS if pattern.fullmatch(name)), name)
            panels.setdefault(panel, []).append(name)
    order = [*(label for label, _ in _PANELS if label in panels), *(p for p in panels if p not in dict(_PANELS))]
    step = 380
    canvas = Canvas(1640, 110 + step * len(order) + 60)
    canvas.write(44, 62, canvas.shorten(title, 1500, size=30), size=30, bold=True)
    for number, panel in enumerate(order):
        names = panels[panel]
        values = [value for name in names for value in columns[name]]
        is_log = panel in ("loss", "learning rate") and all(value > 0 for value in values if math.isfinite(value))
        top = 110 + step * number + 50
        axes = Axes(canvas, 130, top, 1470, step - 110, span(xs, margin=0.0), span(values, is_log=is_log))
        axes.draw_y(panel)
        is_last = number == len(order) - 1
        axes.draw_x(_AXES.get(along or "", "rows") if is_last else "")
        for place, name in enumerate(names):
            axes.draw_curve(xs, columns[name], SERIES[place % len(SERIES)])
        if len(names) > 1:
            entries = [(name, SERIES[place % len(SERIES)]) for place, name in enumerate(names)]
            draw_legend(canvas, 150 + canvas.measure(panel, size=22, bold=True) + 20, top - 16, entries, size=20)
    return canvas
