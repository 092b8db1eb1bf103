"""Files full of metadata, in either byte order.

The builder shares nothing with the package. Every value is invented. Sources: TIFF 6.0, Exif 2.32, IIM 4, XMP part 3.
"""

from __future__ import annotations

import io
import struct

from PIL import Image
from png_blocks import Chunk, pack_png, pack_rows

Entry = tuple[int, int, int, bytes]

IPTC = b"\x1c\x02\x05\x00\x0bDer Titel 1" + b"\x1c\x02\x78\x00\x0cEin Untertxt"
DATE = "2024:03:05 11:22:33"
LENS = "EF50mm f/1.4 USM"


def make_xmp(orientation: int = 6) -> bytes:
    """An XMP packet that repeats facts of the stored picture as attributes and elements."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        f' xmlns:exif="http://ns.adobe.com/exif/1.0/" xmp:Rating="4" tiff:Orientation="{orientation}">'
        "<exif:PixelXDimension>4321</exif:PixelXDimension><exif:PixelYDimension>1234</exif:PixelYDimension>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>" + " \n" * 200 + '<?xpacket end="w"?>'
    ).encode()


class Builder:
    """Lays out TIFF directories in one byte order."""

    def __init__(self, order: str) -> None:
        """Choose "<" or ">"."""
        self.order = order

    def text(self, tag: int, value: str) -> Entry:
        """ASCII."""
        data = value.encode() + b"\0"
        return tag, 2, len(data), data

    def raw(self, tag: int, value: bytes, kind: int = 7) -> Entry:
        """Bytes as they are: UNDEFINED, or BYTE."""
        return tag, kind, len(value), value

    def short(self, tag: int, *values: int) -> Entry:
        """16-bit numbers."""
        return tag, 3, len(values), struct.pack(f"{self.order}{len(values)}H", *values)

    def long(self, tag: int, *values: int) -> Entry:
        """32-bit numbers."""
        return tag, 4, len(values), struct.pack(f"{self.order}{len(values)}I", *values)

    def rational(self, tag: int, *pairs: tuple[int, int]) -> Entry:
        """Fractions, not reduced."""
        return tag, 5, len(pairs), b"".join(struct.pack(self.order + "II", *pair) for pair in pairs)

    def directory(self, entries: list[Entry], position: int, sort: bool = True) -> bytes:
        """A directory for a place, its values behind it."""
        table, values = struct.pack(self.order + "H", len(entries)), b""
        start = position + 6 + 12 * len(entries)
        for tag, kind, count, data in sorted(entries) if sort else entries:
            field = data.ljust(4, b"\0")
            if len(data) > 4:
                field = struct.pack(self.order + "I", start + len(values))
                values += data + bytes(len(data) % 2)
            table += struct.pack(self.order + "HHI", tag, kind, count) + field
        return table + bytes(4) + values

    def header(self, first: int) -> bytes:
        """The eight bytes that begin a file."""
        return (b"II" if self.order == "<" else b"MM") + struct.pack(self.order + "HI", 42, first)


def build_canon_note(builder: Builder, position: int, *, footer: bool = True, claimed: int | None = None) -> bytes:
    """Canon's note, made for `claimed` (default: `position`), with values of all sizes."""
    place = position if claimed is None else claimed
    entries = [
        builder.text(0x06, "Canon EOS Test"),
        builder.text(0x07, "Firmware Version 1.0.2"),
        builder.text(0x09, "Test Owner"),
        builder.long(0x10, 0x80000349),
        builder.text(0x95, LENS),
        builder.text(0x96, "AB0123456"),
        builder.short(0xB4, 1),
    ]
    note = builder.directory(entries, place)
    mark = b"II*\0" if builder.order == "<" else b"MM\0*"
    return note + (mark + struct.pack(builder.order + "I", place) if footer else b"")


def build_sony_note(builder: Builder, position: int) -> bytes:
    """Sony's note: a header, then a directory whose offsets count from the file's start; 0x2001 is a preview."""
    header = b"SONY DSC \0\0\0"
    entries = [
        builder.long(0x0102, 7),
        builder.text(0xB020, "Standard-Test"),
        builder.raw(0x2001, b"\xff\xd8preview\xff\xd9"),
        builder.long(0xB027, 32812),
    ]
    return header + builder.directory(entries, position + len(header))


def build_source(
    order: str = "<", *, make: str = "Canon", orientation: int = 6, note: str = "canon", moved: int = 0
) -> bytes:
    """A small gray TIFF with every kind of metadata, and a second directory as a thumbnail.

    Args:
        order: "<" or ">".
        make: The camera's maker.
        orientation: EXIF Orientation.
        note: "canon", "sony", "own" (offsets of its own, like Nikon's) or "none".
        moved: How far Canon's note was moved by a program that left its offsets alone.
    """
    builder = Builder(order)
    pixels_at, width, height = 8, 6, 4
    body = builder.header(0) + bytes(range(width * height))
    interop_at = len(body)
    body += builder.directory([builder.text(1, "R98"), builder.raw(2, b"0100")], interop_at)
    gps_at = len(body)
    gps = [
        builder.raw(0, bytes((2, 3, 0, 0)), 1),
        builder.text(1, "N"),
        builder.rational(2, (48, 1), (51, 1), (30123, 1000)),
        builder.text(3, "E"),
        builder.rational(4, (2, 1), (17, 1), (40777, 1000)),
    ]
    body += builder.directory(gps, gps_at)
    note_at = len(body)
    notes = {
        "canon": build_canon_note(builder, note_at, claimed=note_at - moved),
        "sony": build_sony_note(builder, note_at),
        "own": b"Nikon\0\2\x10\0\0MM\0*\0\0\0\x08\0\1\0\1\0\7\0\0\0\x040211\0\0\0\0",
        "none": b"",
    }
    body += notes[note] + bytes(len(notes[note]) % 2)
    exif_at = len(body)
    exif = [
        builder.rational(0x829A, (10, 2000)),
        builder.rational(0x829D, (14, 10)),
        builder.short(0x8827, 400),
        builder.raw(0x9000, b"0232"),
        builder.text(0x9003, DATE),
        builder.text(0x9011, "+02:00"),
        builder.raw(0x9286, b"UNICODE\0" + "Grüße, 写真".encode("utf-16-le" if order == "<" else "utf-16-be")),
        builder.text(0x9291, "42"),
        builder.short(0xA001, 1),
        builder.long(0xA002, width),
        builder.long(0xA003, height),
        builder.long(0xA005, interop_at),
        builder.text(0xA431, "012345678901"),
        builder.rational(0xA432, (50, 1), (50, 1), (14, 10), (14, 10)),
        builder.text(0xA434, LENS),
    ]
    exif_directory = builder.directory(exif, exif_at)
    if notes[note]:
        # the note lies elsewhere: its entry carries its offset
        entry = (0x927C, 7, len(notes[note]), b"")
        exif_directory = insert_stored(builder, exif, entry, note_at, exif_at)
    body += exif_directory
    first_at = len(body)
    first = [
        builder.long(0x100, width),
        builder.long(0x101, height),
        builder.short(0x102, 8),
        builder.short(0x103, 1),
        builder.short(0x106, 1),
        builder.text(0x10E, "A description: ünïcode"),
        builder.text(0x10F, make),
        builder.text(0x110, f"{make} Test 1"),
        builder.long(0x111, pixels_at),
        builder.short(0x112, orientation),
        builder.short(0x115, 1),
        builder.short(0x116, height),
        builder.long(0x117, width * height),
        builder.rational(0x11A, (300, 1)),
        builder.rational(0x11B, (300, 1)),
        builder.short(0x128, 2),
        builder.text(0x131, "Firmware 9.9"),
        builder.text(0x132, DATE),
        builder.text(0x13B, "Test Artist"),
        builder.raw(0x2BC, make_xmp(orientation), 1),
        builder.short(0x4746, 4),
        builder.text(0x8298, "(c) Test"),
        builder.raw(0x83BB, IPTC),
        builder.long(0x8769, exif_at),
        builder.long(0x8825, gps_at),
        builder.raw(0xC62F, b"SN-77\0", 2),
    ]
    body += builder.directory(first, first_at)
    second_at = len(body)
    body += builder.directory([builder.long(0x201, 8), builder.long(0x202, 24)], second_at)
    body = builder.header(first_at) + body[8:]
    link_at = first_at + 2 + 12 * len(first)
    return body[:link_at] + struct.pack(order + "I", second_at) + body[link_at + 4 :]


def insert_stored(builder: Builder, entries: list[Entry], stored: Entry, value_at: int, position: int) -> bytes:
    """A directory with one more entry, whose value lies at `value_at`."""
    placeholder = (stored[0], 4, 1, struct.pack(builder.order + "I", value_at))
    directory = builder.directory([*entries, placeholder], position)
    index = sorted(entry[0] for entry in [*entries, placeholder]).index(stored[0])
    head = struct.pack(builder.order + "HHI", *stored[:3])
    at = 2 + 12 * index
    return directory[:at] + head + directory[at + 8 :]


def wrap_in_jpeg(*segments: tuple[int, bytes]) -> bytes:
    """A small JPEG with segments (marker, content) before its picture."""
    packed = b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments)
    picture = io.BytesIO()
    Image.new("RGB", (6, 4), "gray").save(picture, "JPEG")
    return b"\xff\xd8" + packed + picture.getvalue()[2:]


def wrap_in_png(*chunks: Chunk) -> bytes:
    """A PNG of one pixel with chunks (kind, content) before its data."""
    return pack_png((1, 1), 0, 8, pack_rows([b"\0"]), *chunks)


def box(kind: bytes, data: bytes) -> bytes:
    """A box of a CR3."""
    return struct.pack(">I", len(data) + 8) + kind + data


def build_track(width: int, height: int, frames: int, *, codec: bytes = b"CMP1") -> bytes:
    """A track of a CR3 as Canon writes it, reduced to the boxes that say what it holds."""
    fields = struct.pack(">HHHHII", 0xFFFF, 0x30, 0x100, 0, width, height)
    entry = bytes(82) + box(codec, fields.ljust(52, b"\0"))
    description = box(b"stsd", struct.pack(">II", 0, 1) + box(b"CRAW", entry))
    sizes = box(b"stsz", struct.pack(">III", 0, 0, frames) + bytes(4 * frames))
    return box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", description + sizes))))


def build_cr3(*tracks: bytes) -> bytes:
    """The metadata boxes of a CR3, and tracks without a picture."""

    def part(*entries: tuple[int, int, int, bytes]) -> bytes:
        return builder.header(8) + builder.directory(list(entries), 8)

    builder = Builder("<")
    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48") + b"".join(
        (
            box(b"CNCV", b"CanonCR3_001/00.09.00/00.00.00"),
            box(b"CMT1", part(builder.text(0x10F, "Canon"), builder.short(0x112, 8))),
            box(b"CMT2", part(builder.rational(0x829D, (14, 10)), builder.text(0xA434, LENS))),
            box(b"CMT3", part(builder.text(0x07, "Firmware Version 1.0.2"), builder.long(0xB6, 5, 6, 7))),
            box(b"CMT4", part(builder.text(1, "N"))),
        )
    )
    xmp = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + make_xmp() + bytes(100)
    moov = box(b"moov", box(b"uuid", canon) + b"".join(tracks))
    return box(b"ftyp", b"crx \0\0\0\1crx isom") + moov + box(b"uuid", xmp) + box(b"mdat", b"")
