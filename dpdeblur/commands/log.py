"""The log of `--log`: one JSON object a line and photo, in a file that several runs may share."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

from dpdeblur.errors import UsageError

#: The fields that every line has; what is known of a photo fills them in, and adds to them.
EMPTY_ENTRY: dict[str, Any] = {
    "input": [],
    "output": [],
    "status": None,
    "error": None,
    "kind": None,
    "network": None,
    "weights": None,
    "device": None,
    "precision": None,
    "tile_px": None,
    "seconds": {},
    "clipped_share": None,
    "warnings": [],
}


class Log:
    """A file that lines are appended to, each in one piece.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            UsageError: It cannot be written, or is something else: a photo, perhaps.
        """
        self.path = path
        try:
            self._file = io.FileIO(path, "a+")
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                self._check_content()
        except OSError as error:
            cause = f"the log cannot be written ({error.strerror})"
            raise UsageError(cause, path=path, remedy="give --log another name") from error

    def _check_content(self) -> None:
        self._file.seek(0)
        if self._file.read(1) not in (b"", b"{"):
            self._file.close()
            raise UsageError("is no log, it holds something else", path=self.path, remedy="give --log another name")
        size = self._file.seek(0, io.SEEK_END)
        if size:
            self._file.seek(-1, io.SEEK_END)
            if self._file.read(1) != b"\n":  # the last line of a run that was killed
                self._file.write(b"\n")

    def write(self, entry: dict[str, Any]) -> None:
        """Append a line.

        Raises:
            OSError: The system refuses.
        """
        self._file.write(json.dumps(EMPTY_ENTRY | entry).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
