"""The graft: a photo's metadata, changed where the result differs from the photo, laid out for the file to be written.

Entries go through as raw bytes, in the source's byte order. What changes: Orientation (1: the pixels are upright), the
pixel dimensions, ColorSpace where it would contradict the result's profile, and Software. The thumbnail, previews and
pointers to them never come this far.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from dpdeblur.containers.directories import (
    Entry,
    make_bytes,
    make_long,
    make_short,
    make_text,
    pack_directory,
    read_number,
)
from dpdeblur.metadata.entries import EXIF_POINTER, GPS_POINTER, INTEROP_POINTER, MAKER_NOTE, ORIENTATION, Metadata
from dpdeblur.metadata.maker_note import pack_maker_note
from dpdeblur.writers.picture import Picture

_DESCRIPTION, _SOFTWARE = 270, 305
_COLOUR_SPACE, _PIXEL_WIDTH, _PIXEL_HEIGHT = 40961, 40962, 40963
_SRGB, _UNCALIBRATED = 1, 65535

#: The same facts in an XMP packet, as an attribute or as an element.
_XMP_FACT = rb"""(\b(?:%s)\s*(?:=\s*["']|>\s*))\d+"""


def describe_result(metadata: Metadata, picture: Picture, software: str, description: str | None) -> Metadata:
    """Return the metadata that fits the result.

    Args:
        metadata: The photo's.
        picture: The result.
        software: The text of the tag Software.
        description: The text of ImageDescription where the photo has none, or None.
    """
    order = metadata.byte_order
    ifd0 = _replace(metadata.ifd0, [make_short(ORIENTATION, 1, order), make_text(_SOFTWARE, software)])
    if description is not None and all(entry.tag != _DESCRIPTION for entry in ifd0):
        ifd0 = (*ifd0, make_text(_DESCRIPTION, description))
    exif = metadata.exif
    if exif:
        facts = [make_long(_PIXEL_WIDTH, picture.width, order), make_long(_PIXEL_HEIGHT, picture.height, order)]
        declared = next((read_number(entry, order) for entry in exif if entry.tag == _COLOUR_SPACE), None)
        is_srgb = picture.space.name == "srgb"
        if declared is not None and (declared == _SRGB) != is_srgb:
            facts.append(make_short(_COLOUR_SPACE, _SRGB if is_srgb else _UNCALIBRATED, order))
        exif = _replace(exif, facts)
    xmp = None if metadata.xmp is None else _describe_xmp(metadata.xmp, picture)
    return dataclasses.replace(metadata, ifd0=ifd0, exif=exif, xmp=xmp, icc=picture.icc, orientation=1)


def _replace(entries: tuple[Entry, ...], facts: list[Entry]) -> tuple[Entry, ...]:
    tags = {entry.tag for entry in facts}
    return (*(entry for entry in entries if entry.tag not in tags), *facts)


def _describe_xmp(xmp: bytes, picture: Picture) -> bytes:
    facts = {
        b"tiff:Orientation": 1,
        b"tiff:ImageWidth|exif:PixelXDimension": picture.width,
        b"tiff:ImageLength|exif:PixelYDimension": picture.height,
    }
    for names, number in facts.items():
        xmp = re.sub(_XMP_FACT % names, rb"\g<1>%d" % number, xmp)
    return xmp


def trim_xmp(xmp: bytes) -> bytes:
    """Return an XMP packet without the padding that is left for editing it in place."""
    packet, end, rest = xmp.rpartition(b"<?xpacket end")
    return packet.rstrip() + b"\n" + end + rest if end else xmp


def pack_directories(metadata: Metadata, ifd0: Iterable[Entry], offset: int) -> bytes:
    """Lay out a first directory and those that it leads to.

    Args:
        metadata: Where the EXIF, GPS and interoperability directories and the maker note come from.
        ifd0: The entries of the first directory, without pointers, in any order.
        offset: Where the first directory will begin, counted like all offsets in it; even.

    Returns:
        The bytes to write there.
    """

    def pack(entries: Iterable[Entry], at: int) -> tuple[bytes, dict[int, int]]:
        return pack_directory(sorted(entries, key=lambda entry: entry.tag), metadata.byte_order, at)

    def point(tag: int, at: int) -> Entry:
        return make_long(tag, at, metadata.byte_order)

    note = metadata.maker_note
    has_exif = bool(metadata.exif or metadata.interop or note)
    # the lengths depend on no address: lay out without addresses first, then with them
    interop_size = len(pack(metadata.interop, 0)[0]) if metadata.interop else 0
    gps_size = len(pack(metadata.gps, 0)[0]) if metadata.gps else 0
    exif = [*metadata.exif]
    if metadata.interop:
        exif.append(point(INTEROP_POINTER, 0))
    if note is not None:
        exif.append(make_bytes(MAKER_NOTE, pack_maker_note(note, 0)))
    first = [*ifd0]
    first += [point(EXIF_POINTER, 0)] if has_exif else []
    first += [point(GPS_POINTER, 0)] if metadata.gps else []
    interop_at = offset + len(pack(first, 0)[0])
    gps_at = interop_at + interop_size
    exif_at = gps_at + gps_size

    if metadata.interop:
        exif = [*_replace(tuple(exif), [point(INTEROP_POINTER, interop_at)])]
    if note is not None:
        place = pack(exif, exif_at)[1][MAKER_NOTE]
        exif = [*_replace(tuple(exif), [make_bytes(MAKER_NOTE, pack_maker_note(note, place))])]
    if has_exif:
        first = [*_replace(tuple(first), [point(EXIF_POINTER, exif_at)])]
    if metadata.gps:
        first = [*_replace(tuple(first), [point(GPS_POINTER, gps_at)])]
    packed = pack(first, offset)[0]
    packed += pack(metadata.interop, interop_at)[0] if metadata.interop else b""
    packed += pack(metadata.gps, gps_at)[0] if metadata.gps else b""
    return packed + (pack(exif, exif_at)[0] if has_exif else b"")


def pack_exif(metadata: Metadata) -> bytes:
    """Return EXIF as a TIFF structure of its own, as JPEG and PNG embed it."""
    header = b"II*\0\x08\0\0\0" if metadata.byte_order == "<" else b"MM\0*\0\0\0\x08"
    return header + pack_directories(metadata, metadata.ifd0, len(header))


def wrap_iptc(iptc: bytes) -> bytes:
    """Return IPTC records as Photoshop's image resource 0x0404, the form in which JPEG and PNG hold them."""
    return b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4, "big") + iptc + bytes(len(iptc) % 2)
