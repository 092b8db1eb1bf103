"""PNG, JPEG and PGM files as stored values; `tiff.py` does the same for TIFF.

The size that a file declares is looked at before anything is decoded, and so is whether all of it is there: decoders
fill what is missing with gray, or print to stderr.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.errors import ReadError
from dpdeblur.photo import Image
from dpdeblur.readers.structure import COPY_AGAIN, check_file, check_size, read_start

Values = npt.NDArray[Any]

_PNG_START = b"\x89PNG\r\n\x1a\n"
#: The signature, then width, height and greatest value between white space and comments, then one white space.
_PGM_HEADER = re.compile(rb"P5" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 3 + rb"\s")
_GRAY_PNG, _GRAY_ALPHA_PNG = 0, 4


@dataclasses.dataclass(frozen=True)
class Raster:
    """The stored values of an image file.

    Attributes:
        values: (H, W, C), C = 1 or 3, uint8, uint16 or float32, as stored; RGB order; as they lie in the file.
        white: The value of full light: 255, 65535, a PGM's own, or 1 for floating point.
        alpha: (H, W) float32 in [0, 1], not multiplied into the colours, or None.
        warnings: One plain sentence each.
    """

    values: Values
    white: float
    alpha: Image | None = None
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Header:
    """What an image file declares about itself."""

    width: int
    height: int
    is_gray: bool = False


def read_header(path: Path) -> Header:
    """Read the declared size of a PNG, JPEG or PGM.

    Raises:
        ReadError: It is none of them, is cut short, or declares an impossible size.
    """
    check_file(path)
    start = read_start(path)
    if start.startswith(_PNG_START):
        header = _read_png_header(path)
    elif start.startswith(b"\xff\xd8\xff"):
        header, _ = _read_jpeg_header(path, path.read_bytes())
    elif start.startswith(b"P5"):
        header, _, _ = _read_pgm_header(path)
    else:
        raise ReadError("is no TIFF, PNG, JPEG or PGM file, whatever its name", path=path, remedy="check what it is")
    check_size(path, header.width, header.height)
    return header


def read_raster(path: Path) -> Raster:
    """Decode a PNG, JPEG or PGM.

    Raises:
        ReadError: It cannot be decoded.
    """
    header = read_header(path)
    start = read_start(path)
    if start.startswith(b"P5"):
        return _read_pgm(path)
    content = path.read_bytes()
    if start.startswith(_PNG_START):
        _check_png(path, content)
    else:
        _check_jpeg(path, content)
    values = decode_with_opencv(content, path)
    alpha = None
    if values.shape[2] == 4:
        alpha = scale_alpha(values[..., 3])
        values = values[..., :3]
    if header.is_gray:
        values = values[..., :1]
    return Raster(np.ascontiguousarray(values), float(np.iinfo(values.dtype).max), alpha)


def scale_alpha(stored: Values) -> Image:
    """Take stored alpha, integers of their full range or floating point, to float32 in [0, 1]."""
    if np.issubdtype(stored.dtype, np.integer):
        return stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)
    return np.clip(stored, 0, 1).astype(np.float32)


def decode_with_opencv(content: bytes, path: Path) -> Values:
    """Decode an image file's content with OpenCV.

    Returns:
        (H, W, C) with C = 1, 3 (RGB) or 4 (RGBA), the stored values.

    Raises:
        ReadError: OpenCV cannot.
    """
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        # from memory, because OpenCV opens no path beyond ASCII on Windows; UNCHANGED leaves EXIF's rotation undone
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ReadError("is damaged and cannot be decoded", path=path, remedy=COPY_AGAIN) from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if decoded is None:
        raise ReadError("is damaged and cannot be decoded", path=path, remedy=COPY_AGAIN)
    if decoded.ndim == 2:
        return decoded[..., None]
    swap = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(decoded.shape[2])
    return decoded if swap is None else cv2.cvtColor(decoded, swap)


def _cut_short(path: Path) -> ReadError:
    return ReadError("is cut short", path=path, remedy=COPY_AGAIN)


def _read_png_header(path: Path) -> Header:
    start = read_start(path, 33)
    if len(start) < 33 or start[12:16] != b"IHDR":
        raise _cut_short(path)
    width, height, _, kind = struct.unpack_from(">IIBB", start, 16)
    return Header(width, height, is_gray=kind in (_GRAY_PNG, _GRAY_ALPHA_PNG))


def _check_png(path: Path, content: bytes) -> None:
    """Walk the chunks to the last one, comparing the checksums of those that hold the picture."""
    view, offset, kind = memoryview(content), len(_PNG_START), b""
    while kind != b"IEND":
        if offset + 12 > len(view):
            raise _cut_short(path)
        (length,) = struct.unpack_from(">I", view, offset)
        kind = bytes(view[offset + 4 : offset + 8])
        end = offset + 12 + length
        if end > len(view):
            raise _cut_short(path)
        (checksum,) = struct.unpack_from(">I", view, end - 4)
        # an upper-case first letter marks what the picture cannot be decoded without
        if kind[:1].isupper() and zlib.crc32(view[offset + 4 : end - 4]) != checksum:
            raise ReadError("is damaged (a checksum is wrong)", path=path, remedy=COPY_AGAIN)
        offset = end


def _read_jpeg_header(path: Path, content: bytes) -> tuple[Header, int]:
    """Return the header and the offset at which the first scan begins."""
    offset, header = 2, None
    while offset + 4 <= len(content):
        marker = content[offset + 1]
        if content[offset] != 0xFF:
            raise ReadError("is damaged and cannot be decoded", path=path, remedy=COPY_AGAIN)
        if marker == 0xFF:  # fill byte
            offset += 1
            continue
        (length,) = struct.unpack_from(">H", content, offset + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and offset + 10 <= len(content):
            height, width, components = struct.unpack_from(">HHB", content, offset + 5)
            if components not in (1, 3):
                raise ReadError("is a CMYK JPEG", path=path, remedy="convert it to RGB")
            header = Header(width, height, is_gray=components == 1)
        if marker == 0xDA and header is not None:
            return header, offset
        offset += 2 + length
    raise _cut_short(path)


def _check_jpeg(path: Path, content: bytes) -> None:
    """Look for the end mark behind the first scan: libjpeg fills in what is missing with gray."""
    _, scan = _read_jpeg_header(path, content)
    if content.find(b"\xff\xd9", scan) < 0:
        raise _cut_short(path)


def _read_pgm_header(path: Path) -> tuple[Header, int, int]:
    """Return the header, the greatest value and the offset of the values."""
    match = _PGM_HEADER.match(read_start(path, 4096))
    if match is None:
        raise ReadError("its PGM header is damaged", path=path, remedy=COPY_AGAIN)
    width, height, white = (int(number) for number in match.groups())
    if not 0 < white < 65536:
        raise ReadError(f"its greatest value is {white}, which PGM does not allow", path=path, remedy=COPY_AGAIN)
    return Header(width, height, is_gray=True), white, match.end()


def _read_pgm(path: Path) -> Raster:
    """Read a binary PGM (P5), 8-bit or 16-bit big-endian. Source: netpbm's pgm(5)."""
    header, white, offset = _read_pgm_header(path)
    stored = np.dtype(np.uint8 if white < 256 else ">u2")
    count = header.width * header.height
    if path.stat().st_size < offset + count * stored.itemsize:
        raise _cut_short(path)
    values = np.fromfile(path, stored, count, offset=offset).reshape(header.height, header.width, 1)
    return Raster(values.astype(stored.newbyteorder("=")), float(white))
