"""Writers: linear image -> file, upright, with its profile and the photo's metadata, whole or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

from dpdeblur.colour.spaces import COLOUR_SPACES
from dpdeblur.errors import UsageError, WriteError
from dpdeblur.metadata.entries import Metadata
from dpdeblur.photo import Image, Photo
from dpdeblur.writers.atomic import clear_leftovers, open_atomic
from dpdeblur.writers.jpeg import write_jpeg
from dpdeblur.writers.metadata import describe_result
from dpdeblur.writers.picture import Picture
from dpdeblur.writers.png import write_png
from dpdeblur.writers.signature import sign_note
from dpdeblur.writers.tiff import write_tiff

__all__ = ["WRITERS", "WriteOptions", "clear_leftovers", "write_image"]

Format = Literal["tiff", "png", "jpeg"]


@dataclasses.dataclass(frozen=True)
class WriteOptions:
    """How results are written.

    Attributes:
        format: "tiff" and "png" hold 16 bits per sample, "jpeg" 8.
        profile: A key of `COLOUR_SPACES`, or None for the photo's own colour space.
        compression: "zlib" (lossless) or "none"; JPEG knows no such choice.
        quality: JPEG's quality, 1 to 100.
    """

    format: Format = "tiff"
    profile: str | None = None
    compression: Literal["zlib", "none"] = "zlib"
    quality: int = 95


def _write_tiff(file: BinaryIO, picture: Picture, metadata: Metadata, options: WriteOptions) -> tuple[str, ...]:
    return write_tiff(file, picture, metadata, is_compressed=options.compression == "zlib")


def _write_png(file: BinaryIO, picture: Picture, metadata: Metadata, options: WriteOptions) -> tuple[str, ...]:
    return write_png(file, picture, metadata, is_compressed=options.compression == "zlib")


def _write_jpeg(file: BinaryIO, picture: Picture, metadata: Metadata, options: WriteOptions) -> tuple[str, ...]:
    return write_jpeg(file, picture, metadata, quality=options.quality)


#: The formats: each writer takes an open file, the picture and its metadata, and returns warnings.
WRITERS: dict[Format, Callable[[BinaryIO, Picture, Metadata, WriteOptions], tuple[str, ...]]] = {
    "tiff": _write_tiff,
    "png": _write_png,
    "jpeg": _write_jpeg,
}


def write_image(
    path: Path,
    image_linear: Image,
    photo: Photo,
    options: WriteOptions,
    *,
    provenance: str,
    description: str | None = None,
) -> tuple[str, ...]:
    """Write a result: upright, in its colour space, with the photo's metadata.

    The tag Software names this program's version and, in brackets, `provenance`; the photo's own ImageDescription,
    UserComment and all other text stay.

    Args:
        path: The file to write; an existing one is replaced once the new one is complete.
        image_linear: (H, W, C) float32, C = 1 or 3, linear light in `photo.colour`, lying as on the sensor.
        photo: Where orientation, colour space, alpha and metadata come from.
        options: Format, profile and compression.
        provenance: Network, weights' hash and settings, in one line.
        description: Written as ImageDescription where the photo has none.

    Returns:
        What could not be carried over, one sentence each.

    Raises:
        UsageError: The options name a format, profile or quality that does not exist.
        WriteError: The file cannot be written (full disk, missing folder, no permission, values that are not numbers, a
            picture too large for the format, one of the photo's own files); nothing is left behind.
    """
    if options.format not in WRITERS:
        raise UsageError(f"there is no format {options.format!r}", remedy=f"choose one of {', '.join(WRITERS)}")
    if options.profile is not None and options.profile not in COLOUR_SPACES:
        remedy = f"choose one of {', '.join(COLOUR_SPACES)}"
        raise UsageError(f"there is no profile {options.profile!r}", remedy=remedy)
    if not 1 <= options.quality <= 100:
        raise UsageError(f"there is no quality {options.quality}", remedy="choose 1 to 100")
    if any(_is_same_file(path, source) for source in photo.paths):
        raise WriteError("this is an original, and originals are never touched", path=path, remedy="choose --output")
    space = photo.colour if options.profile is None else COLOUR_SPACES[options.profile]
    picture = Picture(image_linear, photo.alpha, photo.orientation, photo.colour, space)
    metadata = describe_result(photo.metadata, picture, sign_note(provenance), description)
    warnings: tuple[str, ...] = ()
    if picture.icc is None:
        warnings = (f"The colour space {space.name!r} has no profile for this picture; it was written without one.",)
    with open_atomic(path) as file:
        return warnings + WRITERS[options.format](file, picture, metadata, options)


def _is_same_file(path: Path, source: Path) -> bool:
    return path.exists() and source.exists() and path.samefile(source)
