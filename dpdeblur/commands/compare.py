"""`dpdeblur compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpdeblur.commands.options import OUTPUT
from dpdeblur.commands.pages import ReportFull, describe_preview, open_report
from dpdeblur.commands.reporter import ALL_DONE, INTERRUPTED, NOTHING_TO_DO, SOME_FAILED, report_errors
from dpdeblur.errors import DpDeblurError, show_path

if TYPE_CHECKING:
    from dpdeblur.batch.worker import Worker
    from dpdeblur.comparison import Match, Matches
    from dpdeblur.readers import Capture
    from dpdeblur.writers.report import Report, Row


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A photo, or a folder.", show_default=False)],
    second: Annotated[
        Path, typer.Argument(metavar="B", help="Its restored form, or a folder of them.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE.html", help="The page to write.", rich_help_panel=OUTPUT),
    ] = Path("comparison.html"),
    report_full: ReportFull = False,
) -> None:
    """Write a page that compares photos: originals with results, or two results."""
    with report_errors():
        from dpdeblur.comparison import match_pictures
        from dpdeblur.writers.page import Wording

        matches = match_pictures(first, second)
        if not matches.pairs:
            typer.echo(f"nothing in {show_path(second)} belongs to anything in {show_path(first)}", err=True)
            raise typer.Exit(NOTHING_TO_DO)
        labels = _name_sides(first, second)
        wording = Wording(" and ".join(labels), *labels, done="Compared", skipped="Without a partner")
        with open_report(output, wording, keeps_full=report_full) as report:
            try:
                failed = _compare_all(matches, report)
            except KeyboardInterrupt:
                typer.echo("dpdeblur: interrupted; the page has what was compared", err=True)
                raise typer.Exit(INTERRUPTED) from None
        code = SOME_FAILED if failed or report.failure is not None else ALL_DONE
    raise typer.Exit(code)


def _name_sides(first: Path, second: Path) -> tuple[str, str]:
    """What tells the sides apart: their names, with their folders' where these are alike."""
    names = [path.resolve().name for path in (first, second)]
    if names[0] == names[1]:
        names = [f"{path.resolve().parent.name}/{path.name}" for path in (first, second)]
    return names[0], names[1]


def _compare_all(matches: Matches, report: Report) -> int:
    """Compare all photos, one at a time.

    Returns:
        How many failed.
    """
    from tqdm import tqdm

    from dpdeblur.batch.worker import Worker
    from dpdeblur.writers.report import Row

    failed = 0
    report.begin(len(matches.pairs) + len(matches.lonely))
    # None: no bar where stderr is no terminal
    with Worker() as worker, tqdm(total=len(matches.pairs), unit="photo", disable=None, leave=False) as bar:
        for match in matches.pairs:
            try:
                row = _compare_pair(match, report, worker)
            except DpDeblurError as error:
                failed += 1
                bar.write(str(error), file=sys.stderr)
                row = Row(match.name, "failed", str(error))
            report.add(row)
            bar.update()
    for capture in matches.lonely:
        report.add(Row(capture.paths[0].name, "skipped", show_path(capture.paths[0])))
    if matches.lonely:
        typer.echo(f"without a partner: {len(matches.lonely)}", err=True)
    return failed


def _compare_pair(match: Match, report: Report, worker: Worker) -> Row:
    """Read two pictures and compare them.

    Raises:
        DpDeblurError: One cannot be read, or they are not of one photo.
    """
    from dpdeblur.batch.overlap import find_limit
    from dpdeblur.batch.stages import read_framed
    from dpdeblur.comparison import compare_photos
    from dpdeblur.framing import WHOLE
    from dpdeblur.readers import ReadOptions
    from dpdeblur.writers.report import Row

    photos = [
        worker.call(find_limit(capture.paths), read_framed, capture, ReadOptions(), WHOLE)
        for capture in (match.first, match.second)
    ]
    compared = compare_photos(photos[0], photos[1], report.examiner)
    facts = [*describe_preview(compared.preview)]
    facts += [
        (side, [("File", show_path(path)) for path in capture.paths] + _describe_making(capture))
        for side, capture in zip("AB", (match.first, match.second), strict=True)
    ]
    return Row(match.name, "done", facts=facts, warnings=compared.warnings, preview=compared.preview)


def _describe_making(capture: Capture) -> list[tuple[str, str]]:
    """How dpdeblur made a picture, where it did."""
    from dpdeblur.metadata.provenance import read_note

    note = read_note(capture.paths[0])
    return [] if note is None else [("Asked for", note.marker), ("Made by", note.details)]
