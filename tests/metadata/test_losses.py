"""What a result will not carry is named in a warning, and in the log."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest
from cli_runs import run
from metadata_sources import IPTC, Builder, make_xmp, wrap_in_jpeg, wrap_in_png
from tiny_networks import write_gkmnet

from dpdeblur.metadata.entries import Metadata, read_metadata


def read_bytes(folder: Path, data: bytes) -> Metadata:
    path = folder / "photo"
    path.write_bytes(data)
    return read_metadata(path)


def pack_resource(identity: int, content: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", identity, 0, len(content)) + content + bytes(len(content) % 2)


@pytest.mark.parametrize(
    ("segment", "warning"),
    [
        ((0xFE, b"A comment"), "The JPEG's comment was left out."),
        ((0xEB, b"JP\0\1\0\0\0\1"), "The content credentials were left out: they hold for the original alone."),
        ((0xE1, b"http://ns.adobe.com/xmp/extension/\0rest"), "The extended part of the XMP packet was left out."),
        (
            (0xED, b"Photoshop 3.0\0" + pack_resource(2000, b"path") + pack_resource(0x040B, b"http://x")),
            "Photoshop's resources (URL, path) were left out.",
        ),
    ],
)
def test_segments_that_stay_behind_are_named_once(tmp_path: Path, segment: tuple[int, bytes], warning: str) -> None:
    assert read_bytes(tmp_path, wrap_in_jpeg(segment, segment)).warnings == (warning,)


def test_previews_digests_and_what_is_kept_otherwise_are_not_named(tmp_path: Path) -> None:
    resources = pack_resource(0x0425, bytes(16)) + pack_resource(0x040C, b"thumbnail") + pack_resource(0x0404, IPTC)
    mpf = (0xE2, b"MPF\0II*\0\x08\0\0\0")
    metadata = read_bytes(tmp_path, wrap_in_jpeg((0xED, b"Photoshop 3.0\0" + resources), mpf))
    assert (metadata.warnings, metadata.iptc) == ((), IPTC)


def test_texts_of_a_png_are_named_and_a_list_of_them_has_an_end(tmp_path: Path) -> None:
    texts = [
        (b"tEXt", b"Author\0Somebody"),
        (b"zTXt", b"Title\0\0" + zlib.compress(b"a")),
        (b"iTXt", b"Rights\0\0\0\0\0x"),
    ]
    assert read_bytes(tmp_path, wrap_in_png(*texts)).warnings == (
        "The PNG's texts were left out: 'Author', 'Title', 'Rights'.",
    )
    machines = [(b"tEXt", b"Software\0x"), (b"tEXt", b"date:create\0x")]
    assert read_bytes(tmp_path, wrap_in_png(*machines)).warnings == ()
    many = [(b"tEXt", b"%d\0x" % number) for number in range(1000)]
    assert read_bytes(tmp_path, wrap_in_png(*many)).warnings == (
        "The PNG's texts were left out: '0', '1', '2', '3', '4' ....",
    )


@pytest.mark.parametrize("kind", [b"exif", b"APP1", b"xmp", b"iptc", b"8bim"])
@pytest.mark.parametrize("packed", [True, False])
def test_profiles_that_imagemagick_put_into_texts_are_read(tmp_path: Path, kind: bytes, packed: bool) -> None:
    builder = Builder(">")
    tiff = builder.header(8) + builder.directory([builder.text(0x13B, "Somebody")], 8)
    profile = {
        b"exif": b"Exif\0\0" + tiff,
        b"APP1": b"http://ns.adobe.com/xap/1.0/\0" + make_xmp(),
        b"xmp": make_xmp(),
        b"iptc": IPTC,
        b"8bim": pack_resource(0x0404, IPTC),
    }[kind]
    text = b"\n%s\n%8d\n" % (kind, len(profile)) + profile.hex().encode() + b"\n"
    chunk = (b"zTXt", b"\0" + zlib.compress(text)) if packed else (b"tEXt", text)
    metadata = read_bytes(tmp_path, wrap_in_png((chunk[0], b"Raw profile type " + kind + b"\0" + chunk[1])))
    assert metadata.warnings == ()
    found = {
        b"exif": [entry.value for entry in metadata.ifd0] == [b"Somebody\0"],
        b"APP1": metadata.xmp == make_xmp(),
        b"xmp": metadata.xmp == make_xmp(),
        b"iptc": metadata.iptc == IPTC,
        b"8bim": metadata.iptc == IPTC,
    }
    assert found[kind]


GAMMA_1 = (b"gAMA", struct.pack(">I", 100000))
WIDE = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
SRGB = (b"gAMA", struct.pack(">I", 45455))


@pytest.mark.parametrize(
    ("chunks", "names"),
    [
        ((SRGB,), None),
        ((b"cICP\1\x0d\0\1",), None),
        ((GAMMA_1,), "gAMA"),
        ((GAMMA_1, WIDE), "gAMA and cHRM"),
        (((b"cICP", b"\x09\x10\0\1"),), "cICP"),
        ((GAMMA_1, (b"sRGB", b"\0")), None),
        ((GAMMA_1, (b"iCCP", b"n\0\0" + zlib.compress(b"profile"))), None),
    ],
)
def test_colours_without_a_profile_are_named_unless_they_are_srgb_s(
    tmp_path: Path, chunks: tuple[tuple[bytes, bytes] | bytes, ...], names: str | None
) -> None:
    listed = [(chunk[:4], chunk[4:]) if isinstance(chunk, bytes) else chunk for chunk in chunks]
    expected = () if names is None else (
        f"The colours that {names} describe were taken as sRGB: there is no profile.",
    )  # fmt: skip
    assert read_bytes(tmp_path, wrap_in_png(*listed)).warnings == expected


def test_entries_of_a_tiff_that_are_not_known_are_named_by_their_tags(tmp_path: Path) -> None:
    builder = Builder("<")
    entries = [builder.short(tag, 1) for tag in (256, 257, 318, 33550, 33922, 50706, 65000)]
    metadata = read_bytes(tmp_path, builder.header(8) + builder.directory(entries, 8))
    assert metadata.warnings == ("Entries that are not known here were left out (tags 318, 33550, 33922, 65000).",)


def test_an_entry_that_is_there_twice_is_counted_as_lost(tmp_path: Path) -> None:
    builder = Builder("<")
    twice = [builder.text(0x13B, "Somebody"), builder.text(0x13B, "Somebody else")]
    metadata = read_bytes(tmp_path, builder.header(8) + builder.directory(twice, 8))
    assert [entry.value for entry in metadata.ifd0] == [b"Somebody\0"]
    assert metadata.warnings == ("1 damaged entries of the ifd0 directory were left out.",)


def test_losses_stand_in_the_log_and_on_stderr(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(wrap_in_jpeg((0xFE, b"A comment"), (0xE1, b"Exif\0\0II*\0\xff\0\0\0")))
    weights = write_gkmnet(tmp_path / "w.safetensors")
    result = run(weights, photo, "-o", tmp_path / "out", "--log", tmp_path / "log.jsonl")
    assert result.code == 0
    (record,) = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    assert any("comment was left out" in warning for warning in record["warnings"])
    assert any("EXIF is damaged and was left out" in warning for warning in record["warnings"])
    assert "comment was left out" in result.stderr
