"""The stages that a command takes a photo through, and what comes of it: what `batch` knows of its commands."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dpdeblur.errors import DpDeblurError, PassingError, ReadError
from dpdeblur.framing import Framing, frame_photo
from dpdeblur.metadata.provenance import fingerprint_files, stamp_files
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture, ReadOptions, read_photo

if TYPE_CHECKING:
    from dpdeblur.writers.preview import Preview

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Written:
    """What came of a photo.

    Attributes:
        width: The picture's width in pixels, as on the sensor.
        height: Its height.
        warnings: One plain sentence each, of all stages.
        details: How it was made, for the log; values that JSON knows.
        preview: What a report shows of it, where there is one.
    """

    width: int
    height: int
    warnings: tuple[str, ...]
    details: Mapping[str, object]
    preview: Preview | None = None


#: The first stage: decodes a photo, in a process of its own. Pickle has to know it: a function of a module, or a
#: `functools.partial` of one; its modules must not load torch, which would cost that process seconds and memory.
Read = Callable[[Capture], Any]


class Task(Protocol):
    """The other two stages of a command: what was read goes into `process`, and what that returns into `write`."""

    def estimate_bytes(self, photo: Any) -> int:
        """The most that one of the outputs may take on the disk."""

    def process(self, photo: Any) -> Any:
        """Compute what is to be written, in the main thread."""

    def write(self, product: Any, outputs: tuple[Path, ...]) -> Written:
        """Write the outputs, whose folders exist, in a thread of its own."""


def read_framed(capture: Capture, options: ReadOptions, framing: Framing) -> Photo:
    """Read a photo, the pixels that are wanted of it, and its fingerprint.

    Args:
        capture: The photo's file or files.
        options: How bare files are to be understood.
        framing: Which pixels are worked on.

    Raises:
        ReadError: It cannot be read, or has no such part.
        PassingError: It changed meanwhile.
    """
    photo, fingerprint = read_steady(capture, lambda: frame_photo(read_photo(capture, options), framing))
    return dataclasses.replace(photo, fingerprint=fingerprint)


def read_steady(capture: Capture, read: Callable[[], T]) -> tuple[T, str]:
    """Read a capture whose files must not change meanwhile, as those do that are still being copied.

    Returns:
        What `read` returned, and the files' fingerprint.

    Raises:
        PassingError: The files changed or vanished meanwhile.
        DpDeblurError: `read` raised it.
    """
    stamp = _find_stamp(capture)
    try:
        product = read()
        fingerprint = fingerprint_files(capture.paths)
    except (DpDeblurError, OSError) as error:
        if stamp != _find_stamp(capture):
            raise _explain_change(capture) from error
        if isinstance(error, OSError):
            raise ReadError(f"cannot be read ({error.strerror})", path=capture.paths[0]) from error
        raise
    if not fingerprint.startswith(f"{stamp}-"):
        raise _explain_change(capture)
    return product, fingerprint


def _find_stamp(capture: Capture) -> str | None:
    with contextlib.suppress(OSError):
        return stamp_files(capture.paths)
    return None


def _explain_change(capture: Capture) -> PassingError:
    return PassingError("changed while it was being read", path=capture.paths[0], remedy="run again when it is whole")
