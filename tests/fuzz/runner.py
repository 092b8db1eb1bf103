"""Runs fuzzing in a child process, survives its death, and adds up."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
#: Seconds without an answer after which an input hangs; far beyond what a slow machine needs for a small file.
HANG_S = 120.0


@dataclasses.dataclass
class Tally:
    """What came of a target's inputs.

    Attributes:
        tried: Damaged inputs.
        read: Read as if they were good: the damage was harmless, or within the picture.
        refused: Refused in one line.
        deaths: Ended the process (LibRaw): the program decodes in a process that may die.
        findings: What must not be: number of the input -> other exceptions, hangs, memory, prints, warnings.
    """

    tried: int = 0
    read: int = 0
    refused: int = 0
    deaths: dict[int, str] = dataclasses.field(default_factory=dict)
    findings: dict[int, str] = dataclasses.field(default_factory=dict)


class Runner:
    """Keeps one child process alive, target after target."""

    def __init__(self, *, hang_s: float = HANG_S) -> None:
        """Start nothing yet; an input hangs after so many seconds without an answer."""
        self._hang_s = hang_s
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._progress = tempfile.NamedTemporaryFile()
        self._progress.write(bytes(8))
        self._progress.flush()

    def __enter__(self) -> Runner:
        """Return the runner."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child."""
        self._stop()
        self._progress.close()

    def run(self, target: str, seed: int, count: int, files: Sequence[Sequence[Path]] = ()) -> Tally:
        """Try the first `count` damaged inputs of a target and a seed; `files` are damaged besides its own."""
        names = [[str(part) for part in parts] for parts in files]
        tally, first = Tally(), 0
        while first < count:
            process = self._process or self._start()
            assert process.stdin is not None
            process.stdin.write(json.dumps([target, names, seed, first, count - first]).encode() + b"\n")
            while first < count:
                answer = self._await(process)
                if answer is None:
                    first = self._bury(process, tally, first)
                    break
                index, outcome, problem = answer
                tally.tried += 1
                tally.read += outcome == "read"
                tally.refused += outcome == "refused"
                if problem is not None:
                    tally.findings[index] = problem
                first = index + 1
        return tally

    def _start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join((str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")))
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        command = [sys.executable, "-m", "fuzz.worker", self._progress.name]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment
        )
        self._unread = b""
        if self._await(self._process) is None:
            raise RuntimeError("the process that is to try the inputs did not start")
        return self._process

    def _await(self, process: subprocess.Popen[bytes]) -> Any:
        """Return the next answer (number of the input, outcome, problem), or None where there will be none."""
        assert process.stdout is not None
        while b"\n" not in self._unread:
            ready, _, _ = select.select([process.stdout], [], [], self._hang_s)
            read = os.read(process.stdout.fileno(), 65536) if ready else b""
            if not read:
                return None
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def _bury(self, process: subprocess.Popen[bytes], tally: Tally, first: int) -> int:
        """Note whose fault the end of the child was, and return the number of the next input."""
        hangs = process.poll() is None
        try:
            process.wait(1)
            hangs = False
        except subprocess.TimeoutExpired:
            pass
        self._stop()
        self._progress.seek(0)
        (index,) = struct.unpack("<q", self._progress.read(8))
        index = max(index, first)
        tally.tried += 1
        if hangs:
            tally.findings[index] = f"no answer for {self._hang_s:g} s"
        else:
            tally.deaths[index] = f"the process ended with {process.returncode}"
        return index + 1

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
