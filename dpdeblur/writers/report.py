"""A report of a batch as one HTML file: every photo before and after, what was done to it, and what failed.

Rows go to the disk as they come, so that memory does not grow with the batch; the file gets its name when the last one
is there, or when the batch is interrupted. A report that is made again keeps the pictures of photos that were done
before.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from dpdeblur import __version__
from dpdeblur.errors import UsageError, WriteError
from dpdeblur.writers.atomic import clear_leftovers, open_atomic
from dpdeblur.writers.examiner import Examiner
from dpdeblur.writers.overlay import RAMPS
from dpdeblur.writers.page import EarlierRows, Record, Status, Wording, build_frame, escape, is_own_page, render_row
from dpdeblur.writers.preview import Comparison, Preview

__all__ = ["Facts", "Report", "Row", "Wording"]

#: A title, and named values as they are shown.
Facts = tuple[str, Sequence[tuple[str, str]]]

#: What a report should not grow beyond; what one photo may take of it, in large batches and in small ones.
_REPORT_BYTES = 128_000_000
_LEAST_PHOTO_BYTES, _MOST_PHOTO_BYTES = 128_000, 1_600_000
_SUMMARY_BYTES = 600


@dataclasses.dataclass(frozen=True)
class Row:
    """One photo in the report.

    Attributes:
        name: What it is called there.
        status: How it ended.
        line: Why it failed, or what else there is to say in one line.
        outputs: Its results: by them a later report finds this row again.
        facts: What is told of it.
        warnings: One plain sentence each.
        preview: Its pictures, or None.
    """

    name: str
    status: Status
    line: str = ""
    outputs: tuple[Path, ...] = ()
    facts: Sequence[Facts] = ()
    warnings: tuple[str, ...] = ()
    preview: Preview | None = None


class Report:
    """Writes a report; use it as a context: at its end the file appears, even if the batch was interrupted.

    Attributes:
        path: The file.
        failure: Why it could not be written, or None. The batch goes on without it.
        is_written: Whether it is there: not before the end, and not without any row.
        examiner: Makes the pictures of a photo.
    """

    def __init__(self, path: Path, wording: Wording, *, keeps_full: bool = False) -> None:
        """Look whether the report can be written; nothing is written yet.

        Args:
            path: The HTML file. One that dpdeblur wrote is replaced.
            wording: What things are called.
            keeps_full: Write JPEGs with all pixels into a folder beside it.

        Raises:
            UsageError: The name is no HTML file's, or its folder is not there, or something else wrote the file.
            ReadError: The file that is there cannot be read.
        """
        if path.suffix.lower() not in (".html", ".htm"):
            raise UsageError("a report is an HTML file", path=path, remedy="give it a name that ends with .html")
        if not path.parent.is_dir():
            raise UsageError("there is no folder for the report", path=path, remedy="make its folder first")
        if os.path.lexists(path) and not is_own_page(path):
            raise UsageError("was not written by dpdeblur", path=path, remedy="move it away, or name another report")
        self.path = path
        self.failure: WriteError | None = None
        self.is_written = False
        self._folder = path.with_name(f"{path.stem}_files")
        self.examiner = Examiner(_LEAST_PHOTO_BYTES, self._folder if keeps_full else None)
        self._wording = wording
        self._keeps_full = keeps_full
        self._photos = 0
        self._counts: dict[Status, int] = {}
        self._stack = contextlib.ExitStack()
        self._file: BinaryIO | None = None
        self._summary_at = 0
        self._foot = b""
        self._earlier = EarlierRows()

    def begin(self, photos: int) -> None:
        """Learn how many rows will come at the most: pictures are made as large as that number allows."""
        self._photos = photos
        share = _REPORT_BYTES // max(1, photos)
        self.examiner.budget_bytes = min(max(share, _LEAST_PHOTO_BYTES), _MOST_PHOTO_BYTES)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish the file with the rows that came; without any, nothing is written."""
        if self._file is not None:
            self._attempt(lambda: self._finish(is_interrupted=kind is not None))
        self._earlier.close()

    def add(self, row: Row) -> None:
        """Write a row to the disk; a photo that was done before keeps the pictures it had."""
        self._attempt(lambda: self._add(row))

    def _attempt(self, step: Callable[[], None]) -> None:
        """Do something unless writing has failed; when it fails now, let go of the file and remember why."""
        if self.failure is not None:
            return
        try:
            try:
                step()
            except OSError as error:
                self._file = None
                if not self._stack.__exit__(type(error), error, error.__traceback__):
                    raise WriteError(f"cannot be written ({error.strerror})", path=self.path) from error
        except WriteError as error:
            self.failure = error

    def _add(self, row: Row) -> None:
        if self._file is None:
            self._file = self._open()
        key = _make_key(row.outputs)
        record, thumbnail, state = _build_record(row), b"", self._wording.name_status(row.status)
        earlier = self._earlier.find(key) if row.status == "skipped" else None
        if earlier is not None:
            record, thumbnail = earlier
        elif row.preview is not None:
            thumbnail = row.preview.thumbnail
        if row.line and (row.status != "skipped" or earlier is None):
            state = f"{state}: {row.line}"
        warnings = record["warnings"]
        if isinstance(warnings, list) and warnings:
            state += f" · {len(warnings)} warning{'s' if len(warnings) > 1 else ''}"
        self._counts[row.status] = self._counts.get(row.status, 0) + 1
        self._file.write(
            render_row(
                record,
                thumbnail,
                number=sum(self._counts.values()),
                status=row.status,
                state=state,
                is_warned=bool(warnings),
                key=key,
            )
        )

    def _open(self) -> BinaryIO:
        """Write what comes before the rows, leaving room for the summary."""
        clear_leftovers(self.path.parent)
        if self.path.exists():
            self._earlier.open(self.path)
        # photos that were done before may have left pictures in the folder
        frame = build_frame(self._wording, loads_files=self._folder.is_dir() or self._keeps_full)
        self._foot = frame.foot
        file = self._stack.enter_context(open_atomic(self.path))
        file.write(frame.head)
        self._summary_at = file.tell()
        file.write(bytes(_SUMMARY_BYTES).replace(b"\0", b" ") + frame.middle)
        return file

    def _finish(self, *, is_interrupted: bool) -> None:
        assert self._file is not None
        self._file.write(self._foot)
        self._file.seek(self._summary_at)
        self._file.write(self._summarise(is_interrupted=is_interrupted))
        self._earlier.close()  # Windows replaces no open file
        self._stack.close()
        self.is_written = True

    def _summarise(self, *, is_interrupted: bool) -> bytes:
        named = (f"{count} {self._wording.name_status(status).lower()}" for status, count in self._counts.items())
        parts = [", ".join(named)]
        missing = self._photos - sum(self._counts.values())
        if is_interrupted and missing > 0:
            parts.append(f"interrupted: {missing} of {self._photos} were not reached")
        parts.append(f"dpdeblur {__version__}, {time.strftime('%Y-%m-%d %H:%M')}")
        return escape(" · ".join(parts)).encode().ljust(_SUMMARY_BYTES)


def _make_key(outputs: Sequence[Path]) -> str:
    """What finds the row of these results again while they are what they are; nothing where there are none."""
    try:
        states = [(os.path.abspath(path), path.stat().st_size, path.stat().st_mtime_ns) for path in outputs]
    except OSError:
        return ""
    return hashlib.blake2b(repr(states).encode(), digest_size=16).hexdigest() if states else ""


def _build_record(row: Row) -> Record:
    """What the page's script knows of a photo."""
    preview = row.preview
    record: dict[str, object] = {
        "name": row.name,
        "line": row.line,
        "facts": [[title, [list(pair) for pair in pairs]] for title, pairs in row.facts],
        "warnings": list(row.warnings),
    }
    if preview is None:
        return record
    defocus = preview.defocus
    shares = {"white": preview.clipping.white_share, "black": preview.clipping.black_share}
    return record | {
        "width": preview.whole.width,
        "height": preview.whole.height,
        "whole": _build_comparison(preview.whole),
        "detail": None if preview.detail is None else _build_comparison(preview.detail),
        "defocus": None
        if defocus is None
        else {
            "png": _encode(defocus.png),
            "quantity": defocus.quantity,
            "low": defocus.low_px,
            "high": defocus.high_px,
            "ramp": [f"rgba({r}, {g}, {b}, {a / 255:.2f})" for r, g, b, a in RAMPS[defocus.quantity]],
        },
        "clipping": {"png": preview.clipping.png and _encode(preview.clipping.png), **shares},
        "full": preview.full and list(preview.full),
    }


def _build_comparison(comparison: Comparison) -> Record:
    place = {name: getattr(comparison, name) for name in ("x", "y", "width", "height")}
    return {"before": _encode(comparison.before), "after": _encode(comparison.after), **place}


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
