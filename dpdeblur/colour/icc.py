"""ICC profiles of the matrix/TRC kind, built and read: tone curves and colorants, nothing else.

Source: ICC.1:2022 (profile version 4.4), sections 7 (layout), 8.4 and 8.5 (matrix and gray profiles), 10.6 and 10.18
(curves). Built profiles are version 4 with parametric curves, which state the sRGB curve exactly in a
few hundred bytes; version 2 profiles are read as well.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct

import numpy as np
import numpy.typing as npt

from dpdeblur.colour.curves import Curve, ParametricCurve, TableCurve, check_curve

Matrix = npt.NDArray[np.float64]

#: XYZ of the profile connection space's white (D50), as ICC.1 section 7.2.16 states it.
D50_XYZ = (0.9642, 1.0, 0.8249)

#: A profile larger than this is not a matrix profile; nothing is allocated for it.
MAX_PROFILE_BYTES = 64 << 20
#: What of a profile is read.
_TAGS = frozenset((b"desc", b"kTRC", b"rTRC", b"gTRC", b"bTRC", b"rXYZ", b"gXYZ", b"bXYZ"))
#: A curve for 16-bit values needs no more samples, and none of the tags above more bytes.
_MAX_SAMPLES = 65536
_MAX_TAG_BYTES = 12 + 2 * _MAX_SAMPLES
_MAX_NAME = 80
#: Of a table from its first sample to its last: an eighth of a 16-bit code.
_LEAST_RISE = 2e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
    """What a matrix/TRC profile says.

    Attributes:
        description: Its name, as the file gives it.
        curves: Three tone curves (RGB) or one (gray).
        to_pcs: (3, 3) linear RGB -> XYZ under D50, or None for gray.
    """

    description: str
    curves: tuple[Curve, ...]
    to_pcs: Matrix | None


def build_profile(description: str, curve: ParametricCurve | TableCurve, to_pcs: Matrix | None) -> bytes:
    """Build a version 4 display profile.

    Args:
        description: The name that programs show.
        curve: The tone curve of every channel.
        to_pcs: (3, 3) linear RGB -> XYZ under D50; None builds a gray profile.

    Returns:
        The profile's bytes.
    """
    tags = {
        b"desc": _encode_text(description),
        b"cprt": _encode_text("No copyright, use freely"),
        b"wtpt": _encode_xyz(D50_XYZ),
    }
    if to_pcs is None:
        tags[b"kTRC"] = _encode_curve(curve)
    else:
        for channel, column in zip((b"r", b"g", b"b"), to_pcs.T, strict=True):
            tags[channel + b"XYZ"] = _encode_xyz(tuple(column))
            tags[channel + b"TRC"] = _encode_curve(curve)
    table, body, places = b"", b"", dict[bytes, int]()
    start = 128 + 4 + 12 * len(tags)
    for signature, data in tags.items():
        if data not in places:  # equal tags share their bytes
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", signature, places[data], len(data))
    header = struct.pack(
        ">I4sI4s4s4s6H4s4s6I3i4s44x",
        *(start + len(body), b"", 0x04400000, b"mntr", b"GRAY" if to_pcs is None else b"RGB ", b"XYZ "),
        *(2025, 1, 1, 0, 0, 0, b"acsp", b"", 0, 0, 0, 0, 0, 0),
        *(_fix(value) for value in D50_XYZ),
        b"",
    )
    profile = header + struct.pack(">I", len(tags)) + table + body
    # the profile ID: MD5 of the profile with flags, intent and ID zero, as they are here
    identity = hashlib.md5(profile, usedforsecurity=False).digest()
    return b"".join((profile[:84], identity, profile[100:]))


def _fix(value: float) -> int:
    return round(value * 65536)


def _encode_xyz(xyz: tuple[float, ...]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(_fix(value) for value in xyz))


def _encode_text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return struct.pack(">4s4xII2s2sII", b"mluc", 1, 12, b"en", b"US", len(encoded), 28) + encoded


def _encode_curve(curve: ParametricCurve | TableCurve) -> bytes:
    if isinstance(curve, TableCurve):
        codes: npt.NDArray[np.uint16] = np.rint(np.asarray(curve.samples) * 65535).astype(">u2")
        return b"".join((struct.pack(">4s4xI", b"curv", len(codes)), codes.tobytes()))
    if curve.d == 0 and (curve.a, curve.b, curve.e) == (1.0, 0.0, 0.0):
        kind, parameters = 0, (curve.gamma,)
    else:
        kind, parameters = 4, dataclasses.astuple(curve)
    return struct.pack(f">4s4xHH{len(parameters)}i", b"para", kind, 0, *(_fix(value) for value in parameters))


def parse_profile(icc: bytes) -> Profile:
    """Read a matrix/TRC profile, RGB or gray.

    Args:
        icc: The profile's bytes, of any origin.

    Raises:
        ValueError: It is not an ICC profile, is damaged, or describes its colours by tables (LUT) only.
    """
    if not 132 <= len(icc) <= MAX_PROFILE_BYTES or icc[36:40] != b"acsp":
        raise ValueError("not an ICC profile")
    space, pcs = icc[16:20], icc[20:24]
    if space not in (b"RGB ", b"GRAY") or pcs != b"XYZ ":
        raise ValueError(f"no matrix profile: {space!r} to {pcs!r}")
    try:
        tags = _read_tags(icc)
        if space == b"GRAY":
            return Profile(_decode_text(tags.get(b"desc", b"")), (_decode_curve(tags[b"kTRC"]),), None)
        curves = tuple(_decode_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
        to_pcs = np.array([_decode_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]).T
    except KeyError as error:
        raise ValueError(f"the profile has no tag {error}; it is not a matrix profile") from error
    except (struct.error, IndexError) as error:
        raise ValueError("the profile is damaged") from error
    if abs(np.linalg.det(to_pcs)) < 1e-6:
        raise ValueError("the profile's colorants do not span a colour space")
    return Profile(_decode_text(tags.get(b"desc", b"")), curves, to_pcs)


def _read_tags(icc: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">I", icc, 128)[0]
    if count > 200:
        raise ValueError(f"the profile claims {count} tags")
    tags = {}
    for index in range(count):
        signature, offset, size = struct.unpack_from(">4sII", icc, 132 + 12 * index)
        if signature not in _TAGS:
            continue
        if offset + size > len(icc) or size > _MAX_TAG_BYTES:
            raise ValueError(f"the profile's tag {signature!r} is longer than it can be")
        tags[signature] = icc[offset : offset + size]
    return tags


def _decode_xyz(data: bytes) -> tuple[float, ...]:
    if data[:4] != b"XYZ ":
        raise ValueError("a colorant is not of type XYZ")
    return tuple(value / 65536 for value in struct.unpack_from(">3i", data, 8))


def _decode_text(data: bytes) -> str:
    """Return a name that fits into a line."""
    text = ""
    if data[:4] == b"desc" and len(data) >= 12:
        length = struct.unpack_from(">I", data, 8)[0]
        text = data[12 : 12 + length].rstrip(b"\0").decode("latin-1")
    elif data[:4] == b"mluc" and len(data) >= 28:
        length, offset = struct.unpack_from(">II", data, 20)
        text = data[offset : offset + length].decode("utf-16-be", "replace")
    return "".join(letter for letter in text[: 2 * _MAX_NAME] if letter.isprintable())[:_MAX_NAME]


def _decode_curve(data: bytes) -> ParametricCurve | TableCurve:
    kind, short = data[:4], struct.unpack_from(">H", data, 8)[0]
    if kind == b"para":
        return _decode_parameters(short, data)
    if kind != b"curv":
        raise ValueError(f"a tone curve is of the unknown type {kind!r}")
    count = struct.unpack_from(">I", data, 8)[0]
    if count == 0:
        return ParametricCurve(1.0)
    if len(data) < 12 + 2 * count:
        raise ValueError("a tone curve is cut short")
    codes = np.frombuffer(data, ">u2", count=count, offset=12)
    if count == 1:
        return check_curve(ParametricCurve(float(codes[0]) / 256))
    if np.any(np.diff(codes.astype(int)) < 0) or codes[0] == codes[-1]:
        raise ValueError("a tone curve is not rising")
    # where neighbours are equal, dark ones above all, a rise too small to see keeps one value from becoming another
    samples = codes / 65535.0 + _LEAST_RISE * np.linspace(0, 1, count)
    return TableCurve(tuple((samples / (1 + _LEAST_RISE)).tolist()))


def _decode_parameters(kind: int, data: bytes) -> ParametricCurve:
    counts = (1, 3, 4, 5, 7)
    if kind >= len(counts):
        raise ValueError(f"a parametric curve is of the unknown kind {kind}")
    values = [value / 65536 for value in struct.unpack_from(f">{counts[kind]}i", data, 12)]
    if kind == 0 or kind >= 3:
        return check_curve(ParametricCurve(*values))
    gamma, a, b = values[:3]
    if a <= 0:
        raise ValueError("a parametric curve is not rising")
    floor = values[3] if kind == 2 else 0.0
    return check_curve(ParametricCurve(gamma, a, b, c=0.0, d=-b / a, e=floor, f=floor))
