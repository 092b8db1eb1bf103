"""Arbitrary metadata goes through `read` and `write` unchanged, as independent programs read source and result."""

from __future__ import annotations

import io
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from metadata_readers import (
    pick_tags,
    read_with_exifread,
    read_with_exiftool,
    read_with_exiv2,
    read_with_pillow,
)
from metadata_sources import build_source
from metadata_strategies import PIXELS, SOURCES, Facts, build_png, build_tiff, draw_facts
from PIL import Image, ImageOps

from dpdeblur.readers import Capture, read_photo
from dpdeblur.writers import WriteOptions, write_image

FORMATS = {"tiff": ".tif", "png": ".png", "jpeg": ".jpg"}
HAS_EXIFTOOL = shutil.which("exiftool") is not None

#: What a result says differently: it is another picture, upright, by another program.
CHANGED = {"ifd0": {0x112, 0x131}, "exif": {0xA002, 0xA003}, "gps": set()}
POINTERS = {0x8769, 0x8825, 0xA005}
MAKER_NOTE = 0x927C

#: Exiv2's keys of what describes the stored picture, and of previews.
STORED = (
    *("Exif.Image.Image", "Exif.Image.Strip", "Exif.Image.BitsPer", "Exif.Image.Compr", "Exif.Image.Photo"),
    *("Exif.Image.Rows", "Exif.Image.Samples", "Exif.Image.Planar", "Exif.Thumbnail", "Exif.Image2", "Xmp.tiff."),
    *("Exif.Photo.Pixel", "Exif.Image.Orientation", "Exif.Image.Software", "Exif.Image.XMLPacket", "Xmp.exif.Pixel"),
    *("Exif.Image.IPTCNAA", "Exif.Image.ExifTag", "Exif.Image.GPSTag", "Exif.Photo.InteroperabilityTag"),
    *("Exif.Photo.MakerNote", "Exif.MakerNote", "Exif.Sony1.PreviewImage"),
)

relaxed = settings(
    deadline=None, derandomize=True, database=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow]
)


def take_through(source: Path, form: Any) -> tuple[Path, tuple[str, ...]]:
    """Read a source and write it as `run` would; return the result and all warnings."""
    result = source.with_name(f"result{FORMATS[form]}")
    photo = read_photo(Capture((source,)))
    warnings = write_image(result, photo.base, photo, WriteOptions(format=form), provenance="run; test")
    return result, (*photo.warnings, *warnings)


def drop_own(tags: dict[str, Any]) -> dict[str, Any]:
    """ExifTool's tags without what a result says differently: its size, that it is upright, and who made it."""
    own = {"IFD0:Software", "ExifIFD:ExifImageWidth", "ExifIFD:ExifImageHeight", "IFD0:Orientation"}
    return {name: value for name, value in pick_tags(tags, is_source=True).items() if name not in own}


@pytest.mark.parametrize("form", list(FORMATS))
@pytest.mark.parametrize("suffix", list(SOURCES))
@relaxed
@given(facts=draw_facts())
def test_every_entry_is_found_again_by_two_readers(suffix: str, form: Any, facts: Facts) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"source{suffix}"
        source.write_bytes(SOURCES[suffix](facts))
        result, warnings = take_through(source, form)
        assert warnings == ()

        before, after = read_with_pillow(source), read_with_pillow(result)
        for name, drawn in (("ifd0", facts.ifd0), ("exif", facts.exif), ("gps", facts.gps)):
            tags = {tag for tag, *_ in drawn} - CHANGED[name]
            assert {tag: after[name].get(tag) for tag in tags} == {tag: before[name][tag] for tag in tags}
            added = after[name].keys() - before[name].keys() - CHANGED[name] - POINTERS
            assert added <= (set(range(0x100, 0x154)) | {0x2BC, 0x83BB, 0x8773} if name == "ifd0" else set())
        assert after["ifd0"][0x10F] == facts.make
        assert after["ifd0"][0x112] == 1

        if HAS_EXIFTOOL:
            wanted, found = (drop_own(read_with_exiftool(path)) for path in (source, result))
            assert {name: found.get(name) for name in wanted} == wanted
        else:
            groups = ("EXIF ", "GPS ", "MakerNote ")
            wanted = {key: value for key, value in read_with_exifread(source).items() if key.startswith(groups)}
            found = read_with_exifread(result)
            same = {key for key in wanted if "Offset" not in key and key != "EXIF MakerNote"}
            assert {key: found.get(key) for key in same} == {key: wanted[key] for key in same}

        with Image.open(result) as image:
            assert facts.icc is None or image.info["icc_profile"] == facts.icc
            assert facts.xmp is None or image.info["xmp"] == facts.xmp


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("form", ["tiff", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_all_orientations_come_out_upright_as_pillow_turns_them(
    tmp_path: Path, order: str, orientation: int, form: Any, suffix: str
) -> None:
    facts = Facts(order, orientation, "Acme", (), (), (), "none", None, None, None)
    source = tmp_path / f"source{suffix}"
    source.write_bytes(SOURCES[suffix](facts))
    result, warnings = take_through(source, form)
    assert warnings == ()
    # Pillow turns a TIFF while it opens it, and a PNG when it is asked to
    with Image.open(io.BytesIO(build_png(facts))) as image:
        assert np.asarray(image).tobytes() == PIXELS
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert read_with_pillow(result)["ifd0"][0x112] == 1
    stored = tifffile.imread(result) if form == "tiff" else imagecodecs.png_decode(result.read_bytes())
    np.testing.assert_array_equal(stored, upright.astype(np.uint16) * 257)


@pytest.mark.parametrize("form", list(FORMATS))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("make", "note"), [("Canon", "canon"), ("SONY", "sony"), ("Acme", "none")])
def test_exiv2_finds_every_value_again(tmp_path: Path, form: Any, order: str, make: str, note: str) -> None:
    source = tmp_path / "source.tif"
    source.write_bytes(build_source(order, make=make, note=note))
    result, warnings = take_through(source, form)
    assert warnings == ()
    before, after = read_with_exiv2(source), read_with_exiv2(result)
    wanted = {key: value for key, value in before.items() if not key.startswith(STORED)}
    assert len([key for key in wanted if key.startswith("Exif.Photo.")]) > 8
    assert {"Exif.GPSInfo.GPSLatitude", "Iptc.Application2.ObjectName", "Xmp.xmp.Rating"} <= wanted.keys()
    assert {key: after.get(key) for key in wanted} == wanted


@relaxed
@given(facts=draw_facts())
def test_the_same_entries_come_out_of_a_result_of_a_result(facts: Facts) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.tif"
        source.write_bytes(build_tiff(facts))
        for form in ("png", "jpeg", "tiff"):
            result, warnings = take_through(source, form)
            assert warnings == ()
            source = result.rename(result.with_name(f"again{result.suffix}"))
        after = read_with_pillow(source)
        expected = {tag for tag, *_ in facts.exif}
        assert expected <= after["exif"].keys()


def test_the_comparison_notices_another_byte_order(tmp_path: Path) -> None:
    """A checker that can fail: one fraction of a source, turned round."""
    fraction = struct.pack("<II", 14, 10)
    facts = Facts("<", 1, "Acme", (), ((0x829D, 5, 1, fraction),), (), "none", None, None, None)
    first, second = tmp_path / "a.tif", tmp_path / "b.tif"
    first.write_bytes(build_tiff(facts))
    second.write_bytes(build_tiff(facts).replace(fraction, fraction[::-1]))
    assert read_with_pillow(first)["exif"][0x829D] == (14, 10)
    assert read_with_pillow(first) != read_with_pillow(second)
