"""The left and right views of one photo, exported."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from dpdeblur.colour import LINEAR_SRGB
from dpdeblur.errors import NoSecondViewError
from dpdeblur.framing import Framing, frame_photo
from dpdeblur.metadata import read_metadata
from dpdeblur.photo import Image, Photo
from dpdeblur.provenance import Note
from dpdeblur.readers import Capture, ReadOptions, read_mosaic, read_photo
from dpdeblur.stages import Written
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
        self.marker = f"split {form}" + (" swapped" if read_options.swap_views else "")
        self._read_options = read_options
        self._form = form
        self._combined = combined
        self._layout = layout
        self._framing = Framing(keep_aspect=keep_aspect)

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

    def read(self, capture: Capture) -> Views:
        """Decode and develop the views.

        Raises:
            NoSecondViewError: The photo has one view only.
            ReadError: It cannot be read.
        """
        if self._form == "mosaic":
            return self._read_mosaic(capture)
        photo = frame_photo(read_photo(capture, self._read_options), self._framing)
        if photo.left is None or photo.right is None:
            raise NoSecondViewError("has no second view", path=capture.paths[0])
        images = (photo.left, photo.right, photo.base)
        return Views(photo, images if self._combined else images[:2])

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
            note = Note(self.marker, f"{view} of {photo.paths[0].name}")
            warnings += write_image(output, image, photo, options, provenance=str(note))
        if photo.clipped_share is not None and not any("clipped" in warning for warning in warnings):
            warnings.append(f"{photo.clipped_share:.2%} of the photosites are clipped")
        height, width = photo.base.shape[:2]
        details = {"form": self._form, "clipped_share": photo.clipped_share}
        return Written(width, height, tuple(dict.fromkeys(warnings)), details)

    def _read_mosaic(self, capture: Capture) -> Views:
        """Take the bare values as a gray picture in linear light: its codes are the values again, to the last bit."""
        mosaic = read_mosaic(capture)
        left, right = (view[..., None].astype(np.float32) / _WHITE for view in (mosaic.left, mosaic.right))
        if self._read_options.swap_views:
            left, right = right, left
        photo = Photo(
            paths=capture.paths,
            kind="raw",
            base=left,
            colour=LINEAR_SRGB,
            metadata=read_metadata(capture.paths[0]),
            clipped_share=mosaic.clipped_share,
        )
        return Views(photo, (left, right))
