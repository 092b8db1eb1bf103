"""Files made to exhaust memory or time, or to have decoders print: refused by what they declare, or warned of."""

from __future__ import annotations

import io
import os
import struct
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from metadata_sources import wrap_in_png
from PIL import Image
from png_blocks import pack_png

from dpdeblur.colour.curves import TableCurve
from dpdeblur.colour.icc import build_profile
from dpdeblur.colour.spaces import SRGB, read_profile
from dpdeblur.errors import ReadError
from dpdeblur.metadata.entries import read_metadata
from dpdeblur.readers import Capture, probe_photo, read_photo
from dpdeblur.readers.complaints import hear_complaints


def refuse(path: Path) -> str:
    """Read and probe a file that must be refused before memory is taken; return the line without the name."""
    tracemalloc.start()
    try:
        with pytest.raises(ReadError) as caught:
            read_photo(Capture((path,)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    return str(caught.value).removeprefix(f"{path}: ")


def declare_jpeg(width: int, height: int) -> bytes:
    """A JPEG of 16x16 pixels that declares another size."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    jpeg = bytearray(buffer.getvalue())
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, height, width)
    return bytes(jpeg)


def deflate_zeros(size: int) -> bytes:
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(size >> 20)]
    return b"".join((*parts, packer.compress(bytes(size % (1 << 20))), packer.flush()))


# declared sizes


@pytest.mark.parametrize(("width", "height"), [(17000, 17000), (1, 299_999_999), (5000, 100)])
def test_a_kilobyte_that_declares_megabytes_is_refused(tmp_path: Path, width: int, height: int) -> None:
    png = tmp_path / "a.png"
    png.write_bytes(pack_png((width, height), 2, 16, bytes(600)))
    assert refuse(png).startswith(f"declares {width}x{height} pixels, which {png.stat().st_size} bytes cannot hold; ")
    if max(width, height) < 65536:
        (tmp_path / "a.jpg").write_bytes(declare_jpeg(width, height))
        assert "bytes cannot hold" in refuse(tmp_path / "a.jpg")


def test_a_picture_as_empty_as_deflate_can_pack_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(pack_png((4000, 3000), 0, 8, deflate_zeros(3000 * 4001)))
    assert 3000 * 4001 / path.stat().st_size > 1000  # deflate's limit is 1032
    photo = read_photo(Capture((path,)))
    assert (photo.base.shape, float(np.abs(photo.base).max())) == ((3000, 4000, 1), 0.0)


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_picture_as_empty_as_a_jpeg_can_pack_it_is_read(tmp_path: Path, subsampling: int) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (2000, 1500), "gray").save(path, quality=1, optimize=True, subsampling=subsampling)
    assert read_photo(Capture((path,))).base.shape == (1500, 2000, 3)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_200_megapixels_are_allowed_and_300_are_not_exceeded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"

    def declare(width: int, height: int) -> None:
        padding = bytes(3 * width * height // 1000)
        if kind == "png":
            path.write_bytes(pack_png((width, height), 2, 8, padding))
        elif kind == "jpeg":
            path.write_bytes(declare_jpeg(width, height) + padding)
        else:
            entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1)]
            entries += [(273, 4, 1, 8), (279, 4, 1, 8)]
            table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
            path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + padding)

    declare(20000, 10000)
    probe = probe_photo(Capture((path,)))
    assert (probe.width, probe.height) == (20000, 10000)
    declare(20000, 15001)
    with pytest.raises(ReadError, match="more than 300 megapixels; cut it into parts"):
        probe_photo(Capture((path,)))


@pytest.mark.parametrize("rest", [b"\1\0\0", b"\0\1\0", b"\0\0\2"])
@pytest.mark.parametrize(("depth", "kind"), [(8, 2), (16, 3), (3, 0), (4, 2), (8, 5), (8, 7)])
def test_kinds_of_png_that_do_not_exist_are_refused(tmp_path: Path, depth: int, kind: int, rest: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(pack_png((4, 4), kind, depth, zlib.compress(bytes(100)), rest=rest))
    assert "a kind of PNG that does not exist" in refuse(path)


def write_tiff(path: Path, **numbers: int) -> Path:
    """A tiled 8-bit RGB TIFF of 32x32, with some entries' numbers changed."""
    tags = {"width": 256, "height": 257, "samples": 277, "tile_width": 322, "tile_height": 323}
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(16, 16), metadata=None, compression="lzw")
    with tifffile.TiffFile(path) as tiff:
        places = {name: tiff.pages.first.tags[tag].valueoffset for name, tag in tags.items()}
        kinds = {name: int(tiff.pages.first.tags[tag].dtype) for name, tag in tags.items()}
    content = bytearray(path.read_bytes())
    for name, number in numbers.items():
        struct.pack_into({3: "<H", 4: "<I"}[kinds[name]], content, places[name], number)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "numbers",
    [
        {"tile_width": 65520, "tile_height": 65520},
        {"samples": 65000},
        {"width": 3200, "height": 3200},
        {"tile_height": 8},
    ],
)
def test_a_tiff_whose_numbers_do_not_fit_together_is_refused(tmp_path: Path, numbers: dict[str, int]) -> None:
    read_photo(Capture((write_tiff(tmp_path / "good.tif"),)))
    refuse(write_tiff(tmp_path / "a.tif", **numbers))


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_strip_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, tile: tuple[int, int] | None) -> None:
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).random((32, 32, 3)).astype(np.float16)
    tifffile.imwrite(path, pixels, photometric="rgb", compression="zlib", metadata=None, tile=tile)
    assert read_photo(Capture((path,))).base.shape == (32, 32, 3)
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages.first.tags
        kind = "Strip" if tile is None else "Tile"
        place, length = tags[f"{kind}Offsets"], tags[f"{kind}ByteCounts"]
        place_at, length_at = place.valueoffset, length.valueoffset
        code = {3: "<H", 4: "<I"}[int(length.dtype)]
    bomb = deflate_zeros(30 << 20)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, place_at, len(content))
    struct.pack_into(code, content, length_at, len(bomb))
    path.write_bytes(bytes(content) + bomb)
    assert "is damaged" in refuse(path)


def test_floating_point_beyond_all_light_is_refused(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.float64)
    for value in (1e300, 1e30, -1e6):
        pixels[1, 2, 0] = value
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
        assert "holds values beyond 65504 times white" in refuse(tmp_path / "a.tif")


def test_a_jpeg_of_a_thousand_scans_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    scan = content.rindex(b"\xff\xda")
    path = tmp_path / "a.jpg"
    path.write_bytes(content[:scan] + content[scan:-2] * 200 + b"\xff\xd9")
    assert "has more than 100 scans" in refuse(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("suffix", [".tif", ".cr2", ".nef", ".dng"])
def test_a_pipe_with_a_photo_s_name_is_refused_and_not_waited_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    os.mkfifo(path)
    assert refuse(path).startswith("is no ordinary file but a pipe or a device; copy it into a file")
    with pytest.raises(ReadError, match="no ordinary file"):
        read_metadata(path)


# what decoders would do besides


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_chunks_that_unpack_to_gigabytes_cost_a_warning_and_little_memory(tmp_path: Path, kind: bytes) -> None:
    bomb = deflate_zeros(200 << 20)
    body = {
        b"iCCP": b"n\0\0" + bomb,
        b"zTXt": b"Raw profile type iptc\0\0" + bomb,
        b"iTXt": b"XML:com.adobe.xmp\0\1\0\0\0" + bomb,
    }[kind]
    path = tmp_path / "a.png"
    path.write_bytes(wrap_in_png(*[(kind, body)] * 20))
    tracemalloc.start()
    try:
        photo = read_photo(Capture((path,)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(photo.warnings) == 1 and "too large" in photo.warnings[0]
    assert peak < 100 << 20


def test_a_profile_whose_tags_all_claim_its_whole_content_costs_little_memory() -> None:
    content = 4 << 20
    names = [b"rTRC", b"gTRC", b"bTRC", b"rXYZ", b"gXYZ", b"bXYZ", b"desc", *(b"x%03d" % n for n in range(190))]
    head = bytearray(SRGB.icc[:128]) if SRGB.icc else bytearray()
    table = b"".join(struct.pack(">4sII", name, 0, content) for name in names)
    profile = bytes(head) + struct.pack(">I", len(names)) + table
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="longer than it can be"):
            read_profile(profile.ljust(content, b"\0"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize(
    "numbers",
    [(1 / 65536,), (30000.0,), (2.4, 1e-4, 0.0, 1.0, 0.5), (1.0, 1.0, 0.0, 0.0, 0.0, -30000.0, 0.0)],
)
def test_curves_that_lead_out_of_all_numbers_are_refused(numbers: tuple[float, ...]) -> None:
    icc = bytearray(build_profile("x", TableCurve((0.0, 1.0)), None))
    kind = {1: 0, 5: 3, 7: 4}[len(numbers)]
    fixed = [round(number * 65536) for number in numbers]
    curve = struct.pack(f">4s4xHH{len(fixed)}i", b"para", kind, 0, *fixed)
    struct.pack_into(">II", icc, icc.index(b"kTRC") + 4, len(icc), len(curve))
    with pytest.raises(ValueError, match="no tone curve|longer than"):
        read_profile(bytes(icc) + curve)


def test_the_name_of_a_profile_is_one_short_line() -> None:
    icc = build_profile("a\n\x1b[31mb\u2028" + "c" * 5000, TableCurve((0.0, 1.0)), None)
    assert read_profile(icc).name == "file: a[31mb" + "c" * 74


# what decoders print


def damage_scan(content: bytes) -> bytes:
    """Put bits into a JPEG's coded data that no code begins with, in the middle."""
    middle = (content.rindex(b"\xff\xda") + len(content)) // 2
    return content[:middle] + b"\xff\x00" * 20 + content[middle + 40 :]


def test_what_libjpeg_prints_about_damage_becomes_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], jpeg_photo: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(damage_scan(jpeg_photo.read_bytes()))
    (warning,) = read_photo(Capture((path,))).warnings
    assert "data are damaged" in warning and "bad Huffman code" in warning
    assert str(tmp_path) not in warning
    assert capfd.readouterr() == ("", "")
    assert read_photo(Capture((jpeg_photo,))).warnings == ()


def test_what_libraw_prints_about_damage_that_it_gives_up_on_is_not_said_twice(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], dual_cr2: Path
) -> None:
    content = dual_cr2.read_bytes()
    path = tmp_path / "photo.cr2"
    path.write_bytes(content[:-3000] + b"\xff\xd9" * 500 + content[-2000:])
    with pytest.raises(ReadError, match="its picture data is damaged or cut short"):
        read_photo(Capture((path,)))
    assert capfd.readouterr() == ("", "")


def test_what_others_print_meanwhile_comes_out_after_all(capfd: pytest.CaptureFixture[str]) -> None:
    with hear_complaints() as outer:
        os.write(2, b"progress 50 %\n")
        with hear_complaints() as inner:
            os.write(2, b"Corrupt JPEG data: bad Huffman code\nCorrupt JPEG data: premature end of data segment\n")
        os.write(2, b"Warning: unknown JFIF revision number 9.9\nphoto.cr2: data corrupted at 4711\nend")
    assert inner == []
    assert outer == [
        "The picture's data are damaged, and parts of it may be wrong (bad Huffman code, and 2 more)."
    ]  # fmt: skip
    assert capfd.readouterr().err == "progress 50 %\nend"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("Corrupt JPEG data: found marker 0xd9 instead of RST3", "found marker 0xd9 instead of RST3"),
        ("Premature end of JPEG file", "Premature end of JPEG file"),
        ("Inconsistent progression sequence for component 0 coefficient 1", "Inconsistent progression sequence for"),
        ("Unknown Adobe color transform code 255", "Unknown Adobe color transform code 255"),
        ("libpng warning: IDAT: too much image data", "IDAT: too much image data"),
        ("/a/b: c.dng: Unexpected end of file", "Unexpected end of file"),
    ],
)
def test_complaints_of_every_library_are_understood(line: str, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    with hear_complaints() as warnings:
        os.write(2, line.encode() + b"\n")
    assert f"may be wrong ({what}" in warnings[0]
    assert capfd.readouterr().err == ""


def test_a_failure_while_listening_gives_standard_error_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), hear_complaints():
        raise ZeroDivisionError
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of POSIX")
def test_a_program_without_a_standard_error_reads_photos_too(jpeg_photo: Path) -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        assert read_photo(Capture((jpeg_photo,))).warnings == ()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_threads_that_read_at_once_leave_standard_error_as_it_was(
    jpeg_photo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = os.fstat(2).st_ino
    threads = [threading.Thread(target=lambda: [read_photo(Capture((jpeg_photo,))) for _ in range(20)]) for _ in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.fstat(2).st_ino == before
    assert capfd.readouterr().err == ""
