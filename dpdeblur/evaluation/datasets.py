"""Data sets on disk: which files are one scene.

| layout | folders or names |
| --- | --- |
| pairs | `sharp`, and `blurred`, or `left` and `right`, or all; or `NAME_sharp`, `NAME_blurred` ... in one folder |
| dpdd | `test_l/source`, `test_r/source`, `test_c/source` (blurred), `test_c/target`; or `inputL`, `inputR` ... |
| realdof | `source`, `target` |
| sdd | `blur`, `gt` |
| pixel4 | `NAME_left`, `NAME_right`, `NAME_gt` and `calibration/` in one folder |

Files of a scene have one name, up to `_L`, `_R` and the like. DPDD as its authors hand it out gives references the
numbers of other exposures, so there the n-th file belongs to the n-th, as in their own evaluation. `indoor` and
`outdoor` in a path or name make groups; so do the lists `indoor_labels.npy` and `outdoor_labels.npy` (places of the
references in order, from 1) that travel with Restormer's copy of DPDD.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from dpdeblur.errors import ReadError, UsageError
from dpdeblur.evaluation.protocols import Layout
from dpdeblur.readers import IMAGE_SUFFIXES

Role = Literal["sharp", "blurred", "left", "right"]
Group = Literal["", "indoor", "outdoor"]

_FOLDERS: dict[Layout, dict[Role, tuple[str, ...]]] = {
    "pairs": {"sharp": ("sharp",), "blurred": ("blurred",), "left": ("left",), "right": ("right",)},
    "dpdd": {
        "sharp": ("test_c/target", "target"),
        "blurred": ("test_c/source", "inputC"),
        "left": ("test_l/source", "inputL"),
        "right": ("test_r/source", "inputR"),
    },
    "realdof": {"sharp": ("target",), "blurred": ("source",)},
    "sdd": {"sharp": ("gt",), "blurred": ("blur",)},
}
#: What the files of one folder end with, where a set has no folders.
_TAGS: dict[Layout, dict[Role, str]] = {
    "pairs": {"sharp": "_sharp", "blurred": "_blurred", "left": "_left", "right": "_right"},
    "pixel4": {"sharp": "_gt", "left": "_left", "right": "_right"},
}
#: What may follow a scene's name in folders that say the rest.
_NAME_ENDS: dict[Role, tuple[str, ...]] = {
    "sharp": ("_sharp", "_gt"),
    "blurred": ("_blurred", "_blur"),
    "left": ("_L", "_left"),
    "right": ("_R", "_right"),
}
_IN_ORDER: tuple[Layout, ...] = ("dpdd", "realdof")


@dataclasses.dataclass(frozen=True)
class Scene:
    """The files of one scene.

    Attributes:
        name: What they have in common; of a scene in folders below, with the folder.
        sharp: The reference.
        blurred: The photo with all its light, or None where only the views are there.
        views: Left and right, or None.
        group: indoor, outdoor, or nothing.
    """

    name: str
    sharp: Path
    blurred: Path | None
    views: tuple[Path, Path] | None
    group: Group = ""


@dataclasses.dataclass(frozen=True)
class Scenes:
    """What was found.

    Attributes:
        found: In the order of their names.
        failures: Files whose scene is not complete.
        notes: One plain sentence each, for the user.
    """

    found: tuple[Scene, ...]
    failures: tuple[ReadError, ...] = ()
    notes: tuple[str, ...] = ()


def find_scenes(data: Path, layout: Layout) -> Scenes:
    """Find the scenes of a data set.

    Args:
        data: Its folder, or the one above its folder `test`.
        layout: How it is laid out.

    Raises:
        UsageError: It is no such data set.
    """
    if not data.is_dir():
        raise UsageError("is no folder", path=data, remedy="name the folder of a data set")
    for root in (data, data / "test"):
        files = _list_roles(root, layout)
        if "sharp" in files and ("blurred" in files or {"left", "right"} <= files.keys()):
            return _join_roles(files, layout, _read_labels(data) or _read_labels(root))
    raise UsageError(f"holds no data set of the layout {layout}", path=data, remedy=_describe_layout(layout))


def _describe_layout(layout: Layout) -> str:
    if layout in _FOLDERS:
        folders = ", ".join(names[0] for names in _FOLDERS[layout].values())
        return f"{layout} has the folders {folders}"
    return f"{layout} has files that end with {', '.join(_TAGS[layout].values())}"


def _list_roles(root: Path, layout: Layout) -> dict[Role, dict[str, Path]]:
    """The files of each role by the name of their scene.

    Roles without a file are left out, unless no role has one: then the set is there, and empty.
    """
    roles: dict[Role, dict[str, Path]] = {}
    for role, names in _FOLDERS.get(layout, {}).items():
        folder = next((root / name for name in names if (root / name).is_dir()), None)
        if folder is not None:
            roles[role] = {_name_scene(folder, path, _NAME_ENDS[role]): path for path in _list_images(folder)}
    if not roles and layout in _TAGS and root.is_dir():
        tags = _TAGS[layout]
        paths = [path for path in _list_images(root) if path.parent == root]
        named = {role: [path for path in paths if path.stem.endswith(tag)] for role, tag in tags.items()}
        roles = {
            role: {_name_scene(root, path, (tags[role],)): path for path in found}
            for role, found in named.items()
            if found
        }
    if _FOLDERS.get(layout) and not any(roles.values()):
        return roles
    return {role: files for role, files in roles.items() if files or role == "sharp"}


def _list_images(folder: Path) -> list[Path]:
    """All images below a folder, numbers in their names in the order of numbers."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    visible = [path for path in paths if not path.name.startswith(".")]
    return sorted(visible, key=lambda path: _split_numbers(path.relative_to(folder).as_posix()))


def _split_numbers(text: str) -> list[tuple[int, str]]:
    """A key that puts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def _name_scene(folder: Path, path: Path, ends: tuple[str, ...]) -> str:
    name = path.relative_to(folder).with_suffix("").as_posix()
    for end in ends:
        if name.endswith(end):
            return name.removesuffix(end)
    return name


def _join_roles(files: dict[Role, dict[str, Path]], layout: Layout, labels: dict[int, Group]) -> Scenes:
    """Make scenes of files of one name; or of one place, where the layout allows and no names agree."""
    others: dict[Role, dict[str, Path]] = {role: found for role, found in files.items() if role != "sharp"}
    sharp = list(files["sharp"].values())
    first = next(iter(others.values()))
    notes: tuple[str, ...] = ()
    is_one_list = all(found.keys() == first.keys() for found in others.values())
    if layout in _IN_ORDER and is_one_list and len(first) == len(sharp) and not first.keys() & files["sharp"].keys():
        files = others | {"sharp": dict(zip(first, sharp, strict=True))}
        notes = ("the references have other names than the photos: the n-th was taken for the n-th",)
    names = list(dict.fromkeys(name for found in files.values() for name in found))
    places = {path: place for place, path in enumerate(sharp, start=1)}
    scenes: list[Scene] = []
    failures: list[ReadError] = []
    for name in sorted(names, key=_split_numbers):
        missing = [role for role, found in files.items() if name not in found]
        if missing:
            path = next(found[name] for found in files.values() if name in found)
            failures.append(ReadError(f"belongs to no scene: there is no {' and no '.join(missing)} of it", path=path))
            continue
        paths = {role: found[name] for role, found in files.items()}
        views = (paths["left"], paths["right"]) if {"left", "right"} <= paths.keys() else None
        group = _find_group((name, paths["sharp"].stem)) or labels.get(places[paths["sharp"]], "")
        scenes.append(Scene(name, paths["sharp"], paths.get("blurred"), views, group))
    return Scenes(tuple(scenes), tuple(failures), notes)


def _find_group(names: Sequence[str]) -> Group:
    """What the names tell; outdoor is looked for first only because neither word holds the other."""
    for group in ("indoor", "outdoor"):
        if any(group in name.casefold() for name in names):
            return group
    return ""


def _read_labels(root: Path) -> dict[int, Group]:
    """Places of references, from 1, by the lists beside a copy of DPDD."""
    labels: dict[int, Group] = {}
    for group in ("indoor", "outdoor"):
        path = root / f"{group}_labels.npy"
        if path.is_file():
            try:
                places = np.load(path, allow_pickle=False)
            except (OSError, ValueError) as error:
                raise UsageError("is no list of numbers", path=path, remedy="move it away") from error
            labels.update(dict.fromkeys((int(place) for place in places.ravel()), group))
    return labels
