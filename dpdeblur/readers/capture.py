"""Captures: which files make one photo, and what the user said about bare ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from dpdeblur.photo import Kind

Layout = Literal["single", "pair", "dpdd", "pixel"]

#: What LibRaw decodes, by the suffixes that cameras give.
RAW_SUFFIXES = frozenset(
    ".3fr .ari .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf .ori .pef"
    " .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)
IMAGE_SUFFIXES = frozenset((".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jpe", ".pgm"))
SUFFIXES = RAW_SUFFIXES | IMAGE_SUFFIXES

_PAIR_SUFFIXES = frozenset((".pgm", ".png", ".tif", ".tiff"))
_TWIN_TAGS = {"_left": "_right", "_L": "_R"}
#: The Google research app names its captures by time: yyyyMMdd_HHmmss_SSS.
_APP_STEM = re.compile(r"\d{8}_\d{6}_\d{3}")
#: What its files hold but do not say: 16-bit linear green, black near 4096, a pixel for 1x2 squares.
_APP_BLACK_LEVEL = 4096.0
_APP_PIXEL_ASPECT = 2.0


@dataclasses.dataclass(frozen=True)
class Capture:
    """The files of one photo.

    Attributes:
        paths: One file, or the left and the right view's.
        layout: `single`; `pair`, two files named so; `dpdd`, two folders of the DPDD layout; `pixel`, the Pixel app's.
    """

    paths: tuple[Path, ...]
    layout: Layout = "single"

    @property
    def name(self) -> str:
        """The stem of what is made of it: the file's, or what both names have in common."""
        stem = self.paths[0].stem
        if self.layout in ("pair", "pixel"):
            for tag in _TWIN_TAGS:
                if stem.endswith(tag):
                    return stem.removesuffix(tag)
        return stem


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """What the user says about files that do not say it themselves. Raws know their levels and ignore all but the last.

    Attributes:
        black_level: The stored value of no light. Giving it, a white level or white sheets declares linear sensor data.
        white_level: The stored value of full light.
        linear: Stored values are linear light, not sRGB-encoded.
        pixel_aspect: Height of a pixel divided by its width.
        white_sheet: Photographs of an evenly lit sheet by the left and by the right photodiodes.
        swap_views: What is taken for the left view is the right one.
    """

    black_level: float | None = None
    white_level: float | None = None
    linear: bool = False
    pixel_aspect: float | None = None
    white_sheet: tuple[Path, Path] | None = None
    swap_views: bool = False

    @property
    def describes_sensor(self) -> bool:
        """Whether the files are declared to be bare sensor data."""
        return (self.black_level, self.white_level, self.white_sheet) != (None, None, None)


@dataclasses.dataclass(frozen=True)
class Probe:
    """What a capture is, found out without developing it.

    Attributes:
        kind: What it is.
        width: Columns of pixels as they lie on the sensor or in the file.
        height: Rows of pixels, likewise.
        dual: Whether it holds both views.
        camera: The camera's name, or None where the file does not say.
        warnings: One plain sentence each.
        is_gray: Whether its files are stored in shades of gray; of raws it is not asked.
    """

    kind: Kind
    width: int
    height: int
    dual: bool
    camera: str | None
    warnings: tuple[str, ...] = ()
    is_gray: bool = False


@dataclasses.dataclass(frozen=True)
class Mosaic:
    """The bare photodiode values of a dual-pixel raw, black included, as they lie on the sensor.

    Attributes:
        left: (H, W) uint16, frame 1.
        right: (H, W) uint16, (frame 0 - its black) - (frame 1 - its black) + frame 1's black, clipped at 0.
        black_level: Of both, for red, green, blue and the second green.
        pattern: The colours of the first two rows' first two photosites, such as "RGGB".
        clipped_share: Share of frame 0's photosites at saturation, where `right` is too dark.
        warnings: One plain sentence each.
    """

    left: npt.NDArray[np.uint16]
    right: npt.NDArray[np.uint16]
    black_level: tuple[int, int, int, int]
    pattern: str
    clipped_share: float
    warnings: tuple[str, ...] = ()


def describe_app_file(path: Path, options: ReadOptions) -> tuple[ReadOptions, tuple[str, ...]]:
    """Fill in what files under the Pixel app's names are known to be; what the user says goes before.

    Args:
        path: Any file; only PGM files under the app's names are known.
        options: What the user says.

    Returns:
        The options, and a warning where a level was assumed.
    """
    stem = path.stem.removesuffix("_left").removesuffix("_right")
    if path.suffix.lower() != ".pgm" or not _APP_STEM.fullmatch(stem):
        return options, ()
    aspect = _APP_PIXEL_ASPECT if options.pixel_aspect is None else options.pixel_aspect
    options = dataclasses.replace(options, linear=True, pixel_aspect=aspect)
    if options.black_level is not None:
        return options, ()
    warning = f"No black level was given: {_APP_BLACK_LEVEL:g} was assumed, as the Pixel app stores it (--black-level)."
    return dataclasses.replace(options, black_level=_APP_BLACK_LEVEL), (warning,)


def group_captures(files: Sequence[Path]) -> list[Capture]:
    """Find the files that make one photo together.

    Pairs are `X_left` and `X_right` or `X_L` and `X_R` (PGM, PNG, TIFF) in one folder, and `X.png` below `T_l/source`
    and `T_r/source` (the DPDD layout). A file whose twin is not among `files` is a photo of its own.

    Args:
        files: All files, in the order in which the photos shall come.

    Returns:
        The captures, each at the place of its first file.
    """
    places: dict[_Place, Path] = {}
    for path in files:
        places.setdefault(_place(path), path)
    taken: set[Path] = set()
    captures: list[Capture] = []
    for path in files:
        if path in taken:
            continue
        capture = Capture((path,))
        for (left, right), layout in _list_pairings(path):
            pair = places.get(left), places.get(right)
            if path in pair and pair[0] is not None and pair[1] is not None:
                capture = Capture((pair[0], pair[1]), layout)
                break
        taken.update(capture.paths)
        captures.append(capture)
    return captures


_Place = tuple[Path, str, str]


def _place(path: Path) -> _Place:
    """Folder, stem and suffix; the suffix without regard to case, TIFF's two as one."""
    suffix = path.suffix.lower()
    return path.parent, path.stem, ".tif" if suffix == ".tiff" else suffix


def _list_pairings(path: Path) -> Iterable[tuple[tuple[_Place, _Place], Layout]]:
    """The pairs that the file could be one of: the places of left and right."""
    folder, stem, suffix = _place(path)
    if path.suffix.lower() not in _PAIR_SUFFIXES:
        return
    for left_tag, right_tag in _TWIN_TAGS.items():
        for tag in (left_tag, right_tag):
            name = stem.removesuffix(tag)
            if name and name != stem:
                is_app = suffix == ".pgm" and left_tag == "_left" and _APP_STEM.fullmatch(name)
                places = (folder, name + left_tag, suffix), (folder, name + right_tag, suffix)
                yield places, "pixel" if is_app else "pair"
    side = folder.parent
    if suffix == ".png" and folder.name == "source" and side.name[-2:] in ("_l", "_r"):
        left, right = (side.with_name(side.name[:-2] + tag) / "source" for tag in ("_l", "_r"))
        yield ((left, stem, suffix), (right, stem, suffix)), "dpdd"
