"""Binary PGM files as stored values. Source: netpbm's pgm(5)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dpdeblur.errors import ReadError
from dpdeblur.readers.stored import Header, Raster, say_cut_short
from dpdeblur.readers.structure import COPY_AGAIN, check_size, read_start

PGM_START = b"P5"

#: The signature, then width, height and greatest value between white space and comments, then one white space.
_HEADER = re.compile(rb"P5" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 3 + rb"\s")
_LONGEST_HEADER_BYTES = 4096


def read_pgm_header(path: Path) -> Header:
    """Read the declared size of a PGM.

    Raises:
        ReadError: Its header is damaged, or declares an impossible size.
    """
    return _read_header(path)[0]


def read_pgm(path: Path) -> Raster:
    """Read a PGM, 8-bit or 16-bit big-endian.

    Raises:
        ReadError: It is damaged or cut short.
    """
    header, white, offset = _read_header(path)
    stored = np.dtype(np.uint8 if white < 256 else ">u2")
    count = header.width * header.height
    if path.stat().st_size < offset + count * stored.itemsize:
        raise say_cut_short(path)
    values = np.fromfile(path, stored, count, offset=offset).reshape(header.height, header.width, 1)
    return Raster(values.astype(stored.newbyteorder("=")), float(white))


def _read_header(path: Path) -> tuple[Header, int, int]:
    """Return the header, the greatest value and the offset of the values."""
    match = _HEADER.match(read_start(path, _LONGEST_HEADER_BYTES))
    if match is None:
        raise ReadError("its PGM header is damaged", path=path, remedy=COPY_AGAIN)
    width, height, white = (int(number) for number in match.groups())
    if not 0 < white < 65536:
        raise ReadError(f"its greatest value is {white}, which PGM does not allow", path=path, remedy=COPY_AGAIN)
    check_size(path, width, height, bits_per_pixel=8)
    return Header(width, height, is_gray=True), white, match.end()
