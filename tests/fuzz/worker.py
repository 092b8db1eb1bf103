"""Tries damaged inputs in a process of its own, which may die, and tells what came of each.

Started as `python -m fuzz.worker` by `runner.py`, with the tests' folder on its path. Commands and answers are lines of
JSON on standard input and output; the number of the input in work stands in a file, for whoever has to explain a death.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from dpdeblur.errors import DpDeblurError
from fuzz.targets import TRAPS, Mutator

#: What an input of some kilobytes may cost: resident memory beyond what there was, and seconds of all threads.
MEMORY_LIMIT_BYTES = 384 << 20
CPU_LIMIT_S = 5.0
_ADDRESS_LIMIT_BYTES = 2 << 30
_LONGEST_LINE = 600


def _read_status(field: str) -> int:
    """Bytes of a field of Linux's /proc/self/status; 0 elsewhere."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(field + ":")), 0)


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _limit_addresses() -> None:
    """Have absurd allocations fail at once, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    size = _read_status("VmSize")
    if size:
        resource.setrlimit(resource.RLIMIT_AS, (size + _ADDRESS_LIMIT_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Trial:
    """One process's view: its folder, its captured stderr, its counts."""

    def __init__(self, folder: Path, heard: Any) -> None:
        """Work in a folder; `heard` is the file that descriptors 1 and 2 lead to."""
        self._folder = folder
        self._heard = heard

    def judge(self, mutator: Mutator, seed: int, index: int) -> tuple[str, str | None]:
        """Try one input.

        Returns:
            "read" or "refused", and what is wrong with that, or None.
        """
        contents = mutator.damage(seed, index)
        paths = tuple(self._folder / name for name in mutator.target.names)
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return self.act(mutator, paths)

    def act(self, mutator: Mutator, paths: tuple[Path, ...]) -> tuple[str, str | None]:
        """Read the files and look at what that did."""
        _reset_peak()
        resident, start = _read_status("VmRSS"), time.process_time()
        outcome, problem = "read", None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                mutator.target.act(paths)
            except DpDeblurError as error:
                outcome, line = "refused", str(error)
                if "\n" in line or len(line) > _LONGEST_LINE:
                    problem = f"a line of {len(line)} characters: {line[:80]!r}"
                elif "memory" in line:
                    problem = f"asked for too much memory: {line}"
            except BaseException as error:
                outcome = "failed"
                frame = traceback.extract_tb(error.__traceback__)[-1]
                problem = f"{type(error).__name__}: {str(error)[:200]} ({Path(frame.filename).name}:{frame.lineno})"
        seconds, peak = time.process_time() - start, _read_status("VmHWM") - resident
        if problem is None and caught:
            problem = f"warned: {caught[0].category.__name__}: {str(caught[0].message)[:200]}"
        if problem is None and seconds > CPU_LIMIT_S:
            problem = f"took {seconds:.1f} s"
        if problem is None and peak > MEMORY_LIMIT_BYTES:
            problem = f"took {peak >> 20} MB"
        said = self._listen()
        if problem is None and said:
            problem = f"printed: {said[:200]!r}"
        return outcome, problem

    def _listen(self) -> str:
        """Return what was printed since the last time."""
        sys.stdout.flush()
        sys.stderr.flush()
        size = self._heard.seek(0, os.SEEK_END)
        self._heard.seek(0)
        said = self._heard.read(size).decode(errors="replace")
        self._heard.seek(0)
        self._heard.truncate()
        return str(said)


def main() -> None:
    """Answer commands until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    answers.write('"ready"\n')
    answers.flush()
    progress = os.open(sys.argv[1], os.O_RDWR)
    with tempfile.TemporaryFile() as heard, tempfile.TemporaryDirectory() as folder:
        for descriptor in (1, 2):
            os.dup2(heard.fileno(), descriptor)
        trial = Trial(Path(folder), heard)
        mutators: dict[str, Mutator] = {}
        for line in sys.stdin:
            name, files, seed, first, count = json.loads(line)
            if name not in mutators:
                mutators[name] = _prepare(trial, name, files, Path(folder))
            for index in range(first, first + count):
                os.pwrite(progress, struct.pack("<q", index), 0)
                outcome, problem = trial.judge(mutators[name], seed, index)
                answers.write(json.dumps([index, outcome, problem]) + "\n")
                answers.flush()


def _prepare(trial: Trial, name: str, files: list[list[str]], folder: Path) -> Mutator:
    """Build the seeds and read them once, so that libraries are loaded before anything is measured."""
    mutator = Mutator(name, files)
    for seeds in [] if name in TRAPS else mutator.seeds:
        paths = tuple(folder / file_name for file_name in mutator.target.names)
        for path, part in zip(paths, seeds, strict=True):
            path.write_bytes(part.file)
        trial.act(mutator, paths)
    _limit_addresses()
    return mutator


if __name__ == "__main__":
    main()
