"""Metadata of results against that of their sources, as ExifTool, ExifRead and Pillow read both."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metadata_readers import STORAGE, pick_tags, read_with_exifread, read_with_exiftool, skip_without_exiftool
from metadata_sources import IPTC, build_source, make_xmp
from PIL import Image

from dpdeblur.colour.spaces import COLOUR_SPACES
from dpdeblur.containers.directories import Entry
from dpdeblur.metadata.entries import Metadata, read_metadata
from dpdeblur.metadata.maker_note import MakerNote
from dpdeblur.photo import Photo
from dpdeblur.writers import WRITERS, WriteOptions, write_image

HEIGHT_PX, WIDTH_PX = 20, 30

SHARED_RAWS = [
    *("data/raw/canon_350d_header_only.cr2", "data/raw/canon_r6_header_only.cr3"),
    *("data/raw/canon_m50_header_only.cr3", "data/raw/sample_1mp.dng", "data/raw/sample_1mp_rotated.dng"),
    *("fixtures/dual_box001.cr2", "fixtures/dual_box001_rotated.cr2", "fixtures/dual_box001.dng"),
    "fixtures/dual_box002.cr3",
]


def write_result(source: Path, path: Path, **options: Any) -> tuple[str, ...]:
    """Write a picture with a source's metadata."""
    metadata = read_metadata(source)
    assert metadata.warnings == ()
    image = np.random.default_rng(5).random((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    photo = Photo(paths=(source,), kind="raw", base=image, metadata=metadata, orientation=metadata.orientation)
    return write_image(path, image, photo, WriteOptions(**options), provenance="k3dn, weights 0123abcd")


def make_source(folder: Path, **options: Any) -> Path:
    path = folder / "source.tif"
    path.write_bytes(build_source(**options))
    return path


#: What the result has of its own.
ADDED = {"IFD0:Software", "IFD0:XResolution", "IFD0:YResolution", "IFD0:ResolutionUnit"}


def assert_same_metadata(source: Path, result: Path) -> dict[str, Any]:
    """Compare by ExifTool and return the result's tags."""
    before, after = read_with_exiftool(source), read_with_exiftool(result)
    assert "ExifTool:Warning" not in after
    assert "ExifTool:Error" not in after
    wanted, found = pick_tags(before, is_source=True), pick_tags(after, is_source=False)
    assert {key: found.get(key) for key in wanted} == wanted
    assert set(found) - set(wanted) <= ADDED
    assert after["IFD0:Orientation"] == 1
    assert after["IFD0:Software"].endswith("(k3dn, weights 0123abcd)")
    return after


@pytest.mark.parametrize("file_format", list(WRITERS))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("make", "note"), [("Canon", "canon"), ("SONY", "sony"), ("NIKON", "own"), ("Acme", "none")])
def test_exiftool_finds_every_tag_again(tmp_path: Path, file_format: Any, order: str, make: str, note: str) -> None:
    skip_without_exiftool()
    source, result = make_source(tmp_path, order=order, make=make, note=note), tmp_path / "result"
    assert write_result(source, result, format=file_format) == ()
    tags = assert_same_metadata(source, result)
    assert (tags["ExifIFD:ExifImageWidth"], tags["ExifIFD:ExifImageHeight"]) == (HEIGHT_PX, WIDTH_PX)  # turned by 6
    assert (tags["XMP-exif:ExifImageWidth"], tags["XMP-exif:ExifImageHeight"]) == (HEIGHT_PX, WIDTH_PX)
    assert tags["XMP-tiff:Orientation"] == 1
    assert tags["XMP-xmp:Rating"] == 4
    assert tags["IPTC:ObjectName"] == "Der Titel 1"
    assert not any(key.startswith("IFD1") for key in tags)


@pytest.mark.parametrize("file_format", list(WRITERS))
@pytest.mark.parametrize("name", SHARED_RAWS)
def test_exiftool_finds_the_tags_of_real_raws_again(tmp_path: Path, shared: Path, file_format: Any, name: str) -> None:
    skip_without_exiftool()
    assert write_result(shared / name, tmp_path / "result", format=file_format) == ()
    assert_same_metadata(shared / name, tmp_path / "result")


@pytest.mark.parametrize("file_format", list(WRITERS))
def test_exiftool_finds_the_tags_of_a_synthetic_cr2_again(tmp_path: Path, dual_cr2: Path, file_format: Any) -> None:
    skip_without_exiftool()
    assert write_result(dual_cr2, tmp_path / "result", format=file_format) == ()
    assert_same_metadata(dual_cr2, tmp_path / "result")


def test_the_comparison_notices_a_lost_tag(tmp_path: Path) -> None:
    skip_without_exiftool()
    source, result = make_source(tmp_path), tmp_path / "result.tif"
    write_result(source, result)
    data = result.read_bytes()
    result.write_bytes(data.replace(b"012345678901\0", b"012345678902\0"))
    with pytest.raises(AssertionError, match="012345678902"):
        assert_same_metadata(source, result)


@pytest.mark.parametrize("file_format", list(WRITERS))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exifread_finds_every_value_again_unreduced(tmp_path: Path, file_format: Any, order: str) -> None:
    source, result = make_source(tmp_path, order=order), tmp_path / "result"
    write_result(source, result, format=file_format)
    before, after = read_with_exifread(source), read_with_exifread(result)
    groups = ("EXIF ", "GPS ", "MakerNote ", "Image ")
    changed = {"EXIF ExifImageWidth", "EXIF ExifImageLength", "Image Orientation", "Image Software"}
    places = {"Image ExifOffset", "Image GPSInfo", "EXIF InteroperabilityOffset", "EXIF MakerNote"}
    packets = {"Image Tag 0x02BC", "Image ApplicationNotes", "Image IPTC/NAA", "Image IPTC"}
    ignored = changed | places | packets | {f"Image {name}" for name in STORAGE | {"ImageLength"}}
    wanted = {key: value for key, value in before.items() if key.startswith(groups) and key not in ignored}
    assert len([key for key in wanted if key.startswith("MakerNote ")]) >= 6
    assert {key: after.get(key) for key in wanted} == wanted


@pytest.mark.parametrize("file_format", list(WRITERS))
@pytest.mark.parametrize("order", ["<", ">"])
def test_pillow_reads_the_directories(tmp_path: Path, file_format: Any, order: str) -> None:
    write_result(make_source(tmp_path, order=order), tmp_path / "result", format=file_format)
    with Image.open(tmp_path / "result") as image:
        exif = image.getexif()
        assert exif[0x10F] == "Canon"
        assert exif[0x112] == 1
        assert exif.get_ifd(0x8769)[0x829D] == pytest.approx(1.4)
        assert exif.get_ifd(0x8769)[0xA002] == HEIGHT_PX
        assert exif.get_ifd(0x8825)[2] == pytest.approx((48, 51, 30.123))
        assert exif.get_ifd(0x8769)[0x9286].startswith(b"UNICODE\0")


@pytest.mark.parametrize("file_format", list(WRITERS))
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_result_of_a_result_says_the_same(tmp_path: Path, file_format: Any, order: str) -> None:
    write_result(make_source(tmp_path, order=order), tmp_path / "first", format=file_format)
    write_result(tmp_path / "first", tmp_path / "second", format=file_format, profile="srgb")
    first, second = read_metadata(tmp_path / "first"), read_metadata(tmp_path / "second")
    assert first.iptc == IPTC
    facts = {0xA002, 0xA003}  # the first was turned, the second was not

    def ignore_size(metadata: Metadata) -> Metadata:
        return dataclasses.replace(metadata, exif=tuple(e for e in metadata.exif if e.tag not in facts), xmp=None)

    assert ignore_size(first) == ignore_size(second)


def test_a_canon_note_s_footer_says_where_the_note_lies_now(tmp_path: Path) -> None:
    write_result(make_source(tmp_path), tmp_path / "result.tif")
    data = (tmp_path / "result.tif").read_bytes()
    head = struct.pack("<HH", 0x927C, 7)
    length, place = struct.unpack_from("<II", data, data.rindex(head) + 4)
    assert data[place + length - 8 : place + length] == b"II*\0" + struct.pack("<I", place)


def test_directories_are_sorted_and_lie_on_even_places(tmp_path: Path) -> None:
    write_result(make_source(tmp_path), tmp_path / "result.tif")
    data = (tmp_path / "result.tif").read_bytes()

    def read(place: int) -> dict[int, int]:
        assert place % 2 == 0
        count = struct.unpack_from("<H", data, place)[0]
        entries = [struct.unpack_from("<HHII", data, place + 2 + 12 * i) for i in range(count)]
        tags = [tag for tag, *_ in entries]
        assert tags == sorted(set(tags))
        assert struct.unpack_from("<I", data, place + 2 + 12 * count)[0] == 0  # no second directory
        return {tag: value for tag, _, _, value in entries}

    first = read(struct.unpack_from("<I", data, 4)[0])
    exif = read(first[0x8769])
    read(first[0x8825])
    read(exif[0xA005])
    read(exif[0x927C])


@pytest.mark.parametrize(
    ("declared", "profile", "expected"),
    [(1, "srgb", 1), (1, "adobe-rgb", 65535), (2, "srgb", 1), (65535, "srgb", 1), (2, "adobe-rgb", 2)],
)
def test_color_space_never_contradicts_the_profile(tmp_path: Path, declared: int, profile: str, expected: int) -> None:
    entry = Entry(0xA001, 3, struct.pack("<H", declared))
    image = np.zeros((4, 4, 3), np.float32)
    photo = Photo(paths=(), kind="image", base=image, metadata=Metadata(exif=(entry,)))
    assert photo.colour is COLOUR_SPACES["srgb"]
    write_image(tmp_path / "a", image, photo, WriteOptions(profile=profile), provenance="test")
    with Image.open(tmp_path / "a") as read:
        assert read.getexif().get_ifd(0x8769)[0xA001] == expected


def test_a_description_of_its_own_stays(tmp_path: Path) -> None:
    metadata = read_metadata(make_source(tmp_path))
    image = np.zeros((4, 4, 3), np.float32)
    photo = Photo(paths=(), kind="image", base=image, metadata=metadata)
    write_image(tmp_path / "a", image, photo, WriteOptions(), provenance="test", description="left view")
    assert Entry(0x10E, 2, "A description: ünïcode".encode() + b"\0") in read_metadata(tmp_path / "a").ifd0


def write_large(folder: Path, metadata: Metadata) -> tuple[Metadata, tuple[str, ...]]:
    """Write a JPEG with metadata and read it again."""
    image = np.zeros((4, 4, 3), np.float32)
    photo = Photo(paths=(), kind="image", base=image, metadata=metadata)
    warnings = write_image(folder / "a.jpg", image, photo, WriteOptions(format="jpeg"), provenance="test")
    with Image.open(folder / "a.jpg") as read:
        assert read.size == (4, 4)
    return read_metadata(folder / "a.jpg"), warnings


def test_what_is_too_large_for_a_jpeg_is_left_out_with_a_warning(tmp_path: Path) -> None:
    text = Entry(0x9291, 2, b"42\0")
    pixel_width, pixel_height = (Entry(tag, 4, struct.pack("<I", 4)) for tag in (0xA002, 0xA003))
    read, warnings = write_large(tmp_path, Metadata(exif=(text,), maker_note=MakerNote(bytes(70_000))))
    assert read.maker_note is None
    assert text in read.exif
    assert "the maker note was left out" in warnings[0]
    read, warnings = write_large(tmp_path, Metadata(exif=(Entry(0x9286, 7, bytes(70_000)),)))
    assert read.exif == (pixel_width, pixel_height)
    assert warnings == ("The EXIF is too large for JPEG; its entries 37510 were left out.",)
    assert any(entry.tag == 305 for entry in read.ifd0)
    read, warnings = write_large(tmp_path, Metadata(xmp=b"<x>" + b"y" * 70_000))
    assert read.xmp is None
    assert "XMP" in warnings[0]


def test_an_xmp_packet_loses_its_padding_before_it_is_left_out_of_a_jpeg(tmp_path: Path) -> None:
    xmp = make_xmp(1)
    padded = xmp.replace(b'<?xpacket end="w"?>', b" " * 70_000 + b'<?xpacket end="w"?>')
    read, warnings = write_large(tmp_path, Metadata(xmp=padded))
    assert warnings == ()
    assert read.xmp is not None
    assert read.xmp.split() == xmp.replace(b"4321", b"4").replace(b"1234", b"4").split()


def test_iptc_longer_than_a_segment_survives_in_a_jpeg(tmp_path: Path) -> None:
    iptc = IPTC + b"\x1c\x02\x78\x7f\xff" + bytes(0x7FFF) + b"\x1c\x02\x78\x7f\xff" + bytes(0x7FFF)
    read, warnings = write_large(tmp_path, Metadata(iptc=iptc))
    assert warnings == ()
    assert read.iptc == iptc
