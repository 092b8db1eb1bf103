"""Whether a photo's outputs are done already, and whether they can be written: looked at before any work on it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from dpdeblur.batch.plan import Job
from dpdeblur.errors import DpDeblurError, WriteError
from dpdeblur.metadata.provenance import Note, are_unchanged, read_note
from dpdeblur.writers.atomic import FREE_SPACE, FULL

#: What to do about results that are there: keep them, make those again that are not what is asked for, or all.
Redo = Literal["none", "changed", "all"]

_LONGEST_NAME_BYTES = 255
#: Free space that differs by less is the same: other programs write as well.
_SLACK = 1.1


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is about to be made.

    Attributes:
        marker: What is asked for, as the notes of its results say it.
        list_weights: Lists the abbreviated hashes of the weights that may make it; None where no network is at work.
            Called only where there are results to compare with.
        redo: What to do about results that are there.
    """

    marker: str
    list_weights: Callable[[], Collection[str]] | None = None
    redo: Redo = "none"


def check_outputs(job: Job, wanted: Wanted) -> bool:
    """Look whether a job is done, and whether it can be done.

    A preview of a part is no result: it gives way to whatever is asked for next. A result of other settings, of other
    weights or of another content of the photo is neither taken for done nor replaced unless `redo` says so. Files that
    something else wrote are never replaced.

    Args:
        job: The photo and its outputs.
        wanted: What is about to be made.

    Returns:
        Whether all outputs are there already, as they are wanted.

    Raises:
        DpDeblurError: An output cannot be written, or must not be replaced.
    """
    finished = 0
    for path in job.outputs:
        _check_name(path)
        if not os.path.lexists(path):
            continue
        note = find_own_note(path)
        difference = _find_difference(note, job, wanted)
        if difference is None:
            finished += 1
        elif wanted.redo == "none" and not note.is_preview:
            raise WriteError(difference, path=path, remedy="give --update to make it again, or another --output")
    if finished == len(job.outputs) and wanted.redo != "all":
        return True
    for folder in {path.parent for path in job.outputs}:
        _check_folder(folder)
    return False


def find_own_note(path: Path) -> Note:
    """Read the note of a file that is there already.

    Raises:
        WriteError: Something else wrote the file, or it is none.
        ReadError: It cannot be read.
    """
    if not os.path.isfile(path):
        raise WriteError("is no file", path=path, remedy="move it away, or choose another --output")
    note = read_note(path)
    if note is None:
        raise WriteError("was not written by dpdeblur", path=path, remedy="move it away, or choose another --output")
    return note


def _find_difference(note: Note, job: Job, wanted: Wanted) -> str | None:
    """Say in what a result differs from what is wanted; None where it does not."""
    if note.marker != wanted.marker:
        return f"holds another result ({note.marker}), not what is asked for ({wanted.marker})"
    if wanted.list_weights is not None and note.weights not in wanted.list_weights():
        return f"holds a result of other weights ({note.weights})"
    # where the photo itself cannot be read, its reader will say so
    with contextlib.suppress(OSError):
        if not are_unchanged(job.capture.paths, note.fingerprint):
            return f"was made of another {job.capture.paths[0].name}, or before that changed"
    return None


def _check_name(path: Path) -> None:
    # Windows counts other units, and says itself what is too long
    if os.name == "posix" and len(os.fsencode(path.name)) > _LONGEST_NAME_BYTES:
        raise WriteError("its name is too long for a file", path=path, remedy="shorten the photo's name")


def _check_folder(folder: Path) -> None:
    """Refuse a folder that can be neither written to nor made."""
    existing = folder
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if not os.path.isdir(existing):
        raise WriteError("is no folder", path=existing, remedy="choose another with --output")
    if not os.access(existing, os.W_OK | os.X_OK):
        remedy = "choose another with --output, or change its permissions"
        raise WriteError("the folder cannot be written to", path=existing, remedy=remedy)


class Disks:
    """Remembers disks that were full, so that no photo is restored for nothing; any thread may ask."""

    def __init__(self) -> None:
        """Know of none."""
        self._free_bytes: dict[int, int] = {}
        self._lock = threading.Lock()

    def note_failure(self, folder: Path, error: DpDeblurError) -> None:
        """Take note of a result that could not be written to a folder, where the reason is a full disk."""
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in FULL:
            with contextlib.suppress(OSError), self._lock:
                self._free_bytes[folder.stat().st_dev] = shutil.disk_usage(folder).free

    def check(self, path: Path, needed_bytes: int) -> None:
        """Refuse a file whose disk was full, has no more room now, and may not have enough for it.

        Args:
            path: The file to be written.
            needed_bytes: What it takes at the most.

        Raises:
            WriteError: It is so.
        """
        with contextlib.suppress(OSError), self._lock:
            known_bytes = self._free_bytes.get(path.parent.stat().st_dev)
            free_bytes = shutil.disk_usage(path.parent).free
            if known_bytes is not None and free_bytes <= known_bytes * _SLACK and needed_bytes > free_bytes:
                raise WriteError("the disk is full", path=path, remedy=FREE_SPACE)
