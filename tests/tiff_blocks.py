"""Little-endian TIFF structure and Canon-like metadata for the synthetic captures of `captures.py`.

Standard library only. Sources: TIFF 6.0; Exif 2.31; ExifTool's documentation of Canon's MakerNote (tag numbers).
Every value is invented: serial numbers, owner, place and time belong to nobody.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypedDict

from mosaics import Levels

#: One directory entry: tag, field type, count, value in little-endian bytes.
Entry = tuple[int, int, int, bytes]

MODEL = (
    "Canon EOS 5D Mark IV"  # a dual-pixel body that LibRaw knows: CR2 files need a camera of which it has the matrix
)
MODEL_ID = 0x80000349
LENS = "EF50mm f/1.4 USM"
DATE = "2024:03:05 11:22:33"
THUMBNAIL_SIZE = (12, 16)  # rows, columns
COLOR_DATA_COUNT = 1592  # LibRaw and ExifTool tell the layout (ColorData8, this body's) by this count
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    b' xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:Rating>3</xmp:Rating></rdf:Description></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)


class RawOptions(TypedDict, total=False):
    """What a raw states about itself.

    Attributes:
        black: Black levels; default 512.
        white: The saturated value; default 15000.
        wb: The camera's white balance; default 2048, 1024, 1024, 1536.
        orientation: EXIF Orientation, 1 to 8, default 1; the pixels stay as they are.
        metadata: False leaves out EXIF (but for a CR2's MakerNote), GPS, XMP, author and dates; default True.
        masked: Masked rows above and columns left of the picture, both even, default (0, 0): the sensor's frame grows
            by them, filled with black, and LibRaw's `raw_image_visible` is the frame that was given.
    """

    black: Levels
    white: int
    wb: Levels
    orientation: int
    metadata: bool
    masked: tuple[int, int]


def byte(tag: int, *values: int) -> Entry:
    """8-bit unsigned integers."""
    return tag, 1, len(values), bytes(values)


def text(tag: int, value: str) -> Entry:
    """A text, closed by a zero byte; UTF-8 as cameras' owners type it."""
    encoded = value.encode() + b"\0"
    return tag, 2, len(encoded), encoded


def short(tag: int, *values: int) -> Entry:
    """16-bit unsigned integers."""
    return tag, 3, len(values), struct.pack(f"<{len(values)}H", *values)


def long(tag: int, *values: int) -> Entry:
    """32-bit unsigned integers, offsets among them."""
    return tag, 4, len(values), struct.pack(f"<{len(values)}I", *values)


def rational(tag: int, *pairs: tuple[int, int]) -> Entry:
    """Unsigned fractions, kept as given: 14/10 does not become 7/5."""
    return tag, 5, len(pairs), b"".join(struct.pack("<II", *pair) for pair in pairs)


def undefined(tag: int, value: bytes) -> Entry:
    """Bytes whose meaning the tag knows."""
    return tag, 7, len(value), value


def stored(tag: int, field_type: int, count: int, offset: int) -> Entry:
    """A value that lies elsewhere in the file already, longer than 4 bytes."""
    return tag, field_type, count, struct.pack("<I", offset)


def signed_rational(tag: int, *pairs: tuple[int, int]) -> Entry:
    """Signed fractions, kept as given."""
    return tag, 10, len(pairs), b"".join(struct.pack("<ii", *pair) for pair in pairs)


def build_directory(entries: Sequence[Entry], position: int) -> bytes:
    """Return an IFD with its values behind it, for a place in the file: entries sorted, the next IFD's offset 0."""
    values_start = position + 2 + 12 * len(entries) + 4
    directory, values = struct.pack("<H", len(entries)), b""
    for tag, field_type, count, value in sorted(entries):
        directory += struct.pack("<HHI", tag, field_type, count)
        if len(value) <= 4:
            directory += value.ljust(4, b"\0")
        else:
            directory += struct.pack("<I", values_start + len(values))
            values += value + b"\0" * (len(value) % 2)
    return directory + bytes(4) + values


class TiffFile:
    """A file under construction: blocks are appended, offsets not known yet are set later.

    Attributes:
        data: The file so far; it starts as the header.
    """

    def __init__(self, header: bytes) -> None:
        """Start with a header whose bytes 4 to 7 will point to the first IFD."""
        self.data = bytearray(header)

    def add_block(self, block: bytes) -> int:
        """Append a block at an even offset, which is returned."""
        self.data += bytes(len(self.data) % 2) + block
        return len(self.data) - len(block)

    def add_directory(self, entries: Sequence[Entry]) -> int:
        """Append an IFD and return its offset."""
        position = len(self.data) + len(self.data) % 2
        return self.add_block(build_directory(entries, position))

    def set_long(self, directory: int, tag: int, *values: int) -> None:
        """Give an existing LONG entry of a directory its values."""
        (count,) = struct.unpack_from("<H", self.data, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            if struct.unpack_from("<HHI", self.data, entry) == (tag, 4, len(values)):
                place = entry + 8 if len(values) == 1 else struct.unpack_from("<I", self.data, entry + 8)[0]
                struct.pack_into(f"<{len(values)}I", self.data, place, *values)
                return
        raise ValueError(f"the directory at {directory} has no entry {tag:#x} of {len(values)} LONG")

    def chain(self, directories: Sequence[int]) -> None:
        """Link the header to the first of the directories and each to the next."""
        struct.pack_into("<I", self.data, 4, directories[0])
        for directory, following in zip(directories, directories[1:], strict=False):
            (count,) = struct.unpack_from("<H", self.data, directory)
            struct.pack_into("<I", self.data, directory + 2 + 12 * count, following)


def list_main_entries(orientation: int, metadata: bool) -> list[Entry]:
    """Return the entries that IFD0 has in every capture: camera, resolution, Orientation, author, XMP."""
    entries = [
        text(0x010F, "Canon"),
        text(0x0110, MODEL),
        short(0x0112, orientation),
        rational(0x011A, (72, 1)),
        rational(0x011B, (72, 1)),
        short(0x0128, 2),
    ]
    if metadata:
        entries += [
            text(0x010E, "Synthetic capture, not from a camera"),
            text(0x0132, DATE),
            text(0x013B, "Test Artist"),
            byte(0x02BC, *XMP),
            text(0x8298, "(c) Test Ünïcode"),
        ]
    return entries


def list_exif_entries(height: int, width: int) -> list[Entry]:
    """Return the Exif IFD's entries, without the MakerNote."""
    return [
        rational(0x829A, (1, 200)),
        rational(0x829D, (14, 10)),
        short(0x8822, 1),
        short(0x8827, 400),
        short(0x8830, 2),
        undefined(0x9000, b"0231"),
        text(0x9003, DATE),
        text(0x9004, DATE),
        text(0x9010, "+02:00"),
        text(0x9011, "+02:00"),
        undefined(0x9101, b"\1\2\3\0"),
        signed_rational(0x9201, (499712, 65536)),
        signed_rational(0x9204, (-1, 3)),
        rational(0x920A, (50, 1)),
        undefined(0x9286, b"UNICODE\0" + "Grüße".encode("utf-16-le")),
        text(0x9291, "42"),
        undefined(0xA000, b"0100"),
        short(0xA001, 1),
        long(0xA002, width),
        long(0xA003, height),
        text(0xA431, "012345678901"),
        rational(0xA432, (50, 1), (50, 1), (0, 0), (0, 0)),
        text(0xA434, LENS),
        text(0xA435, "0000001234"),
    ]


def list_gps_entries() -> list[Entry]:
    """Return the GPS IFD's entries: 48 degrees 51' 30.123" N, 2 degrees 17' 40.777" E, 35.12 m."""
    return [
        byte(0x00, 2, 3, 0, 0),
        text(0x01, "N"),
        rational(0x02, (48, 1), (51, 1), (30123, 1000)),
        text(0x03, "E"),
        rational(0x04, (2, 1), (17, 1), (40777, 1000)),
        byte(0x05, 0),
        rational(0x06, (3512, 100)),
        text(0x1D, "2024:03:05"),
    ]


def build_maker_note(
    position: int,
    sensor_size: tuple[int, int],
    masked: tuple[int, int],
    wb: Sequence[int],
    black: Sequence[int],
    white: int,
) -> bytes:
    """Return Canon's MakerNote: what LibRaw reads white balance, levels and margins from.

    Args:
        position: Its offset in the file; its own offsets count from the file's start, and its footer repeats this one.
        sensor_size: Rows and columns, masked ones included.
        masked: Masked rows at the top, masked columns at the left.
        wb: As-shot multipliers in the order R, G1, G2, B.
        black: Black levels in the same order.
        white: The saturated value.
    """
    height, width = sensor_size
    top, left = masked
    sensor = [0] * 17
    sensor[0:3] = 34, width, height
    # left, top, right, bottom; for a sensor of unknown size LibRaw ends the picture one before the right and the bottom
    sensor[5:9] = left, top, width, height
    color = [0] * COLOR_DATA_COUNT
    color[0x00] = 13  # the layout's version in this body
    for start in (0x3F, 0x44, 0x49):  # as shot, automatic, measured: the multipliers, then the colour temperature
        color[start : start + 5] = *wb, 5200
    color[0x30A:0x30E] = black
    color[0x30E:0x310] = white, white
    entries = [
        text(0x06, MODEL),
        text(0x07, "Firmware Version 1.0.2"),
        text(0x09, "Test Owner"),
        long(0x10, MODEL_ID),
        text(0x95, LENS),
        short(0xE0, *sensor),
        short(0x4001, *color),
    ]
    return build_directory(entries, position) + b"II*\0" + struct.pack("<I", position)


def add_exif(tiff: TiffFile, metadata: bool, size: tuple[int, int], maker_note: list[Entry]) -> list[Entry]:
    """Append the Exif and GPS IFDs and return IFD0's pointers to them."""
    exif = list_exif_entries(*size) + maker_note if metadata else maker_note
    pointers = [long(0x8769, tiff.add_directory(exif))] if exif else []
    if metadata:
        pointers.append(long(0x8825, tiff.add_directory(list_gps_entries())))
    return pointers


def list_thumbnail_entries(pixels_at: int, bits: int) -> list[Entry]:
    """Return the entries of an uncompressed RGB thumbnail of THUMBNAIL_SIZE."""
    height, width = THUMBNAIL_SIZE
    return [
        short(0x0100, width),
        short(0x0101, height),
        short(0x0102, bits, bits, bits),
        short(0x0103, 1),
        short(0x0106, 2),
        long(0x0111, pixels_at),
        short(0x0115, 3),
        short(0x0116, height),
        long(0x0117, height * width * 3 * bits // 8),
    ]
