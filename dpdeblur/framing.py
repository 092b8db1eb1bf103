"""Which pixels of a photo are worked on: square ones, and of the whole or of a part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dpdeblur.errors import ReadError
from dpdeblur.photo import Photo

#: (H, W, C) or, for alpha, (H, W).
Pixels = npt.NDArray[np.float32]

#: (transposed, mirrored left to right, mirrored top to bottom): how the upright picture of each EXIF Orientation is
#: taken back to the sensor's, the transposition first.
_TO_SENSOR = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclasses.dataclass(frozen=True)
class Crop:
    """A rectangle of the upright result, in its pixels."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int

    def __str__(self) -> str:
        """The form of the command line."""
        return f"{self.x_px},{self.y_px},{self.width_px},{self.height_px}"


@dataclasses.dataclass(frozen=True)
class Framing:
    """Which pixels of a photo are worked on.

    Attributes:
        crop: The part, or None for the whole photo.
        keep_aspect: Leave non-square pixels as they are.
    """

    crop: Crop | None = None
    keep_aspect: bool = False

    @property
    def uncropped(self) -> Framing:
        """The same of the whole photo."""
        return dataclasses.replace(self, crop=None)


WHOLE = Framing()


def frame_photo(photo: Photo, framing: Framing) -> Photo:
    """Make the pixels square and cut the part out, as asked for.

    Raises:
        ReadError: The part lies outside the photo.
    """
    if not framing.keep_aspect:
        photo = square_pixels(photo)
    return photo if framing.crop is None else crop_photo(photo, framing.crop)


def square_pixels(photo: Photo) -> Photo:
    """Stretch a photo of non-square pixels along their long side, so that nothing that was measured is lost."""
    height, width = photo.base.shape[:2]
    if photo.pixel_aspect == 1:
        return photo
    axis, size = (0, height * photo.pixel_aspect) if photo.pixel_aspect > 1 else (1, width / photo.pixel_aspect)
    return dataclasses.replace(
        _map_images(photo, lambda image: stretch_image(image, axis, round(size))), pixel_aspect=1.0
    )


def stretch_image(image: Pixels, axis: int, size: int) -> Pixels:
    """Resample an image to more pixels along one axis, by Catmull-Rom splines.

    OpenCV's cubic (a = -0.75) turns a ramp into stairs; this one (a = -0.5) keeps ramps (Keys 1981, IEEE TASSP 29(6)).

    Args:
        image: (H, W) or (H, W, C) float32.
        axis: 0 for more rows, 1 for more columns.
        size: How many; the edges stay where they are.
    """
    length = image.shape[axis]
    places = (np.arange(size) + 0.5) * (length / size) - 0.5
    start = np.floor(places).astype(np.intp)
    t = places - start
    weights = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    shape = [1] * image.ndim
    shape[axis] = size
    stretched = np.zeros((*image.shape[:axis], size, *image.shape[axis + 1 :]), np.float32)
    for tap, weight in enumerate(weights, start=-1):
        taken = np.take(image, np.clip(start + tap, 0, length - 1), axis)
        stretched += taken * weight.astype(np.float32).reshape(shape)
    return stretched


def crop_photo(photo: Photo, crop: Crop) -> Photo:
    """Cut a part out of all the photo's images; what reaches beyond the edges is left out.

    Raises:
        ReadError: The part lies outside the photo.
    """
    height, width = photo.base.shape[:2]
    x, y, part_width, part_height = crop.x_px, crop.y_px, crop.width_px, crop.height_px
    transposed, mirrored, flipped = _TO_SENSOR[photo.orientation]
    if transposed:
        x, y, part_width, part_height = y, x, part_height, part_width
    if mirrored:
        x = width - x - part_width
    if flipped:
        y = height - y - part_height
    rows, columns = slice(max(y, 0), y + part_height), slice(max(x, 0), x + part_width)
    if rows.stop <= 0 or columns.stop <= 0 or rows.start >= height or columns.start >= width:
        upright = f"{height}x{width}" if transposed else f"{width}x{height}"
        raise ReadError(f"the part {crop} lies outside the picture of {upright} pixels", path=photo.paths[0])
    return _map_images(photo, lambda image: np.ascontiguousarray(image[rows, columns]))


def _map_images(photo: Photo, change: Callable[[Pixels], Pixels]) -> Photo:
    """Change all the arrays of a photo alike."""
    left, right, alpha = (None if image is None else change(image) for image in (photo.left, photo.right, photo.alpha))
    return dataclasses.replace(photo, base=change(photo.base), left=left, right=right, alpha=alpha)
