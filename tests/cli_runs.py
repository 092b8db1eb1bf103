"""Calls the program as a shell would, without a new process."""

from __future__ import annotations

import atexit
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import tifffile
from typer.testing import CliRunner

from dpdeblur.batch.worker import Worker
from dpdeblur.cli import app

#: How a process of its own is called, and in what environment.
PROGRAM = [sys.executable, "-m", "dpdeblur.cli"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@dataclasses.dataclass(frozen=True)
class Run:
    """What a call came to.

    Attributes:
        code: The exit code.
        stdout: What was printed.
        stderr: What was said beside it.
    """

    code: int
    stdout: str
    stderr: str


class _KeptWorker(Worker):
    """One process for all calls, as starting one takes a third of a second; it works in the folder that is current."""

    folder = ""

    def __exit__(self, *exception: object) -> None:
        """Keep the process."""

    def call(self, *arguments: Any, **options: Any) -> Any:
        """Start anew where the folder is another one."""
        if self.folder != os.getcwd():
            self._end()
            self.folder = os.getcwd()
        return super().call(*arguments, **options)


_worker = _KeptWorker()
atexit.register(_worker.close)


def call(*arguments: str | Path, stdin: bytes = b"") -> Run:
    """Call `dpdeblur` with these arguments; an error that would be a traceback is raised."""
    with mock.patch("dpdeblur.batch.worker.Worker", lambda: _worker):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Run(result.exit_code, result.stdout, result.stderr)


def draw_codes(height: int = 24, width: int = 40, channels: int = 3) -> npt.NDArray[np.uint16]:
    """Smooth 16-bit codes between 10,000 and 50,000, other ones in each channel."""
    rows, columns, colours = np.mgrid[0:height, 0:width, 0:channels]
    codes = 30000 + 20000 * np.sin(rows / 5 + columns / 7 + colours)
    return codes.astype(np.uint16)


def write_tiff(path: Path, codes: npt.NDArray[np.uint16]) -> Path:
    """Write codes as a TIFF without a profile, which is read as sRGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, codes, photometric="rgb" if codes.shape[2:] == (3,) else "minisblack")
    return path


def run(weights: Path, *arguments: str | Path, stdin: bytes = b"") -> Run:
    """Call `run` with these weights, at the photo's own size."""
    return call("run", "--device", "cpu", "--scale", "1", "--weights", weights, *arguments, stdin=stdin)


def list_files(folder: Path) -> list[str]:
    """The files below a folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
