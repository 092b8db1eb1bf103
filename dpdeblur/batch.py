"""Many photos: pass by what is done, overlap decoding, restoring and writing, and let no bad file stop the rest."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from dpdeblur.errors import DpDeblurError, ReadError, UsageError, WriteError
from dpdeblur.plan import Job
from dpdeblur.provenance import read_note
from dpdeblur.stages import Task, Written

Status = Literal["done", "skipped", "failed"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one photo ended.

    Attributes:
        job: The photo and its outputs.
        status: Whether it was worked on, was done before, or failed.
        error: Why it failed, or None.
        written: What came of it, or None.
        seconds: What each stage took.
    """

    job: Job
    status: Status
    error: DpDeblurError | None = None
    written: Written | None = None
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def longest_stage(self) -> float:
        """Seconds of the slowest stage, which sets the pace of a batch: the stages overlap."""
        return max(self.seconds.values(), default=0.0)


def check_outputs(job: Job, marker: str, *, overwrite: bool) -> Outcome | None:
    """Look whether a job is done already, or cannot be done because its output is somebody else's.

    A preview of a part is no result: it gives way to whatever is asked for next. Files that something else wrote are
    never replaced, not even with `overwrite`.

    Args:
        job: The photo and its outputs.
        marker: What is about to be made.
        overwrite: Make it again where it is there.

    Returns:
        The outcome, or None where there is work to do.
    """
    try:
        notes = {path: read_note(path) for path in job.outputs if os.path.lexists(path)}
    except ReadError as error:
        return Outcome(job, "failed", error)
    for path, note in notes.items():
        if note is None:
            remedy = "move it away, or choose another --output"
            return Outcome(job, "failed", WriteError("was not written by dpdeblur", path=path, remedy=remedy))
        if not (overwrite or note.marker == marker or note.is_preview):
            remedy = "give --overwrite, or another --output"
            return Outcome(job, "failed", WriteError(f"holds another result ({note.marker})", path=path, remedy=remedy))
    finished = [note for note in notes.values() if note is not None and note.marker == marker]
    return Outcome(job, "skipped") if len(finished) == len(job.outputs) and not overwrite else None


def run_batch(jobs: Sequence[Job], task: Task, report: Callable[[Outcome], None]) -> None:
    """Take every job through the stages of a task.

    While a photo is processed, the next one is decoded and the one before is written: three photos are in memory at
    the most. Outcomes come in the order of the jobs.

    Args:
        jobs: The photos; no two share an output.
        task: The stages.
        report: Told how each photo ended.

    Raises:
        UsageError: The task cannot work at all, on any photo.
        KeyboardInterrupt: The user wants to stop. The photo that was being written is finished and reported, the one
            that was being processed is dropped.
    """
    reader = ThreadPoolExecutor(1, "read")
    writer = ThreadPoolExecutor(1, "write")
    writing: deque[Future[_Passage]] = deque()

    def settle() -> None:
        while writing:
            report(writing.popleft().result().find_outcome())

    try:
        for passage in _read_ahead(jobs, task, reader):
            passage.advance("process", task.process)
            settle()
            writing.append(writer.submit(passage.advance, "write", functools.partial(_write, task, passage.job)))
            del passage  # its pictures belong to the writer now
    finally:
        reader.shutdown(wait=False, cancel_futures=True)
        settle()
        writer.shutdown()


class _Passage:
    """One job on its way through the stages; the first failure ends it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seconds: dict[str, float] = {}
        self._product: Any = job.capture
        self._error: DpDeblurError | None = None

    def advance(self, stage: str, work: Callable[[Any], Any]) -> _Passage:
        """Take the last stage's product through the next stage, unless one has failed."""
        if self._error is not None:
            return self
        start = time.perf_counter()
        try:
            self._product = work(self._product)
        except UsageError:
            raise
        except DpDeblurError as error:
            self._fail(error)
        except MemoryError:
            remedy = "close other programs or restore it alone"
            self._fail(ReadError(f"not enough memory to {stage} it", remedy=remedy))
        self.seconds[stage] = time.perf_counter() - start
        return self

    def _fail(self, error: DpDeblurError) -> None:
        """Note a failure under the photo's name, where it has no other, and let go of the pictures."""
        if error.path is None:
            error = type(error)(error.cause, path=self.job.capture.paths[0], remedy=error.remedy)
        self._error, self._product = error, None

    def find_outcome(self) -> Outcome:
        """How the job ended, after its last stage."""
        if self._error is not None:
            return Outcome(self.job, "failed", self._error, seconds=self.seconds)
        return Outcome(self.job, "done", written=self._product, seconds=self.seconds)


def _read_ahead(jobs: Sequence[Job], task: Task, reader: ThreadPoolExecutor) -> Iterator[_Passage]:
    """Yield each job decoded, while the next one, and no more, is being decoded."""
    reading: deque[Future[_Passage]] = deque()
    for job in jobs:
        reading.append(reader.submit(_Passage(job).advance, "read", task.read))
        if len(reading) > 1:
            yield reading.popleft().result()
    if reading:
        yield reading.popleft().result()


def _write(task: Task, job: Job, product: Any) -> Written:
    """Make the folders, only now that there is something to put into them, and write."""
    for path in job.outputs:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            cause = f"the folder cannot be made ({error.strerror})"
            raise WriteError(cause, path=path.parent, remedy="choose another with --output") from error
    return task.write(product, job.outputs)
