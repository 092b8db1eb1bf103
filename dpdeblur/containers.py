"""Where JPEG, PNG, Canon's CR3 and Fuji's RAF keep their metadata: finders collect the blocks and interpret none.

Sources: ITU-T T.81 B.1 and the Exif 2.32, XMP part 3 and ICC.1 annex B conventions for JPEG markers; PNG (third
edition) 11.3; ISO/IEC 14496-12 for CR3's boxes, and https://github.com/lclevy/canon_cr3 for which of them is what.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from collections.abc import Iterator

from dpdeblur.directories import DamagedError, Source

_MAX_PARTS = 100_000
_MAX_UNPACKED_BYTES = 32 << 20

_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_CANON_BOX = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")

#: CR3's boxes: each is a small TIFF structure of one directory.
_CANON_PARTS = {b"CMT1": "ifd0", b"CMT2": "exif", b"CMT3": "maker_note", b"CMT4": "gps"}


@dataclasses.dataclass
class Blocks:
    """The metadata blocks of a file.

    Attributes:
        tiff: A TIFF structure whose first directory leads to the others, or None.
        parts: For CR3, the structures "ifd0", "exif", "maker_note" and "gps" of one directory each.
        xmp: The XMP packet, or None.
        iptc: The IPTC records, or None.
        icc: The colour profile, or None.
        warnings: What could not be had, one sentence each.
    """

    tiff: Source | None = None
    parts: dict[str, Source] = dataclasses.field(default_factory=dict)
    xmp: bytes | None = None
    iptc: bytes | None = None
    icc: bytes | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)


def wrap_bytes(data: bytes) -> Source:
    """Return bytes in memory as a source."""
    return Source(io.BytesIO(data), 0, len(data))


def find_in_jpeg(source: Source, blocks: Blocks) -> None:
    """Collect a JPEG's segments up to its picture.

    Raises:
        DamagedError: It is cut short before its picture; what came before is in `blocks`.
    """
    profile: dict[int, bytes] = {}
    photoshop = b""
    try:
        for marker, data in _iterate_segments(source):
            if marker == 0xE1 and data.startswith(b"Exif\0") and blocks.tiff is None:
                blocks.tiff = wrap_bytes(data[6:])
            elif marker == 0xE1 and data.startswith(_XMP_IN_JPEG):
                blocks.xmp = data[len(_XMP_IN_JPEG) :]
            elif marker == 0xE1 and data.startswith(_EXTENDED_XMP) and not blocks.warnings:
                blocks.warnings.append("The extended part of the XMP packet was left out.")
            elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0") and len(data) > 14:
                profile[data[12]] = data[14:]
            elif marker == 0xED and data.startswith(b"Photoshop 3.0\0"):
                photoshop += data[14:]
    finally:
        blocks.icc = b"".join(profile[number] for number in sorted(profile)) or None
        blocks.iptc = find_iptc(photoshop)


def _iterate_segments(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each application segment before the picture's data."""
    offset = 2
    for _ in range(_MAX_PARTS):
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
            if marker in (0xE1, 0xE2, 0xED):
                yield marker, source.read(offset + 4, size - 2)
            offset += 2 + size
    raise DamagedError("the JPEG has too many segments")


def find_iptc(photoshop: bytes) -> bytes | None:
    """Return the IPTC records among Photoshop's image resources (8BIM 0x0404), or None."""
    offset = 0
    while photoshop[offset : offset + 4] == b"8BIM" and len(photoshop) >= offset + 12:
        identity, name_size = struct.unpack_from(">HB", photoshop, offset + 4)
        offset += 6 + (name_size + 2) // 2 * 2  # a Pascal string, padded to even
        if len(photoshop) < offset + 4:
            return None
        size = struct.unpack_from(">I", photoshop, offset)[0]
        if identity == 0x0404:
            return photoshop[offset + 4 : offset + 4 + size] or None
        offset += 4 + size + size % 2
    return None


def find_in_png(source: Source, blocks: Blocks) -> None:
    """Collect a PNG's chunks.

    Raises:
        DamagedError: It is cut short; what came before is in `blocks`.
    """
    offset = 8
    for _ in range(_MAX_PARTS):
        size, kind = struct.unpack(">I4s", source.read(offset, 8))
        if kind == b"IEND":
            return
        if kind in (b"eXIf", b"iCCP", b"iTXt", b"zTXt"):
            data = source.read(offset + 8, size)
            try:
                _take_chunk(kind, data, blocks)
            except DamagedError as error:  # the others can still be whole
                blocks.warnings.append(f"The chunk {kind.decode()} is damaged and was left out: {error}.")
        offset += 12 + size
    raise DamagedError("the PNG has too many chunks")


def _take_chunk(kind: bytes, data: bytes, blocks: Blocks) -> None:
    keyword, _, rest = data.partition(b"\0")
    if kind == b"eXIf":
        blocks.tiff = wrap_bytes(data.removeprefix(b"Exif\0\0"))
    elif kind == b"iCCP":
        blocks.icc = _unpack(rest[1:])
    elif kind == b"iTXt" and keyword == b"XML:com.adobe.xmp":
        text = rest[2:].split(b"\0", 2)[-1]  # behind language and translated keyword
        blocks.xmp = _unpack(text) if rest[:1] == b"\1" else text
    elif kind == b"zTXt" and keyword == b"Raw profile type iptc":
        try:  # a line with the kind, a line with the length, lines of hexadecimal digits
            profile = bytes.fromhex(_unpack(rest[1:]).decode("ascii").split(maxsplit=2)[2])
        except (ValueError, IndexError) as error:
            raise DamagedError("the IPTC profile is damaged") from error
        blocks.iptc = find_iptc(profile) if profile.startswith(b"8BIM") else profile


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, _MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise DamagedError("compressed metadata is damaged") from error
    if not unpacker.eof:
        raise DamagedError("compressed metadata is cut short or too large")
    return unpacked


def find_in_cr3(source: Source, blocks: Blocks) -> None:
    """Collect the boxes of a CR3.

    Raises:
        DamagedError: It is cut short; what came before is in `blocks`.
    """
    for kind, identity, box in _iterate_boxes(source):
        if kind == b"moov":
            for inner_kind, inner_identity, inner in _iterate_boxes(box):
                if inner_kind == b"uuid" and inner_identity == _CANON_BOX:
                    for name, _, content in _iterate_boxes(inner):
                        if name in _CANON_PARTS:
                            blocks.parts[_CANON_PARTS[name]] = content
        elif kind == b"uuid" and identity == _XMP_BOX:
            # the camera pads its packet with kilobytes of zeros
            blocks.xmp = box.read(0, box.size).rstrip(b"\0") or None
    if not blocks.parts:
        raise DamagedError("the boxes that hold it are missing")


def _iterate_boxes(source: Source) -> Iterator[tuple[bytes, bytes, Source]]:
    """Yield type, user type and content of each box."""
    offset = 0
    for _ in range(_MAX_PARTS):
        if source.size - offset < 8:
            return
        size, kind = struct.unpack(">I4s", source.read(offset, 8))
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", source.read(offset + 8, 8))[0], 16
        elif size == 0:
            size = source.size - offset
        identity = b""
        if kind == b"uuid":
            identity = source.read(offset + head, 16)
            head += 16
        if kind == b"mdat":  # its end may lie behind a cut, and nothing of it is needed
            yield kind, identity, source
            return
        yield kind, identity, source.window(offset + head, size - head)
        offset += size
    raise DamagedError("the file has too many boxes")


def find_in_raf(source: Source, blocks: Blocks) -> None:
    """Collect the segments of the JPEG inside a RAF, which holds the photo's EXIF.

    Raises:
        DamagedError: It is cut short; what came before is in `blocks`.
    """
    offset, size = struct.unpack(">II", source.read(84, 8))
    find_in_jpeg(source.window(offset, size), blocks)
    blocks.icc = None  # the preview's, not the raw's
