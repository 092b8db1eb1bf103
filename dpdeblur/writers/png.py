"""16-bit PNG, written here because OpenCV's writer knows neither gray with alpha nor profiles nor EXIF.

Source: PNG (third edition), W3C 2025: 7 (bytes of a row), 9.2 (filter Sub), 10.1 (zlib), 11 (chunks).
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np

from dpdeblur.metadata.entries import Metadata
from dpdeblur.writers.metadata import pack_exif, wrap_iptc
from dpdeblur.writers.picture import Picture, deflate

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_FILTER_SUB = 1


def write_png(file: BinaryIO, picture: Picture, metadata: Metadata, *, is_compressed: bool) -> tuple[str, ...]:
    """Write a PNG of 16 bits per sample.

    Args:
        file: Open for writing, empty.
        picture: The picture.
        metadata: What belongs to it.
        is_compressed: Whether to compress, without loss either way.

    Returns:
        No warnings: a PNG holds everything, IPTC in the chunk that ImageMagick introduced.

    Raises:
        WriteError: The picture holds values that are not numbers.
    """
    channels = picture.samples_per_pixel
    file.write(b"\x89PNG\r\n\x1a\n")
    dimensions = struct.pack(">IIBBBBB", picture.width, picture.height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    _write_chunk(file, b"IHDR", dimensions)
    if metadata.icc is not None:
        _write_chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc))
    _write_chunk(file, b"eXIf", pack_exif(metadata))
    if metadata.xmp is not None:
        _write_chunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)
    if metadata.iptc is not None:
        _write_chunk(file, b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(_write_hexadecimal(metadata.iptc)))

    def pack_strip(start: int, stop: int) -> bytes:
        filtered = _filter_rows(picture, start, stop)
        # every strip is a piece of one deflate stream that looks back at nothing before it
        packed = deflate(filtered, is_compressed=is_compressed, is_piece=True)
        return struct.pack(">II", zlib.adler32(filtered), len(filtered)) + packed

    checksum = _Adler32()
    lead = b"\x78\x01"  # zlib's header; the window of 32 KB and no dictionary
    for strip in picture.map_strips(pack_strip):
        checksum.append(*struct.unpack_from(">II", strip))
        _write_chunk(file, b"IDAT", lead + strip[8:])
        lead = b""
    end = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS).flush(zlib.Z_FINISH)
    _write_chunk(file, b"IDAT", end + struct.pack(">I", checksum.value))
    _write_chunk(file, b"IEND", b"")
    return ()


def _filter_rows(picture: Picture, start: int, stop: int) -> bytes:
    """Return rows as PNG stores them: a filter byte, then each byte less the same byte of the pixel to its left."""
    samples = picture.quantise_rows(start, stop, bits=16)
    rows = samples.astype(">u2").view(np.uint8).reshape(stop - start, -1)
    filtered = np.empty((stop - start, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _FILTER_SUB
    pixel_bytes = 2 * picture.samples_per_pixel
    filtered[:, 1 : 1 + pixel_bytes] = rows[:, :pixel_bytes]
    np.subtract(rows[:, pixel_bytes:], rows[:, :-pixel_bytes], out=filtered[:, 1 + pixel_bytes :])
    return filtered.tobytes()


class _Adler32:
    """zlib's checksum of a stream from the checksums of its pieces (RFC 1950, 8.2)."""

    _MODULUS = 65521

    def __init__(self) -> None:
        self.value = 1

    def append(self, piece: int, length: int) -> None:
        low, high = self.value & 0xFFFF, self.value >> 16
        # the piece's own sum began at 1; moving it behind `low` adds low - 1 to each of its partial sums
        high = (high + (piece >> 16) + length * (low - 1)) % self._MODULUS
        low = (low + (piece & 0xFFFF) - 1) % self._MODULUS
        self.value = high << 16 | low


def _write_hexadecimal(iptc: bytes) -> bytes:
    """Return ImageMagick's text form of a profile: its kind, its length, and lines of hexadecimal digits."""
    profile = wrap_iptc(iptc)
    digits = profile.hex().encode()
    lines = (digits[i : i + 72] for i in range(0, len(digits), 72))
    return b"\niptc\n%8d\n" % len(profile) + b"\n".join(lines) + b"\n"


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I4s", len(data), kind))
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
