"""A pickle with code in it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path


@dataclasses.dataclass
class Intruder:
    """What makes a folder when it is unpickled."""

    folder: Path

    def __reduce__(self) -> tuple[object, ...]:
        """Have the unpickler call a function, as any pickle can."""
        return os.mkdir, (str(self.folder),)
