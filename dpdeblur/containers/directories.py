"""TIFF directories, read and laid out as raw entries: (tag, type, bytes), never strings.

EXIF is a chain of TIFF directories in every kind of file that holds it, so this is the one place that knows their form.
Source: TIFF 6.0 (Adobe, 1992), section 2; BigTIFF as libtiff writes it. Every count and offset comes from a stranger:
each is checked against the file's size and a budget before anything is read or allocated.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterable
from typing import BinaryIO, Literal

ByteOrder = Literal["<", ">"]

#: Bytes per value of TIFF's type codes; 129 is EXIF 3.0's UTF-8; 16 to 18 are BigTIFF's.
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_BIG_TYPE_BYTES = TYPE_BYTES | {16: 8, 17: 8, 18: 8}

_BYTE, _ASCII, _SHORT, _LONG, _UNDEFINED = 1, 2, 3, 4, 7
_MAX_ENTRIES = 4096
_BUDGET_BYTES = 64 << 20

#: The marks after the byte order in TIFF and in the raw formats that only changed the mark (Olympus, Panasonic).
_CLASSIC_MARKS = (42, 0x55, 0x4F52, 0x5352)


class DamagedError(Exception):
    """Metadata is cut short or contradicts itself; never leaves `read_metadata`, which makes a warning of it."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of a TIFF directory.

    Attributes:
        tag: Its number.
        type: TIFF's type code, a key of `TYPE_BYTES`.
        value: The value's bytes, in the byte order of the directory.
    """

    tag: int
    type: int
    value: bytes


@dataclasses.dataclass(frozen=True)
class Directory:
    """A directory as it was found.

    Attributes:
        entries: Its entries, in the file's order, each tag once.
        places: tag -> where its value begins, counted like the directory's own offsets.
        lost: The number of entries that could not be read.
    """

    entries: tuple[Entry, ...]
    places: dict[int, int]
    lost: int

    def find(self, tag: int) -> Entry | None:
        """Return the entry of a tag, or None."""
        return next((entry for entry in self.entries if entry.tag == tag), None)


class Source:
    """A stretch of an open file from which only what is there can be read, and only so much in all."""

    def __init__(self, file: BinaryIO, start: int, size: int, budget: list[int] | None = None) -> None:
        """Look at `size` bytes of `file` from `start` on; offsets count from `start`."""
        self._file = file
        self._start = start
        self.size = size
        self._budget = [_BUDGET_BYTES] if budget is None else budget  # one number, shared with all windows

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`.

        Raises:
            DamagedError: They lie outside, or more was asked for than all metadata of a photo can need.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise DamagedError(f"{size} bytes at {offset} lie outside the file")
        self._budget[0] -= size
        if self._budget[0] < 0:
            raise DamagedError("the metadata claims to be larger than metadata can be")
        self._file.seek(self._start + offset)
        data = self._file.read(size)
        if len(data) != size:
            raise DamagedError("the file is cut short")
        return data

    def window(self, offset: int, size: int) -> Source:
        """Return a stretch of this stretch.

        Raises:
            DamagedError: It reaches outside.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise DamagedError(f"{size} bytes at {offset} lie outside the file")
        return Source(self._file, self._start + offset, size, self._budget)


@dataclasses.dataclass(frozen=True)
class Header:
    """The first bytes of a TIFF structure: byte order, offset of the first directory, classic or BigTIFF."""

    byte_order: ByteOrder
    first: int
    big: bool


def read_header(source: Source) -> Header:
    """Read the header of a TIFF structure.

    Raises:
        DamagedError: It is none.
    """
    data = source.read(0, 8)
    byte_order: ByteOrder = "<" if data[:2] == b"II" else ">"
    mark, first = struct.unpack(byte_order + "HI", data[2:])
    if data[:2] not in (b"II", b"MM") or mark not in (*_CLASSIC_MARKS, 43):
        raise DamagedError("this is no TIFF structure")
    if mark == 43:
        first = struct.unpack(byte_order + "Q", source.read(8, 8))[0]
    return Header(byte_order, first, mark == 43)


def read_directory(
    source: Source,
    offset: int,
    byte_order: ByteOrder,
    *,
    big: bool = False,
    wanted: Callable[[int], bool] = lambda tag: True,
    value_shift: int = 0,
) -> Directory:
    """Read one directory.

    Args:
        source: What its offsets count in.
        offset: Where it begins.
        byte_order: Of its numbers.
        big: Whether it is BigTIFF's form.
        wanted: Which tags to read; values of others are never touched.
        value_shift: Added to the offset of every value that is not stored in its entry.

    Raises:
        DamagedError: There is no directory at this place. Damaged entries are only counted.
    """
    entry_bytes, count_bytes, inline = (20, 8, 8) if big else (12, 2, 4)
    count = int(struct.unpack(byte_order + ("Q" if big else "H"), source.read(offset, count_bytes))[0])
    if not 0 < count <= _MAX_ENTRIES:
        raise DamagedError(f"a directory claims {count} entries")
    # a directory at the end of a cut file still gives the entries that are there
    present = min(count, (source.size - offset - count_bytes) // entry_bytes)
    table = source.read(offset + count_bytes, present * entry_bytes)
    sizes = _BIG_TYPE_BYTES if big else TYPE_BYTES
    entries: list[Entry] = []
    places: dict[int, int] = {}
    lost = count - present
    for index in range(present):
        tag, kind, number = struct.unpack_from(byte_order + ("HHQ" if big else "HHI"), table, index * entry_bytes)
        if not wanted(tag):
            continue
        size = number * sizes.get(kind, 0)
        place = offset + count_bytes + index * entry_bytes + entry_bytes - inline
        if size > inline:
            field = table[(index + 1) * entry_bytes - inline : (index + 1) * entry_bytes]
            place = struct.unpack(byte_order + ("Q" if big else "I"), field)[0] + value_shift
        try:
            if kind not in sizes or tag in places:
                raise DamagedError(f"type {kind} is unknown, or tag {tag} is there twice")
            entries.append(Entry(tag, kind, source.read(place, size)))
        except DamagedError:
            lost += 1
        else:
            places[tag] = place
    return Directory(tuple(entries), places, lost)


def read_number(entry: Entry | None, byte_order: ByteOrder) -> int | None:
    """Return the first value of an entry of whole numbers, or None where it is not one."""
    codes = {_BYTE: "B", _SHORT: "H", _LONG: "I", 13: "I", 16: "Q", 18: "Q"}
    if entry is None or entry.type not in codes or len(entry.value) < struct.calcsize(codes[entry.type]):
        return None
    return int(struct.unpack_from(byte_order + codes[entry.type], entry.value)[0])


def make_text(tag: int, text: str) -> Entry:
    """Make an ASCII entry; other characters are written as UTF-8, as cameras and programs do."""
    return Entry(tag, _ASCII, text.encode() + b"\0")


def make_short(tag: int, number: int, byte_order: ByteOrder) -> Entry:
    """Make a SHORT entry of one number."""
    return Entry(tag, _SHORT, struct.pack(byte_order + "H", number))


def make_long(tag: int, number: int, byte_order: ByteOrder) -> Entry:
    """Make a LONG entry of one number."""
    return Entry(tag, _LONG, struct.pack(byte_order + "I", number))


def make_bytes(tag: int, data: bytes) -> Entry:
    """Make an entry of bytes that mean something to its reader only."""
    return Entry(tag, _UNDEFINED, data)


def pack_directory(entries: Iterable[Entry], byte_order: ByteOrder, offset: int) -> tuple[bytes, dict[int, int]]:
    """Lay a directory out at a place.

    Args:
        entries: Its entries, in the order in which they shall stand.
        byte_order: Of its numbers; the values are taken as they are.
        offset: Where it will begin, counted from where its offsets count; even.

    Returns:
        The directory with its values behind it, of even length, and tag -> where its value begins.
    """
    entries = tuple(entries)
    table = [struct.pack(byte_order + "H", len(entries))]
    values: list[bytes] = []
    places: dict[int, int] = {}
    values_at = offset + 2 + 12 * len(entries) + 4
    for index, entry in enumerate(entries):
        count = len(entry.value) // TYPE_BYTES[entry.type]
        table.append(struct.pack(byte_order + "HHI", entry.tag, entry.type, count))
        if len(entry.value) <= 4:
            places[entry.tag] = offset + 2 + 12 * index + 8
            table.append(entry.value.ljust(4, b"\0"))
        else:
            places[entry.tag] = values_at
            table.append(struct.pack(byte_order + "I", values_at))
            values.append(entry.value + bytes(len(entry.value) % 2))
            values_at += len(values[-1])
    return b"".join((*table, bytes(4), *values)), places
