"""Colour spaces and profiles: against published numbers, closed forms and LittleCMS (by way of Pillow)."""

from __future__ import annotations

import io
import pickle
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from dpdeblur.colour.curves import TableCurve
from dpdeblur.colour.icc import build_profile
from dpdeblur.colour.spaces import (
    ADOBE_RGB,
    COLOUR_SPACES,
    DISPLAY_P3,
    PROPHOTO,
    SRGB,
    decode_srgb,
    encode_srgb,
    read_profile,
)

SPACES = list(COLOUR_SPACES)


def build_gray_profile(curve: bytes) -> bytes:
    """A gray profile around a tone curve's bytes, laid out by hand."""
    data = curve.ljust(-(-len(curve) // 4) * 4, b"\0")
    header = struct.pack(">I4xI4s4s4s12x4s", 144 + len(data), 0x04300000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    return header.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"kTRC", 144, len(curve)) + data


def build_parametric(kind: int, *parameters: float) -> bytes:
    numbers = [round(value * 65536) for value in parameters]
    return build_gray_profile(struct.pack(f">4s4xHH{len(numbers)}i", b"para", kind, 0, *numbers))


def test_the_srgb_curve_is_that_of_iec_61966_2_1() -> None:
    encoded = np.linspace(0, 1, 4001)
    expected = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(decode_srgb(encoded.astype(np.float32)), expected, atol=2e-7)
    assert encode_srgb(np.array([0.0031308], np.float32))[0] == pytest.approx(0.04045, abs=1e-6)
    assert encode_srgb(np.array([0.21404114], np.float32))[0] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_encoding_and_decoding_are_inverse_and_odd_and_go_on_above_one(name: str) -> None:
    space = COLOUR_SPACES[name]
    linear = np.linspace(-0.5, 4, 9001, dtype=np.float32)[:, None]
    encoded = space.encode(linear)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(space.decode(encoded), linear, atol=3e-6)
    np.testing.assert_array_equal(space.encode(-linear), -encoded)
    assert np.all(np.diff(encoded[:, 0]) > 0)
    np.testing.assert_allclose(space.encode(np.array([[0.0], [1.0]], np.float32)), [[0], [1]], atol=1e-7)


@pytest.mark.parametrize(
    ("space", "published"),
    [
        # CSS Color 4, sample code; its prophoto-rgb has a D50 that differs in the 4th place
        (DISPLAY_P3, [[1.22494, -0.22494, 0.0], [-0.04206, 1.04206, 0.0], [-0.01964, -0.07864, 1.09827]]),
        (ADOBE_RGB, [[1.3983, -0.3983, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0429, 1.0429]]),
        (PROPHOTO, [[2.0341, -0.7274, -0.3068], [-0.2288, 1.2317, -0.0029], [-0.0086, -0.1533, 1.1618]]),
    ],
)
def test_primaries_become_srgb_by_the_published_matrices(space: object, published: list[list[float]]) -> None:
    np.testing.assert_allclose(space.to_linear_srgb, published, atol=3e-4)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SPACES)
def test_white_stays_white(name: str) -> None:
    np.testing.assert_allclose(COLOUR_SPACES[name].to_linear_srgb @ np.ones(3), 1, atol=5e-4)


@pytest.mark.parametrize("name", SPACES)
def test_littlecms_reads_our_rgb_profile_as_the_colours_that_we_mean(name: str) -> None:
    space = COLOUR_SPACES[name]
    assert space.icc is not None
    colours = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(space.icc))
    converted = ImageCms.profileToProfile(
        Image.fromarray(colours), profile, ImageCms.createProfile("sRGB"), renderingIntent=1
    )
    linear = space.decode(colours.astype(np.float32) / 255) @ space.to_linear_srgb.T.astype(np.float32)
    ours = np.clip(encode_srgb(linear), 0, 1) * 255
    np.testing.assert_allclose(ours, np.asarray(converted), atol=1.01)


@pytest.mark.parametrize("name", SPACES)
def test_littlecms_reads_our_gray_profile_as_the_curve_that_we_mean(name: str) -> None:
    space = COLOUR_SPACES[name]
    assert space.gray_icc is not None
    ramp = np.arange(256, dtype=np.uint8)[None]
    profile = ImageCms.ImageCmsProfile(io.BytesIO(space.gray_icc))
    transform = ImageCms.buildTransform(
        profile, ImageCms.createProfile("sRGB"), "L", "RGB", renderingIntent=1, flags=ImageCms.Flags.NOOPTIMIZE
    )
    converted = np.asarray(ImageCms.applyTransform(Image.fromarray(ramp), transform))
    ours = encode_srgb(space.decode((ramp / 255).astype(np.float32)[..., None])) * 255
    np.testing.assert_allclose(np.broadcast_to(ours, converted.shape), converted, atol=1.01)


@pytest.mark.parametrize("name", SPACES)
def test_a_profile_that_we_build_reads_back_as_the_same_space(name: str) -> None:
    space = COLOUR_SPACES[name]
    assert space.icc is not None
    read = read_profile(space.icc)
    np.testing.assert_allclose(read.to_linear_srgb, space.to_linear_srgb, atol=1e-4)
    ramp = np.linspace(0, 1, 500, dtype=np.float32)[:, None]
    np.testing.assert_allclose(read.encode(ramp), space.encode(ramp), atol=2e-5)
    assert read.icc == space.icc
    assert read.name.startswith("file: ")


def test_a_profile_of_littlecms_is_read_as_srgb() -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    space = read_profile(icc)
    np.testing.assert_allclose(space.to_linear_srgb, np.eye(3), atol=1e-3)
    ramp = np.linspace(0, 1, 500, dtype=np.float32)[:, None]
    np.testing.assert_allclose(space.decode(ramp), SRGB.decode(ramp), atol=2e-5)


def test_a_table_curve_is_straight_between_its_samples_and_above_them() -> None:
    samples = [0.0, 0.25, 1.0]
    curve = struct.pack(">4s4xI3H", b"curv", 3, *(round(value * 65535) for value in samples))
    space = read_profile(build_gray_profile(curve))
    encoded = np.array([0, 0.25, 0.5, 0.75, 1, 1.2, -0.5], np.float32)[:, None]
    expected = np.array([0, 0.125, 0.25, 0.625, 1, 1.3, -0.25])[:, None]
    np.testing.assert_allclose(space.decode(encoded), expected, atol=1e-5)
    np.testing.assert_allclose(space.encode(space.decode(encoded)), encoded, atol=1e-5)


def test_a_table_that_is_flat_at_the_top_still_encodes_white_as_one() -> None:
    curve = TableCurve((0.0, 0.5, 1.0, 1.0))
    assert curve.encode(np.array([1.0], np.float32))[0] == 1.0


@pytest.mark.parametrize(
    ("icc", "expected"),
    [
        (build_gray_profile(struct.pack(">4s4xI", b"curv", 0)), lambda x: x),
        (build_gray_profile(struct.pack(">4s4xIH", b"curv", 1, 0x0180)), lambda x: x**1.5),
        (build_parametric(0, 2.0), lambda x: x**2),
        (build_parametric(1, 2.0, 1.25, -0.25), lambda x: np.where(x >= 0.2, (1.25 * x - 0.25) ** 2, 0)),
        (build_parametric(2, 2.0, 1.25, -0.25, 0.1), lambda x: np.where(x >= 0.2, (1.25 * x - 0.25) ** 2, 0) + 0.1),
        (build_parametric(3, 2.0, 0.9, 0.1, 0.361, 0.1), lambda x: np.where(x >= 0.1, (0.9 * x + 0.1) ** 2, 0.361 * x)),
        (
            build_parametric(4, 2.0, 0.9, 0.1, 0.5, 0.1, 0.05, 0.0),
            lambda x: np.where(x >= 0.1, (0.9 * x + 0.1) ** 2 + 0.05, 0.5 * x),
        ),
    ],
    ids=["identity", "gamma", "para0", "para1", "para2", "para3", "para4"],
)
def test_every_kind_of_curve_follows_its_formula(icc: bytes, expected: object) -> None:
    encoded = np.linspace(0, 1, 999, dtype=np.float32)[:, None]
    space = read_profile(icc)
    np.testing.assert_allclose(space.decode(encoded), expected(encoded), atol=1e-4)  # type: ignore[operator]
    rising = space.decode(encoded) > space.decode(encoded[:1])
    np.testing.assert_allclose(space.encode(space.decode(encoded))[rising], encoded[rising], atol=5e-4)


def test_the_name_of_a_version_2_profile_is_read() -> None:
    icc = build_gray_profile(struct.pack(">4s4xI", b"curv", 0))
    named = icc[:128] + struct.pack(">I4sII4sII", 2, b"kTRC", 156, 12, b"desc", 168, 22) + icc[144:156]
    text = struct.pack(">4s4xI", b"desc", 10) + b"Dot Gain \0"
    assert read_profile(named + text).name == "file: Dot Gain "
    assert read_profile(icc).name == "file: unnamed profile"


def test_different_curves_per_channel_are_kept_apart() -> None:
    icc = bytearray(build_profile("Uneven", TableCurve((0.0, 0.5, 1.0)), np.diag([0.4, 0.5, 0.6])))
    first = icc.index(b"gTRC")
    place = len(icc)
    icc += struct.pack(">4s4xHHi", b"para", 0, 0, 2 << 16)
    icc[first + 4 : first + 12] = struct.pack(">II", place, 16)
    space = read_profile(bytes(icc))
    encoded = np.full((2, 2, 3), 0.5, np.float32)
    np.testing.assert_allclose(space.decode(encoded)[0, 0], [0.5, 0.25, 0.5], atol=2e-5)
    np.testing.assert_allclose(space.encode(space.decode(encoded)), encoded, atol=2e-5)


@pytest.mark.parametrize(
    "icc",
    [
        b"",
        b"no profile at all" * 20,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        build_gray_profile(b"sf32" + bytes(20)),
        build_gray_profile(struct.pack(">4s4xI3H", b"curv", 3, 0, 9, 5)),
        build_gray_profile(struct.pack(">4s4xI", b"curv", 1 << 31)),
        build_parametric(9, 1.0),
        build_parametric(0, -1.0),
        build_parametric(1, 1.0, 0.0, 0.5),
        build_profile("Flat", TableCurve((0.0, 1.0)), np.ones((3, 3))),
    ],
)
def test_what_is_no_matrix_profile_is_refused(icc: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_profile(icc)


def test_a_damaged_profile_is_read_or_refused_and_does_nothing_else() -> None:
    icc = SRGB.icc
    assert icc is not None
    generator = np.random.default_rng(3)
    refused = 0
    for _ in range(500):
        damaged = bytearray(icc[: generator.integers(len(icc))] if generator.random() < 0.3 else icc)
        for place in generator.integers(0, max(len(damaged), 1), 6):
            if place < len(damaged):
                damaged[place] = generator.integers(256)
        try:
            space = read_profile(bytes(damaged))
        except ValueError:
            refused += 1
        else:
            assert space.to_linear_srgb.shape == (3, 3)
    assert 50 < refused < 500


def test_spaces_travel_to_other_processes() -> None:
    for space in COLOUR_SPACES.values():
        copy = pickle.loads(pickle.dumps(space))
        assert copy.name == space.name
        np.testing.assert_array_equal(copy.to_linear_srgb, space.to_linear_srgb)
