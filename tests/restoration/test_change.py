"""What networks see of a photo, and how their change comes back to it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dpdeblur.colour.spaces import ADOBE_RGB, PROPHOTO, SRGB, ColourSpace
from dpdeblur.photo import Image, Photo
from dpdeblur.restoration import change as change_module
from dpdeblur.restoration.change import GrayMix, Sight, encode_picture, from_linear_srgb, mean_views, to_linear_srgb


def _encode(linear: Image) -> Image:
    """The sRGB curve by its definition, for values from 0.0031308 up."""
    return np.asarray(1.055 * linear.astype(np.float64) ** (1 / 2.4) - 0.055)


def _decode(encoded: Image) -> Image:
    return np.asarray(((np.asarray(encoded, np.float64) + 0.055) / 1.055) ** 2.4)


def _photo(base: Image, colour: ColourSpace = SRGB) -> Photo:
    return Photo((Path("a.tif"),), "image", base, colour=colour)


def apply_change(photo: Photo, change: Image, strength: float, rows: int = 7) -> Image:
    """Apply a change that comes in bands of a few rows, as it comes from the tiles."""
    bands = [change[top : top + rows] for top in range(0, len(change), rows)]
    parts = list(change_module.apply_change(photo, (change.shape[0], change.shape[1]), bands, strength))
    assert [rows.start for rows, _ in parts] == [0, *(rows.stop for rows, _ in parts[:-1])]
    return np.concatenate([part for _, part in parts])


def _random(*shape: int) -> Image:
    return np.random.default_rng(5).uniform(0.05, 0.6, shape).astype(np.float32)


def test_the_mean_of_two_views_lies_between_them_and_one_view_is_its_own() -> None:
    left, right = _random(3, 4, 3), 2 * _random(3, 4, 3)
    np.testing.assert_allclose(mean_views((left, right)), 1.5 * left, rtol=1e-6)
    assert mean_views((left,)) is left


def test_gray_is_seen_as_three_equal_colours() -> None:
    base = _random(3, 4, 1)
    np.testing.assert_array_equal(to_linear_srgb(_photo(base), base), np.concatenate([base] * 3, axis=2))


def test_adobe_rgb_is_seen_in_srgb_primaries() -> None:
    green = np.array([[[0, 1, 0]]], np.float32)
    # Adobe RGB's green in linear sRGB, as published with the primaries of both
    np.testing.assert_allclose(
        to_linear_srgb(_photo(green, ADOBE_RGB), green)[0, 0], [-0.39836, 1.0, -0.04293], atol=2e-4
    )


@pytest.mark.parametrize("colour", [SRGB, ADOBE_RGB], ids=lambda space: space.name)
def test_what_goes_to_linear_srgb_comes_back(colour: ColourSpace) -> None:
    base = _random(3, 4, 3)
    photo = _photo(base, colour)
    np.testing.assert_allclose(from_linear_srgb(photo, to_linear_srgb(photo, base)), base, rtol=0, atol=1e-6)


def test_a_gray_photo_takes_the_mean_of_the_colours() -> None:
    colours = np.array([0.1, 0.2, 0.6], np.float32).reshape(1, 1, 3)
    np.testing.assert_allclose(from_linear_srgb(_photo(_random(1, 1, 1)), colours), 0.3, rtol=1e-6)


def test_gray_is_the_mean_of_views_and_colours_in_srgb() -> None:
    left, right = _random(23, 9, 3), _random(23, 9, 3)[::-1]
    expected = ((left + right) / 2 @ ADOBE_RGB.to_linear_srgb.T).mean(axis=2, keepdims=True)
    gray = GrayMix(_photo(left, ADOBE_RGB), (left, right))
    assert gray.shape == expected.shape
    np.testing.assert_allclose(gray[5:20], expected[5:20], rtol=0, atol=1e-6)


def test_a_tile_is_seen_as_the_whole_is_there() -> None:
    left, right = _random(96, 120, 3), _random(96, 120, 3)[::-1]
    sight = Sight(_photo(left), (left, right), (32, 40), is_mixed=False)
    whole = [view.reshape(32, 3, 40, 3, 3).mean(axis=(1, 3)) for view in (left, right)]
    for seen, view in zip(sight.cut(8, 16, (16, 24)), whole, strict=True):
        np.testing.assert_allclose(seen, view[8:24, 16:40], rtol=0, atol=1e-6)
    (mixed,) = Sight(_photo(left), (left, right), (32, 40), is_mixed=True).cut(8, 16, (16, 24))
    np.testing.assert_allclose(mixed, (whole[0] + whole[1])[8:24, 16:40] / 2, rtol=0, atol=1e-6)


def test_beyond_the_lower_and_right_edge_a_tile_is_reflected() -> None:
    base = _random(10, 12, 1)
    (seen,) = Sight(_photo(base), (base,), (10, 12), is_mixed=False).cut(4, 4, (8, 16))
    expected = np.pad(base[4:, 4:], ((0, 2), (0, 8), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(seen, np.repeat(expected, 3, axis=2))


def test_networks_see_values_within_black_and_white() -> None:
    linear = np.array([-0.2, 0.21404114, 3], np.float32).reshape(1, 1, 3)
    np.testing.assert_allclose(encode_picture(linear).ravel(), [0, 0.5, 1], atol=1e-6)


@pytest.mark.parametrize(("size", "small"), [((1100, 37), (407, 14)), ((515, 40), (32, 3)), ((700, 3), (1, 1))])
def test_enlarging_by_bands_equals_enlarging_the_whole(size: tuple[int, int], small: tuple[int, int]) -> None:
    change = np.random.default_rng(1).normal(0, 0.05, (*small, 3)).astype(np.float32)
    base = _random(*size, 3)
    enlarged = cv2.resize(change, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, 3)
    expected = _decode(_encode(base) + enlarged)
    for rows in (1, 5, 1000):
        np.testing.assert_allclose(apply_change(_photo(base), change, 1.0, rows), expected, rtol=0, atol=2e-6)


def test_a_change_at_the_photos_own_size_is_added_to_encoded_values_by_its_strength() -> None:
    base = _random(600, 4, 3)
    change = np.random.default_rng(2).uniform(-0.1, 0.1, base.shape).astype(np.float32)
    for strength in (1.0, 0.5):
        expected = _decode(_encode(base) + strength * change)
        np.testing.assert_allclose(apply_change(_photo(base), change, strength), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(apply_change(_photo(base), change, 0.0), base)


def test_gray_gets_the_mean_change_of_the_colours() -> None:
    base = _random(5, 6, 1)
    change = np.zeros((5, 6, 3), np.float32) + np.array([0.01, 0.02, 0.06], np.float32)
    result = apply_change(_photo(base), change, 1.0)
    np.testing.assert_allclose(result, _decode(_encode(base) + 0.03), rtol=0, atol=1e-6)


@pytest.mark.parametrize("colour", [ADOBE_RGB, PROPHOTO])
def test_in_wide_primaries_the_change_is_the_same_light(colour: ColourSpace) -> None:
    # light colours, which lie inside sRGB too
    base = 0.5 + 0.1 * _random(5, 6, 3)
    result = apply_change(_photo(base, colour), np.full((5, 6, 3), 0.04, np.float32), 1.0)
    before, after = base @ colour.to_linear_srgb.T, result @ colour.to_linear_srgb.T
    np.testing.assert_allclose(after, _decode(_encode(before) + 0.04), rtol=0, atol=2e-6)


def test_values_out_of_range_stay_where_nothing_changes() -> None:
    base = np.array([-0.3, -1e-6, 0, 1, 1.7, 12], np.float32).reshape(1, 2, 3)
    for colour in (SRGB, ADOBE_RGB, PROPHOTO):
        np.testing.assert_array_equal(apply_change(_photo(base, colour), np.zeros((1, 2, 3), np.float32), 1.0), base)
