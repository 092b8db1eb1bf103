"""The skeleton of raw and TIFF files: which frames they announce, and whether all announced bytes are there.

LibRaw takes a CR2 that was cut within its second frame for a file of one frame, and decodes a DNG without its data to
zeros. Both are silent, so the announced extents are compared with the file before it is decoded.
Sources: TIFF 6.0, DNG 1.4, ISO 14496-12 (boxes), https://github.com/lclevy/canon_cr3 (CRAW tracks).
"""

from __future__ import annotations

import dataclasses
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from dpdeblur.containers import iterate_boxes
from dpdeblur.containers.directories import (
    DamagedError,
    Directory,
    Header,
    Source,
    read_directory,
    read_header,
)
from dpdeblur.errors import ReadError

COPY_AGAIN = "copy it again from the card or its backup"
#: No camera makes larger single pictures; a file that declares more is a mistake or a trap.
MAX_PIXELS = 300_000_000
#: Bytes of picture for a byte of file. LZW in TIFF reaches 1311, deflate 1032, and a JPEG has 1 bit for 8x8 samples at
#: the least, which makes 1365 at most: a file that declares more cannot hold it, and no memory is taken for it.
_MAX_RATIO = 2048

_KIND, _WIDTH, _HEIGHT, _PHOTOMETRIC, _SAMPLES, _SUB_DIRECTORIES = 0xFE, 0x100, 0x101, 0x106, 0x115, 0x14A
#: (offsets, byte counts) of strips and of tiles.
_SEGMENTS = ((0x111, 0x117), (0x144, 0x145))
_WANTED = frozenset((_KIND, _WIDTH, _HEIGHT, _PHOTOMETRIC, _SAMPLES, _SUB_DIRECTORIES, *_SEGMENTS[0], *_SEGMENTS[1]))
_NUMBER_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_DIRECTORIES = 256
#: Tiles of 16x16 make 300 megapixels by fewer.
_MAX_NUMBERS = 1 << 21
_PHOTOMETRIC_CFA = 32803


@dataclasses.dataclass(frozen=True)
class Picture:
    """One directory of a TIFF structure.

    Attributes:
        width: Columns, or None where the directory does not say (CR2's raw frames).
        height: Rows, or None.
        is_reduced: Whether it declares itself a smaller copy of another.
        is_mosaic: Whether it is a colour filter mosaic.
        samples: Samples a pixel.
        has_data: Whether it announces strips or tiles, all of them with bytes.
    """

    width: int | None
    height: int | None
    is_reduced: bool
    is_mosaic: bool
    samples: int
    has_data: bool


@dataclasses.dataclass(frozen=True)
class Track:
    """A track of raw frames in a CR3: its frames' size and their number."""

    width: int
    height: int
    frames: int


def check_file(path: Path) -> None:
    """Refuse what is no readable file before any decoder gives a murkier reason.

    Raises:
        ReadError: It does not exist, is a folder, a pipe or a device, cannot be opened, or is empty.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ReadError("is a folder with a photo's name", path=path, remedy="rename the folder")
        if not stat.S_ISREG(mode):  # to open a pipe would be to wait for whoever fills it
            raise ReadError("is no ordinary file but a pipe or a device", path=path, remedy="copy it into a file")
        with path.open("rb") as file:
            first = file.read(1)
    except FileNotFoundError as error:
        raise ReadError("no such file", path=path, remedy="check the name") from error
    except OSError as error:
        raise ReadError(f"cannot be opened ({error.strerror})", path=path, remedy="check its permissions") from error
    if not first:
        raise ReadError("is empty (zero bytes)", path=path, remedy=COPY_AGAIN)


def check_size(path: Path, width: int, height: int, *, bits_per_pixel: int) -> None:
    """Refuse a declared size before memory is taken for it.

    Args:
        path: The file.
        width: Columns.
        height: Rows.
        bits_per_pixel: What a pixel takes unpacked.

    Raises:
        ReadError: It has no pixels, more than `MAX_PIXELS`, or more than can be packed into so few bytes.
    """
    if width < 1 or height < 1:
        raise ReadError("declares a picture without pixels", path=path, remedy=COPY_AGAIN)
    if width * height > MAX_PIXELS:
        raise ReadError(
            f"declares {width}x{height} pixels, more than {MAX_PIXELS // 1_000_000} megapixels",
            path=path,
            remedy="cut it into parts",
        )
    size = path.stat().st_size
    if width * height * bits_per_pixel > 8 * _MAX_RATIO * size:
        raise ReadError(
            f"declares {width}x{height} pixels, which {size} bytes cannot hold", path=path, remedy=COPY_AGAIN
        )


def read_start(path: Path, size: int = 16) -> bytes:
    """Return the first bytes of a file, by which its format is told."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise ReadError(f"cannot be opened ({error.strerror})", path=path, remedy="check its permissions") from error


def read_pictures(path: Path) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """Walk the directories of a TIFF structure and check that every strip and tile lies within the file.

    Args:
        path: A CR2, DNG or TIFF file, classic or big.

    Returns:
        The pictures of the main chain, and those of its sub-directories.

    Raises:
        ReadError: It is no TIFF structure, or is cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        walk = _Walk(path, Source(file, 0, size))
        try:
            header = read_header(walk.source)
        except DamagedError as error:
            raise ReadError(
                f"is not a {path.suffix[1:].upper()} file, whatever its name", path=path, remedy="check what it is"
            ) from error
        try:
            chain = tuple(walk.read_chain(header, header.first))
            return chain, tuple(walk.read_sub_pictures(header))
        except DamagedError as error:
            raise _cut_short(path, size) from error


class _Walk:
    """Reads directories, each once, and collects pointers to further ones."""

    def __init__(self, path: Path, source: Source) -> None:
        self.source = source
        self._path = path
        self._seen: set[int] = set()
        self._sub_offsets: list[int] = []

    def read_chain(self, header: Header, offset: int) -> Iterator[Picture]:
        while offset:
            if offset in self._seen or len(self._seen) >= _MAX_DIRECTORIES:
                raise ReadError("its directories run in a circle", path=self._path, remedy=COPY_AGAIN)
            self._seen.add(offset)
            directory = read_directory(
                self.source, offset, header.byte_order, big=header.big, wanted=_WANTED.__contains__
            )
            if directory.lost:
                raise DamagedError("entries lie outside the file")
            numbers = {entry.tag: _read_numbers(directory, entry.tag, header) for entry in directory.entries}
            self._sub_offsets += numbers.get(_SUB_DIRECTORIES, ())
            yield self._read_picture(numbers)
            offset = self._read_next(header, offset)

    def read_sub_pictures(self, header: Header) -> Iterator[Picture]:
        for offset in self._sub_offsets:
            if offset not in self._seen:
                yield from self.read_chain(header, offset)

    def _read_next(self, header: Header, offset: int) -> int:
        order = header.byte_order
        count_code, entry_bytes, next_code = ("Q", 20, "Q") if header.big else ("H", 12, "I")
        count_bytes, next_bytes = struct.calcsize(count_code), struct.calcsize(next_code)
        (count,) = struct.unpack(order + count_code, self.source.read(offset, count_bytes))
        field = self.source.read(offset + count_bytes + count * entry_bytes, next_bytes)
        return int(struct.unpack(order + next_code, field)[0])

    def _read_picture(self, numbers: dict[int, tuple[int, ...]]) -> Picture:
        extents = [
            extent
            for offsets_tag, sizes_tag in _SEGMENTS
            for extent in zip(numbers.get(offsets_tag, ()), numbers.get(sizes_tag, ()), strict=False)
        ]
        end = max((offset + length for offset, length in extents), default=0)
        if end > self.source.size:
            raise _cut_short(self._path, self.source.size, end)
        return Picture(
            width=numbers.get(_WIDTH, (None,))[0],
            height=numbers.get(_HEIGHT, (None,))[0],
            is_reduced=bool(numbers.get(_KIND, (0,))[0] & 1),
            is_mosaic=numbers.get(_PHOTOMETRIC) == (_PHOTOMETRIC_CFA,),
            samples=numbers.get(_SAMPLES, (1,))[0],
            has_data=bool(extents) and all(offset and length for offset, length in extents),
        )


def _read_numbers(directory: Directory, tag: int, header: Header) -> tuple[int, ...]:
    entry = directory.find(tag)
    if entry is None or entry.type not in _NUMBER_CODES or not entry.value:
        raise DamagedError(f"tag {tag} holds no numbers")
    code = _NUMBER_CODES[entry.type]
    if len(entry.value) > _MAX_NUMBERS * struct.calcsize(code):
        raise DamagedError(f"tag {tag} holds more numbers than a picture can need")
    return struct.unpack(f"{header.byte_order}{len(entry.value) // struct.calcsize(code)}{code}", entry.value)


def read_tracks(path: Path) -> tuple[Track, ...]:
    """Find the tracks of raw frames in a CR3 and check that all their bytes are there.

    Raises:
        ReadError: It is no CR3, or is cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        source = Source(file, 0, size)
        try:
            movie = _collect_boxes(source).get(b"moov")
            if movie is None:
                raise ReadError("is not a CR3 file, whatever its name", path=path, remedy="check what it is")
            tracks = [_read_track(box) for kind, _, box in iterate_boxes(movie) if kind == b"trak"]
        except DamagedError as error:
            raise _cut_short(path, size) from error
    return tuple(track for track in tracks if track is not None)


def _collect_boxes(source: Source) -> dict[bytes, Source]:
    return {kind: box for kind, _, box in iterate_boxes(source)}


def _read_track(box: Source) -> Track | None:
    """Return a track of raw frames, or None for previews and timed metadata."""
    for kind in (b"mdia", b"minf", b"stbl"):
        inner = _collect_boxes(box).get(kind)
        if inner is None:
            return None
        box = inner
    tables = _collect_boxes(box)
    if b"stsd" not in tables or b"stsz" not in tables:
        return None
    entry = tables[b"stsd"].read(8, tables[b"stsd"].size - 8)
    # A sample entry of 90 bytes (86 of ISO's visual sample entry, 4 of Canon's) precedes CMP1, which a JPEG preview
    # has not; the frame's size stands 16 bytes into CMP1.
    if entry[4:8] != b"CRAW" or entry[94:98] != b"CMP1" or len(entry) < 114:
        return None
    width, height = struct.unpack_from(">II", entry, 106)
    (frames,) = struct.unpack(">I", tables[b"stsz"].read(8, 4))
    return Track(width, height, frames)


def _cut_short(path: Path, size: int, needed: int | None = None) -> ReadError:
    if needed is None:
        return ReadError(f"is cut short or damaged ({size} bytes are there)", path=path, remedy=COPY_AGAIN)
    return ReadError(f"is cut short: only {size} of {needed} bytes are there", path=path, remedy=COPY_AGAIN)
