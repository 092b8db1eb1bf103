"""Maker notes: a camera maker's private directory inside EXIF, taken apart so that it survives being moved.

Some makers count the offsets in their note from the start of the *file* (of its TIFF header). Copied as a block, such a
note points into whatever lies there in the new file. Here its entries are read with their values, and laid out anew
where the note will lie. Source: https://exiftool.org/makernote_types.html and experiments with ExifTool as the reader.
"""

from __future__ import annotations

import dataclasses
import struct

from dpdeblur.containers.directories import ByteOrder, DamagedError, Entry, Source, pack_directory, read_directory

#: Headers of notes whose offsets count from the file's start; the directory follows them at once.
_HEADERS = (b"SONY DSC \0\0\0", b"SONY CAM \0\0\0", b"Panasonic\0\0\0", b"Nikon\0\x01\0")

#: Makers whose notes can be such a directory without any header.
_BARE_MAKERS = (b"Canon", b"SONY")

#: Pointers out of the note, to previews and to data that is not carried: (maker, tag).
_POINTERS = {(b"Canon", 0x0081), (b"Canon", 0x0083), (b"Canon", 0x00B6), (b"SONY", 0x2001)}

_FOOTER_BYTES = 8


@dataclasses.dataclass(frozen=True)
class MakerNote:
    """A camera maker's private directory (EXIF tag 37500).

    Attributes:
        prefix: The bytes before the directory; the whole note where `entries` is empty: such notes count their offsets
            from their own start, or are not understood, and are copied as they are.
        entries: The directory of a note whose offsets count from the file's start.
        byte_order: The note's own, which can differ from the file's.
        footer: Whether the note ends in Canon's footer, which repeats the note's own offset.
    """

    prefix: bytes
    entries: tuple[Entry, ...] = ()
    byte_order: ByteOrder = "<"
    footer: bool = False


def read_maker_note(
    source: Source, offset: int, note: bytes, make: bytes, byte_order: ByteOrder
) -> tuple[MakerNote, tuple[str, ...]]:
    """Take a maker note apart.

    Args:
        source: What the file's offsets count in.
        offset: Where the note lies in it.
        note: The note itself.
        make: The value of the tag Make.
        byte_order: The file's.

    Returns:
        The note, and what was lost of it, one sentence each.
    """
    prefix = next((header for header in _HEADERS if note.startswith(header)), None)
    if prefix is None and any(make.startswith(maker) for maker in _BARE_MAKERS):
        prefix = b""
    if prefix is None:
        return MakerNote(note), ()
    order = _guess_byte_order(note[len(prefix) :], byte_order)
    if order is None:
        return MakerNote(note), ("The maker note is not understood and was copied as it is.",)
    moved = _read_footer(note, offset)
    try:
        directory = read_directory(source, offset + len(prefix), order, value_shift=moved or 0)
    except DamagedError:
        return MakerNote(note), ("The maker note is damaged and was copied as it is.",)
    entries = drop_pointers(directory.entries, make)
    warnings = (f"{directory.lost} damaged entries of the maker note were left out.",) if directory.lost else ()
    return MakerNote(prefix, entries, order, footer=moved is not None), warnings


def drop_pointers(entries: tuple[Entry, ...], make: bytes) -> tuple[Entry, ...]:
    """Return a maker note's entries without those that point to previews and other data that is not carried."""

    def is_pointer(entry: Entry) -> bool:
        # zeros point nowhere and may stay
        return any(entry.value) and any(make.startswith(maker) and entry.tag == tag for maker, tag in _POINTERS)

    return tuple(entry for entry in entries if not is_pointer(entry))


def _guess_byte_order(directory: bytes, byte_order: ByteOrder) -> ByteOrder | None:
    """Return the order in which the directory's first numbers make sense, the file's own first; None where neither."""
    orders: tuple[ByteOrder, ...] = ("<", ">") if byte_order == "<" else (">", "<")
    for order in orders:
        if len(directory) < 14:
            return None
        count, _, kind = struct.unpack_from(order + "HHH", directory)
        if 0 < count <= 512 and 1 <= kind <= 13:
            return order
    return None


def _read_footer(note: bytes, offset: int) -> int | None:
    """Return how far the note was moved by a program that did not rewrite its offsets; None where it has no footer."""
    mark, footer_order = note[-_FOOTER_BYTES:-4], "<" if note[-_FOOTER_BYTES:-4] == b"II*\0" else ">"
    if mark not in (b"II*\0", b"MM\0*"):
        return None
    return offset - int(struct.unpack(footer_order + "I", note[-4:])[0])


def pack_maker_note(note: MakerNote, offset: int) -> bytes:
    """Lay a maker note out for the place where it will lie; its length does not depend on the place."""
    if not note.entries:
        return note.prefix
    directory, _ = pack_directory(note.entries, note.byte_order, offset + len(note.prefix))
    packed = note.prefix + directory
    if note.footer:
        packed += (b"II*\0" if note.byte_order == "<" else b"MM\0*") + struct.pack(note.byte_order + "I", offset)
    return packed
