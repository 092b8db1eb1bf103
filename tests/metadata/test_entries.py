"""Reading metadata: against the builder's own values and other programs."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from metadata_sources import DATE, IPTC, LENS, Builder, build_cr3, build_source, make_xmp, wrap_in_jpeg, wrap_in_png
from PIL import Image, ImageCms

from dpdeblur.metadata.entries import EMPTY_METADATA, Entry, Metadata, read_metadata

RAWS = ("canon_350d_header_only.cr2", "canon_r6_header_only.cr3", "canon_m50_header_only.cr3", "sample_1mp.dng")


def read_bytes(folder: Path, data: bytes, name: str = "photo") -> Metadata:
    path = folder / name
    path.write_bytes(data)
    return read_metadata(path)


def find(entries: tuple[Entry, ...], tag: int) -> bytes:
    return next(entry.value for entry in entries if entry.tag == tag)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_gives_every_entry_as_raw_bytes_in_its_own_byte_order(tmp_path: Path, order: str) -> None:
    metadata = read_bytes(tmp_path, build_source(order))
    assert metadata.warnings == ()
    assert metadata.byte_order == order
    assert metadata.orientation == 6
    assert find(metadata.exif, 0x829A) == struct.pack(order + "II", 10, 2000)  # not reduced to 1/200
    assert find(metadata.exif, 0x9003) == DATE.encode() + b"\0"
    assert find(metadata.gps, 2) == struct.pack(order + "6I", 48, 1, 51, 1, 30123, 1000)
    assert find(metadata.interop, 1) == b"R98\0"
    assert find(metadata.ifd0, 0x10E) == "A description: ünïcode".encode() + b"\0"
    assert find(metadata.ifd0, 0xC62F) == b"SN-77\0"
    assert metadata.xmp == make_xmp()
    assert metadata.iptc == IPTC


def test_nothing_that_describes_the_stored_picture_or_points_into_the_old_file_is_kept(tmp_path: Path) -> None:
    metadata = read_bytes(tmp_path, build_source())
    tags = {entry.tag for entry in (*metadata.ifd0, *metadata.exif)}
    storage = {0x100, 0x101, 0x102, 0x103, 0x106, 0x111, 0x115, 0x116, 0x117, 0x201, 0x202}
    pointers = {0x8769, 0x8825, 0xA005, 0x927C}
    assert not tags & (storage | pointers)


def test_a_canon_note_is_taken_apart_and_a_note_with_own_offsets_is_not(tmp_path: Path) -> None:
    canon = read_bytes(tmp_path, build_source()).maker_note
    assert canon is not None
    assert canon.footer
    assert find(canon.entries, 0x95) == LENS.encode() + b"\0"
    nikon = read_bytes(tmp_path, build_source(make="NIKON", note="own")).maker_note
    assert nikon is not None
    assert nikon.entries == ()
    assert nikon.prefix.startswith(b"Nikon\0\2")


def test_a_canon_note_that_was_moved_without_its_offsets_is_read_by_its_footer(tmp_path: Path) -> None:
    note = read_bytes(tmp_path, build_source(moved=4)).maker_note
    assert note is not None
    assert find(note.entries, 0x95) == LENS.encode() + b"\0"


def test_a_sony_note_loses_its_preview_and_nothing_else(tmp_path: Path) -> None:
    note = read_bytes(tmp_path, build_source(make="SONY", note="sony")).maker_note
    assert note is not None
    assert note.prefix == b"SONY DSC \0\0\0"
    assert [entry.tag for entry in note.entries] == [0x0102, 0xB020, 0xB027]


def test_a_jpeg_gives_exif_xmp_iptc_and_a_profile_in_two_pieces(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    resource = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 3) + b"abc\0"  # another resource, of odd length
    resource += b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC
    data = wrap_in_jpeg(
        (0xE1, b"Exif\0\0" + build_source(">")),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + make_xmp()),
        (0xE2, b"ICC_PROFILE\0\2\2" + profile[300:]),
        (0xE2, b"ICC_PROFILE\0\1\2" + profile[:300]),
        (0xED, b"Photoshop 3.0\0" + resource),
    )
    metadata = read_bytes(tmp_path, data)
    assert metadata.warnings == ()
    assert find(metadata.exif, 0xA434) == LENS.encode() + b"\0"
    assert (metadata.xmp, metadata.iptc, metadata.icc) == (make_xmp(), IPTC, profile)


def test_a_jpeg_of_pillow_gives_what_pillow_put_in(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x10F], exif[0x112] = "Maker", 8
    exif.get_ifd(0x8769)[0x9003] = DATE
    exif.get_ifd(0x8825)[1] = "S"
    path = tmp_path / "pillow.jpg"
    Image.new("RGB", (6, 4)).save(path, exif=exif)
    metadata = read_metadata(path)
    assert metadata.orientation == 8
    assert find(metadata.ifd0, 0x10F) == b"Maker\0"
    assert find(metadata.exif, 0x9003) == DATE.encode() + b"\0"
    assert find(metadata.gps, 1) == b"S\0"


@pytest.mark.parametrize("title", [b"iptc", b"IPTC profile"])  # ImageMagick's and ExifTool's
def test_a_profile_in_a_pngs_text_may_have_a_title_of_two_words(tmp_path: Path, title: bytes) -> None:
    digits = b"\n%s\n      %d\n" % (title, len(IPTC)) + IPTC.hex().encode() + b"\n"
    data = wrap_in_png((b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(digits)))
    assert read_bytes(tmp_path, data).iptc == IPTC


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_png_gives_exif_a_profile_xmp_and_iptc(tmp_path: Path, is_packed: bool) -> None:
    text = b"\1\0de\0Titel\0" + zlib.compress(make_xmp()) if is_packed else b"\0\0\0\0" + make_xmp()
    digits = b"\niptc\n      %d\n" % len(IPTC) + IPTC.hex().encode() + b"\n"
    data = wrap_in_png(
        (b"eXIf", build_source("<")),
        (b"iCCP", b"name\0\0" + zlib.compress(b"profile")),
        (b"iTXt", b"XML:com.adobe.xmp\0" + text),
        (b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(digits)),
    )
    metadata = read_bytes(tmp_path, data)
    assert metadata.warnings == ()
    assert metadata.orientation == 6
    assert (metadata.icc, metadata.xmp, metadata.iptc) == (b"profile", make_xmp(), IPTC)


def test_a_cr3_gives_its_four_parts_and_xmp(tmp_path: Path) -> None:
    metadata = read_bytes(tmp_path, build_cr3())
    assert metadata.warnings == ()
    assert metadata.orientation == 8
    assert find(metadata.exif, 0x829D) == struct.pack("<II", 14, 10)
    assert find(metadata.gps, 1) == b"N\0"
    assert metadata.xmp == make_xmp()
    assert metadata.maker_note is not None
    assert [entry.tag for entry in metadata.maker_note.entries] == [0x07]  # 0xB6 points to a preview


def test_a_raf_gives_the_exif_of_the_jpeg_inside(tmp_path: Path) -> None:
    inside = wrap_in_jpeg((0xE1, b"Exif\0\0" + build_source()))
    raf = b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">II", 200, len(inside))
    metadata = read_bytes(tmp_path, raf.ljust(200, b"\0") + inside + bytes(100))
    assert find(metadata.exif, 0xA434) == LENS.encode() + b"\0"


def test_a_bigtiff_is_read_like_a_classic_one(tmp_path: Path) -> None:
    path = tmp_path / "big.tif"
    extra = [(315, 2, 0, "Somebody", True), (700, 1, len(make_xmp()), make_xmp(), True)]
    tifffile.imwrite(path, np.zeros((4, 6), np.uint8), bigtiff=True, extratags=extra, metadata=None)
    metadata = read_metadata(path)
    assert find(metadata.ifd0, 315) == b"Somebody\0"
    assert metadata.xmp == make_xmp()


@pytest.mark.parametrize("packed", [False, True])
def test_iptc_that_was_swapped_as_32_bit_numbers_is_swapped_back(tmp_path: Path, packed: bool) -> None:
    records = IPTC + bytes(-len(IPTC) % 4)
    swapped = b"".join(records[i : i + 4][::-1] for i in range(0, len(records), 4))
    builder = Builder("<")
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records
    entry = builder.raw(0x8649, resource) if packed else (0x83BB, 4, len(records) // 4, swapped)
    data = builder.header(8) + builder.directory([entry], 8)
    assert read_bytes(tmp_path, data).iptc == records


def test_an_extended_xmp_packet_is_left_out_with_one_warning(tmp_path: Path) -> None:
    extension = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + b"<x/>"
    data = wrap_in_jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + make_xmp()), (0xE1, extension), (0xE1, extension))
    metadata = read_bytes(tmp_path, data)
    assert metadata.xmp == make_xmp()
    assert metadata.warnings == ("The extended part of the XMP packet was left out.",)


def test_fill_bytes_between_a_jpeg_s_segments_are_skipped(tmp_path: Path) -> None:
    data = wrap_in_jpeg((0xE1, b"Exif\0\0" + build_source()))
    assert read_bytes(tmp_path, data[:2] + b"\xff\xff" + data[2:]).orientation == 6


def test_a_crw_says_that_its_metadata_is_not_carried(tmp_path: Path) -> None:
    assert "CRW" in read_bytes(tmp_path, b"II\x1a\0\0\0HEAPCCDR" + bytes(50)).warnings[0]


@pytest.mark.parametrize(("data", "is_kept"), [(b"Adobe\0MakN" + bytes(9), True), (b"Another" + bytes(9), False)])
def test_dng_private_data_is_kept_in_adobe_s_form_only(tmp_path: Path, data: bytes, is_kept: bool) -> None:
    builder = Builder("<")
    tiff = builder.header(8) + builder.directory([builder.raw(0xC634, data)], 8)
    assert read_bytes(tmp_path, tiff).ifd0 == ((Entry(0xC634, 7, data),) if is_kept else ())


def test_bare_sensor_values_have_no_metadata_and_no_warning(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, b"P5 1 1 65535\n\0\0") == EMPTY_METADATA


def test_a_kind_of_file_that_is_not_understood_gives_a_warning(tmp_path: Path) -> None:
    metadata = read_bytes(tmp_path, b"GIF89a" + bytes(20))
    assert dataclasses.replace(metadata, warnings=()) == EMPTY_METADATA
    assert len(metadata.warnings) == 1


@pytest.mark.parametrize("name", RAWS)
def test_real_raws_give_their_metadata_without_complaint(shared: Path, name: str) -> None:
    metadata = read_metadata(shared / "data" / "raw" / name)
    assert metadata.warnings == ()
    assert find(metadata.ifd0, 0x10F).rstrip(b"\0 ")
    assert len(metadata.exif) >= 11
