"""Metadata that is cut, changed, contradictory or malicious costs a warning, never the photo."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from metadata_sources import LENS, Builder, box, build_cr3, build_source, wrap_in_jpeg, wrap_in_png

from dpdeblur.errors import ReadError
from dpdeblur.metadata.entries import Metadata, read_metadata


def read_bytes(folder: Path, data: bytes, name: str = "photo") -> Metadata:
    path = folder / name
    path.write_bytes(data)
    return read_metadata(path)


def test_a_damaged_chunk_of_a_png_costs_no_other(tmp_path: Path) -> None:
    bad = [(b"iCCP", b"name\0\0no zlib"), (b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(b"iptc 1 zz"))]
    metadata = read_bytes(tmp_path, wrap_in_png(*bad, (b"eXIf", build_source())))
    assert len(metadata.warnings) == 2
    assert LENS.encode() + b"\0" in [entry.value for entry in metadata.exif]


@pytest.mark.parametrize("resource", [b"8BIM\x04\x04\0", b"8BIM\x04\x04\0\0\0\0", b"8BIM\x04\x05\0\0\0\0\0\x09", b"x"])
def test_cut_image_resources_hold_no_iptc(tmp_path: Path, resource: bytes) -> None:
    assert read_bytes(tmp_path, wrap_in_jpeg((0xED, b"Photoshop 3.0\0" + resource))).iptc is None


@pytest.mark.parametrize("note", [b"", bytes(40), b"\xff" * 40, b"\1\0\6\0\2\0"])
def test_a_canon_note_that_is_no_directory_is_copied_as_it_is_with_a_warning(tmp_path: Path, note: bytes) -> None:
    builder = Builder("<")
    first = [builder.text(0x10F, "Canon"), builder.long(0x8769, 100)]
    body = (builder.header(8) + builder.directory(first, 8)).ljust(100, b"\0")
    metadata = read_bytes(tmp_path, body + builder.directory([builder.raw(0x927C, note)], 100))
    assert metadata.maker_note is not None
    assert (metadata.maker_note.prefix, metadata.maker_note.entries) == (note, ())
    assert "copied as it is" in metadata.warnings[0]


def test_parts_of_a_cr3_that_disagree_about_their_byte_order_are_left_out(tmp_path: Path) -> None:
    little, big = Builder("<"), Builder(">")
    parts = [
        box(b"CMT1", little.header(8) + little.directory([little.text(0x10F, "Canon")], 8)),
        box(b"CMT2", big.header(8) + big.directory([big.text(0xA434, LENS)], 8)),
    ]
    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48") + b"".join(parts)
    cr3 = box(b"ftyp", b"crx \0\0\0\1crx isom") + box(b"moov", box(b"uuid", canon))
    metadata = read_bytes(tmp_path, cr3)
    assert (metadata.byte_order, metadata.exif) == ("<", ())
    assert "byte order differs" in metadata.warnings[0]


def test_an_orientation_that_does_not_exist_is_upright_with_a_warning(tmp_path: Path) -> None:
    metadata = read_bytes(tmp_path, build_source(orientation=9))
    assert metadata.orientation == 1
    assert "orientation 9" in metadata.warnings[0]


def test_a_missing_file_is_a_read_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="cannot be read"):
        read_metadata(tmp_path / "nothing.cr2")


@pytest.mark.parametrize("name", ["tiff", "jpeg", "png", "cr3"])
def test_a_file_cut_at_any_byte_keeps_what_is_there_and_never_raises(tmp_path: Path, name: str) -> None:
    source = {
        "tiff": build_source(">"),
        "jpeg": wrap_in_jpeg((0xE1, b"Exif\0\0" + build_source()), (0xE2, b"ICC_PROFILE\0\1\1abc")),
        "png": wrap_in_png((b"iCCP", b"n\0\0" + zlib.compress(b"profile")), (b"eXIf", build_source())),
        "cr3": build_cr3(),
    }[name]
    whole = read_bytes(tmp_path, source)
    assert whole.warnings == ()
    for length in range(0, len(source), 7):
        cut = read_bytes(tmp_path, source[:length])
        assert cut.warnings or cut.exif == whole.exif
        assert set(cut.exif) <= set(whole.exif)
        assert set(cut.gps) <= set(whole.gps)


@pytest.mark.parametrize("name", ["tiff", "jpeg", "png", "cr3"])
def test_changed_bytes_never_raise_and_never_take_long(tmp_path: Path, name: str) -> None:
    source = {
        "tiff": build_source(),
        "jpeg": wrap_in_jpeg((0xE1, b"Exif\0\0" + build_source()), (0xED, b"Photoshop 3.0\0" + b"8BIM" * 9)),
        "png": wrap_in_png((b"iCCP", b"n\0\0" + zlib.compress(b"profile")), (b"eXIf", build_source())),
        "cr3": build_cr3(),
    }[name]
    generator = np.random.default_rng(7)
    for _ in range(400):
        damaged = bytearray(source)
        for place in generator.integers(4 if name != "png" else 8, len(source), 12):
            damaged[place] = generator.integers(256)
        start = time.perf_counter()
        assert 1 <= read_bytes(tmp_path, bytes(damaged)).orientation <= 8
        assert time.perf_counter() - start < 2


def test_counts_and_loops_that_ask_for_more_than_there_is_are_refused(tmp_path: Path) -> None:
    builder = Builder("<")
    huge = builder.header(8) + builder.directory([(0x10E, 2, 0xFFFFFFFF, b"12345678")], 8)
    assert "1 damaged" in read_bytes(tmp_path, huge).warnings[0]
    # EXIF, GPS and interoperability all point back to the first directory
    loop = builder.header(8) + builder.directory([builder.long(tag, 8) for tag in (0x8769, 0x8825, 0xA005)], 8)
    assert read_bytes(tmp_path, loop).ifd0 == ()
    # four thousand entries share one megabyte: the budget, not the sum, bounds the memory
    size = 1 << 20
    table = struct.pack("<H", 4000) + b"".join(struct.pack("<HHII", tag, 1, size, 8) for tag in range(4000))
    first_at = 8 + size
    pointer = builder.directory([builder.long(0x8769, first_at + 18)], first_at)
    metadata = read_bytes(tmp_path, builder.header(first_at) + bytes(size) + pointer + table + bytes(4))
    assert sum(len(entry.value) for entry in metadata.exif) <= 64 << 20
    assert "damaged entries" in metadata.warnings[0]


def test_a_compressed_block_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    bomb = zlib.compressobj(9)
    packed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(100)) + bomb.flush()
    metadata = read_bytes(tmp_path, wrap_in_png((b"iCCP", b"n\0\0" + packed)))
    assert metadata.icc is None
    assert "too large" in metadata.warnings[0]
