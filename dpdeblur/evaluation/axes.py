"""Axes of a plot: a box on a canvas, ticks at round numbers, values to places."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from dpdeblur.evaluation.canvas import FAINT, GRAY, INK, Canvas, Colour

_TICK_SIZE, _LABEL_SIZE = 20, 22


@dataclasses.dataclass(frozen=True)
class Range:
    """The values that an axis shows.

    Attributes:
        low: At its left or lower end.
        high: At its other end.
        is_log: Whether it has a logarithmic scale; both ends are positive then.
    """

    low: float
    high: float
    is_log: bool = False

    def find_share(self, value: float) -> float:
        """Where on the axis a value lies: 0 at the low end, 1 at the high one."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def span(values: Sequence[float], *, margin: float = 0.06, is_log: bool = False) -> Range:
    """A range around values, finite ones only, with a margin at both ends."""
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not is_log)]
    if not finite:
        return Range(0.1, 1, is_log) if is_log else Range(0, 1)
    low, high = min(finite), max(finite)
    if is_log:
        factor = max(high / low, 1.2) ** margin
        return Range(low / factor, high * factor, is_log=True)
    room = (high - low) * margin if high > low else max(abs(high) * 0.1, 1e-3)
    return Range(low - room, high + room)


def choose_ticks(shown: Range, count: int = 6) -> list[float]:
    """About `count` round numbers within a range: 1, 2 or 5 times a power of ten apart, or powers on a log scale."""
    if shown.is_log and shown.high / shown.low > 5:
        first, last = math.floor(math.log10(shown.low)), math.ceil(math.log10(shown.high))
        factors = (1,) if last - first > 3 else (1, 2, 5)
        ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        return [tick for tick in ticks if shown.low <= tick <= shown.high]
    rough = (shown.high - shown.low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(shown.low / step - 1e-9), math.floor(shown.high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def format_tick(value: float, ticks: Sequence[float]) -> str:
    """A tick's number with as many digits as tell it from its neighbours; small ones with a power of ten."""
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)) + 1e-9)
    if not -4 < power < 6:
        return f"{value / 10.0**power:.3g}e{power}"
    if len(ticks) < 2 or max(ticks) / max(min(ticks), 1e-300) > 20:
        return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    step = min(b - a for a, b in zip(ticks, ticks[1:], strict=False))
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


class Axes:
    """A box on a canvas with a horizontal and a vertical axis."""

    def __init__(
        self, canvas: Canvas, left: float, top: float, width: float, height: float, x: Range, y: Range
    ) -> None:
        """Take a box; nothing is drawn yet."""
        self.canvas = canvas
        self.left, self.top, self.width, self.height = left, top, width, height
        self.x, self.y = x, y

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of values lies on the canvas."""
        return (
            self.left + self.width * self.x.find_share(x),
            self.top + self.height * (1 - self.y.find_share(y)),
        )

    def draw_x(self, label: str, *, count: int = 8, suffix: str = "") -> None:
        """Draw the horizontal axis with its grid."""
        ticks = choose_ticks(self.x, count)
        bottom = self.top + self.height
        for tick in ticks:
            x, _ = self.place(tick, self.y.low)
            self.canvas.draw_line([(x, self.top), (x, bottom)], FAINT, 1)
            text = format_tick(tick, ticks) + suffix
            self.canvas.write(x, bottom + 28, text, size=_TICK_SIZE, colour=GRAY, align="centre")
        self.canvas.draw_line([(self.left, bottom), (self.left + self.width, bottom)], GRAY, 2)
        if label:
            middle = self.left + self.width / 2
            self.canvas.write(middle, bottom + 62, label, size=_LABEL_SIZE, align="centre")

    def draw_y(self, label: str, *, count: int = 5, suffix: str = "") -> None:
        """Draw the vertical axis with its grid; the label stands above it."""
        ticks = choose_ticks(self.y, count)
        for tick in ticks:
            _, y = self.place(self.x.low, tick)
            self.canvas.draw_line([(self.left, y), (self.left + self.width, y)], FAINT, 1)
            text = format_tick(tick, ticks) + suffix
            self.canvas.write(self.left - 12, y + 7, text, size=_TICK_SIZE, colour=GRAY, align="right")
        if label:
            self.canvas.write(self.left, self.top - 16, label, size=_LABEL_SIZE, bold=True, colour=INK)

    def draw_curve(self, xs: Sequence[float], ys: Sequence[float], colour: Colour, thickness: int = 3) -> None:
        """Draw a line through values; it breaks where one is not finite, or not positive on a log scale."""
        part: list[tuple[float, float]] = []
        for x, y in [*zip(xs, ys, strict=True), (math.nan, math.nan)]:
            if math.isfinite(x) and math.isfinite(y) and (y > 0 or not self.y.is_log):
                part.append(self.place(x, y))
                continue
            if len(part) == 1:
                self.canvas.draw_dot(*part[0], thickness, colour)
            elif part:
                self.canvas.draw_line(part, colour, thickness)
            part = []


def draw_legend(canvas: Canvas, x: float, y: float, entries: Sequence[tuple[str, Colour]], *, size: int = 22) -> None:
    """Write names in a row, each behind a stroke of its colour."""
    for name, colour in entries:
        canvas.draw_line([(x, y - size * 0.3), (x + 34, y - size * 0.3)], colour, 5)
        x += 46 + canvas.write(x + 44, y, name, size=size) + 30
