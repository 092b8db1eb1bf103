"""EXIF and its kin as a photo carries them: raw entries, never strings, so that nothing changes on the way."""

from __future__ import annotations

import dataclasses
from typing import Literal

ByteOrder = Literal["<", ">"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of a TIFF directory.

    Attributes:
        tag: Its number.
        type: TIFF's type code (1 to 13).
        value: The value's bytes, in the byte order of the directory.
    """

    tag: int
    type: int
    value: bytes


@dataclasses.dataclass(frozen=True)
class MakerNote:
    """A camera maker's private directory (EXIF tag 37500).

    Attributes:
        prefix: The bytes before the directory; the whole note where `entries` is empty: such notes count their offsets
            from their own start, or are not understood, and are copied as they are.
        entries: The directory of a note whose offsets count from the file's start: it is laid out anew when written.
        byte_order: The note's own, which can differ from the file's.
        footer: Whether the note ends in Canon's footer, which repeats the note's own offset.
    """

    prefix: bytes
    entries: tuple[Entry, ...] = ()
    byte_order: ByteOrder = "<"
    footer: bool = False


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a file says about its photo, as it was found.

    Attributes:
        byte_order: "<" or ">", of all entries except the maker note's.
        ifd0: The entries of the first directory that describe the photo; none that describe the stored picture.
        exif: The EXIF directory without its maker note and pointers.
        gps: The GPS directory.
        interop: The interoperability directory.
        maker_note: The maker note, or None.
        xmp: The XMP packet, or None.
        iptc: The IPTC (IIM) records, or None.
        icc: The colour profile, or None.
        orientation: EXIF Orientation, 1 to 8.
        warnings: What was damaged and could not be kept, one sentence each.
    """

    byte_order: ByteOrder = "<"
    ifd0: tuple[Entry, ...] = ()
    exif: tuple[Entry, ...] = ()
    gps: tuple[Entry, ...] = ()
    interop: tuple[Entry, ...] = ()
    maker_note: MakerNote | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    icc: bytes | None = None
    orientation: int = 1
    warnings: tuple[str, ...] = ()


EMPTY_METADATA = Metadata()
