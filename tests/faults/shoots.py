"""A folder of small photos, what the program makes of them, and what must be true of that whatever happens.

Results are known to the last code value: `run` has weights that change nothing, and `split` gives a pair's files back.
So a result is whole when it decodes and holds what it must hold, and not only when it opens.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import tifffile

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "dpdeblur.cli"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}

Command = Literal["split", "run"]
Codes = npt.NDArray[np.uint16]


@dataclasses.dataclass
class Shoot:
    """Photos in `in/`, results in `out/`.

    Attributes:
        folder: The folder of both.
        command: What is done to the photos.
        weights: What `run` works with: weights that change nothing.
        options: More options for every call.
        output: Where the results go.
        photos: What becomes of each photo: the codes of its results by their names.
    """

    folder: Path
    command: Command = "split"
    weights: Path | None = None
    options: tuple[str | Path, ...] = ()

    def __post_init__(self) -> None:
        """Begin without photos."""
        self.output = self.folder / "out"
        self.photos: dict[str, dict[str, Codes]] = {}
        self._originals: dict[Path, bytes] = {}
        self.input.mkdir(parents=True)

    @property
    def input(self) -> Path:
        """Where the photos lie."""
        return self.folder / "in"

    def add_photos(self, names: Iterable[str], *, size: tuple[int, int] = (240, 320), seed: int = 0) -> None:
        """Write photos of noise, which takes its time to compress."""
        generator = np.random.default_rng(seed)
        for name in names:
            views = ("left", "right") if self.command == "split" else ("whole",)
            results = {}
            for view in views:
                codes = generator.integers(9000, 60000, (*size, 3), dtype=np.uint16)
                tail = "" if view == "whole" else f"_{view}"
                self.write_photo(f"{name}{tail}.tif", codes)
                results[f"{name}{tail}.tif"] = codes
            self.photos[name] = results

    def write_photo(self, name: str, codes: Codes) -> Path:
        """Write one file, and remember its bytes."""
        path = self.input / name
        with path.open("wb") as file:  # tifffile takes no names that are no text
            tifffile.imwrite(file, codes, photometric="rgb")
        self._originals[path] = path.read_bytes()
        return path

    def forget_original(self, path: Path) -> None:
        """The fault itself changes or deletes this file."""
        del self._originals[path]

    def list_command(self, *more: str | Path) -> list[str | Path]:
        """The command line that works through the photos."""
        line: list[str | Path] = [*PROGRAM, self.command, self.input, "-o", self.output, *self.options, *more]
        if self.command == "run":
            assert self.weights is not None
            line += ["--weights", self.weights, "--device", "cpu", "--scale", "1"]
        return line

    def start(self, *more: str | Path, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start the program."""
        return subprocess.Popen(
            [*prefix, *self.list_command(*more)],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *more: str | Path, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        with self.start(*more, prefix=prefix) as process:
            stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def list_hidden(self) -> list[Path]:
        """Unfinished files, of whatever name."""
        return [path for path in self.output.rglob(".*")] if self.output.is_dir() else []

    def list_done(self) -> set[str]:
        """The photos all of whose results are there."""
        return {name for name, results in self.photos.items() if all((self.output / file).exists() for file in results)}

    def list_done_files(self) -> set[str]:
        """The results of the photos that are done; one of two views is not."""
        return {file for name in self.list_done() for file in self.photos[name]}

    def list_stamps(self) -> dict[str, tuple[int, int]]:
        """What tells each result from one that was written anew."""
        files = (path for path in self.output.iterdir() if path.name[0] != ".") if self.output.is_dir() else ()
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    def check(self, stderr: str = "") -> None:
        """Assert what is always true: originals as they were, results whole, no traceback, nothing else written."""
        for path, content in self._originals.items():
            assert path.read_bytes() == content, f"{path} was changed"
        assert "Traceback" not in stderr, stderr
        known = {file: codes for results in self.photos.values() for file, codes in results.items()}
        for path in self.output.iterdir() if self.output.is_dir() else ():
            if path.name[0] == ".":
                continue
            assert path.name in known, f"{path} is nobody's result"
            with path.open("rb") as file:
                found = tifffile.imread(file)
            error = np.abs(found.astype(int) - known[path.name]).max() if found.shape == known[path.name].shape else -1
            assert 0 <= error <= 1, f"{path} is not whole ({error})"

    def check_end(self, end: subprocess.CompletedProcess[str], code: int, failed: Iterable[str] = ()) -> None:
        """Assert that a run ended as it should: every photo done but these, and one line for each of these."""
        assert end.returncode == code, f"{end.returncode} instead of {code}: {end.stderr}"
        self.check(end.stderr)
        assert self.list_done() == set(self.photos) - set(failed), end.stderr
        assert not self.list_hidden(), self.list_hidden()

    def resume(self) -> None:
        """Assert that the next run does what is left, and only that, and clears up."""
        before, done = self.list_stamps(), self.list_done_files()
        self.check_end(self.call(), 0)
        after = self.list_stamps()
        assert all(after[file] == before[file] for file in done), "work was done twice"

    def clear(self) -> None:
        """Take all results away."""
        shutil.rmtree(self.output, ignore_errors=True)
