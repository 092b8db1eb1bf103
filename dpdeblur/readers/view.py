"""One image file as linear light: stored values, levels, profile and metadata put together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpdeblur.colour.spaces import SRGB, ColourSpace, read_profile
from dpdeblur.errors import ReadError
from dpdeblur.metadata.entries import Metadata, read_metadata
from dpdeblur.photo import Image
from dpdeblur.readers.capture import ReadOptions
from dpdeblur.readers.raster import read_raster
from dpdeblur.readers.stored import Raster


@dataclasses.dataclass(frozen=True)
class View:
    """One image file, decoded.

    Attributes:
        image: (H, W, C) linear, C = 1 or 3, in the primaries of `colour`; it lies as in the file.
        alpha: (H, W) in [0, 1], or None.
        colour: The file's own profile, or sRGB.
        bits: 8 or 16.
        metadata: What the file says about itself.
        warnings: One plain sentence each.
    """

    image: Image
    alpha: Image | None
    colour: ColourSpace
    bits: int
    metadata: Metadata
    warnings: tuple[str, ...]


def read_view(path: Path, options: ReadOptions) -> View:
    """Read a TIFF, PNG, JPEG or PGM to linear light.

    Values are sRGB-encoded, or encoded as the embedded profile says, unless the options declare them linear.

    Args:
        path: The file.
        options: Levels and `linear`.

    Raises:
        ReadError: The file cannot be decoded, or its levels make no sense.
    """
    raster = read_raster(path)
    metadata = read_metadata(path)
    colour, warnings = _read_colour(metadata.icc)
    black = 0.0 if options.black_level is None else options.black_level
    white = raster.white if options.white_level is None else options.white_level
    if not black < white:
        raise ReadError(
            f"a black level of {black:g} does not lie below the white level of {white:g}",
            path=path,
            remedy="check --black-level and --white-level",
        )
    is_linear = options.linear or options.describes_sensor
    return View(
        image=_to_linear(raster, black, white, None if is_linear else colour),
        alpha=raster.alpha,
        colour=colour,
        bits=8 if raster.values.dtype == np.uint8 else 16,
        metadata=metadata,
        warnings=(*metadata.warnings, *raster.warnings, *warnings),
    )


def _read_colour(icc: bytes | None) -> tuple[ColourSpace, tuple[str, ...]]:
    """Return the colour space of a profile; of one that cannot be read, sRGB with the profile kept for the result."""
    if icc is None:
        return SRGB, ()
    try:
        return read_profile(icc), ()
    except ValueError as error:
        warning = f"The embedded colour profile cannot be read ({error}); the values were taken as sRGB."
        return dataclasses.replace(SRGB, name="file: unread profile", icc=icc, gray_icc=icc), (warning,)


def _to_linear(raster: Raster, black: float, white: float, colour: ColourSpace | None) -> Image:
    """Take stored values to linear light; None for values that are linear already."""
    values = raster.values
    if values.dtype.kind == "f":
        encoded = (values - np.float32(black)) / np.float32(white - black)
        return encoded if colour is None else np.asarray(colour.decode(encoded), np.float32)
    # every value that can occur is decoded once: millions of pixels take a table's entry, not a power
    channels = values.shape[2]
    codes = np.arange(np.iinfo(values.dtype).max + 1, dtype=np.float64)
    encoded = np.repeat(((codes - black) / (white - black)).astype(np.float32)[:, None], channels, axis=1)
    table = encoded if colour is None else np.asarray(colour.decode(encoded), np.float32)
    image = np.empty(values.shape, np.float32)
    if channels == 1 or colour is None or len(colour.curves) == 1:
        _look_up(table[:, 0], values, image)
    else:
        for channel in range(channels):
            _look_up(table[:, channel], values[..., channel], image[..., channel])
    return image


def _look_up(table: Image, values: npt.NDArray[np.integer], image: Image) -> None:
    """Put a table's entries into `image`; every value is within the table, so nothing is ever clipped."""
    np.take(np.ascontiguousarray(table), values, out=image, mode="clip")
