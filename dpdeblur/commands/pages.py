"""What `run` and `compare` share about their reports: the options, and a batch's outcomes as rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpdeblur.commands.options import OUTPUT
from dpdeblur.commands.reporter import ALL_DONE, SOME_FAILED
from dpdeblur.errors import DpDeblurError, UsageError, show_path

if TYPE_CHECKING:
    from dpdeblur.batch.overlap import Outcome
    from dpdeblur.writers.preview import Preview
    from dpdeblur.writers.report import Facts, Report, Wording

ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Write a page that shows every photo before and after.",
        rich_help_panel=OUTPUT,
    ),
]
ReportFull = Annotated[
    bool,
    typer.Option(
        "--report-full",
        help="Keep all pixels for the report, as JPEGs in a folder beside it.",
        rich_help_panel=OUTPUT,
    ),
]


@contextlib.contextmanager
def open_report(path: Path, wording: Wording, *, keeps_full: bool) -> Iterator[Report]:
    """Write a report while the block runs, and say at its end where it is, or why it is not.

    Raises:
        UsageError: It cannot be written there.
        ReadError: A file that is there cannot be read.
    """
    from dpdeblur.writers.report import Report

    report = Report(path, wording, keeps_full=keeps_full)
    try:
        with report:
            yield report
    finally:
        if report.failure is not None:
            typer.echo(f"no report: {report.failure}", err=True)
        elif report.is_written:
            typer.echo(f"report: {show_path(path)} ({path.stat().st_size / 1e6:.1f} MB)", err=True)


@contextlib.contextmanager
def observe_run(path: Path | None, *, keeps_full: bool) -> Iterator[RunObserver | None]:
    """Write a report of a run while the block runs, where one is asked for.

    Raises:
        UsageError: It cannot be written there.
        ReadError: A file that is there cannot be read.
    """
    if path is None:
        if keeps_full:
            raise UsageError("--report-full is about --report, which is not there")
        yield None
        return
    from dpdeblur.writers.page import Wording

    with open_report(path, Wording("Restored photos"), keeps_full=keeps_full) as report:
        yield RunObserver(report)


class RunObserver:
    """Tells a report of the outcomes of a batch.

    Attributes:
        examine: Looks at each photo, see `Examiner`; it does not lead back here, so that it can travel.
    """

    def __init__(self, report: Report) -> None:
        """Take the report to tell."""
        self._report = report
        self.examine = report.examiner.examine

    def correct_code(self, code: int) -> int:
        """The exit code of the whole: a report that could not be written is a failure, though no photo's."""
        return SOME_FAILED if code == ALL_DONE and self._report.failure is not None else code

    def begin(self, photos: int) -> None:
        """So many outcomes and refusals will come, at the most."""
        self._report.begin(photos)

    def refuse(self, error: DpDeblurError) -> None:
        """Something was named and is no photo to work on."""
        from dpdeblur.writers.report import Row

        name = "photo" if error.path is None else error.path.name
        self._report.add(Row(name, "failed", str(error)))

    def add(self, outcome: Outcome) -> None:
        """A photo has ended, or was done before."""
        from dpdeblur.writers.report import Row

        job, written, error = outcome.job, outcome.written, outcome.error
        files: list[tuple[str, str]] = [("File", show_path(path)) for path in job.capture.paths]
        if error is None:
            names = ("Result", "Defocus map")
            files += [(name, show_path(path)) for name, path in zip(names, job.outputs, strict=False)]
        facts: list[Facts] = [("Files", files)]
        line, warnings, preview = "", tuple[str, ...](), None
        if error is not None:
            line = str(error)
        elif written is None:
            line = "its pictures are in the report of the run that made it"
        else:
            line, warnings, preview = str(written.details["network"]), written.warnings, written.preview
            facts = [("Restoration", list(_describe_work(outcome))), *describe_preview(preview), *facts]
        name = job.capture.paths[0].name if len(job.capture.paths) == 1 else job.capture.name
        self._report.add(Row(name, outcome.status, line, job.outputs, facts, warnings, preview))


def _describe_work(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """How a photo was restored, in named values."""
    assert outcome.written is not None
    details = outcome.written.details
    yield "Network", f"{details['network']} ({str(details['weights'])[:12]})"
    yield "Working scale", f"{details['working_scale']:.3g}"
    yield "Strength", f"{details['strength']:g}"
    if details["ensemble"]:
        yield "Ensemble", "mean of four mirror images"
    yield "Device", f"{details['device']}, {details['precision']}"
    yield "Tiles", f"{details['tile_px']} px"
    if details["clipped_share"] is not None:
        yield "Clipped", f"{details['clipped_share']:.2%} of the photosites"
    yield "Time", f"{sum(outcome.seconds.values()):.1f} s"


def describe_preview(preview: Preview | None) -> Iterator[Facts]:
    """What was measured for the report, and what EXIF says."""
    if preview is None:
        return
    whole = preview.whole
    size = f"{whole.width} × {whole.height} px, {whole.width * whole.height / 1e6:.1f} megapixels"
    yield "Picture", [("Size", size), ("Mean change", f"{preview.change:.2%} of full range")]
    if preview.exif:
        yield "Camera", preview.exif
