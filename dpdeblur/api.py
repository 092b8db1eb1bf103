"""The program for Python: photos from file to file as `dpdeblur run` does it, and arrays to arrays.

`dpdeblur.restore` and its kin load the network anew at each call; a `Deblurrer` loads each network once. Nothing is
printed; what a photo's user should know comes back as warnings, and what goes wrong is raised as a `DpDeblurError`.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy.typing as npt

from dpdeblur.arrays import Encoding, Picture, decode_array, encode_image, encode_like
from dpdeblur.batch.outputs import find_own_note
from dpdeblur.batch.stages import Written
from dpdeblur.errors import NoSecondViewError, ReadError, UsageError, WriteError
from dpdeblur.framing import WHOLE, Framing, frame_photo
from dpdeblur.networks import NETWORKS
from dpdeblur.photo import Image, Photo
from dpdeblur.pipeline import Restoration
from dpdeblur.readers import Capture, ReadOptions, group_captures, read_photo
from dpdeblur.restoration.change import mean_views, to_linear_srgb
from dpdeblur.restoration.inference import Settings
from dpdeblur.writers import Format, WriteOptions

__all__ = [
    "Deblurrer",
    "Encoding",
    "Options",
    "ReadOptions",
    "Source",
    "Views",
    "Written",
    "read_views",
    "restore",
    "restore_array",
]

#: A photo's file, or the files of its left and its right view.
Source = str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]]

_FORMATS: dict[str, Format] = {".tif": "tiff", ".tiff": "tiff", ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
#: Arrays have no file; where an error wants to name one, it says so.
_NO_FILE = Path("(array)")


class Options(TypedDict, total=False):
    """What `Deblurrer`, `restore` and `restore_array` may be told; see `Deblurrer`."""

    model: str
    weights: str | os.PathLike[str] | None
    device: str
    precision: str
    strength: float
    scale: float | None
    ensemble: bool
    tile_px: int | None
    overlap_px: int | None
    max_memory_bytes: int | None
    reading: ReadOptions
    keep_aspect: bool


@dataclasses.dataclass(frozen=True)
class Views:
    """The two views of a dual-pixel photo, developed alike.

    All arrays are (H, W, C) float32, C = 1 or 3, with the primaries of sRGB, lying as on the sensor (so that views
    differ sideways). Black is 0 and white 1; values beyond are not clipped.

    Attributes:
        left: What the left photodiodes saw, as bright as the whole photo.
        right: The same of the right photodiodes.
        combined: The whole photo.
        orientation: The EXIF Orientation (1 to 8) that would turn the arrays upright.
        warnings: One plain sentence each.
    """

    left: Image
    right: Image
    combined: Image
    orientation: int
    warnings: tuple[str, ...]


class Deblurrer:
    """Restores any number of photos and arrays; each network is loaded once, when the first photo asks for it."""

    def __init__(
        self,
        *,
        model: str = "auto",
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        strength: float = 1.0,
        scale: float | None = None,
        ensemble: bool = False,
        tile_px: int | None = None,
        overlap_px: int | None = None,
        max_memory_bytes: int | None = None,
        reading: ReadOptions = ReadOptions(),
        keep_aspect: bool = False,
    ) -> None:
        """Take the settings; they are the options of `dpdeblur run`.

        Args:
            model: A network's name, or `auto` for the one that measured best for each photo.
            weights: A weights file to use instead, or None. It is loaded at once.
            device: auto, cpu, cuda, cuda:N or mps.
            precision: auto, fp32, bf16 or fp16.
            strength: How much of the predicted change is applied, 0 to 1.
            scale: The size at which the network works, 0.01 to 1, or None to fit the blur of each photo.
            ensemble: Average over each photo's four mirror images, which is a little better and four times as slow.
            tile_px: Side of the tiles, or None to fit the memory.
            overlap_px: Overlap of the tiles, or None for the network's own.
            max_memory_bytes: What the network may take beyond the photo, or None.
            reading: How files of bare sensor values are to be understood.
            keep_aspect: Leave pixels that are not square as they are.

        Raises:
            UsageError: A setting is out of its range.
            WeightsError: The weights file is damaged or foreign.
        """
        if model not in ("auto", *NETWORKS):
            raise UsageError(f"there is no network {model!r}", remedy=f"give auto, {', '.join(NETWORKS)}")
        for name, number, least in (
            ("tile_px", tile_px, 1),
            ("overlap_px", overlap_px, 0),
            ("max_memory_bytes", max_memory_bytes, 1),
        ):
            if number is not None and number < least:
                raise UsageError(f"{name}={number} is out of range", remedy=f"give {least} or more")
        if not 0 <= strength <= 1:
            raise UsageError(f"a strength of {strength:g} is none", remedy="give 0 to 1")
        if scale is not None and not 0.01 <= scale <= 1:
            raise UsageError(f"a scale of {scale:g} is none", remedy="give 0.01 to 1")
        self._reading = reading
        self._framing = Framing(keep_aspect=keep_aspect)
        self._restoration = Restoration(
            read_options=reading,
            write_options=WriteOptions(),
            settings=Settings(
                device=device,
                precision=precision,
                tile_px=tile_px,
                overlap_px=overlap_px,
                strength=strength,
                max_memory_bytes=max_memory_bytes,
                working_scale=scale,
                ensemble=ensemble,
            ),
            model=model,
            weights=None if weights is None else Path(weights),
            framing=self._framing,
            announce=lambda line: None,
            advance=lambda share: None,
            keeps_photo=False,
        )

    def restore(
        self,
        source: Source,
        output: str | os.PathLike[str],
        *,
        profile: str | None = None,
        overwrite: bool = False,
    ) -> Written:
        """Restore a photo from file to file, with its metadata, as `dpdeblur run` does.

        Args:
            source: The photo, or its left and right view.
            output: The file to write, by its suffix a 16-bit TIFF or PNG or an 8-bit JPEG. Its folder must exist.
            profile: srgb, adobe-rgb, prophoto, display-p3 or linear; None for the photo's own, or srgb.
            overwrite: Replace an earlier result of dpdeblur. Anything else is never replaced.

        Returns:
            The picture's size, the warnings, and how it was made.

        Raises:
            ReadError: The photo cannot be read.
            WriteError: The result cannot be written, or something is there already.
            UsageError: Nothing can be done as asked.
        """
        output = Path(output)
        format_name = _FORMATS.get(output.suffix.lower())
        if format_name is None:
            raise UsageError("has no suffix of a format", path=output, remedy=f"use {', '.join(_FORMATS)}")
        capture = _find_capture(source)
        _check_output(output, overwrite)
        result = self._restoration.process(self._restoration.read(capture))
        options = WriteOptions(format=format_name, profile=profile)
        return self._restoration.write(result, (output,), options)

    def restore_array(
        self,
        image: Picture,
        right: npt.NDArray[Any] | None = None,
        *,
        base: npt.NDArray[Any] | None = None,
        encoding: Encoding = "srgb",
    ) -> Picture:
        """Restore arrays.

        Values are floating point with black 0 and white 1, or uint8 or uint16 with white at 255 or 65535. All arrays
        have one shape: (H, W), (H, W, 1) or (H, W, 3) in the order RGB, lying as on the sensor.

        Args:
            image: The photo, or the left view where there is a right one.
            right: The right view, or None.
            base: The whole photo, to which the change is added; None for the mean of the views.
            encoding: What the values are, in and out.

        Returns:
            The restored photo, of the shape and type of `image`. Floating-point values are not clipped to [0, 1].

        Raises:
            UsageError: The arrays are no pictures, or do not fit together.
            NoSecondViewError: The network needs two views.
        """
        views = tuple(decode_array(array, encoding) for array in (image, right) if array is not None)
        wholes = () if base is None else (decode_array(base, encoding),)
        if len({array.shape for array in (*views, *wholes)}) > 1:
            raise UsageError("the arrays differ in size or channels", remedy="give arrays of one shape")
        photo = Photo((_NO_FILE,), "image", *(wholes or (mean_views(views),)))
        if len(views) == 2:
            photo = dataclasses.replace(photo, kind="pair", left=views[0], right=views[1])
        restored = self._restoration.process(photo).restored.image
        return encode_like(restored, encoding, image)


def restore(
    source: Source,
    output: str | os.PathLike[str],
    *,
    profile: str | None = None,
    overwrite: bool = False,
    **options: Unpack[Options],
) -> Written:
    """Restore one photo from file to file; see `Deblurrer` for the options and `Deblurrer.restore` for the rest."""
    return Deblurrer(**options).restore(source, output, profile=profile, overwrite=overwrite)


def restore_array(
    image: Picture,
    right: npt.NDArray[Any] | None = None,
    *,
    base: npt.NDArray[Any] | None = None,
    encoding: Encoding = "srgb",
    **options: Unpack[Options],
) -> Picture:
    """Restore one picture, or two views; see `Deblurrer` for the options and `Deblurrer.restore_array` for the rest."""
    return Deblurrer(**options).restore_array(image, right, base=base, encoding=encoding)


def read_views(
    source: Source,
    *,
    encoding: Encoding = "srgb",
    reading: ReadOptions = ReadOptions(),
    keep_aspect: bool = False,
) -> Views:
    """Read the left and the right view of a dual-pixel photo, as `dpdeblur split` exports them.

    Args:
        source: The photo, or its left and right view.
        encoding: What the arrays shall hold.
        reading: How files of bare sensor values are to be understood.
        keep_aspect: Leave pixels that are not square as they are.

    Raises:
        NoSecondViewError: It has one view only.
        ReadError: It cannot be read.
    """
    capture = _find_capture(source)
    framing = dataclasses.replace(WHOLE, keep_aspect=keep_aspect)
    photo = frame_photo(read_photo(capture, reading), framing)
    if photo.left is None or photo.right is None:
        raise NoSecondViewError("has no second view", path=capture.paths[0])
    views = (photo.left, photo.right, photo.base)
    left, right, combined = (encode_image(_to_srgb(photo, view), encoding) for view in views)
    return Views(left, right, combined, photo.orientation, photo.warnings)


def _find_capture(source: Source) -> Capture:
    """The photo that files make together; two files are a pair, whatever their names."""
    if not isinstance(source, tuple):
        capture = Capture((Path(source),))
    else:
        paths = (Path(source[0]), Path(source[1]))
        captures = group_captures(paths)
        capture = captures[0] if captures[0].paths == paths else Capture(paths, "pair")
    for path in capture.paths:
        if not path.exists():
            raise ReadError("no such file", path=path, remedy="check the name")
    return capture


def _check_output(output: Path, overwrite: bool) -> None:
    """Refuse to replace what is there, unless it is our own and may be replaced."""
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise WriteError("is there already", path=output, remedy="choose another name, or overwrite=True")
    find_own_note(output)


def _to_srgb(photo: Photo, image: Image) -> Image:
    """Linear light with the primaries of sRGB; gray stays gray."""
    return image if image.shape[2] == 1 else to_linear_srgb(photo, image)
