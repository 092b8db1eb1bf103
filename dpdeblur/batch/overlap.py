"""Many photos: overlap decoding, restoring and writing, let no bad file stop the rest, try bad luck once more."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from dpdeblur.batch.outputs import Disks, Wanted, check_outputs
from dpdeblur.batch.plan import Job
from dpdeblur.batch.stages import Read, Task, Written
from dpdeblur.batch.worker import Worker
from dpdeblur.errors import DpDeblurError, OutOfMemoryError, UsageError, WeightsError, WriteError

Status = Literal["done", "skipped", "failed"]

#: How long decoding may take. No file needs as long on any machine, even where its disk and memory are busy.
LEAST_LIMIT_S = 120.0
LIMIT_S_PER_MEGABYTE = 5.0


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


def check_job(job: Job, wanted: Wanted) -> Outcome | None:
    """Return how a job ends without any work: it is done already, or cannot be done. None where there is work.

    Raises:
        WeightsError: The weights that it would be made with cannot be read.
    """
    try:
        return Outcome(job, "skipped") if check_outputs(job, wanted) else None
    except (UsageError, WeightsError):
        raise
    except DpDeblurError as error:
        return Outcome(job, "failed", error)


def find_limit(paths: Sequence[Path]) -> float:
    """How many seconds decoding these files may take."""
    size = 0
    for path in paths:
        with contextlib.suppress(OSError):  # its reader will say what is wrong with it
            size += path.stat().st_size
    return LEAST_LIMIT_S + LIMIT_S_PER_MEGABYTE * size / 1e6


class Batch:
    """Takes photos through the stages.

    While a photo is processed, the next one is decoded and the one before is written: three photos are in memory at
    the most. A photo that fails for a passing reason is tried once more at the end, with nothing else in memory.
    """

    def __init__(
        self,
        read: Read,
        make_task: Callable[[], Task],
        *,
        worker: Worker,
        wanted: Wanted,
        report: Callable[[Outcome], None],
        postpone: Callable[[Outcome], None],
    ) -> None:
        """Take the parts.

        Args:
            read: The first stage.
            make_task: Makes the other two; called while the first photo is decoded.
            worker: The process that decodes.
            wanted: What is made; whoever else made it meanwhile, or took an output's name, has done so.
            report: Told how each photo ended.
            postpone: Told each photo that failed and will be tried again.
        """
        self._read = read
        self._make_task = functools.cache(make_task)
        self._worker = worker
        self._wanted = wanted
        self._report = report
        self._postpone = postpone
        self._disks = Disks()

    def run(self, jobs: Sequence[Job]) -> None:
        """Take every job through the stages; outcomes come in the order of the jobs, those of second tries at the end.

        Args:
            jobs: The photos; no two share an output.

        Raises:
            DpDeblurError: The task cannot be made.
            UsageError: The task cannot work at all, on any photo.
            KeyboardInterrupt: The user wants to stop. The photo that was being written is finished and reported, the
                one that was being processed is dropped.
        """
        failed: list[Job] = []

        def settle(outcome: Outcome) -> None:
            if outcome.error is not None and outcome.error.is_passing:
                failed.append(outcome.job)
                self._postpone(outcome)
            else:
                self._report(outcome)

        self._overlap(jobs, settle)
        for job in failed:
            self._overlap([job], self._report)

    def _overlap(self, jobs: Sequence[Job], settle: Callable[[Outcome], None]) -> None:
        reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")
        waiting = iter(jobs)
        reading: deque[Future[_Passage]] = deque()
        writing: deque[Future[_Passage]] = deque()

        def read_next() -> None:
            for job in waiting:
                passage = _Passage(job, self._wanted)
                reading.append(reader.submit(passage.advance, "read", functools.partial(self._read_photo, job)))
                break

        def finish() -> None:
            while writing:
                outcome = writing[0].result().find_outcome()
                writing.popleft()  # only now: an interruption of the wait must not lose it
                settle(outcome)

        try:
            read_next()
            task = self._make_task()
            while reading:
                read_next()
                passage = reading.popleft().result()
                passage.advance("process", functools.partial(self._process, task, passage.job))
                finish()
                write = functools.partial(self._write, task, passage.job)
                writing.append(writer.submit(passage.advance, "write", write))
                del passage  # its pictures belong to the writer now
        finally:
            reader.shutdown(wait=False, cancel_futures=True)
            finish()
            writer.shutdown()

    def _read_photo(self, job: Job, _: None) -> Any:
        return self._worker.call(find_limit(job.capture.paths), self._read, job.capture)

    def _process(self, task: Task, job: Job, photo: Any) -> Any:
        needed_bytes = task.estimate_bytes(photo)
        for path in job.outputs:
            self._disks.check(path, needed_bytes)
        return task.process(photo)

    def _write(self, task: Task, job: Job, product: Any) -> Written:
        """Make the folders, only now that there is something to put into them, and write."""
        for path in job.outputs:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                cause = f"the folder cannot be made ({error.strerror})"
                raise WriteError(cause, path=path.parent, remedy="choose another with --output") from error
        try:
            return task.write(product, job.outputs)
        except WriteError as error:
            self._disks.note_failure(job.outputs[0].parent, error)
            raise


class _Passage:
    """One job on its way through the stages; the first failure ends it, and so does finding it done."""

    def __init__(self, job: Job, wanted: Wanted) -> None:
        self.job = job
        self._wanted = wanted
        self._seconds: dict[str, float] = {}
        self._product: Any = None
        self._outcome: Outcome | None = None

    def advance(self, stage: str, work: Callable[[Any], Any]) -> _Passage:
        """Take the last stage's product through the next stage, unless the passage has ended."""
        # hours may lie between the plan and this stage, in which others write to the same folders
        self._outcome = self._outcome or check_job(self.job, self._wanted)
        if self._outcome is None:
            start = time.perf_counter()
            try:
                self._product = work(self._product)
            except UsageError:
                raise
            except DpDeblurError as error:
                self._fail(error)
            except MemoryError:
                self._fail(OutOfMemoryError(f"not enough memory to {stage} it", remedy="close other programs"))
            self._seconds[stage] = time.perf_counter() - start
        if self._outcome is not None:
            self._product = None
        return self

    def _fail(self, error: DpDeblurError) -> None:
        """Note a failure, under the photo's name where it has no other."""
        if error.path is None:
            error = error.with_path(self.job.capture.paths[0])
        self._outcome = Outcome(self.job, "failed", error)

    def find_outcome(self) -> Outcome:
        """How the job ended, after its last stage."""
        outcome = self._outcome or Outcome(self.job, "done", written=self._product)
        return dataclasses.replace(outcome, seconds=self._seconds)
