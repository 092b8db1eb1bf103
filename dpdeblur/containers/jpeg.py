"""A JPEG's metadata segments; a RAF holds its EXIF in a JPEG.

Source: ITU-T T.81 B.1, and the conventions of Exif 2.32, XMP part 3 and ICC.1 annex B for the segments' content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dpdeblur.containers.blocks import MAX_PARTS, Blocks, wrap_bytes
from dpdeblur.containers.directories import DamagedError, Source

_APP1, _APP2, _APP11, _APP13, _COMMENT = 0xE1, 0xE2, 0xEB, 0xED, 0xFE
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"

#: What is not carried over: (marker, how it begins) -> what to say of it.
_LEFT_OUT = {
    (_APP1, b"http://ns.adobe.com/xmp/extension/\0"): "The extended part of the XMP packet was left out.",
    (_APP11, b"JP"): "The content credentials were left out: they hold for the original alone.",
    (_COMMENT, b""): "The JPEG's comment was left out.",
}
_WANTED = (_APP1, _APP2, _APP11, _APP13, _COMMENT)


def find_in_jpeg(source: Source, blocks: Blocks) -> None:
    """Collect a JPEG's segments up to its picture.

    Raises:
        DamagedError: It is cut short before its picture; what came before is in `blocks`.
    """
    profile: dict[int, bytes] = {}
    photoshop: list[bytes] = []
    lost: dict[str, None] = {}
    try:
        for marker, data in _iterate_segments(source):
            if marker == _APP1 and data.startswith(b"Exif\0") and blocks.tiff is None:
                blocks.tiff = wrap_bytes(data[6:])
            elif marker == _APP1 and data.startswith(_XMP):
                blocks.xmp = data[len(_XMP) :]
            elif marker == _APP2 and data.startswith(b"ICC_PROFILE\0") and len(data) > 14:
                profile[data[12]] = data[14:]
            elif marker == _APP13 and data.startswith(_PHOTOSHOP):
                photoshop.append(data[len(_PHOTOSHOP) :])
            lost |= {say: None for (place, mark), say in _LEFT_OUT.items() if place == marker and data.startswith(mark)}
    finally:
        blocks.icc = b"".join(profile[number] for number in sorted(profile)) or None
        blocks.take_resources(b"".join(photoshop))
        blocks.warnings += lost


def _iterate_segments(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment of metadata before the picture's data."""
    offset = 2
    for _ in range(MAX_PARTS):
        lead, marker = source.read(offset, 2)
        if lead != 0xFF:
            raise DamagedError("the JPEG's segments are damaged")
        if marker == 0xFF:  # a fill byte
            offset += 1
        elif marker in (0xD9, 0xDA):  # the end, or the picture's data
            return
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # no content
            offset += 2
        else:
            size = struct.unpack(">H", source.read(offset + 2, 2))[0]
            if marker in _WANTED:
                yield marker, source.read(offset + 4, size - 2)
            offset += 2 + size
    raise DamagedError("the JPEG has too many segments")


def find_in_raf(source: Source, blocks: Blocks) -> None:
    """Collect the segments of the JPEG inside a RAF, which holds the photo's EXIF.

    Raises:
        DamagedError: It is cut short; what came before is in `blocks`.
    """
    offset, size = struct.unpack(">II", source.read(84, 8))
    find_in_jpeg(source.window(offset, size), blocks)
    blocks.icc = None  # the preview's, not the raw's
