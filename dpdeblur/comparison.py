"""Two pictures of each photo, of two files or of two folders: which belong together, and how they compare."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import cv2
import numpy as np

from dpdeblur.batch.inputs import RUN_FOLDER, SPLIT_FOLDER, Found
from dpdeblur.batch.plan import drop_twins
from dpdeblur.errors import ReadError, UsageError
from dpdeblur.metadata.provenance import read_note
from dpdeblur.photo import Image, Photo
from dpdeblur.readers import SUFFIXES, Capture, group_captures
from dpdeblur.restoration.defocus import map_defocus
from dpdeblur.writers.examiner import Examiner
from dpdeblur.writers.preview import Preview

#: Pictures whose shapes differ by more are not of one photo; raws and camera JPEGs differ by a few rows.
_SHAPE_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class Match:
    """Two pictures of one photo."""

    first: Capture
    second: Capture

    @property
    def name(self) -> str:
        """What the photo is called."""
        return self.first.paths[0].name if len(self.first.paths) == 1 else self.first.name


@dataclasses.dataclass(frozen=True)
class Matches:
    """What two files or folders have in common.

    Attributes:
        pairs: In the order of the first.
        lonely: Pictures without a partner.
    """

    pairs: tuple[Match, ...]
    lonely: tuple[Capture, ...]


def match_pictures(first: Path, second: Path) -> Matches:
    """Find the pictures that belong together: two files, or files of one name below two folders.

    Results are named after their photos: `IMG_1.tif` belongs to `IMG_1.CR2`, and `IMG_1.cr2.tif` does where both are
    there. Folders are taken with all that is below them; pictures in different places of the two trees belong together
    where each side has only one of that name. What lies beside results (maps of defocus, pictures of reports) is none.

    Raises:
        UsageError: There is no such file or folder.
        ReadError: A folder cannot be listed.
    """
    for path in (first, second):
        if not path.exists():
            raise UsageError("no such file or folder", path=path, remedy="check the name")
    if not first.is_dir() and not second.is_dir():
        return Matches((Match(Capture((first,)), Capture((second,))),), ())
    firsts, seconds = _list_pictures(first, apart_from=second), _list_pictures(second, apart_from=first)
    order = {picture.capture: place for place, picture in enumerate(firsts)}
    pairs: list[Match] = []
    for name_first, name_second in (
        (_Picture.find_full_place, _Picture.find_place),
        (_Picture.find_place, _Picture.find_place),
        (_Picture.find_name, _Picture.find_name),
    ):
        partners = _index(seconds, name_second)
        for name, picture in _index(firsts, name_first).items():
            if name in partners:
                pairs.append(Match(picture.capture, partners[name].capture))
                firsts.remove(picture)
                seconds.remove(partners[name])
    pairs.sort(key=lambda match: order[match.first])
    return Matches(tuple(pairs), tuple(picture.capture for picture in (*firsts, *seconds)))


@dataclasses.dataclass(frozen=True)
class _Picture:
    capture: Capture
    folder: str

    def find_name(self) -> str:
        """What it is called, without its suffix."""
        return self.capture.name.casefold()

    def find_place(self) -> tuple[str, str]:
        """Where it lies below the folder that was named, and its name."""
        return self.folder, self.find_name()

    def find_full_place(self) -> tuple[str, str]:
        """The same with its suffix, as results are named that would share a name otherwise."""
        return self.folder, self.capture.paths[0].name.casefold()


def _index(pictures: Sequence[_Picture], name: Callable[[_Picture], Hashable]) -> dict[Hashable, _Picture]:
    """The pictures by their names, without those whose name is another's too."""
    counts = collections.Counter(name(picture) for picture in pictures)
    return {name(picture): picture for picture in pictures if counts[name(picture)] == 1}


def _list_pictures(path: Path, *, apart_from: Path) -> list[_Picture]:
    if not path.is_dir():
        return [_Picture(Capture((path,)), "")]
    files: list[Path] = []

    def refuse(error: OSError) -> None:
        raise ReadError(f"cannot be listed ({error.strerror})", path=Path(error.filename)) from error

    for name, folders, names in os.walk(path, onerror=refuse):
        folders[:] = sorted(one for one in folders if _is_walked(Path(name, one), apart_from))
        files += [Path(name, one) for one in sorted(names) if _is_picture(Path(name, one))]
    found = [Found(capture, path) for capture in group_captures(files)]
    kept, _ = drop_twins(found)
    return [_Picture(one.capture, str(one.capture.paths[0].parent.relative_to(path))) for one in kept]


def _is_walked(folder: Path, apart_from: Path) -> bool:
    """Whether a folder's pictures belong to this side: not results beside photos, and not the other side itself."""
    if folder.name.startswith(".") or folder.name.casefold() in (RUN_FOLDER, SPLIT_FOLDER):
        return False
    return not (apart_from.exists() and folder.samefile(apart_from))


def _is_picture(file: Path) -> bool:
    if file.name.startswith(".") or file.suffix.lower() not in SUFFIXES:
        return False
    if not (file.stem.endswith(("_defocus", "-before", "-after"))):
        return True
    note = read_note(file)
    return note is None or (not file.stem.endswith("_defocus") and "for=report" not in note.marker)


@dataclasses.dataclass(frozen=True)
class Compared:
    """How two pictures compare.

    Attributes:
        preview: What a report shows; None where memory did not suffice.
        warnings: One plain sentence each.
    """

    preview: Preview | None
    warnings: tuple[str, ...]


def compare_photos(first: Photo, second: Photo, examiner: Examiner) -> Compared:
    """Compare two pictures of a photo; where their sizes differ, the second is brought to the size of the first.

    Raises:
        ReadError: Their shapes differ: they are not of one photo.
    """
    warnings = [*first.warnings, *second.warnings]
    size, other = _find_upright_size(first), _find_upright_size(second)
    image = second.base
    if size != other:
        if abs(size[0] * other[1] / (size[1] * other[0]) - 1) > _SHAPE_TOLERANCE:
            raise ReadError(
                f"is {other[0]}x{other[1]} pixels, and {first.paths[0].name} is {size[0]}x{size[1]}",
                path=second.paths[0],
                remedy="compare pictures of one shape",
            )
        image = _scale(image, size if second.orientation < 5 else size[::-1])
        warnings.append(f"The sizes differ ({size[0]}x{size[1]} and {other[0]}x{other[1]}): the second was scaled.")
    preview = examiner.compare(first, first.base, image, second.colour, second.orientation, map_defocus(first))
    return Compared(preview, (*dict.fromkeys(warnings), *(() if preview is None else preview.warnings)))


def _find_upright_size(photo: Photo) -> tuple[int, int]:
    """Width and height."""
    height, width = photo.base.shape[:2]
    return (width, height) if photo.orientation < 5 else (height, width)


def _scale(image: Image, size: tuple[int, int]) -> Image:
    """Bring an image to (width, height)."""
    way = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=way), np.float32).reshape(size[1], size[0], -1)
