"""Colours from file to file: identity where nothing changes, LittleCMS where profiles differ, and no steps in ramps."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from cli_runs import run
from PIL import Image, ImageCms
from png_blocks import pack_chunk
from tiny_networks import write_gkmnet

from dpdeblur.colour.curves import TableCurve
from dpdeblur.colour.icc import build_profile
from dpdeblur.colour.spaces import COLOUR_SPACES
from dpdeblur.readers import Capture, read_photo
from dpdeblur.writers import WriteOptions, write_image

Codes = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float64]

FORMATS: dict[Any, str] = {"tiff": ".tif", "png": ".png"}
SPACES = list(COLOUR_SPACES)


def decode_srgb(x: Floats) -> Floats:
    """IEC 61966-2-1."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def encode_srgb(x: Floats) -> Floats:
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055)


#: The tone curves as their standards print them, linear light to encoded.
ENCODERS: dict[str, Callable[[Floats], Floats]] = {
    "srgb": encode_srgb,
    "display-p3": encode_srgb,
    "adobe-rgb": lambda x: x ** (256 / 563),  # Adobe RGB (1998), 4.3.4.2
    "prophoto": lambda x: np.where(x < 1 / 512, 16 * x, x ** (1 / 1.8)),  # ISO 22028-2
    "linear": lambda x: x,
}


def write_source(path: Path, codes: Codes, icc: bytes | None) -> Path:
    """Write codes, (H, W, C) with C = 1 to 4, as a 16-bit TIFF or PNG; an even C ends in alpha."""
    channels = codes.shape[2]
    if path.suffix == ".tif":
        tifffile.imwrite(
            path,
            codes if channels > 1 else codes[..., 0],
            photometric="minisblack" if channels < 3 else "rgb",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels % 2 == 0 else None,
            iccprofile=icc,
            metadata=None,
        )
        return path
    content = imagecodecs.png_encode(codes if channels > 1 else codes[..., 0])
    if icc is not None:
        content = content[:33] + pack_chunk(b"iCCP", b"name\0\0" + zlib.compress(icc)) + content[33:]
    path.write_bytes(content)
    return path


def read_codes(path: Path, channels: int) -> Codes:
    """The codes of a result, (H, W, C)."""
    codes = tifffile.imread(path) if path.suffix == ".tif" else imagecodecs.png_decode(path.read_bytes())
    assert codes.dtype == np.uint16
    return codes.reshape(*codes.shape[:2], channels)


def read_icc(path: Path) -> bytes:
    """The profile of a result."""
    if path.suffix == ".tif":  # Pillow knows no gray TIFF of 16 bits with alpha
        with tifffile.TiffFile(path) as tiff:
            return bytes(tiff.pages.first.tags[34675].value)
    with Image.open(path) as image:
        return bytes(image.info["icc_profile"])


def convert(source: Path, form: Any, profile: str | None) -> Path:
    """Read and write a file, its picture unchanged."""
    result = source.with_name(f"result{FORMATS[form]}")
    photo = read_photo(Capture((source,)))
    assert photo.warnings == ()
    options = WriteOptions(format=form, profile=profile)
    assert write_image(result, photo.base, photo, options, provenance="run; test") == ()
    return result


def make_ramp(channels: int) -> Codes:
    """Every 16-bit code once in each channel, the channels in different orders."""
    codes = np.arange(65536, dtype=np.uint16)
    columns = [codes, codes[::-1], np.roll(codes, 20000), np.roll(codes[::-1], 7)]
    return np.stack(columns[:channels], axis=1).reshape(256, 256, channels)


@pytest.mark.parametrize("form", list(FORMATS))
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", [*SPACES, "none"])
def test_a_file_that_nothing_changes_keeps_every_code_in_its_own_profile(
    tmp_path: Path, name: str, channels: int, form: Any
) -> None:
    icc = None
    if name != "none":
        icc = COLOUR_SPACES[name].icc if channels > 2 else COLOUR_SPACES[name].gray_icc
    ramp = make_ramp(channels)
    source = write_source(tmp_path / f"source{FORMATS[form]}", ramp, icc)
    result = convert(source, form, None)
    np.testing.assert_array_equal(read_codes(result, channels), ramp)
    if icc is not None:
        assert read_icc(result) == icc


@pytest.mark.parametrize("samples", [2, 256, 4096])
def test_a_profile_of_tables_keeps_every_code_too(tmp_path: Path, samples: int) -> None:
    curve = TableCurve(tuple(np.linspace(0, 1, samples) ** 1.8))
    srgb = build_profile("any", curve, np.array([[0.436, 0.385, 0.143], [0.222, 0.717, 0.061], [0.014, 0.097, 0.714]]))
    ramp = make_ramp(3)
    result = convert(write_source(tmp_path / "source.tif", ramp, srgb), "tiff", None)
    np.testing.assert_array_equal(read_codes(result, 3), ramp)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SPACES)
def test_a_neutral_ramp_of_16_bits_becomes_another_without_steps(tmp_path: Path, name: str, channels: int) -> None:
    ramp = np.repeat(np.arange(65536, dtype=np.uint16).reshape(256, 256, 1), channels, axis=2)
    result = convert(write_source(tmp_path / "source.tif", ramp, None), "tiff", name)
    codes = read_codes(result, channels).reshape(-1, channels).astype(int)
    expected = 65535 * ENCODERS[name](decode_srgb(np.arange(65536) / 65535))
    # half a code for rounding; the rest for a matrix whose profile has 16 binary places
    np.testing.assert_allclose(
        codes, np.repeat(expected[:, None], channels, axis=1), atol=1.0 if channels == 1 else 4.0
    )
    steps = np.diff(codes, axis=0)
    assert steps.min() >= 0
    assert np.all(steps <= np.ceil(np.diff(expected))[:, None] + 1)  # no gap that the curve has not


def compute_littlecms(pixels: npt.NDArray[np.uint8], source: bytes, target: bytes) -> npt.NDArray[np.int64]:
    """What LittleCMS makes of pixels, relative colorimetric, computed without its shortcuts."""
    first, second = (ImageCms.ImageCmsProfile(io.BytesIO(icc)) for icc in (source, target))
    mode = "L" if pixels.ndim == 2 else "RGB"
    transform = ImageCms.buildTransform(
        first, second, mode, mode, renderingIntent=1, flags=ImageCms.Flags.NOOPTIMIZE | ImageCms.Flags.HIGHRESPRECALC
    )
    return np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform)).astype(int)


@pytest.mark.parametrize("target", SPACES)
@pytest.mark.parametrize("source", SPACES)
def test_any_gamut_goes_into_any_other_as_littlecms_takes_it(tmp_path: Path, source: str, target: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    source_icc, target_icc = COLOUR_SPACES[source].icc, COLOUR_SPACES[target].icc
    assert source_icc is not None and target_icc is not None
    path = tmp_path / "source.png"
    Image.fromarray(pixels).save(path, icc_profile=source_icc)
    codes = read_codes(convert(path, "tiff", target), 3) / 257
    if source == target:
        np.testing.assert_array_equal(codes, pixels)
    expected = compute_littlecms(pixels, source_icc, target_icc)
    # LittleCMS rounds to 8 bits, and in between to 16, which the steep start of a curve spreads
    assert np.abs(codes - expected).max() <= (1.5 if source == "linear" and target != "linear" else 1.01)


@pytest.mark.parametrize("target", SPACES)
@pytest.mark.parametrize("source", SPACES)
def test_gray_goes_from_curve_to_curve_as_littlecms_takes_it(tmp_path: Path, source: str, target: str) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    source_icc, target_icc = COLOUR_SPACES[source].gray_icc, COLOUR_SPACES[target].gray_icc
    assert source_icc is not None and target_icc is not None
    path = tmp_path / "source.png"
    Image.fromarray(pixels).save(path, icc_profile=source_icc)
    codes = read_codes(convert(path, "tiff", target), 1)[..., 0] / 257
    assert np.abs(codes - compute_littlecms(pixels, source_icc, target_icc)).max() <= 1.5


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that changes nothing."""
    return write_gkmnet(tmp_path_factory.mktemp("weights") / "identity.safetensors")


@pytest.mark.parametrize("form", list(FORMATS))
@pytest.mark.parametrize("strength", ["0", "1"])
def test_run_with_a_network_that_changes_nothing_gives_every_file_back(
    tmp_path: Path, identity: Path, strength: str, form: Any
) -> None:
    random = np.random.default_rng(5)
    expected = {}
    for name in SPACES:
        for channels in (1, 2, 3, 4):
            space = COLOUR_SPACES[name]
            codes = random.integers(0, 65536, (16, 24, channels), dtype=np.uint16)
            stem = f"{name}_{channels}"
            write_source(tmp_path / f"{stem}.tif", codes, space.icc if channels > 2 else space.gray_icc)
            expected[stem] = codes
    result = run(identity, tmp_path, "-o", tmp_path / "out", "--strength", strength, "--format", form)
    assert result.code == 0
    for stem, codes in expected.items():
        stored = read_codes(tmp_path / "out" / f"{stem}{FORMATS[form]}", codes.shape[2])
        np.testing.assert_array_equal(stored, codes, err_msg=stem)
