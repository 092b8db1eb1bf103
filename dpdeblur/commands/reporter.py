"""What a batch tells its user: the progress bar, lines on stderr, the log, the summary and the exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import typer

from dpdeblur.commands.log import Log
from dpdeblur.errors import DpDeblurError, NoSecondViewError, show_path

if TYPE_CHECKING:
    from dpdeblur.batch.overlap import Outcome

ALL_DONE, SOME_FAILED, WRONG_USE, NOTHING_TO_DO, INTERRUPTED = 0, 1, 2, 3, 130


@contextlib.contextmanager
def report_errors() -> Iterator[None]:
    """Turn what stops a command into one line on stderr and the exit code for it.

    What the system refuses in the middle of the work (a full disk behind standard output or a training's folder) is
    no wrong use: exit code 1. A reader that went away (`| head`) is left to Typer, which is silent.
    """
    try:
        yield
    except DpDeblurError as error:
        typer.echo(f"dpdeblur: {error}", err=True)
        raise typer.Exit(WRONG_USE) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        where = "a file or standard output" if error.filename is None else show_path(os.fsdecode(error.filename))
        typer.echo(f"dpdeblur: {where}: cannot be written or read ({error.strerror})", err=True)
        raise typer.Exit(SOME_FAILED) from error
    except KeyboardInterrupt as error:
        typer.echo("dpdeblur: interrupted; the same command goes on where it stopped", err=True)
        raise typer.Exit(INTERRUPTED) from error


class Observer(Protocol):
    """Somebody who is told how each photo ended, beside the user: a report."""

    def begin(self, photos: int) -> None:
        """So many outcomes and refusals will come, at the most."""

    def add(self, outcome: Outcome) -> None:
        """A photo has ended, or was done before."""

    def refuse(self, error: DpDeblurError) -> None:
        """Something was named and is no photo to work on."""


class Reporter:
    """Follows a batch and keeps its counts; use it as a context, so that the bar and the log are closed."""

    def __init__(
        self,
        photos: int,
        log: Path | None = None,
        *,
        needs_two_views: bool = False,
        observer: Observer | None = None,
    ) -> None:
        """Open the log and draw the bar.

        Args:
            photos: How many photos there are to work on.
            log: The file to append JSON lines to, or None.
            needs_two_views: Photos with one view are passed by; they have not failed.
            observer: Told of each photo too, or None.

        Raises:
            UsageError: The log cannot be written.
        """
        from tqdm import tqdm

        self._log = None if log is None else Log(log)
        #: How many photos are worked on at the same time.
        self.workers = 1
        self._needs_two_views = needs_two_views
        self._observer = observer
        self._counts = {"done": 0, "already done": 0, "passed by": 0, "failed": 0}
        self._failures: list[str] = []
        self._photos = photos
        self._finished = 0
        self._has_estimated = False
        self._megapixels = 0.0
        self._start = time.monotonic()
        self._bar = tqdm(
            total=photos,
            disable=None,  # None: where stderr is no terminal
            file=sys.stderr,
            bar_format="{n:.1f}/{total} photos |{bar}| {desc}{remaining} left",
        )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the bar and the log."""
        self._bar.close()
        self._close_log()

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
        self._log = None

    def say(self, line: str) -> None:
        """Print a line on stderr, above the bar."""
        self._bar.write(line, file=sys.stderr)

    def advance(self, share: float) -> None:
        """Move the bar by a share of the photo that is being restored."""
        # the photo before may still be being written, and a photo that starts again is counted once
        self._bar.update(max(0, min(share, self._finished + 2 - self._bar.n)))

    def refuse(self, error: DpDeblurError) -> None:
        """Count something that was named and is no photo to work on."""
        self._count_failure(error)
        self._write_log({"input": [str(error.path)], "status": "failed", "error": str(error)})
        if self._observer is not None:
            self._observer.refuse(error)

    def _count_failure(self, error: DpDeblurError) -> None:
        self._counts["failed"] += 1
        self._failures.append(str(error))
        self.say(str(error))

    def postpone(self, outcome: Outcome) -> None:
        """Say that a photo failed and will be tried once more."""
        self.say(f"{outcome.error} (it is tried once more at the end)")

    def report_known(self, outcome: Outcome) -> None:
        """Count a photo on which there is no work, and say why."""
        self._tell(outcome)

    def report_finished(self, outcome: Outcome) -> None:
        """Count a photo that was worked on, say what its user has to know, and move the bar."""
        self._tell(outcome)
        self._finished += 1
        speed = self._megapixels / (time.monotonic() - self._start)
        self._bar.set_description_str(f"{speed:.2f} megapixels/s, ", refresh=False)
        self._bar.update(max(0, self._finished - self._bar.n))
        left = self._photos - self._finished
        # the first photo of each worker waits for its network to be loaded
        if outcome.status == "done" and self._counts["done"] > self.workers and not self._has_estimated and left > 0:
            self._has_estimated = True
            seconds = left * outcome.longest_stage / self.workers
            self.say(f"about {format_seconds(seconds)} for {left} more")

    def _tell(self, outcome: Outcome) -> None:
        job, error, written = outcome.job, outcome.error, outcome.written
        name = show_path(job.capture.paths[0])
        entry: dict[str, object] = {
            "input": [str(path) for path in job.capture.paths],
            "output": [str(path) for path in job.outputs],
            "status": outcome.status,
            "seconds": {stage: round(seconds, 3) for stage, seconds in outcome.seconds.items()},
        }
        if written is not None:
            megapixels = written.width * written.height / 1e6
            entry |= {"megapixels": megapixels, "warnings": written.warnings, **written.details}
            self._megapixels += megapixels
            for warning in written.warnings:
                self.say(f"{name}: {warning}")
        if outcome.status == "skipped":
            self._counts["already done"] += 1
            self.say(f"{name}: already done, see {show_path(job.outputs[0])}; --overwrite makes it again")
        elif error is None:
            self._counts["done"] += 1
        elif self._needs_two_views and isinstance(error, NoSecondViewError):
            entry |= {"status": "skipped", "error": str(error)}
            self._counts["passed by"] += 1
            self.say(str(error))
        else:
            entry["error"] = str(error)
            self._count_failure(error)
        self._write_log(entry)
        if self._observer is not None:
            self._observer.add(outcome)

    def finish(self) -> int:
        """Print the summary.

        Returns:
            The exit code.
        """
        self.summarize()
        if self._counts["failed"]:
            return SOME_FAILED
        return ALL_DONE if self._counts["done"] or self._counts["already done"] else NOTHING_TO_DO

    def summarize(self) -> None:
        """Print the counts, and once more what failed, which may have scrolled away."""
        counts = ", ".join(f"{count} {what}" for what, count in self._counts.items() if count)
        nothing = "none finished" if self._photos else "no photos found"
        self.say(f"{counts or nothing} in {format_seconds(time.monotonic() - self._start)}")
        if self._failures and self._finished and sum(self._counts.values()) > 1:
            self.say("\n".join(["failed:", *(f"  {line}" for line in self._failures)]))

    def _write_log(self, entry: dict[str, object]) -> None:
        if self._log is None:
            return
        try:
            self._log.write(entry)
        except OSError as error:
            name = show_path(self._log.path)
            self.say(f"{name}: the log cannot be written any more ({error.strerror}); the photos go on")
            self._close_log()


def format_seconds(seconds: float) -> str:
    """Write a time the way it is spoken: 4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
