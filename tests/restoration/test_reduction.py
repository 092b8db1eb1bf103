"""Area averages of a part of a picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dpdeblur.photo import Image
from dpdeblur.restoration.reduction import reduce_part


def _random(*shape: int) -> Image:
    return np.random.default_rng(5).uniform(0.05, 0.6, shape).astype(np.float32)


def _reduce(image: Image, size: tuple[int, int]) -> Image:
    return reduce_part(image, size, slice(0, size[0]), slice(0, size[1]))


def test_whole_cells_give_their_means() -> None:
    image = _random(12, 20, 3)
    blocks = image.reshape(3, 4, 5, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(_reduce(image, (3, 5)), blocks, rtol=1e-6)


def test_a_pixel_that_two_cells_share_counts_in_both_by_its_parts() -> None:
    image = np.array([1, 2, 4], np.float32).reshape(3, 1, 1)
    np.testing.assert_allclose(_reduce(image, (2, 1)).ravel(), [(1 + 0.5 * 2) / 1.5, (0.5 * 2 + 4) / 1.5], rtol=1e-6)


@pytest.mark.parametrize(("size", "small"), [((407, 90), (150, 41)), ((64, 333), (23, 90)), ((50, 40), (1, 1))])
@pytest.mark.parametrize("channels", [1, 3])
def test_odd_sizes_are_averaged_as_opencv_does(size: tuple[int, int], small: tuple[int, int], channels: int) -> None:
    image = _random(*size, channels)
    expected = cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA).reshape(*small, channels)
    np.testing.assert_allclose(_reduce(image, small), expected, rtol=0, atol=1e-6)


def test_a_part_is_that_part_of_the_whole() -> None:
    image, size = _random(407, 333, 3), (150, 122)
    part = reduce_part(image, size, slice(31, 97), slice(50, 122))
    np.testing.assert_allclose(part, _reduce(image, size)[31:97, 50:122], rtol=0, atol=1e-6)
    assert part.flags.c_contiguous and part.dtype == np.float32


def test_at_its_own_size_an_image_is_not_copied() -> None:
    image = _random(12, 20, 3)
    part = reduce_part(image, (12, 20), slice(2, 5), slice(3, 20))
    np.testing.assert_array_equal(part, image[2:5, 3:20])
    assert np.shares_memory(part, image)
