"""The picture as stored: upright like Pillow's, rounded once, converted like LittleCMS."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from dpdeblur.colour.spaces import COLOUR_SPACES, LINEAR_SRGB, SRGB, decode_srgb
from dpdeblur.errors import WriteError
from dpdeblur.writers.picture import Picture, orient_pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation: int) -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    stored, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    np.testing.assert_array_equal(orient_pixels(pixels.astype(np.float32), orientation), upright)
    np.testing.assert_array_equal(orient_pixels(pixels[..., 0].astype(np.float32), orientation), upright[..., 0])


def test_each_16_bit_level_of_srgb_survives_exactly() -> None:
    levels = np.arange(65536, dtype=np.float64).reshape(128, 512, 1) / 65535
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)
    picture = Picture(linear, None, 1, SRGB, SRGB)
    np.testing.assert_array_equal(picture.quantise_rows(0, 128, bits=16).ravel(), np.arange(65536))


def test_values_are_rounded_to_the_nearest_and_clipped_at_the_ends() -> None:
    linear = np.array([-1, -1e-9, 0, 0.49 / 65535, 0.51 / 65535, 1, 7], np.float32).reshape(1, 7, 1)
    picture = Picture(linear, None, 1, LINEAR_SRGB, LINEAR_SRGB)
    assert picture.quantise_rows(0, 1, bits=16).ravel().tolist() == [0, 0, 0, 0, 1, 65535, 65535]
    assert picture.quantise_rows(0, 1, bits=8).ravel().tolist() == [0, 0, 0, 0, 0, 255, 255]


@pytest.mark.parametrize("name", list(COLOUR_SPACES))
def test_a_picture_is_converted_to_another_space_as_littlecms_does_it(name: str) -> None:
    colours = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    space = COLOUR_SPACES[name]
    assert space.icc is not None
    target = ImageCms.ImageCmsProfile(io.BytesIO(space.icc))
    expected = np.asarray(
        ImageCms.profileToProfile(Image.fromarray(colours), ImageCms.createProfile("sRGB"), target, renderingIntent=1)
    )
    picture = Picture(decode_srgb(colours.astype(np.float32) / 255), None, 1, SRGB, space)
    samples = picture.quantise_rows(0, 32, bits=8).astype(int)
    assert np.abs(samples - expected).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    linear = np.zeros((4, 4, 3), np.float32)
    linear[2, 1, 0] = value
    with pytest.raises(WriteError, match="not numbers"):
        Picture(linear, None, 1, SRGB, SRGB).quantise_rows(0, 4, bits=16)


def test_the_caller_s_array_stays_as_it_was() -> None:
    linear = np.random.default_rng(4).random((8, 8, 3), np.float32)
    before = linear.copy()
    Picture(linear, linear[..., 0], 1, LINEAR_SRGB, LINEAR_SRGB).quantise_rows(0, 8, bits=16)
    np.testing.assert_array_equal(linear, before)


def test_strips_come_in_order_and_cover_every_row_once() -> None:
    picture = Picture(np.zeros((1000, 1000, 3), np.float32), None, 1, SRGB, SRGB)
    strips = [tuple(map(int, strip.split())) for strip in picture.map_strips(lambda *rows: b"%d %d" % rows)]
    assert [start for start, _ in strips] == [0, *(stop for _, stop in strips[:-1])]
    assert strips[-1][1] == 1000
    assert len(strips) > 3
