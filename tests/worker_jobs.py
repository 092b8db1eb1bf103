"""What the tests have a worker do: it finds these functions by name, as they stand in a module of their own."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpdeblur.errors import ReadError
from dpdeblur.readers import Capture


def count_up(size: int) -> npt.NDArray[np.float32]:
    return np.arange(size, dtype=np.float32)


def make_several() -> dict[str, npt.NDArray[np.float32]]:
    return {"large": count_up(200_000), "small": count_up(3), "strided": count_up(400_000)[::2]}


def list_modules() -> set[str]:
    return set(sys.modules)


def crash(path: Path | None = None) -> None:
    """Crash as C code does; with a path, only the first time."""
    if path is None or not path.exists():
        if path is not None:
            path.touch()
        os.kill(os.getpid(), signal.SIGSEGV)


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang_with_python_locked() -> None:
    """Wait within C, without letting any other Python thread run."""
    ctypes.PyDLL(None).sleep(60)


def wait(seconds: float) -> None:
    time.sleep(seconds)


def divide_by_zero() -> float:
    return 1 / 0


def fail_to_read() -> None:
    raise ReadError("is bad", path=Path("a.cr2"), remedy="copy it") from PermissionError(13, "denied")


def want_memory() -> None:
    raise MemoryError


def talk_and_listen() -> str:
    """Write where the answers go and read where the calls come from, as careless libraries do."""
    os.write(1, b"noise\n")
    os.write(2, b"noise\n")
    return os.read(0, 10).decode()


def crash_on_bad_names(capture: Capture) -> str:
    """A reader that crashes on files called bad."""
    if capture.name.startswith("bad"):
        crash()
    return capture.name
