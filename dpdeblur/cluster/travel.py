"""Paths between machines whose current folders differ: jobs go out absolute, outcomes come back as the user wrote."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path

from dpdeblur.batch.overlap import Outcome
from dpdeblur.batch.plan import Job


def find_missing(job: Job) -> Path | None:
    """An output that is not to be seen here; looking into its folder makes network storage look again."""
    for path in job.outputs:
        with contextlib.suppress(OSError):
            os.listdir(path.parent)
        if not os.path.lexists(path):
            return path
    return None


def make_absolute(path: Path) -> Path:
    """The same path for a machine with another current folder; links stay."""
    return Path(os.path.abspath(path))


def make_job_absolute(job: Job) -> Job:
    """The same job with absolute paths."""
    capture = dataclasses.replace(job.capture, paths=tuple(map(make_absolute, job.capture.paths)))
    return Job(capture, tuple(map(make_absolute, job.outputs)))


def localise(outcome: Outcome, job: Job) -> Outcome:
    """The same outcome with the paths that the user gave."""
    error = outcome.error
    if error is not None and error.path is not None:
        given = {make_absolute(path): path for path in (*job.capture.paths, *job.outputs)}
        error = error.with_path(given.get(error.path, error.path))
    return dataclasses.replace(outcome, job=job, error=error)
