"""EXIF and its kin as a photo carries them: raw entries, never strings, so that nothing changes on the way.

`read_metadata` reads every kind of file that the program reads; `writers.metadata` puts the result into what it writes.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import struct
from collections.abc import Callable
from pathlib import Path

from dpdeblur.containers import Blocks, find_in_cr3, find_in_jpeg, find_in_png, find_in_raf
from dpdeblur.containers.directories import (
    TYPE_BYTES,
    ByteOrder,
    DamagedError,
    Directory,
    Entry,
    Source,
    read_directory,
    read_header,
    read_number,
)
from dpdeblur.errors import ReadError
from dpdeblur.metadata.maker_note import MakerNote, drop_pointers, read_maker_note

__all__ = ["EMPTY_METADATA", "ByteOrder", "Entry", "MakerNote", "Metadata", "read_metadata"]

MAKE, ORIENTATION, XMP, IPTC, PHOTOSHOP, ICC = 271, 274, 700, 33723, 34377, 34675
EXIF_POINTER, GPS_POINTER, INTEROP_POINTER, MAKER_NOTE = 34665, 34853, 40965, 37500
DNG_PRIVATE_DATA = 50740

#: What of the first directory describes the photo: an allowed list, because the rest describes how the pixels were
#: stored, points into the old file, or (DNG's own tags) would make other programs take the result for a raw.
_DESCRIPTIVE = frozenset(
    (
        *(269, 270, MAKE, 272, ORIENTATION, 282, 283, 285, 296, 305, 306, 315, 316),  # TIFF 6.0
        *(18246, 18247, 18249, 33432, 33434, 33437, 50341),  # ratings, copyright, exposure time, aperture, PrintIM
        *(40091, 40092, 40093, 40094, 40095),  # Windows' title, comment, author, keywords, subject
        *(50708, 50709, 50735, 50736, DNG_PRIVATE_DATA, 50827),  # DNG: camera, serial number, lens, name of the raw
    )
)
#: EXIF's own tags, which TIFF/EP, DNG and NEF keep in the first directory, without the ones that describe storage.
_EXIF_TAGS = frozenset((*range(34850, 34867), *range(36864, 37523), *range(37888, 37894), *range(41483, 42241)))
#: The colours of a file without a profile: TransferFunction, WhitePoint, PrimaryChromaticities.
_COLORIMETRY = (301, 318, 319)
#: Tags from here on belong to companies, but for these: depth and matte of old, mosaics, DNG, padding.
_FIRST_PRIVATE = 32768
_PRIVATE_STORAGE = (range(32995, 32999), range(33421, 33423), range(50706, 51201), range(52500, 52701), (59932, 59933))
_LONGEST_LIST = 5
_PACKETS = frozenset((EXIF_POINTER, GPS_POINTER, XMP, IPTC, PHOTOSHOP, ICC))
_STORAGE = frozenset((MAKER_NOTE, INTEROP_POINTER, EXIF_POINTER, GPS_POINTER, 37398, 59932, 59933))


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


def _find_in_tiff(source: Source, blocks: Blocks) -> None:
    blocks.tiff = source


def _find_nothing(source: Source, blocks: Blocks) -> None:
    """Bare sensor values: the format has no metadata."""


def _find_ciff(source: Source, blocks: Blocks) -> None:
    blocks.warnings.append("A CRW holds its metadata in a form of its own; none was carried over.")


#: Signature, where it stands, and who finds the blocks.
_CONTAINERS: tuple[tuple[bytes, int, Callable[[Source, Blocks], None]], ...] = (
    (b"\xff\xd8\xff", 0, find_in_jpeg),
    (b"\x89PNG\r\n\x1a\n", 0, find_in_png),
    (b"ftypcrx ", 4, find_in_cr3),
    (b"FUJIFILMCCD-RAW ", 0, find_in_raf),
    (b"P5", 0, _find_nothing),
    (b"II\x1a\0", 0, _find_ciff),
    (b"II", 0, _find_in_tiff),
    (b"MM", 0, _find_in_tiff),
)


def read_metadata(path: Path) -> Metadata:
    """Read what a file says about its photo.

    Args:
        path: A TIFF-structured file (TIFF, DNG, CR2 and most raws), JPEG, PNG, CR3, RAF or PGM; of any other kind
            nothing is read, with a warning.

    Returns:
        The metadata. What is damaged is left out, with a warning: metadata never fails a photo.

    Raises:
        ReadError: The file cannot be opened or read at all.
    """
    try:
        if path.exists() and not path.is_file():
            raise ReadError("is no ordinary file", path=path, remedy="give photos")
        with path.open("rb") as file:
            source = Source(file, 0, os.fstat(file.fileno()).st_size)
            return _Assembly(source).finish()
    except OSError as error:
        remedy = "check the path and its permissions"
        raise ReadError(f"cannot be read ({error.strerror})", path=path, remedy=remedy) from error


class _Assembly:
    """Puts the blocks of one file together: every step keeps what it got and notes what it lost."""

    def __init__(self, source: Source) -> None:
        self.directories: dict[str, tuple[Entry, ...]] = {}
        self.byte_order: ByteOrder = "<"
        self.maker_note: MakerNote | None = None
        self.warnings: list[str] = []
        self.blocks = Blocks()
        start = source.read(0, min(source.size, 16))
        find = next((finder for mark, place, finder in _CONTAINERS if start[place:].startswith(mark)), None)
        if find is None:
            self.warnings.append("The metadata of this kind of file is not understood; none was carried over.")
            return
        self.attempt("metadata", lambda: find(source, self.blocks))
        if self.blocks.tiff is not None:
            tiff = self.blocks.tiff
            self.attempt("EXIF", lambda: self.take_tiff(tiff))
        for name, part in self.blocks.parts.items():
            self.attempt(f"{name} part", functools.partial(self.take_part, name, part))
        self.warnings += self.blocks.warnings

    def attempt(self, name: str, step: Callable[[], object]) -> None:
        """Take a step; damage ends it and becomes a warning."""
        try:
            step()
        except DamagedError as error:
            self.warnings.append(f"The {name} is damaged and was left out in part or whole: {error}.")

    def finish(self) -> Metadata:
        """Return the result."""
        number = read_number(_find(self.directories.get("ifd0", ()), ORIENTATION), self.byte_order)
        if number is not None and not 1 <= number <= 8:
            self.warnings.append(f"The orientation {number} does not exist; the photo was taken as upright.")
            number = None
        return Metadata(
            byte_order=self.byte_order,
            ifd0=self.directories.get("ifd0", ()),
            exif=self.directories.get("exif", ()),
            gps=self.directories.get("gps", ()),
            interop=self.directories.get("interop", ()),
            maker_note=self.maker_note,
            xmp=self.blocks.xmp,
            iptc=self.blocks.iptc,
            icc=self.blocks.icc,
            orientation=number or 1,
            warnings=tuple(self.warnings),
        )

    def keep(self, name: str, directory: Directory) -> None:
        """Keep what of a directory belongs to the photo."""
        is_kept = _IS_KEPT.get(name, _is_any)
        wanted = [entry for entry in directory.entries if is_kept(entry)]
        self.directories[name] = tuple(entry for entry in wanted if entry.type in TYPE_BYTES)
        lost = directory.lost + len(wanted) - len(self.directories[name])  # BigTIFF's own types have no other form
        if lost:
            self.warnings.append(f"{lost} damaged entries of the {name} directory were left out.")

    def take_tiff(self, source: Source) -> None:
        """Follow a TIFF structure's first directory to the others."""
        header = read_header(source)
        self.byte_order = header.byte_order
        read = functools.partial(read_directory, source, byte_order=header.byte_order, big=header.big)
        tags: list[int] = []

        def is_wanted(tag: int) -> bool:
            tags.append(tag)
            return _is_wanted(tag)

        first = read(header.first, wanted=is_wanted)
        self.keep("ifd0", first)
        strange = sorted({tag for tag in tags if _is_strange(tag)})
        if strange:
            names = ", ".join(str(tag) for tag in strange[:_LONGEST_LIST]) + (" ..." if strange[_LONGEST_LIST:] else "")
            self.warnings.append(f"Entries that are not known here were left out (tags {names}).")
        self.take_packets(first)

        def follow(directory: Directory, pointer: int, name: str) -> Directory | None:
            offset = read_number(directory.find(pointer), header.byte_order)
            if offset is None:
                return None
            found = read(offset)
            self.keep(name, found)
            return found

        def follow_exif() -> None:
            exif = follow(first, EXIF_POINTER, "exif")
            if exif is not None:
                self.take_maker_note(source, exif)
                self.attempt("interop directory", lambda: follow(exif, INTEROP_POINTER, "interop"))

        self.attempt("gps directory", lambda: follow(first, GPS_POINTER, "gps"))
        self.attempt("exif directory", follow_exif)

    def take_packets(self, first: Directory) -> None:
        """Take XMP, IPTC and the profile from a TIFF's first directory."""
        xmp, iptc, icc, photoshop = (first.find(tag) for tag in (XMP, IPTC, ICC, PHOTOSHOP))
        self.blocks.xmp = xmp.value if xmp else self.blocks.xmp
        self.blocks.icc = icc.value if icc else self.blocks.icc
        if iptc is not None and iptc.value[:1] != b"\x1c" and iptc.value[3:4] == b"\x1c":
            # declared as 32-bit numbers, and swapped by the program that wrote them
            words = struct.unpack(f"<{len(iptc.value) // 4}I", iptc.value[: len(iptc.value) // 4 * 4])
            self.blocks.iptc = struct.pack(f">{len(words)}I", *words)
        elif iptc is not None:
            self.blocks.iptc = iptc.value
        if photoshop is not None:
            self.blocks.take_resources(photoshop.value)

    def take_maker_note(self, source: Source, exif: Directory) -> None:
        """Take the maker note from the EXIF directory."""
        note = exif.find(MAKER_NOTE)
        if note is not None:
            make = _find(self.directories["ifd0"], MAKE)
            self.maker_note, warnings = read_maker_note(
                *(source, exif.places[MAKER_NOTE], note.value, make.value if make else b"", self.byte_order)
            )
            self.warnings += warnings

    def take_part(self, name: str, source: Source) -> None:
        """Take one of CR3's structures; the maker note's directory stands in one of its own."""
        header = read_header(source)
        directory = read_directory(source, header.first, header.byte_order)
        if name == "maker_note":
            self.maker_note = MakerNote(b"", drop_pointers(directory.entries, b"Canon"), header.byte_order)
        elif self.directories and header.byte_order != self.byte_order:
            raise DamagedError("its byte order differs from the rest")
        else:
            self.byte_order = header.byte_order
            self.keep(name, directory)


def _find(entries: tuple[Entry, ...], tag: int) -> Entry | None:
    return next((entry for entry in entries if entry.tag == tag), None)


def _is_wanted(tag: int) -> bool:
    return tag in _DESCRIPTIVE or tag in _EXIF_TAGS or tag in _PACKETS


def _is_strange(tag: int) -> bool:
    """Whether an entry of the first directory is not carried, and said more than how the pixels were stored."""
    if _is_wanted(tag):
        return False
    return tag in _COLORIMETRY or (tag >= _FIRST_PRIVATE and not any(tag in known for known in _PRIVATE_STORAGE))


def _is_descriptive(entry: Entry) -> bool:
    if entry.tag == DNG_PRIVATE_DATA:  # only Adobe's form says where its offsets counted from
        return entry.value.startswith(b"Adobe\0")
    return entry.tag in _DESCRIPTIVE or (entry.tag in _EXIF_TAGS and entry.tag not in _STORAGE)


def _is_photographic(entry: Entry) -> bool:
    return entry.tag not in _STORAGE


def _is_any(entry: Entry) -> bool:
    return True


_IS_KEPT: dict[str, Callable[[Entry], bool]] = {"ifd0": _is_descriptive, "exif": _is_photographic}
