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
    """Resample a photo of non-square pixels along their long side, so that nothing that was measured is lost."""
    if photo.pixel_aspect == 1:
        return photo
    import cv2  # only a few photos need it

    height, width = photo.base.shape[:2]
    size = (width, round(height * photo.pixel_aspect))
    if photo.pixel_aspect < 1:
        size = (round(width / photo.pixel_aspect), height)

    def resample(image: Pixels) -> Pixels:
        resized = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        return np.asarray(resized, np.float32).reshape(size[1], size[0], *image.shape[2:])

    return dataclasses.replace(_map_images(photo, resample), pixel_aspect=1.0)


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
