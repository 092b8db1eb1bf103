"""What can go wrong for a user: every expected failure names the file, the cause and the remedy in one line."""

from __future__ import annotations

from pathlib import Path


class DpDeblurError(Exception):
    """An expected failure, shown to the user as one line without a traceback.

    Args:
        cause: What is wrong, in plain words, without a full stop.
        path: The file concerned, or None when no file is.
        remedy: What the user can do about it, or an empty string.
    """

    def __init__(self, cause: str, *, path: Path | None = None, remedy: str = "") -> None:
        """Compose the one line that the user sees."""
        self.cause = cause
        self.path = path
        self.remedy = remedy
        line = cause if path is None else f"{path}: {cause}"
        super().__init__(" ".join((f"{line}; {remedy}" if remedy else line).split()))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip back from a worker process (keyword arguments included)."""
        return _rebuild, (type(self), self.cause, self.path, self.remedy)


def _rebuild(kind: type[DpDeblurError], cause: str, path: Path | None, remedy: str) -> DpDeblurError:
    return kind(cause, path=path, remedy=remedy)


class UsageError(DpDeblurError):
    """The command line asks for something impossible (exit code 2)."""


class ReadError(DpDeblurError):
    """A photo cannot be read, or is not one."""


class NoSecondViewError(ReadError):
    """The photo is fine but holds one view only, and two are needed."""


class WeightsError(DpDeblurError):
    """A weights file or checkpoint is damaged, foreign or does not fit its network."""


class WriteError(DpDeblurError):
    """A result cannot be written."""
