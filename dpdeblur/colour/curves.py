"""Tone curves: encoded values to linear light and back, by a formula or by a table.

Source: ICC.1:2022, 10.6 (curves) and 10.18 (parametric curves).
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Curve(Protocol):
    """A tone curve: `decode` takes encoded values to linear light, `encode` brings them back."""

    def decode(self, encoded: Floats) -> Floats:
        """Return linear light for encoded values, float32, any shape; odd below 0."""

    def encode(self, linear: Floats) -> Floats:
        """Return encoded values for linear light, float32, any shape; odd below 0."""


@dataclasses.dataclass(frozen=True)
class ParametricCurve:
    """ICC's parametric curve: `y = (a x + b)^gamma + e` from `x = d` on, `y = c x + f` below.

    Negative values go through the curve by their magnitude and keep their sign, so that noise around black survives.
    """

    gamma: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0
    e: float = 0.0
    f: float = 0.0

    def decode(self, encoded: Floats) -> Floats:
        """Return linear light for encoded values, float32, any shape; odd below 0."""
        if self.is_linear:
            return np.asarray(encoded, np.float32)
        magnitude = np.abs(encoded, dtype=np.float32)
        linear = np.maximum(magnitude * self.a + self.b, 0.0) ** self.gamma + self.e
        if self.d > 0:
            linear = np.where(magnitude >= self.d, linear, magnitude * self.c + self.f)
        return np.copysign(linear, encoded).astype(np.float32, copy=False)

    def encode(self, linear: Floats) -> Floats:
        """Return encoded values for linear light, float32, any shape; odd below 0."""
        if self.is_linear:
            return np.asarray(linear, np.float32)
        magnitude = np.abs(linear, dtype=np.float32)
        encoded = np.maximum(magnitude - self.e, 0.0) ** (1.0 / self.gamma)
        encoded = (encoded - self.b) / self.a
        if self.d > 0:
            toe = (magnitude - self.f) / self.c if self.c > 0 else np.float32(self.d)
            encoded = np.where(magnitude >= self.c * self.d + self.f, encoded, toe)
        return np.copysign(encoded, linear).astype(np.float32, copy=False)

    @property
    def is_linear(self) -> bool:
        """Whether the curve is the identity."""
        return (self.gamma, self.a, self.b, self.d, self.e) == (1.0, 1.0, 0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class TableCurve:
    """A sampled curve: encoded values 0 to 1 at equal steps, straight lines between and above 1."""

    samples: tuple[float, ...]

    def decode(self, encoded: Floats) -> Floats:
        """Return linear light for encoded values, float32, any shape; odd below 0."""
        samples = np.asarray(self.samples)
        return _interpolate(encoded, np.linspace(0.0, 1.0, len(samples)), samples)

    def encode(self, linear: Floats) -> Floats:
        """Return encoded values for linear light, float32, any shape; odd below 0."""
        levels, first = np.unique(np.asarray(self.samples), return_index=True)
        first[-1] = len(self.samples) - 1  # a curve that is flat at the top still encodes white as 1
        return _interpolate(linear, levels, first / (len(self.samples) - 1))


def _interpolate(values: Floats, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Floats:
    magnitude = np.abs(values)
    result = np.interp(magnitude, x, y)
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
    result = np.where(magnitude > x[-1], y[-1] + (magnitude - x[-1]) * slope, result)
    return np.copysign(result, values).astype(np.float32)


def check_curve(curve: ParametricCurve) -> ParametricCurve:
    """Return a curve of any origin, if it is one.

    Raises:
        ValueError: It falls, or leads out of all numbers.
    """
    if not 0.1 <= curve.gamma <= 10 or curve.a <= 0 or curve.c < 0:
        raise ValueError("a parametric curve is not rising, or is no tone curve")
    with np.errstate(all="ignore"):
        decoded = curve.decode(np.linspace(0, 1, 1025, dtype=np.float32))
        is_usable = np.isfinite(decoded).all() and np.isfinite(curve.encode(decoded)).all()
        if not is_usable or np.diff(decoded).min() < -1e-3 or not 0.01 < decoded[-1] - decoded[0] < 100:
            raise ValueError("a parametric curve is not rising, or is no tone curve")
    return curve
