"""What networks see of a photo, and how their change comes back to it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dpdeblur.change import apply_change, mean_views, reduce_image, to_linear_srgb
from dpdeblur.colour import ADOBE_RGB, PROPHOTO, SRGB, ColourSpace
from dpdeblur.photo import Image, Photo


def _encode(linear: Image) -> Image:
    """The sRGB curve by its definition, for values from 0.0031308 up."""
    return np.asarray(1.055 * linear.astype(np.float64) ** (1 / 2.4) - 0.055)


def _decode(encoded: Image) -> Image:
    return np.asarray(((np.asarray(encoded, np.float64) + 0.055) / 1.055) ** 2.4)


def _photo(base: Image, colour: ColourSpace = SRGB) -> Photo:
    return Photo((Path("a.tif"),), "image", base, colour=colour)


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


def test_reduction_averages_light_over_areas() -> None:
    image = _random(12, 20, 3)
    blocks = image.reshape(3, 4, 5, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(reduce_image(image, (3, 5)), blocks, rtol=1e-5)
    assert reduce_image(image[..., :1], (3, 5)).shape == (3, 5, 1)
    assert reduce_image(image, (12, 20)) is image


@pytest.mark.parametrize(("size", "small"), [((1100, 37), (407, 14)), ((515, 40), (32, 3)), ((700, 3), (1, 1))])
def test_enlarging_by_strips_equals_enlarging_the_whole(size: tuple[int, int], small: tuple[int, int]) -> None:
    change = np.random.default_rng(1).normal(0, 0.05, (*small, 3)).astype(np.float32)
    base = _random(*size, 3)
    enlarged = cv2.resize(change, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, 3)
    expected = _decode(_encode(base) + enlarged)
    np.testing.assert_allclose(apply_change(_photo(base), change, 1.0), expected, rtol=0, atol=2e-6)


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
