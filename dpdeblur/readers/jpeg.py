"""JPEG files as stored values. Source: ITU-T T.81, B.1 (markers), B.2 (frames and scans)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from dpdeblur.errors import ReadError
from dpdeblur.readers.stored import (
    Header,
    Raster,
    decode_with_opencv,
    read_content,
    say_cut_short,
    say_damaged,
    split_alpha,
)
from dpdeblur.readers.structure import check_size

JPEG_START = b"\xff\xd8\xff"

_START_OF_SCAN, _END = 0xDA, b"\xff\xd9"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: The application segments that say how colours are coded, JFIF's and Adobe's; the others are metadata.
_COLOUR_SEGMENTS = (0xE0, 0xEE)
_METADATA = (*range(0xE0, 0xF0), 0xFE)
#: Encoders write ten scans or so. Each costs a pass over the whole picture, however few its bytes.
_MAX_SCANS = 100


def read_jpeg_header(path: Path) -> Header:
    """Read the declared size of a JPEG.

    Raises:
        ReadError: It is cut short, or declares an impossible size.
    """
    return _read_header(path, read_content(path))


def read_jpeg(path: Path) -> Raster:
    """Decode a JPEG.

    Raises:
        ReadError: It cannot be decoded.
    """
    content = read_content(path)
    header = _read_header(path, content)
    return split_alpha(decode_with_opencv(_pick_picture(path, content), path), header, path)


def _iterate_segments(path: Path, content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the segments up to the first scan's, which is the last.

    Raises:
        ReadError: There is no scan.
    """
    offset = 2
    while offset + 4 <= len(content):
        marker = content[offset + 1]
        if content[offset] != 0xFF:
            raise say_damaged(path)
        if marker == 0xFF:  # fill byte
            offset += 1
            continue
        (length,) = struct.unpack_from(">H", content, offset + 2)
        yield marker, offset, offset + 2 + length
        if marker == _START_OF_SCAN:
            return
        offset += 2 + length
    raise say_cut_short(path)


def _read_header(path: Path, content: bytes) -> Header:
    header = None
    for marker, start, _ in _iterate_segments(path, content):
        if marker in _FRAMES and start + 10 <= len(content):
            height, width, components = struct.unpack_from(">HHB", content, start + 5)
            if components not in (1, 3):
                raise ReadError("is a CMYK JPEG", path=path, remedy="convert it to RGB")
            check_size(path, width, height, bits_per_pixel=8 * components)
            header = Header(width, height, is_gray=components == 1)
    if header is None:
        raise say_damaged(path)
    return header


def _pick_picture(path: Path, content: bytes) -> bytes:
    """Leave out metadata, and look for the end: libjpeg fills in what is missing with gray."""
    view = memoryview(content)
    picked, scan = [view[:2]], len(view)
    for marker, start, end in _iterate_segments(path, content):
        if marker == _START_OF_SCAN:
            scan = start
        elif marker not in _METADATA or marker in _COLOUR_SEGMENTS:
            picked.append(view[start:end])
    if content.find(_END, scan) < 0:
        raise say_cut_short(path)
    # within coded data a byte 0xFF never stands before this one
    if content.count(b"\xff\xda", scan) > _MAX_SCANS:
        raise ReadError(f"has more than {_MAX_SCANS} scans", path=path, remedy="save it anew with another program")
    return b"".join((*picked, view[scan:]))
