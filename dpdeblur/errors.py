"""What can go wrong for a user: every expected failure names the file, the cause and the remedy in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self


def show_path(path: Path | str) -> str:
    """A path on one line: control characters, which would break it or steer the terminal, become escapes."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: match[0].encode("unicode_escape").decode(), str(path))


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
        self._was_refused = False
        line = " ".join((f"{cause}; {remedy}" if remedy else cause).split())
        # the cause can quote a file, and what stands there may be meant for the terminal
        super().__init__(show_path(line if path is None else f"{path}: {line}"))

    @property
    def is_passing(self) -> bool:
        """Whether a second try may go well, because the system refused the first: memory, a locked or absent file."""
        return self._was_refused or isinstance(self.__cause__, OSError | MemoryError)

    def with_path(self, path: Path) -> Self:
        """The same failure of a file that its raiser did not know."""
        error = type(self)(self.cause, path=path, remedy=self.remedy)
        error._was_refused = self.is_passing
        error.__cause__ = self.__cause__
        return error

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip back from a worker process, keyword arguments and whether it is passing included."""
        return _rebuild, (type(self), self.cause, self.path, self.remedy, self.is_passing)


def _rebuild(kind: type[DpDeblurError], cause: str, path: Path | None, remedy: str, refused: bool) -> DpDeblurError:
    error = kind(cause, path=path, remedy=remedy)
    error._was_refused = refused
    return error


class UsageError(DpDeblurError):
    """The command line asks for something impossible (exit code 2)."""


class ReadError(DpDeblurError):
    """A photo cannot be read, or is not one."""


class PassingError(ReadError):
    """A photo that could not be read this time: a decoder died, or the file changed meanwhile."""

    is_passing = True


class OutOfMemoryError(DpDeblurError):
    """Memory does not suffice now; it may when less of it is in use."""

    is_passing = True


class NoSecondViewError(ReadError):
    """The photo is fine but holds one view only, and two are needed."""


class WeightsError(DpDeblurError):
    """A weights file or checkpoint is damaged, foreign or does not fit its network."""


class WriteError(DpDeblurError):
    """A result cannot be written."""
