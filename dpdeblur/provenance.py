"""The note that every result carries in its tag Software: what dpdeblur made it, and how."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from dpdeblur.metadata import read_metadata

_SOFTWARE = 305
#: What the writer makes of a note: the program, its version, and the note in brackets.
_SIGNED_NOTE = re.compile(r"dpdeblur \S+ \((?P<marker>[^;]+); (?P<details>.+)\)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Note:
    """What a result is and how it was made.

    Attributes:
        marker: What it is: `run`, `run crop=X,Y,W,H`, `split srgb`. Two results of one photo with the same marker are
            the same work, whatever the details.
        details: How it was made, for people.
    """

    marker: str
    details: str

    def __str__(self) -> str:
        """The form that `read_note` understands once a writer has signed it."""
        return f"{self.marker}; {self.details}"

    @property
    def is_restored(self) -> bool:
        """Whether it is a restored photo, whole or a part."""
        return self.marker.split()[0] == "run"

    @property
    def is_preview(self) -> bool:
        """Whether it is a part only, which gives way to whatever is made next."""
        return self.marker.startswith("run crop=")


def read_note(path: Path) -> Note | None:
    """Read the note of a file.

    Args:
        path: Any file.

    Returns:
        The note, or None where dpdeblur did not write the file.

    Raises:
        ReadError: The file cannot be opened.
    """
    for entry in read_metadata(path).ifd0:
        if entry.tag == _SOFTWARE:
            match = _SIGNED_NOTE.fullmatch(entry.value.rstrip(b"\0").decode("utf-8", "replace"))
            return None if match is None else Note(match["marker"], match["details"])
    return None
