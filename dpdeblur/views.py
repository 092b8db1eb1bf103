"""The left and right views of one photo, exported."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from dpdeblur.batch.markers import describe_reading
from dpdeblur.batch.stages import Written, read_framed, read_steady
from dpdeblur.colour.spaces import LINEAR_SRGB
from dpdeblur.errors import NoSecondViewError
from dpdeblur.framing import Framing
from dpdeblur.metadata.entries import read_metadata
from dpdeblur.metadata.provenance import Note
from dpdeblur.photo import Image, Photo
from dpdeblur.readers import Capture, ReadOptions, read_mosaic
from dpdeblur.writers import WriteOptions, write_image

#: `mosaic` is the photodiodes' bare values.
Form = Literal["srgb", "linear", "mosaic"]
Layout = Literal["named", "dpdd"]

_WHITE = np.float32(65535)


@dataclasses.dataclass(frozen=True)
class Views:
    """What is to be written: the photo that lends its metadata, and an image for each output, in their order."""

    photo: Photo
    images: tuple[Image, ...]


class Splitting:
    """The stages of `split` over many photos.

    Attributes:
        marker: What the results are, as their notes say it.
        read: Decodes and develops the views, see `read_views`.
    """

    def __init__(
        self, read_options: ReadOptions, *, form: Form, combined: bool, layout: Layout, keep_aspect: bool
    ) -> None:
        """Choose what to export.

        Args:
            read_options: How bare files are to be understood.
            form: Developed to sRGB, developed to linear light, or undeveloped.
            combined: Write the whole photo too.
            layout: `named` for NAME_left.tif and NAME_right.tif, `dpdd` for the folders of the DPDD data set.
            keep_aspect: Leave non-square pixels as they are.
        """
        framing = Framing(keep_aspect=keep_aspect)
        self.marker = " ".join(("split", form, *describe_reading(read_options, framing)))
        self.read = functools.partial(read_views, options=read_options, framing=framing, form=form, combined=combined)
        self._form = form
        self._combined = combined
        self._layout = layout

    def name_outputs(self, stem: PurePath) -> tuple[PurePath, ...]:
        """The files of one photo: left, right and, where it is wanted, the whole.

        Args:
            stem: The photo's name below the output folder. The DPDD layout has no folders of its own inside, so there
                they become part of the name.
        """
        if self._layout == "dpdd":
            name = "_".join(stem.parts) + ".png"
            folders = ("test_l", "test_r", "test_c")
            outputs = tuple(PurePath(folder, "source", name) for folder in folders)
        else:
            outputs = tuple(stem.with_name(f"{stem.name}_{view}.tif") for view in ("left", "right", "combined"))
        return outputs if self._combined else outputs[:2]

    def estimate_bytes(self, views: Views) -> int:
        """The most that one of the views takes: 16 bits a sample, and the metadata."""
        return views.images[0].size * 2 + 1_000_000

    def process(self, views: Views) -> Views:
        """Nothing is computed: the reader has developed the views."""
        return views

    def write(self, views: Views, outputs: tuple[Path, ...]) -> Written:
        """Write the views.

        Raises:
            WriteError: One cannot be written.
        """
        photo = views.photo
        options = WriteOptions(
            format="png" if self._layout == "dpdd" else "tiff", profile="srgb" if self._form == "srgb" else "linear"
        )
        warnings = list(photo.warnings)
        for image, output, view in zip(views.images, outputs, ("left", "right", "combined"), strict=False):
            note = Note(self.marker, f"{view} of {photo.paths[0].name}", photo.fingerprint)
            warnings += write_image(output, image, photo, options, provenance=str(note))
        if photo.clipped_share is not None and not any("clipped" in warning for warning in warnings):
            warnings.append(f"{photo.clipped_share:.2%} of the photosites are clipped")
        height, width = photo.base.shape[:2]
        details = {"kind": photo.kind, "form": self._form, "clipped_share": photo.clipped_share}
        return Written(width, height, tuple(dict.fromkeys(warnings)), details)


def read_views(capture: Capture, options: ReadOptions, framing: Framing, form: Form, combined: bool) -> Views:
    """Decode and develop the views of a photo.

    Args:
        capture: The photo's file or files.
        options: How bare files are to be understood.
        framing: Whether its pixels are made square.
        form: What the views shall be.
        combined: Take the whole photo too.

    Raises:
        NoSecondViewError: The photo has one view only.
        ReadError: It cannot be read.
        PassingError: It changed meanwhile.
    """
    if form == "mosaic":
        views, fingerprint = read_steady(capture, lambda: _read_mosaic(capture, options))
        return dataclasses.replace(views, photo=dataclasses.replace(views.photo, fingerprint=fingerprint))
    photo = read_framed(capture, options, framing)
    if photo.left is None or photo.right is None:
        raise NoSecondViewError("has no second view", path=capture.paths[0], remedy="dpdeblur run restores it as it is")
    images = (photo.left, photo.right, photo.base)
    return Views(photo, images if combined else images[:2])


def _read_mosaic(capture: Capture, options: ReadOptions) -> Views:
    """Take the bare values as a gray picture in linear light: its codes are the values again, to the last bit."""
    mosaic = read_mosaic(capture)
    left, right = (view[..., None].astype(np.float32) / _WHITE for view in (mosaic.left, mosaic.right))
    if options.swap_views:
        left, right = right, left
    metadata = read_metadata(capture.paths[0])
    photo = Photo(
        paths=capture.paths,
        kind="raw",
        base=left,
        colour=LINEAR_SRGB,
        metadata=metadata,
        clipped_share=mosaic.clipped_share,
        warnings=(*metadata.warnings, *mosaic.warnings),
    )
    return Views(photo, (left, right))
