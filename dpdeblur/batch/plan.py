"""Which photos are worked on and where each result goes: twins, names, shards, and what is done already."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from dpdeblur.batch.inputs import Found
from dpdeblur.readers import RAW_SUFFIXES, Capture

#: Turns a result's stem below the output folder (`day1/IMG_1`) into the files that are written.
NameOutputs = Callable[[PurePath], tuple[PurePath, ...]]


@dataclasses.dataclass(frozen=True)
class Job:
    """One photo and the files that it becomes."""

    capture: Capture
    outputs: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a result would like to go.

    Attributes:
        capture: The photo.
        folder: The folder that stands for the photo's own: that of its file, or of the data set it belongs to.
        base: The output folder.
        stem: The result's name below `base`, without suffix.
        full_name: The input's name with its suffix, or the like of a pair: what names two results of one stem apart.
    """

    capture: Capture
    folder: Path
    base: Path
    stem: PurePath
    full_name: str

    @property
    def name(self) -> str:
        """The last part of the stem."""
        return self.stem.name

    def renamed(self, stem: PurePath) -> _Place:
        """The same place under another stem."""
        return dataclasses.replace(self, stem=stem)

    def list_outputs(self, name_outputs: NameOutputs) -> tuple[Path, ...]:
        """The files that the photo becomes here."""
        return tuple(self.base / name for name in name_outputs(self.stem))


def drop_twins(found: Sequence[Found]) -> tuple[tuple[Found, ...], tuple[Found, ...]]:
    """Leave out the camera's JPEG where the raw of the same name lies beside it.

    Returns:
        What stays, and the JPEGs left out.
    """
    raws = {_stem_key(one.capture) for one in found if _suffix(one.capture) in RAW_SUFFIXES}
    kept: list[Found] = []
    twins: list[Found] = []
    for one in found:
        is_twin = _suffix(one.capture) in (".jpg", ".jpeg") and _stem_key(one.capture) in raws
        (twins if is_twin else kept).append(one)
    return tuple(kept), tuple(twins)


def plan_jobs(found: Sequence[Found], name_outputs: NameOutputs, *, output: Path | None, folder_name: str) -> list[Job]:
    """Give each photo its outputs, so that no two photos share one and none is an original.

    A result is named after its input's stem. Where two results meet, those from different folders keep their folders,
    then those from one folder keep their inputs' suffixes (`IMG_1.cr2.tif`), and whatever still meets is numbered.
    Names are compared without regard to case, as macOS and Windows do.

    Args:
        found: The photos.
        name_outputs: The files that a result's stem becomes.
        output: The folder to write below, mirroring the inputs' trees; None: `folder_name` beside each photo.
        folder_name: The name of that folder.
    """
    places = [_choose_place(one, output, folder_name) for one in found]
    originals = {_key(path) for one in found for path in one.capture.paths}
    common_parts = _count_common_parts([place.folder for place in places])

    for group in _find_collisions(places, name_outputs, originals):
        if len({places[index].folder for index in group}) > 1:
            for index in group:
                places[index] = places[index].renamed(_below(places[index].folder, common_parts) / places[index].name)
    for index in set().union(*_find_collisions(places, name_outputs, originals)):
        places[index] = places[index].renamed(places[index].stem.with_name(places[index].full_name))
    number = 1
    while groups := _find_collisions(places, name_outputs, originals):
        number += 1
        for index in set().union(*(group[1:] or group for group in groups)):
            stem = places[index].stem
            places[index] = places[index].renamed(stem.with_name(f"{stem.name}-{number}"))
    return [Job(place.capture, place.list_outputs(name_outputs)) for place in places]


def _find_collisions(places: Sequence[_Place], name_outputs: NameOutputs, originals: set[str]) -> list[list[int]]:
    """The indices of places that share an output, group by group, and of those whose output is an original."""
    users: dict[str, list[int]] = collections.defaultdict(list)
    for index, place in enumerate(places):
        for path in place.list_outputs(name_outputs):
            users[_key(path)].append(index)
    return [group for key, group in users.items() if len(group) > 1 or key in originals]


def take_share(jobs: Sequence[Job], number: int, count: int) -> list[Job]:
    """Take every `count`-th job beginning with the `number`-th, counted from 1.

    The names were planned before, so that every share knows the same ones.
    """
    return list(jobs[number - 1 :: count])


def _choose_place(one: Found, output: Path | None, folder_name: str) -> _Place:
    capture = one.capture
    folder = capture.paths[0].parent
    inner = PurePath()
    if capture.layout == "dpdd":
        # DATASET/test_l/source/X.png with DATASET/test_r/source/X.png is the data set's photo test/X
        inner = PurePath(folder.parent.name.removesuffix("_l"))
        folder = folder.parent.parent
    if output is None:
        base = folder / folder_name
    else:
        base = output
        inner = _relative(folder, one.root) / inner
    full_name = capture.paths[0].name
    if capture.layout != "single":
        full_name = f"{capture.name}.{capture.layout}{capture.paths[0].suffix}"
    return _Place(capture, Path(os.path.abspath(folder)), base, inner / capture.name, full_name)


def _relative(folder: Path, root: Path) -> PurePath:
    """The folder below its root; a data set whose view folder itself was the root has no tree to mirror."""
    return folder.relative_to(root) if folder.is_relative_to(root) else PurePath()


def _count_common_parts(folders: Sequence[Path]) -> int:
    """How many leading parts all the paths share."""
    count = 0
    for parts in zip(*(folder.parts for folder in folders), strict=False):
        if len(set(parts)) > 1:
            break
        count += 1
    return count


def _below(folder: Path, common_parts: int) -> PurePath:
    """The folder below what all folders share, drive letters become folders."""
    return PurePath(*(part.replace(":", "").strip("\\/") for part in folder.parts[common_parts:]))


def _suffix(capture: Capture) -> str:
    return capture.paths[0].suffix.lower() if capture.layout == "single" else ""


def _stem_key(capture: Capture) -> tuple[Path, str]:
    return capture.paths[0].parent, capture.name.casefold()


def _key(path: Path) -> str:
    return os.path.join(os.path.realpath(path.parent), path.name).casefold()
