"""Colour spaces: primaries, tone curves and the profiles that tell other programs which they are.

Linear values of a space become linear sRGB by `space.to_linear_srgb`; white maps to white (Bradford adaptation to D50,
as ICC profiles do it). Sources: IEC 61966-2-1 (sRGB), Adobe RGB (1998) 2005-05, ISO 22028-2 (ProPhoto), SMPTE EG 432-1
with D65 and the sRGB curve (Display P3).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dpdeblur.colour.curves import Curve, Floats, ParametricCurve, TableCurve
from dpdeblur.colour.icc import D50_XYZ, Matrix, build_profile, parse_profile

_D65_XY = (0.3127, 0.3290)
_D50_XY = (0.3457, 0.3585)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB_CURVE = ParametricCurve(2.4, a=1 / 1.055, b=0.055 / 1.055, c=1 / 12.92, d=0.04045)


@dataclasses.dataclass(frozen=True, eq=False)
class ColourSpace:
    """The primaries and the tone curve of an image. Two spaces are the same where their `name` is.

    Attributes:
        name: The name of `--profile`, or "file: DESCRIPTION" for a file's own profile.
        to_linear_srgb: (3, 3) float64, linear RGB of this space -> linear sRGB.
        curves: Three tone curves for RGB, or one for all channels.
        icc: The profile of an RGB file in this space, or None where there is none.
        gray_icc: The profile of a gray file with this space's curve, or None.
    """

    name: str
    to_linear_srgb: Matrix
    curves: tuple[Curve, ...]
    icc: bytes | None
    gray_icc: bytes | None

    def decode(self, encoded: Floats) -> Floats:
        """Take encoded values, (..., C) float32 in [0, 1], to linear light; odd below 0, continued above 1."""
        if len(self.curves) == 1 or encoded.shape[-1] == 1:
            return self.curves[0].decode(encoded)
        return np.stack([curve.decode(encoded[..., i]) for i, curve in enumerate(self.curves)], axis=-1)

    def encode(self, linear: Floats) -> Floats:
        """Take linear light, (..., C) float32, to encoded values; odd below 0, continued above 1, nothing clipped."""
        if len(self.curves) == 1 or linear.shape[-1] == 1:
            return self.curves[0].encode(linear)
        return np.stack([curve.encode(linear[..., i]) for i, curve in enumerate(self.curves)], axis=-1)


def _compute_xyz(xy: tuple[float, float]) -> Matrix:
    return np.array([xy[0] / xy[1], 1.0, (1 - xy[0] - xy[1]) / xy[1]])


def _compute_to_pcs(primaries: tuple[tuple[float, float], ...], white: tuple[float, float]) -> Matrix:
    """Return the matrix from linear RGB to XYZ under D50, for primaries and a white in CIE xy."""
    columns = np.stack([_compute_xyz(primary) for primary in primaries], axis=1)
    to_xyz = columns * np.linalg.solve(columns, _compute_xyz(white))
    gains = (_BRADFORD @ np.array(D50_XYZ)) / (_BRADFORD @ _compute_xyz(white))
    adaptation: Matrix = np.linalg.solve(_BRADFORD, gains[:, None] * _BRADFORD)
    return np.asarray(adaptation @ to_xyz, np.float64)


_SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_SRGB_TO_PCS = _compute_to_pcs(_SRGB_PRIMARIES, _D65_XY)


def _compute_to_linear_srgb(to_pcs: Matrix) -> Matrix:
    return np.asarray(np.linalg.solve(_SRGB_TO_PCS, to_pcs), np.float64)


def _build_space(
    name: str,
    description: str,
    primaries: tuple[tuple[float, float], ...],
    white: tuple[float, float],
    curve: ParametricCurve,
) -> ColourSpace:
    to_pcs = _compute_to_pcs(primaries, white)
    to_linear_srgb = np.eye(3) if primaries is _SRGB_PRIMARIES else _compute_to_linear_srgb(to_pcs)
    return ColourSpace(
        name=name,
        to_linear_srgb=to_linear_srgb,
        curves=(curve,),
        icc=build_profile(description, curve, to_pcs),
        gray_icc=build_profile(f"Gray with the curve of {description}", curve, None),
    )


SRGB = _build_space("srgb", "sRGB", _SRGB_PRIMARIES, _D65_XY, _SRGB_CURVE)
ADOBE_RGB = _build_space(
    *("adobe-rgb", "Compatible with Adobe RGB (1998)", ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), _D65_XY),
    ParametricCurve(563 / 256),
)
PROPHOTO = _build_space(
    *("prophoto", "ProPhoto RGB (ROMM)", ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), _D50_XY),
    ParametricCurve(1.8, c=1 / 16, d=1 / 32),
)
DISPLAY_P3 = _build_space(
    "display-p3", "Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), _D65_XY, _SRGB_CURVE
)
LINEAR_SRGB = _build_space("linear", "Linear sRGB", _SRGB_PRIMARIES, _D65_XY, ParametricCurve(1.0))

#: The values of `--profile`.
COLOUR_SPACES: dict[str, ColourSpace] = {
    space.name: space for space in (SRGB, ADOBE_RGB, PROPHOTO, DISPLAY_P3, LINEAR_SRGB)
}


def read_profile(icc: bytes) -> ColourSpace:
    """Turn a file's own profile into a colour space; the result is written back with these very bytes.

    Args:
        icc: A matrix/TRC profile, RGB or gray.

    Raises:
        ValueError: The profile is damaged, or describes its colours by tables only.
    """
    profile = parse_profile(icc)
    name = f"file: {profile.description or 'unnamed profile'}"
    if profile.to_pcs is None:
        return ColourSpace(name, np.eye(3), profile.curves, icc=None, gray_icc=icc)
    curve = profile.curves[1]
    assert isinstance(curve, ParametricCurve | TableCurve)
    return ColourSpace(
        name=name,
        to_linear_srgb=_compute_to_linear_srgb(profile.to_pcs),
        curves=profile.curves if len(set(profile.curves)) > 1 else profile.curves[:1],
        icc=icc,
        gray_icc=build_profile(f"Gray with the curve of {profile.description}", curve, None),
    )


def encode_srgb(linear: Floats) -> Floats:
    """Encode linear light with the exact sRGB curve (IEC 61966-2-1), odd below 0, continued above 1; any shape."""
    return _SRGB_CURVE.encode(linear)


def decode_srgb(encoded: Floats) -> Floats:
    """Decode sRGB-encoded values to linear light, the inverse of `encode_srgb`; any shape."""
    return _SRGB_CURVE.decode(encoded)
