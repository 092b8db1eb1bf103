"""The stages that a command takes a photo through, and what comes of it: what `batch` knows of its commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dpdeblur.readers import Capture


@dataclasses.dataclass(frozen=True)
class Written:
    """What came of a photo.

    Attributes:
        width: The picture's width in pixels, as on the sensor.
        height: Its height.
        warnings: One plain sentence each, of all stages.
        details: How it was made, for the log; values that JSON knows.
    """

    width: int
    height: int
    warnings: tuple[str, ...]
    details: Mapping[str, object]


class Task(Protocol):
    """The three stages of a command: what `read` returns goes into `process`, and what that returns into `write`."""

    def read(self, capture: Capture) -> Any:
        """Decode a photo, in a thread of its own."""

    def process(self, photo: Any) -> Any:
        """Compute what is to be written, in the main thread."""

    def write(self, product: Any, outputs: tuple[Path, ...]) -> Written:
        """Write the outputs, whose folders exist, in a thread of its own."""
