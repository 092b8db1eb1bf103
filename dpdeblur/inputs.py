"""What the user named: files and folders, turned into photos to work on and failures to report."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dpdeblur.errors import DpDeblurError, ReadError, UsageError
from dpdeblur.provenance import read_note
from dpdeblur.readers import RAW_SUFFIXES, SUFFIXES, Capture, group_captures

#: Folders of results. A walk passes them by, whatever they hold; one that is named itself is a folder like others.
RUN_FOLDER = "deblurred"
SPLIT_FOLDER = "split_views"


@dataclasses.dataclass(frozen=True)
class Found:
    """One photo to work on, and the folder whose tree an output folder mirrors.

    Attributes:
        capture: The photo's file or files.
        root: The folder that was walked, or the folder of a file that was named itself.
    """

    capture: Capture
    root: Path


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Everything that the user's arguments came to.

    Attributes:
        found: The photos, in the order named, folders in the order of their names.
        failures: What was named and cannot be worked on: missing files, unreadable folders.
        own_results: How many files a walk passed by because dpdeblur wrote them.
    """

    found: tuple[Found, ...]
    failures: tuple[DpDeblurError, ...]
    own_results: int


def read_list(source: str, *, null: bool) -> list[Path]:
    """Read the paths of `--files-from`.

    Args:
        source: A file's path, or `-` for standard input.
        null: Paths end with a NUL byte instead of a newline.

    Raises:
        UsageError: The list cannot be read.
    """
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the list of files ({error.strerror})", path=Path(source)) from error
    entries = content.split(b"\0") if null else content.splitlines()
    return [Path(os.fsdecode(entry)) for entry in entries if entry]


def find_inputs(named: Sequence[Path], *, recursive: bool) -> Inputs:
    """Find the photos among the files and folders that were named; no file is opened but those that may be our own.

    Raises:
        UsageError: Nothing that was named exists.
    """
    if named and not any(os.path.lexists(path) for path in named):
        raise UsageError("no such file or folder", path=named[0], remedy="check the name")
    walk = _Walk(recursive)
    for path in named:
        walk.visit(path)
    captures = group_captures(list(walk.roots))
    return Inputs(
        found=tuple(Found(capture, walk.roots[capture.paths[0]]) for capture in captures),
        failures=tuple(walk.failures),
        own_results=walk.own_results,
    )


class _Walk:
    """Collects files with the folder they were found from, each file once."""

    def __init__(self, recursive: bool) -> None:
        self.recursive = recursive
        self.roots: dict[Path, Path] = {}
        self.failures: list[DpDeblurError] = []
        self.own_results = 0
        self._seen: set[str] = set()

    def visit(self, path: Path) -> None:
        """Take what the user named."""
        if not path.exists():
            self.failures.append(ReadError("no such file", path=path, remedy="check the name"))
        elif not path.is_dir():
            self._take(path, path.parent)
        elif path.suffix.lower() in SUFFIXES:
            self._refuse_folder(path)
        else:
            for file in self._walk_folder(path, dataset=True):
                if _is_own_result(file):
                    self.own_results += 1
                else:
                    self._take(file, path)

    def _take(self, file: Path, root: Path) -> None:
        identity = os.path.realpath(file)
        if identity not in self._seen:
            self._seen.add(identity)
            self.roots[file] = root

    def _refuse_folder(self, path: Path) -> None:
        self.failures.append(ReadError("is a folder with a photo's name", path=path, remedy="rename the folder"))

    def _walk_folder(self, folder: Path, *, dataset: bool = False) -> Iterator[Path]:
        """Yield the folder's photos in the order of names, then those of its folders where they are asked for.

        The folders of a DPDD data set (`test_l/source` and its like) belong to the folder above even without
        `--recursive`: `dataset` asks for them.
        """
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self.failures.append(ReadError(f"cannot be listed ({error.strerror})", path=folder))
            return
        folders: list[Path] = []
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                if path.suffix.lower() in SUFFIXES:
                    yield path
            elif path.suffix.lower() in SUFFIXES:
                self._refuse_folder(path)
            elif entry.name.casefold() not in (RUN_FOLDER, SPLIT_FOLDER) and not entry.is_symlink():
                folders.append(path)
        yield from self._walk_folders(folders, dataset=dataset)

    def _walk_folders(self, folders: Iterable[Path], *, dataset: bool) -> Iterator[Path]:
        for path in folders:
            if self.recursive:
                yield from self._walk_folder(path)
            elif dataset and path.name.endswith(("_l", "_r")) and (path / "source").is_dir():
                yield from self._walk_folder(path / "source")


def _is_own_result(file: Path) -> bool:
    """Whether `run` wrote this file; views that `split` exported are photos to work on like others."""
    if file.suffix.lower() in RAW_SUFFIXES:
        return False
    try:
        note = read_note(file)
    except ReadError:
        return False  # the reader will say what is wrong with it
    return note is not None and note.is_restored
