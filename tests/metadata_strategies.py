"""Arbitrary metadata for Hypothesis: EXIF, GPS, maker note, XMP, IPTC and a profile, and files around them.

Every value is drawn; only which tags exist, and their types, come from Exif 2.32, TIFF 6.0 and IIM 4. The layout is
the tests' own and shares nothing with the package.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from typing import Any

from hypothesis import strategies as st
from metadata_sources import (
    Builder,
    Entry,
    build_canon_note,
    build_sony_note,
    insert_stored,
    wrap_in_jpeg,
)
from PIL import ImageCms
from png_blocks import Chunk, pack_png, pack_rows

from dpdeblur.colour.spaces import COLOUR_SPACES

WIDTH_PX, HEIGHT_PX = 3, 2
#: RGB, 8 bits, every value once.
PIXELS = bytes(range(0, 18 * 14, 14))

ASCII, SHORT, LONG, RATIONAL, BYTE, UNDEFINED, SIGNED_RATIONAL = 2, 3, 4, 5, 1, 7, 10

#: Tag -> type and count; a count of 0 is any.
IFD0_TAGS = {
    **dict.fromkeys((0x10E, 0x110, 0x131, 0x132, 0x13B, 0x13C, 0x8298), (ASCII, 0)),
    **dict.fromkeys((0x11A, 0x11B), (RATIONAL, 1)),
    **dict.fromkeys((0x128, 0x4746, 0x4749), (SHORT, 1)),
    **dict.fromkeys((0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F), (BYTE, 0)),
}
EXIF_TAGS = {
    **dict.fromkeys((0x829A, 0x829D, 0x9102, 0x9202, 0x9205, 0x9206, 0x920A, 0xA20B, 0xA20E, 0xA404), (RATIONAL, 1)),
    **dict.fromkeys((0x9201, 0x9203, 0x9204), (SIGNED_RATIONAL, 1)),
    **dict.fromkeys((0x8822, 0x9207, 0x9208, 0x9209, 0xA217, 0xA401, 0xA402, 0xA403, 0xA406, 0xA40C), (SHORT, 1)),
    0x8827: (SHORT, 2),
    0x9214: (SHORT, 4),
    **dict.fromkeys((0x8831, 0x8832, 0x8833), (LONG, 1)),
    # dates, their sub-seconds and their offsets from UTC
    **dict.fromkeys((0x9003, 0x9004, 0x9290, 0x9291, 0x9292, 0x9010, 0x9011, 0x9012), (ASCII, 0)),
    **dict.fromkeys((0xA420, 0xA430, 0xA431, 0xA433, 0xA434, 0xA435), (ASCII, 0)),
    0xA432: (RATIONAL, 4),
    0x9000: (UNDEFINED, 4),
    0x9101: (UNDEFINED, 4),
    0xA300: (UNDEFINED, 1),
    0x9286: (UNDEFINED, 0),
    0xA40B: (UNDEFINED, 0),
}
GPS_TAGS = {
    0x00: (BYTE, 4),
    **dict.fromkeys((0x01, 0x03, 0x08, 0x09, 0x0A, 0x0C, 0x0E, 0x10, 0x12, 0x1D), (ASCII, 0)),
    **dict.fromkeys((0x02, 0x04, 0x07), (RATIONAL, 3)),
    **dict.fromkeys((0x06, 0x0B, 0x0D, 0x0F, 0x11, 0x1F), (RATIONAL, 1)),
    0x05: (BYTE, 1),
    0x1B: (UNDEFINED, 0),
    0x1E: (SHORT, 1),
}

_words = st.text(
    st.characters(codec="utf-8", exclude_categories=("C",), exclude_characters="\u2028\u2029"), min_size=1, max_size=30
)
_comments = st.one_of(
    st.tuples(st.just(b"UNICODE\0"), _words),
    st.tuples(st.just(b"ASCII\0\0\0"), st.text("abc XYZ-09", min_size=1)),
    st.tuples(st.just(bytes(8)), st.text("abc XYZ-09")),
)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a photo says about itself, as drawn.

    Attributes:
        order: "<" or ">".
        orientation: 1 to 8.
        make: The camera's maker.
        ifd0: The entries of the first directory, without orientation, make and pointers.
        exif: The entries of the EXIF directory, without the maker note.
        gps: The entries of the GPS directory.
        note: The kind of maker note: "canon", "sony", "own" or "none".
        xmp: A packet, or None.
        iptc: Records, or None.
        icc: A profile, or None.
    """

    order: str
    orientation: int
    make: str
    ifd0: tuple[Entry, ...]
    exif: tuple[Entry, ...]
    gps: tuple[Entry, ...]
    note: str
    xmp: bytes | None
    iptc: bytes | None
    icc: bytes | None


@st.composite
def draw_entry(draw: st.DrawFn, order: str, tag: int, kind: int, count: int) -> Entry:
    """Draw an entry's value."""
    if tag == 0x9286:
        code, text = draw(_comments)
        encoding = {"<": "utf-16-le", ">": "utf-16-be"}[order] if code == b"UNICODE\0" else "ascii"
        value = code + text.encode(encoding)
    elif kind == ASCII:
        value = draw(_words).encode() + b"\0"
    elif kind in (BYTE, UNDEFINED):
        value = draw(st.binary(min_size=count or 1, max_size=count or 40))
    else:
        code, size = {SHORT: ("H", 1), LONG: ("I", 1), RATIONAL: ("I", 2), SIGNED_RATIONAL: ("i", 2)}[kind]
        bounds = {"H": (0, 2**16 - 1), "I": (0, 2**32 - 1), "i": (-(2**31), 2**31 - 1)}[code]
        numbers = [draw(st.integers(*bounds)) for _ in range(size * count)]
        value = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
    unit = {ASCII: 1, BYTE: 1, UNDEFINED: 1, SHORT: 2, LONG: 4, RATIONAL: 8, SIGNED_RATIONAL: 8}[kind]
    return tag, kind, len(value) // unit, value


@st.composite
def draw_entries(draw: st.DrawFn, order: str, tags: dict[int, tuple[int, int]]) -> tuple[Entry, ...]:
    """Draw some entries of a directory."""
    chosen = draw(st.lists(st.sampled_from(sorted(tags)), unique=True, max_size=8))
    return tuple(draw(draw_entry(order, tag, *tags[tag])) for tag in sorted(chosen))


@st.composite
def draw_facts(draw: st.DrawFn) -> Facts:
    """Draw what a photo says about itself."""
    order = draw(st.sampled_from("<>"))
    make, note = draw(
        st.sampled_from(
            [("Canon", "canon"), ("SONY", "sony"), ("NIKON CORPORATION", "own"), ("Acme", "none"), ("Canon", "none")]
        )
    )
    attributes = draw(st.dictionaries(st.sampled_from(["title", "label", "city"]), _words, max_size=3))
    records = draw(st.lists(st.tuples(st.sampled_from([5, 25, 80, 105, 120]), _words), max_size=4))
    profiles = [None, *(space.icc for space in COLOUR_SPACES.values())]
    profiles.append(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return Facts(
        order=order,
        orientation=draw(st.integers(1, 8)),
        make=make,
        ifd0=draw(draw_entries(order, IFD0_TAGS)),
        exif=draw(draw_entries(order, EXIF_TAGS)),
        gps=draw(draw_entries(order, GPS_TAGS)),
        note=note,
        xmp=_build_xmp(attributes) if attributes else None,
        iptc=b"".join(_build_record(number, text.encode()) for number, text in records) or None,
        icc=draw(st.sampled_from(profiles)),
    )


def _build_xmp(attributes: dict[str, str]) -> bytes:
    def escape(text: str) -> str:
        return "".join(letter if letter.isalnum() else f"&#{ord(letter)};" for letter in text)

    listed = "".join(f' t:{name}="{escape(text)}"' for name, text in attributes.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        f' xmlns:t="http://example.org/t/"{listed}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def _build_record(number: int, text: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text


def build_directories(facts: Facts, body: bytes, stored: list[Entry]) -> bytes:
    """A TIFF structure: `body` begins with eight bytes for the header; directories follow, `stored` in the first."""
    builder = Builder(facts.order)
    body += bytes(len(body) % 2)
    first = [*facts.ifd0, builder.text(0x10F, facts.make), builder.short(0x112, facts.orientation), *stored]
    if facts.gps:
        first.append(builder.long(0x8825, len(body)))
        body += builder.directory([*facts.gps], len(body))
    if facts.exif or facts.note != "none":
        note_at = len(body)
        note = {
            "canon": lambda: build_canon_note(builder, note_at),
            "sony": lambda: build_sony_note(builder, note_at),
            "own": lambda: b"Nikon\0\2\x10\0\0MM\0*\0\0\0\x08\0\1\0\1\0\7\0\0\0\x040211\0\0\0\0",
            "none": lambda: b"",
        }[facts.note]()
        body += note + bytes(len(note) % 2)
        first.append(builder.long(0x8769, len(body)))
        if note:
            body += insert_stored(builder, [*facts.exif], (0x927C, 7, len(note), b""), note_at, len(body))
        else:
            body += builder.directory([*facts.exif], len(body))
    return builder.header(len(body)) + body[8:] + builder.directory(first, len(body))


def build_tiff(facts: Facts) -> bytes:
    """A TIFF of `PIXELS` with the facts."""
    builder = Builder(facts.order)
    stored = [
        builder.long(0x100, WIDTH_PX),
        builder.long(0x101, HEIGHT_PX),
        builder.short(0x102, 8, 8, 8),
        builder.short(0x103, 1),
        builder.short(0x106, 2),
        builder.long(0x111, 8),
        builder.short(0x115, 3),
        builder.short(0x116, HEIGHT_PX),
        builder.long(0x117, len(PIXELS)),
    ]
    stored += [builder.raw(0x2BC, facts.xmp, 1)] if facts.xmp else []
    stored += [builder.raw(0x83BB, facts.iptc)] if facts.iptc else []
    stored += [builder.raw(0x8773, facts.icc)] if facts.icc else []
    return build_directories(facts, bytes(8) + PIXELS, stored)


def build_png(facts: Facts) -> bytes:
    """A PNG of `PIXELS` with the facts."""
    chunks: list[Chunk] = [(b"iCCP", b"a name\0\0" + zlib.compress(facts.icc))] if facts.icc else []
    chunks.append((b"eXIf", build_directories(facts, bytes(8), [])))
    chunks += [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + facts.xmp)] if facts.xmp else []
    if facts.iptc:
        digits = b"\niptc\n%8d\n" % len(facts.iptc) + facts.iptc.hex().encode() + b"\n"
        chunks.append((b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(digits)))
    return pack_png((WIDTH_PX, HEIGHT_PX), 2, 8, pack_rows([PIXELS[:9], PIXELS[9:]]), *chunks)


def build_jpeg(facts: Facts) -> bytes:
    """A JPEG of some picture with the facts."""
    segments: list[tuple[int, bytes]] = [(0xE1, b"Exif\0\0" + build_directories(facts, bytes(8), []))]
    segments += [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + facts.xmp)] if facts.xmp else []
    segments += [(0xE2, b"ICC_PROFILE\0\1\1" + facts.icc)] if facts.icc else []
    if facts.iptc:
        resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(facts.iptc)) + facts.iptc + bytes(len(facts.iptc) % 2)
        segments.append((0xED, b"Photoshop 3.0\0" + resource))
    return wrap_in_jpeg(*segments)


#: Suffix -> the builder of a source.
SOURCES: dict[str, Any] = {".tif": build_tiff, ".png": build_png, ".jpg": build_jpeg}
