"""Square pixels and parts of a photo."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dpdeblur.errors import ReadError
from dpdeblur.framing import WHOLE, Crop, Framing, crop_photo, frame_photo, square_pixels, stretch_image
from dpdeblur.photo import Photo

#: What each EXIF Orientation asks a viewer to do with the stored rows (Exif 2.32, 4.6.4.A), by numpy's own turns.
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


def number_pixels(height: int, width: int, channels: int = 3) -> npt.NDArray[np.float32]:
    return np.arange(height * width * channels, dtype=np.float32).reshape(height, width, channels)


def make_photo(image: npt.NDArray[np.float32], orientation: int = 1, pixel_aspect: float = 1.0) -> Photo:
    return Photo(
        (Path("a.cr2"),),
        "canon",
        image,
        left=image + 1000,
        right=image + 2000,
        alpha=image[..., 0] + 3000,
        orientation=orientation,
        pixel_aspect=pixel_aspect,
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_is_that_of_the_upright_picture(orientation: int) -> None:
    image = number_pixels(7, 11)
    part = crop_photo(make_photo(image, orientation), Crop(2, 1, 4, 3))
    upright = UPRIGHT[orientation]
    np.testing.assert_array_equal(upright(part.base), upright(image)[1:4, 2:6])
    np.testing.assert_array_equal(upright(part.left), upright(image)[1:4, 2:6] + 1000)
    np.testing.assert_array_equal(upright(part.right), upright(image)[1:4, 2:6] + 2000)
    np.testing.assert_array_equal(upright(part.alpha), upright(image)[1:4, 2:6, 0] + 3000)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_reaches_beyond_the_edges_is_left_out(orientation: int) -> None:
    image = number_pixels(7, 11)
    part = crop_photo(make_photo(image, orientation), Crop(5, 4, 100, 100))
    upright = UPRIGHT[orientation]
    np.testing.assert_array_equal(upright(part.base), upright(image)[4:, 5:])


@pytest.mark.parametrize(
    ("orientation", "crop"), [(1, Crop(11, 0, 1, 1)), (3, Crop(0, 7, 2, 2)), (6, Crop(7, 0, 1, 1))]
)
def test_a_part_outside_the_picture_is_refused(orientation: int, crop: Crop) -> None:
    with pytest.raises(ReadError, match=f"a.cr2: the part {crop} lies outside the picture of"):
        crop_photo(make_photo(number_pixels(7, 11), orientation), crop)


def test_pixels_twice_as_high_as_wide_double_the_rows_of_everything() -> None:
    ramp = np.repeat(np.arange(8, dtype=np.float32)[:, None, None], 6, axis=1)
    photo = square_pixels(make_photo(ramp, pixel_aspect=2.0))
    assert photo.pixel_aspect == 1
    assert photo.base.shape == (16, 6, 1)
    assert photo.left is not None and photo.left.shape == (16, 6, 1)
    assert photo.alpha is not None and photo.alpha.shape == (16, 6)
    # row r of the result lies at (r + 0.5) / 2 - 0.5 of the source, and a ramp stays one, apart from the edges
    expected = (np.arange(16) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(photo.base[4:12, 0, 0], expected[4:12], atol=1e-5)


def test_pixels_wider_than_high_gain_columns() -> None:
    assert square_pixels(make_photo(number_pixels(6, 8), pixel_aspect=0.5)).base.shape == (6, 16, 3)


def test_stretching_interpolates_a_parabola_exactly() -> None:
    # Keys' cubic with a = -0.5 reproduces polynomials up to the second degree
    image = np.repeat((np.arange(20, dtype=np.float32)[None, :] - 7) ** 2, 3, axis=0)
    expected = ((np.arange(70) + 0.5) * (20 / 70) - 0.5 - 7) ** 2
    np.testing.assert_allclose(stretch_image(image, 1, 70)[1, 8:-8], expected[8:-8], rtol=0, atol=1e-4)


def test_square_pixels_are_left_alone() -> None:
    photo = make_photo(number_pixels(3, 4))
    assert frame_photo(photo, WHOLE) is photo


def test_the_aspect_is_kept_on_demand() -> None:
    photo = make_photo(number_pixels(3, 4), pixel_aspect=2.0)
    assert frame_photo(photo, Framing(keep_aspect=True)) is photo


def test_a_part_is_counted_in_square_pixels() -> None:
    photo = make_photo(number_pixels(8, 6), pixel_aspect=2.0)
    part = frame_photo(photo, Framing(Crop(1, 3, 4, 10)))
    np.testing.assert_array_equal(part.base, square_pixels(photo).base[3:13, 1:5])


def test_a_single_image_stays_single() -> None:
    photo = dataclasses.replace(make_photo(number_pixels(4, 4), pixel_aspect=2.0), left=None, right=None, alpha=None)
    framed = frame_photo(photo, Framing(Crop(0, 0, 2, 2)))
    assert (framed.left, framed.right, framed.alpha) == (None, None, None)
