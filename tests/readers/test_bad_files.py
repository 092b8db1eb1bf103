"""What cannot be read: one line with the file, the reason and the remedy, and never anything but ReadError."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from png_blocks import pack_png

from dpdeblur.errors import ReadError
from dpdeblur.readers import SUFFIXES, Capture, probe_photo, read_photo

FORMATS = ["photo.png", "photo.jpg", "plain.tif", "zlib.tif", "lzw.tif", "photo.pgm", "dual.cr2", "dual.dng"]


def refuse(path: Path) -> str:
    """Read and probe a file that must be refused; return the line."""
    lines = []
    for act in (read_photo, probe_photo):
        with pytest.raises(ReadError) as caught:
            act(Capture((path,)))
        lines.append(str(caught.value))
    assert lines[0].startswith(f"{path}: ") and "\n" not in lines[0] and "; " in lines[0]
    return lines[0].removeprefix(f"{path}: ")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, dual_cr2: Path, dual_dng: Path) -> dict[str, bytes]:
    """One good file of each format."""
    folder = tmp_path_factory.mktemp("good")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    Image.fromarray(pixels).save(folder / "photo.jpg")
    Image.fromarray(pixels[..., 0]).save(folder / "photo.pgm", format="PPM")
    for name, codec in (("plain.tif", None), ("zlib.tif", "zlib"), ("lzw.tif", "lzw")):
        tifffile.imwrite(folder / name, pixels, photometric="rgb", compression=codec)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    return contents | {"dual.cr2": dual_cr2.read_bytes(), "dual.dng": dual_dng.read_bytes()}


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_files_of_any_suffix_that_are_missing_empty_or_something_else_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    assert refuse(path) == "no such file; check the name"
    path.write_bytes(b"")
    assert refuse(path).startswith("is empty (zero bytes); copy it again")
    path.write_bytes(b"This is a letter to my aunt, not a photograph. " * 20)
    assert "is n" in refuse(path)
    path.unlink()
    path.mkdir()
    assert refuse(path).startswith("is a folder with a photo's name")


def test_a_file_of_no_known_suffix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    assert refuse(path) == "is no kind of photo that dpdeblur reads; give raws, TIFF, PNG or JPEG"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_file_without_permission_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(files["photo.png"])
    path.chmod(0)
    assert refuse(path).startswith("cannot be opened (Permission denied)")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", FORMATS)
def test_files_cut_anywhere_are_refused(tmp_path: Path, files: dict[str, bytes], name: str, share: float) -> None:
    path = tmp_path / name
    path.write_bytes(files[name][: int(len(files[name]) * share)])
    with pytest.raises(ReadError, match="cut short|damaged|is n"):
        read_photo(Capture((path,)))


def damage(content: bytes, seed: int) -> Iterator[bytes]:
    """Change one to three bytes, often among the first ones, where the structure is."""
    random = np.random.default_rng(seed)
    for reach in (64, 400, len(content)):
        changed = bytearray(content)
        for place in random.integers(0, min(reach, len(content)), random.integers(1, 4)):
            changed[place] = random.integers(256)
        yield bytes(changed)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused_and_nothing_else(
    tmp_path: Path, files: dict[str, bytes], name: str, seed: int
) -> None:
    for index, content in enumerate(damage(files[name], seed)):
        path = tmp_path / f"{index}{name}"
        path.write_bytes(content)
        try:
            photo = read_photo(Capture((path,)))
        except ReadError as error:
            assert str(error).startswith(f"{path}: ")
        else:
            assert np.isfinite(photo.base).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    pixels = np.zeros((8, 8, 3), np.float32)
    pixels[3, 4, 1] = value
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    with pytest.raises(ReadError, match="no numbers"):
        read_photo(Capture((tmp_path / "a.tif",)))


def declare_jpeg(files: dict[str, bytes], width: int, height: int) -> bytes:
    content = bytearray(files["photo.jpg"])
    frame = content.index(b"\xff\xc0")
    struct.pack_into(">HH", content, frame + 5, height, width)
    return bytes(content)


def declare_tiff(files: dict[str, bytes], width: int, height: int) -> bytes:
    content = bytearray(files["plain.tif"])
    for tag, number in ((256, width), (257, height)):
        # tifffile writes both as SHORT or LONG, count 1, value in the entry
        for kind in (3, 4):
            place = content.find(struct.pack("<HHI", tag, kind, 1))
            if place >= 0:
                struct.pack_into("<HHII", content, place, tag, 4, 1, number)
    return bytes(content)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".pgm"])
def test_pictures_that_declare_too_much_are_refused_before_decoding(
    tmp_path: Path, files: dict[str, bytes], suffix: str
) -> None:
    width = height = 60000
    content = {
        ".png": lambda: pack_png((width, height), 2, 8, zlib.compress(bytes(1000))),
        ".jpg": lambda: declare_jpeg(files, width, height),
        ".tif": lambda: declare_tiff(files, width, height),
        ".pgm": lambda: b"P5 60000 60000 65535\n" + bytes(100),
    }[suffix]()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert refuse(path) == "declares 60000x60000 pixels, more than 300 megapixels; cut it into parts"


def test_a_raw_that_declares_too_much_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    content = bytearray(files["dual.dng"])
    for tag, size in ((0x0100, 96), (0x0101, 64)):
        place = content.index(struct.pack("<HHII", tag, 4, 1, size))
        struct.pack_into("<I", content, place + 8, 60000)
    path = tmp_path / "a.dng"
    path.write_bytes(content)
    refuse(path)


def test_pictures_of_other_colours_are_refused_with_the_remedy(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    assert refuse(tmp_path / "a.jpg") == "is a CMYK JPEG; convert it to RGB"
    for mode, reason in (("CMYK", "its colours are CMYK"), ("P", "its colours are PALETTE"), ("LAB", "CIELAB")):
        path = tmp_path / f"{mode}.tif"
        Image.new(mode, (8, 8)).save(path)
        for act in (probe_photo, read_photo):
            with pytest.raises(ReadError, match=f"{reason}; save it as an 8-bit or 16-bit"):
                act(Capture((path,)))


@pytest.mark.parametrize("dtype", [np.uint32, np.int16, np.bool_, np.complex64])
def test_tiffs_of_other_samples_are_refused(tmp_path: Path, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), dtype), photometric="minisblack")
    for act in (probe_photo, read_photo):
        with pytest.raises(ReadError, match="its samples"):
            act(Capture((tmp_path / "a.tif",)))


def test_a_png_with_a_wrong_checksum_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    content = bytearray(files["photo.png"])
    content[len(content) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ReadError, match="checksum is wrong"):
        read_photo(Capture((tmp_path / "a.png",)))


def test_nothing_but_our_line_reaches_stderr(
    tmp_path: Path, files: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    for name in FORMATS:
        path = tmp_path / name
        path.write_bytes(files[name][: len(files[name]) * 2 // 3])
        with pytest.raises(ReadError):
            read_photo(Capture((path,)))
    assert capfd.readouterr() == ("", "")


def test_a_tiff_of_unknown_compression_is_refused_with_the_remedy(tmp_path: Path, files: dict[str, bytes]) -> None:
    content = bytearray(files["plain.tif"])
    struct.pack_into("<H", content, content.index(struct.pack("<HHIH", 259, 3, 1, 1)) + 8, 60000)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ReadError, match=r"its compression \(60000\) is not known here; save it without compression"):
        read_photo(Capture((tmp_path / "a.tif",)))


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError(errno.EIO, "Input/output error"), r"cannot be read \(Input/output error\); check that its folder"),
        (MemoryError(), "does not fit into memory; close other programs"),
    ],
)
def test_what_the_system_refuses_halfway_is_one_line_too(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, failure: Exception, message: str
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(files["photo.png"])

    def fail(self: Path) -> bytes:
        raise failure

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(ReadError, match=message):
        read_photo(Capture((path,)))
