"""The note that every result carries in its tag Software: what dpdeblur made it, how, and of which files."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from dpdeblur.metadata.entries import read_metadata

#: The tag that carries it.
SOFTWARE = 305
#: What the writer makes of a note: the program, its version, and the note in brackets.
_SIGNED_NOTE = re.compile(
    r"dpdeblur \S+ \((?P<marker>[^;\s][^;]*); (?P<details>.+?)"
    r"(?:; input (?P<fingerprint>[0-9a-f]{16}-[0-9a-f]{16}))?\)",
    re.DOTALL,
)
_WEIGHTS = re.compile(r"\bweights ([0-9a-f]{12})\b")


@dataclasses.dataclass(frozen=True)
class Note:
    """What a result is and how it was made.

    Attributes:
        marker: What was asked for: `run strength=0.5`, `run crop=X,Y,W,H`, `split srgb`. Two results of one photo with
            one marker, by the same weights, are the same work.
        details: How it was made, for people.
        fingerprint: Of the photo's files, see `fingerprint_files`; empty where they are not known.
    """

    marker: str
    details: str
    fingerprint: str = ""

    def __str__(self) -> str:
        """The form that `read_note` understands once a writer has signed it."""
        parts = [self.marker, self.details, *([f"input {self.fingerprint}"] if self.fingerprint else [])]
        # a file's name in it need not be text
        return "; ".join(parts).encode(errors="backslashreplace").decode()

    @property
    def is_restored(self) -> bool:
        """Whether it is a restored photo, whole or a part."""
        return self.marker.split()[0] == "run"

    @property
    def is_preview(self) -> bool:
        """Whether it is a part only, which gives way to whatever is made next."""
        return self.marker.startswith("run crop=")

    @property
    def weights(self) -> str | None:
        """The beginning of the hash of the weights that made it, see `abbreviate_hash`; None where none did."""
        match = _WEIGHTS.search(self.details)
        return None if match is None else match[1]


def abbreviate_hash(sha256: str) -> str:
    """The part of the weights' hash that notes carry."""
    return sha256[:12]


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
        if entry.tag == SOFTWARE:
            match = _SIGNED_NOTE.fullmatch(entry.value.rstrip(b"\0").decode("utf-8", "replace"))
            if match is not None:
                return Note(match["marker"], match["details"], match["fingerprint"] or "")
            return None
    return None


def stamp_files(paths: Sequence[Path]) -> str:
    """Sizes and times of change of files as 16 digits: what is cheap to compare.

    Raises:
        OSError: A file is not there.
    """
    states = [path.stat() for path in paths]
    return _shorten(repr([(state.st_size, state.st_mtime_ns) for state in states]).encode())


def fingerprint_files(paths: Sequence[Path]) -> str:
    """What tells files from others: their stamp and, as 16 digits, their content.

    Raises:
        OSError: A file cannot be read.
    """
    return f"{stamp_files(paths)}-{hash_files(paths)}"


def hash_files(paths: Sequence[Path]) -> str:
    """The content of files as 16 digits.

    Raises:
        OSError: A file cannot be read.
    """
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, hashlib.blake2b).digest())
    return _shorten(b"".join(digests))


def are_unchanged(paths: Sequence[Path], fingerprint: str) -> bool:
    """Whether files are those of a fingerprint: by size and time, and where these differ (a copy's may) by content.

    Raises:
        OSError: A file cannot be read.
    """
    stamp, _, content = fingerprint.partition("-")
    return bool(fingerprint) and (stamp_files(paths) == stamp or hash_files(paths) == content)


def _shorten(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
