"""Single images. Pillow and tifffile wrote them, closed forms say what they mean."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageCms
from png_blocks import Chunk, pack_png, pack_rows

from dpdeblur.colour.curves import ParametricCurve
from dpdeblur.colour.spaces import ADOBE_RGB, SRGB
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture, Probe, ReadOptions, probe_photo, read_photo

Values = npt.NDArray[Any]
ICC = 34675


def read(path: Path, **options: Any) -> Photo:
    return read_photo(Capture((path,)), ReadOptions(**options))


def decode(stored: Values, white: float) -> npt.NDArray[np.float64]:
    """The sRGB curve of IEC 61966-2-1."""
    encoded = stored.astype(np.float64) / white
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def draw(shape: tuple[int, ...], dtype: type) -> Values:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write_png(path: Path, kind: int, depth: int, rows: list[bytes], *chunks: Chunk) -> Path:
    """Write a PNG of any colour type and depth: Pillow knows no 16-bit RGB."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    size = len(rows[0]) * 8 // (channels * depth), len(rows)
    path.write_bytes(pack_png(size, kind, depth, pack_rows(rows), *chunks))
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_png_keeps_every_value_and_its_alpha(tmp_path: Path, kind: int, channels: int, dtype: type) -> None:
    stored = draw((5, 7, channels), dtype)
    depth = np.dtype(dtype).itemsize * 8
    big_endian = stored.astype(stored.dtype.newbyteorder(">"))
    photo = read(write_png(tmp_path / "a.png", kind, depth, [row.tobytes() for row in big_endian]))
    white = np.iinfo(dtype).max
    colours = {1: 1, 2: 1, 3: 3, 4: 3}[channels]
    np.testing.assert_allclose(photo.base, decode(stored[..., :colours], white), atol=1e-6)
    assert (photo.kind, photo.bits, photo.colour.name) == ("image", depth, "srgb")
    if channels == colours:
        assert photo.alpha is None
    else:
        np.testing.assert_allclose(photo.alpha, stored[..., -1] / white, atol=1e-6)


def test_palette_png_comes_in_its_colours(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", 3, 8, [b"\0\1"], (b"PLTE", bytes([10, 20, 30, 200, 150, 100])))
    expected = decode(np.array([[[10, 20, 30], [200, 150, 100]]]), 255)
    np.testing.assert_allclose(read(path).base, expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_has_the_values_that_pillow_decodes(tmp_path: Path, mode: str) -> None:
    rows, columns = np.mgrid[0:24, 0:40]
    smooth = np.stack([rows * 9, columns * 6, (rows + columns) * 3], -1).astype(np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth).convert(mode).save(path, quality=95)
    photo = read(path)
    with Image.open(path) as image:
        expected = decode(np.asarray(image).reshape(24, 40, -1), 255)
    assert photo.bits == 8
    np.testing.assert_allclose(photo.base, expected, atol=0.02)  # two decoders' rounding of colour conversion
    assert abs(float((photo.base - expected).mean())) < 1e-3


CODECS = [None, "zlib", "lzw", "packbits"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("channels", "photometric", "extra"),
    [(1, "minisblack", None), (3, "rgb", None), (4, "rgb", "unassalpha"), (4, "rgb", "unspecified")],
)
def test_tiff_keeps_every_value_and_its_alpha(
    tmp_path: Path, channels: int, photometric: str, extra: str | None, dtype: type, codec: str | None
) -> None:
    stored = draw((33, 17, channels), dtype)
    path = tmp_path / "a.tif"
    extras = {} if extra is None else {"extrasamples": [extra]}
    tifffile.imwrite(path, stored.squeeze(), photometric=photometric, compression=codec, **extras)
    photo = read(path)
    white, colours = np.iinfo(dtype).max, min(channels, 3)
    np.testing.assert_allclose(photo.base, decode(stored[..., :colours], white), atol=1e-6)
    assert (photo.bits, photo.warnings) == (np.dtype(dtype).itemsize * 8, ())
    assert (photo.alpha is None) == (channels != 4)
    if photo.alpha is not None:
        np.testing.assert_allclose(photo.alpha, stored[..., 3] / white, atol=1e-6)


@pytest.mark.parametrize("codec", [None, "zlib"])
def test_tiff_of_gray_with_alpha_keeps_both(tmp_path: Path, codec: str | None) -> None:
    stored = draw((9, 8, 2), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="minisblack", extrasamples=["unassalpha"], compression=codec
    )
    photo = read(tmp_path / "a.tif")
    np.testing.assert_allclose(photo.base, decode(stored[..., :1], 65535), atol=1e-6)
    np.testing.assert_allclose(photo.alpha, stored[..., 1] / 65535, atol=1e-6)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_where_white_is_zero_is_turned_over(tmp_path: Path, dtype: type, codec: str | None) -> None:
    stored = draw((9, 8), dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", compression=codec)
    white = np.iinfo(dtype).max
    np.testing.assert_allclose(read(tmp_path / "a.tif").base[..., 0], decode(white - stored, white), atol=1e-6)


@pytest.mark.parametrize("layout", [{"tile": (16, 16)}, {"bigtiff": True}, {"byteorder": ">"}, {"rowsperstrip": 5}])
@pytest.mark.parametrize("codec", [None, "zlib", "lzw"])
def test_tiff_may_be_tiled_big_or_of_the_other_byte_order(
    tmp_path: Path, layout: dict[str, Any], codec: str | None
) -> None:
    stored = draw((33, 17, 3), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", compression=codec, **layout)
    np.testing.assert_allclose(read(tmp_path / "a.tif").base, decode(stored, 65535), atol=1e-6)


def test_tiff_of_separate_planes_is_joined(tmp_path: Path) -> None:
    stored = draw((3, 9, 8), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig="separate")
    np.testing.assert_allclose(read(tmp_path / "a.tif").base, decode(stored.transpose(1, 2, 0), 65535), atol=1e-6)


@pytest.mark.parametrize("codec", [None, "zlib"])
def test_colours_multiplied_by_alpha_are_divided_by_it(tmp_path: Path, codec: str | None) -> None:
    alpha = np.array([[65535, 32768, 6554]], np.uint16)
    stored = np.stack([np.rint(alpha * share).astype(np.uint16) for share in (0.25, 0.5, 0.75)] + [alpha], -1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"], compression=codec)
    photo = read(tmp_path / "a.tif")
    expected = np.broadcast_to(decode(np.array([0.25, 0.5, 0.75]), 1), (1, 3, 3))
    np.testing.assert_allclose(photo.base, expected, atol=1e-3)  # the stored values' rounding
    np.testing.assert_allclose(photo.alpha, alpha / 65535, atol=1e-6)


@pytest.mark.parametrize("codec", [None, "zlib"])
def test_floating_point_tiff_keeps_values_beyond_white(tmp_path: Path, codec: str | None) -> None:
    stored = np.array([[[0.0, 0.5, 1.5], [-0.2, 1.0, 0.25]]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", compression=codec)
    np.testing.assert_allclose(read(tmp_path / "a.tif", linear=True).base, stored)
    encoded = read(tmp_path / "a.tif").base
    np.testing.assert_allclose(encoded[0, 0], decode(stored[0, 0], 1), rtol=1e-5)
    assert encoded[0, 1, 0] == pytest.approx(-decode(np.array(0.2), 1), rel=1e-5)


def test_only_the_first_page_is_read_and_that_is_said(tmp_path: Path) -> None:
    pages = draw((2, 9, 8, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb")
    photo = read(tmp_path / "a.tif")
    np.testing.assert_allclose(photo.base, decode(pages[0], 255), atol=1e-6)
    assert photo.warnings == ("The file has 2 pages; only the first was read.",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "z.tif"])
def test_orientation_is_carried_and_not_applied(tmp_path: Path, name: str, orientation: int) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16] = 200
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / name
    if path.suffix == ".tif":
        codec = "lzw" if name == "z.tif" else None
        tags = [(0x0112, 3, 1, orientation, True)]
        tifffile.imwrite(path, stored, photometric="rgb", compression=codec, extratags=tags)
    else:
        Image.fromarray(stored).save(path, exif=exif)
    photo = read(path)
    assert (photo.orientation, photo.base.shape) == (orientation, (16, 32, 3))
    assert photo.base[:7, :15].min() > 0.5 and photo.base[9:, 17:].max() < 0.1


def test_an_embedded_profile_is_honoured_and_kept(tmp_path: Path) -> None:
    assert ADOBE_RGB.icc is not None
    stored = draw((9, 8, 3), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", iccprofile=ADOBE_RGB.icc)
    photo = read(tmp_path / "a.tif")
    np.testing.assert_allclose(photo.base, (stored / 65535) ** (563 / 256), atol=1e-5)  # Adobe RGB (1998), 4.3.4.2
    assert photo.colour.icc == ADOBE_RGB.icc
    np.testing.assert_allclose(photo.colour.to_linear_srgb, ADOBE_RGB.to_linear_srgb, atol=1e-3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_the_srgb_profile_of_another_program_changes_nothing(tmp_path: Path, suffix: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (16, 16), (200, 120, 40))
    paths = tmp_path / f"plain{suffix}", tmp_path / f"profiled{suffix}"
    image.save(paths[0])
    image.save(paths[1], icc_profile=profile)
    plain, profiled = (read(path) for path in paths)
    np.testing.assert_allclose(profiled.base, plain.base, atol=2e-4)
    assert (plain.colour.icc, profiled.colour.icc) == (SRGB.icc, profile)


def test_an_unreadable_profile_is_a_warning_and_stays_with_the_values(tmp_path: Path) -> None:
    stored = draw((9, 8, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", iccprofile=b"no profile at all" * 10)
    photo = read(tmp_path / "a.tif")
    np.testing.assert_allclose(photo.base, decode(stored, 255), atol=1e-6)
    assert photo.colour.icc == b"no profile at all" * 10
    assert len(photo.warnings) == 1 and "profile cannot be read" in photo.warnings[0]


def test_linear_values_are_only_scaled(tmp_path: Path) -> None:
    stored = draw((9, 8, 3), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb")
    np.testing.assert_allclose(read(tmp_path / "a.tif", linear=True).base, stored / 65535, atol=1e-6)


def test_metadata_and_the_cameras_name_come_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x013B] = "Canon", "Canon EOS R", "Somebody"
    Image.new("RGB", (32, 16)).save(tmp_path / "a.jpg", exif=exif)
    photo, probe = read(tmp_path / "a.jpg"), probe_photo(Capture((tmp_path / "a.jpg",)))
    assert {entry.tag: entry.value for entry in photo.metadata.ifd0}[0x013B].startswith(b"Somebody\0")
    assert probe == Probe("image", 32, 16, False, "Canon EOS R")


@pytest.mark.parametrize(("make", "model", "name"), [("LGE", "Nexus", "LGE Nexus"), ("", "X", "X"), ("Y", "", "Y")])
def test_maker_and_model_make_the_cameras_name(tmp_path: Path, make: str, model: str, name: str) -> None:
    exif = Image.Exif()
    for tag, text in ((0x010F, make), (0x0110, model)):
        if text:
            exif[tag] = text
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert probe_photo(Capture((tmp_path / "a.jpg",))).camera == name


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.pgm"])
def test_probes_know_size_and_colour_without_decoding(tmp_path: Path, name: str) -> None:
    Image.new("L", (23, 11)).save(tmp_path / name, format="PPM" if name == "a.pgm" else None)
    assert probe_photo(Capture((tmp_path / name,))) == Probe("image", 23, 11, False, None, is_gray=True)


def test_an_image_is_told_by_its_content_not_its_suffix(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_allclose(read(tmp_path / "a.jpg").base[0, 0], (1, 0, 0))


def test_a_profile_with_a_curve_for_each_channel_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = ParametricCurve(1.0), ParametricCurve(2.0), ParametricCurve(3.0)
    space = dataclasses.replace(SRGB, name="file: three curves", curves=curves)
    monkeypatch.setattr("dpdeblur.readers.view.read_profile", lambda icc: space)
    stored = draw((9, 8, 3), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", iccprofile=b"anything")
    expected = (stored / 65535) ** np.array([1, 2, 3])
    np.testing.assert_allclose(read(tmp_path / "a.tif").base, expected, atol=1e-6)
