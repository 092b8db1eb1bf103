"""Looks at photos for a report: makes what is shown of them, and where it is asked for, JPEGs with all their pixels."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path
from urllib.parse import quote

from dpdeblur.colour.spaces import ColourSpace
from dpdeblur.errors import ReadError, WriteError
from dpdeblur.metadata.entries import EMPTY_METADATA
from dpdeblur.metadata.exif import summarise_exif
from dpdeblur.metadata.provenance import read_note
from dpdeblur.photo import Image, Photo
from dpdeblur.restoration.defocus import DefocusMap
from dpdeblur.writers import WriteOptions, write_image
from dpdeblur.writers.preview import Preview, Side, make_preview

_QUALITY = 92


@dataclasses.dataclass
class Examiner:
    """Makes previews. It holds nothing that belongs to a process, so that it can travel to others.

    Attributes:
        budget_bytes: What one photo may take in the report; set when the number of photos is known.
        folder: Where JPEGs with all pixels are written, beside the report; None for none.
    """

    budget_bytes: int
    folder: Path | None = None

    def examine(self, photo: Photo, image: Image, defocus: DefocusMap) -> Preview | None:
        """Look at a photo and its restored picture, which lies and is coloured like it."""
        return self.compare(photo, photo.base, image, photo.colour, photo.orientation, defocus)

    def compare(
        self,
        photo: Photo,
        before: Image,
        after: Image,
        colour: ColourSpace,
        orientation: int,
        defocus: DefocusMap | None,
    ) -> Preview | None:
        """Look at two pictures of a photo.

        Args:
            photo: Lends its names and EXIF.
            before: (H, W, C) float32 linear light, lying and coloured like the photo.
            after: The same of another picture, upright of the same size.
            colour: The primaries of `after`.
            orientation: EXIF Orientation of `after`.
            defocus: A map of defocus lying like `before`, or None.

        Returns:
            What the report shows; None where memory does not suffice, because the photo itself is done.
        """
        sides = Side(before, photo.colour, photo.orientation), Side(after, colour, orientation)
        try:
            preview = make_preview(*sides, defocus, self.budget_bytes)
            # the pictures in the report may have all pixels already
            full, warnings = (None, ()) if preview.detail is None else self._write_full(photo, sides)
        except MemoryError:
            return None
        exif = summarise_exif(photo.metadata)
        return dataclasses.replace(preview, exif=exif, full=full, warnings=warnings)

    def _write_full(self, photo: Photo, sides: tuple[Side, Side]) -> tuple[tuple[str, str] | None, tuple[str, ...]]:
        """Write both pictures with all pixels; what cannot be written is no failure of the photo."""
        if self.folder is None:
            return None, ()
        names = [f"{name_file(photo.paths)}-{which}.jpg" for which in ("before", "after")]
        try:
            self.folder.mkdir(exist_ok=True)
            for side, name in zip(sides, names, strict=True):
                self._write_side(photo, side, self.folder / name)
        except OSError as error:
            return None, (f"All pixels could not be kept: {self.folder} cannot be made ({error.strerror}).",)
        except (ReadError, WriteError) as error:
            return None, (f"All pixels could not be kept: {error}.",)
        before, after = (f"{quote(self.folder.name)}/{quote(name)}" for name in names)
        return (before, after), ()

    def _write_side(self, photo: Photo, side: Side, path: Path) -> None:
        if path.exists() and read_note(path) is None:
            raise WriteError("was not written by dpdeblur", path=path, remedy="move it away")
        lender = dataclasses.replace(
            photo, colour=side.colour, orientation=side.orientation, alpha=None, metadata=EMPTY_METADATA
        )
        options = WriteOptions(format="jpeg", profile="srgb", quality=_QUALITY)
        # the note begins like a result's, so that a walk through folders takes it for our own
        note = f"run for=report; a picture of {photo.paths[0].name}"
        write_image(path, side.image, lender, options, provenance=note)


def name_file(paths: tuple[Path, ...]) -> str:
    """A name for files about a photo: its own in plain letters, and what tells it from others of that name."""
    told_apart = hashlib.blake2b(repr([str(path) for path in paths]).encode(), digest_size=4).hexdigest()
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", paths[0].stem)[:60]
    return f"{plain}-{told_apart}"
