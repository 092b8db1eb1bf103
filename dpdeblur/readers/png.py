"""PNG files as stored values. Source: PNG (third edition), W3C 2025: 5 (chunks), 11.2.1 (IHDR)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from dpdeblur.errors import ReadError
from dpdeblur.readers.stored import Header, Raster, decode_with_opencv, read_content, say_cut_short, split_alpha
from dpdeblur.readers.structure import COPY_AGAIN, check_size, read_start

PNG_START = b"\x89PNG\r\n\x1a\n"

_GRAY, _GRAY_ALPHA = 0, 4
#: Colour type -> samples a pixel, and the depths that it may have.
_KINDS = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
#: What the picture is made of. The rest would only have libpng unpack and judge profiles and texts, and print.
_PICTURE_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def read_png_header(path: Path) -> Header:
    """Read the declared size of a PNG.

    Raises:
        ReadError: It is cut short, or declares an impossible size or form.
    """
    start = read_start(path, 33)
    if len(start) < 33 or start[12:16] != b"IHDR":
        raise say_cut_short(path)
    width, height, depth, kind, packing, filtering, interlacing = struct.unpack_from(">IIBBBBB", start, 16)
    samples, depths = _KINDS.get(kind, (0, ()))
    if depth not in depths or packing or filtering or interlacing > 1:
        raise ReadError("is of a kind of PNG that does not exist", path=path, remedy=COPY_AGAIN)
    check_size(path, width, height, bits_per_pixel=samples * depth)
    return Header(width, height, is_gray=kind in (_GRAY, _GRAY_ALPHA))


def read_png(path: Path) -> Raster:
    """Decode a PNG.

    Raises:
        ReadError: It cannot be decoded.
    """
    header = read_png_header(path)
    return split_alpha(decode_with_opencv(_pick_picture(path, read_content(path)), path), header, path)


def _pick_picture(path: Path, content: bytes) -> bytes:
    """Walk the chunks to the last one, compare the checksums of the picture's, and leave out all others."""
    view, offset, kind = memoryview(content), len(PNG_START), b""
    picked = [view[:offset]]
    while kind != b"IEND":
        if offset + 12 > len(view):
            raise say_cut_short(path)
        (length,) = struct.unpack_from(">I", view, offset)
        kind = bytes(view[offset + 4 : offset + 8])
        end = offset + 12 + length
        if end > len(view):
            raise say_cut_short(path)
        if kind in _PICTURE_CHUNKS:
            (checksum,) = struct.unpack_from(">I", view, end - 4)
            if zlib.crc32(view[offset + 4 : end - 4]) != checksum:
                raise ReadError("is damaged (a checksum is wrong)", path=path, remedy=COPY_AGAIN)
            picked.append(view[offset:end])
        offset = end
    return b"".join(picked)
