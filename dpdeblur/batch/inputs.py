"""What the user named: files and folders, turned into photos to work on and failures to report."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dpdeblur.errors import DpDeblurError, ReadError, UsageError
from dpdeblur.metadata.provenance import read_note
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
        cause = f"the list of files cannot be read ({error.strerror})"
        raise UsageError(cause, path=Path(source), remedy="check the name after --files-from") from error
    entries = content.split(b"\0") if null else content.splitlines()
    return [Path(os.fsdecode(entry)) for entry in entries if entry]


def find_inputs(named: Sequence[Path], *, recursive: bool) -> Inputs:
    """Find the photos among the files and folders that were named; no file is opened but those that may be our own.

    Raises:
        UsageError: Nothing that was named exists.
    """
    if named and not any(_is_there(path) for path in named):
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


def _is_there(path: Path) -> bool:
    """Whether there is something of this name, or the system does not tell."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name with NUL in it
        return False
    except OSError:
        return True
    return True


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
        if not os.path.isdir(path):
            self._take(path, path.parent)
        elif path.suffix.lower() in SUFFIXES:
            self._refuse_folder(path)
        else:
            for file in self._walk_folder(path):
                if _is_own_result(file):
                    self.own_results += 1
                else:
                    self._take(file, path)

    def _take(self, file: Path, root: Path) -> None:
        refusal = _find_refusal(file)
        if refusal is not None:
            self.failures.append(refusal)
            return
        identity = os.path.realpath(file)
        if identity not in self._seen:
            self._seen.add(identity)
            self.roots[file] = root

    def _refuse_folder(self, path: Path) -> None:
        self.failures.append(ReadError("is a folder with a photo's name", path=path, remedy="rename the folder"))

    def _walk_folder(self, root: Path) -> Iterator[Path]:
        """Yield a folder's photos in the order of names, then those of its folders where they are asked for.

        The folders of a DPDD data set (`test_l/source` and its like) belong to the folder above even without
        `--recursive`.
        """
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            folders: list[Path] = []
            for entry in self._list_folder(folder):
                path = folder / entry.name
                is_photo = path.suffix.lower() in SUFFIXES
                if not _is_folder(entry):
                    if is_photo:
                        yield path
                elif is_photo:
                    self._refuse_folder(path)
                elif entry.name.casefold() not in (RUN_FOLDER, SPLIT_FOLDER) and not entry.is_symlink():
                    folders.append(path)
            if not self.recursive:
                are_views = folder == root
                folders = [
                    path / "source"
                    for path in folders
                    if are_views and path.name.endswith(("_l", "_r")) and os.path.isdir(path / "source")
                ]
            waiting += reversed(folders)

    def _list_folder(self, folder: Path) -> list[os.DirEntry[str]]:
        """List what is visible in a folder, by name."""
        try:
            with os.scandir(folder) as entries:
                return sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError as error:
            self.failures.append(ReadError(f"cannot be listed ({error.strerror})", path=folder))
            return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, for instance: what it is called decides
        return False


def _find_refusal(file: Path) -> ReadError | None:
    """Say why a file is not even tried; opening a pipe, for instance, would wait for ever."""
    try:
        is_file = stat.S_ISREG(file.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name with NUL in it
        return ReadError("no such file", path=file, remedy="check the name")
    except OSError as error:
        return ReadError(f"cannot be reached ({error.strerror})", path=file, remedy="check its name and permissions")
    return None if is_file else ReadError("is no regular file", path=file, remedy="give files and folders")


def _is_own_result(file: Path) -> bool:
    """Whether `run` wrote this file; views that `split` exported are photos to work on like others."""
    if file.suffix.lower() in RAW_SUFFIXES or not os.path.isfile(file):
        return False
    try:
        note = read_note(file)
    except ReadError:
        return False  # the reader will say what is wrong with it
    return note is not None and note.is_restored
