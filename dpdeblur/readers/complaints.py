"""What C libraries print while they decode.

libjpeg, libpng and LibRaw go on after damage and tell of it on standard error only. A user is to have one line a photo
and to know which photos are damaged, so what they print is caught and becomes a warning of the photo.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator

#: libjpeg's warnings, libpng's, and LibRaw's, which begin with the file's name.
_DAMAGE = re.compile(
    r"(?:Corrupt JPEG data: |libpng (?:warning|error): |.*: (?=data corrupted at|[Uu]nexpected end of file)"
    r"|(?=Premature end of JPEG|Invalid SOS parameters|Inconsistent progression|Unknown Adobe color transform"
    r"|Application transferred too))(?P<what>.*)"
)
_HARMLESS = re.compile(r"Warning: unknown JFIF revision")

_STDERR = 2
_guard = threading.Lock()
_depth = 0


@contextlib.contextmanager
def hear_complaints() -> Iterator[list[str]]:
    """Catch what is printed on standard error during the block, and pass on what no decoder printed.

    Descriptors belong to the whole process: of blocks that run at once, the first hears for all.

    Yields:
        A list that holds the warnings after the block, one sentence at the most.
    """
    global _depth
    warnings: list[str] = []
    with _guard:
        _depth += 1
        is_first = _depth == 1
    try:
        if not is_first:
            yield warnings
            return
        with contextlib.ExitStack() as stack:
            try:
                stderr = os.dup(_STDERR)
            except OSError:  # a program without a standard error prints nothing on it
                yield warnings
                return
            stack.callback(os.close, stderr)
            heard = stack.enter_context(tempfile.TemporaryFile())
            os.dup2(heard.fileno(), _STDERR)
            try:
                yield warnings
            finally:
                os.dup2(stderr, _STDERR)
                heard.seek(0)
                warnings += _sort_lines(heard.read().decode(errors="replace"), stderr)
    finally:
        with _guard:
            _depth -= 1


def _sort_lines(text: str, stderr: int) -> list[str]:
    """Make a warning of decoders' lines, and print the others after all."""
    damage: list[str] = []
    for line in text.splitlines(keepends=True):
        match = _DAMAGE.match(line)
        if match is not None:
            damage.append(match["what"].strip())
        elif not _HARMLESS.match(line):
            os.write(stderr, line.encode())
    if not damage:
        return []
    more = f", and {len(damage) - 1} more" if len(damage) > 1 else ""
    return [f"The picture's data are damaged, and parts of it may be wrong ({damage[0]}{more})."]
