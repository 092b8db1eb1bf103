"""PNG files by the specification (third edition, W3C 2025): any kind and depth, any chunks, true or not."""

from __future__ import annotations

import struct
import zlib

Chunk = tuple[bytes, bytes]

START = b"\x89PNG\r\n\x1a\n"


def pack_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pack_png(
    size: tuple[int, int], kind: int, depth: int, data: bytes, *chunks: Chunk, rest: bytes = b"\0\0\0"
) -> bytes:
    """A PNG.

    Args:
        size: Width and height, as declared.
        kind: Colour type: 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA.
        depth: Bits per sample.
        data: What its picture's chunk holds: compressed rows.
        chunks: What stands before it, kind and content each.
        rest: The codes of compression, filtering and interlacing.
    """
    header = struct.pack(">IIBB", *size, depth, kind) + rest
    packed = (pack_chunk(*chunk) for chunk in ((b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")))
    return START + b"".join(packed)


def pack_rows(rows: list[bytes]) -> bytes:
    """Rows of bytes without a filter, compressed."""
    return zlib.compress(b"".join(b"\0" + row for row in rows))
