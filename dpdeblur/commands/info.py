"""`dpdeblur info`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpdeblur.commands.options import Device, FilesFrom, Model, Null, Photos, Recursive, WeightsFile
from dpdeblur.commands.photos import Selection, find_photos
from dpdeblur.commands.reporter import ALL_DONE, NOTHING_TO_DO, SOME_FAILED, report_errors
from dpdeblur.errors import DpDeblurError, UsageError

if TYPE_CHECKING:
    from dpdeblur.batch.worker import Worker
    from dpdeblur.description import Description
    from dpdeblur.readers import Capture

_COLUMNS = ("file", "kind", "size", "camera", "views", "run would")


def info(
    photos: Photos = None,
    recursive: Recursive = False,
    files_from: FilesFrom = None,
    null: Null = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of one object a photo.")] = False,
    model: Model = "auto",
    weights: WeightsFile = None,
    device: Device = "auto",
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.png",
            help="Draw each photo's disparity and blur, which takes decoding it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say what each file is, and what `run` would do with it and why."""
    with report_errors():
        from dpdeblur.batch.overlap import find_limit
        from dpdeblur.batch.worker import Worker
        from dpdeblur.description import describe_capture
        from dpdeblur.readers import probe_photo

        if plot is not None:
            from dpdeblur.evaluation.canvas import check_name

            check_name(plot)
        inputs = find_photos(Selection(photos, recursive, files_from, null, twins=True))
        failures = list(inputs.failures)
        descriptions: list[Description] = []
        with Worker() as worker:
            for one in inputs.found:
                try:
                    probe = worker.call(find_limit(one.capture.paths), probe_photo, one.capture)
                    description = describe_capture(one.capture, probe, model=model, weights=weights, device=device)
                    descriptions.append(description)
                except UsageError:
                    raise
                except DpDeblurError as error:
                    failures.append(error if error.path else error.with_path(one.capture.paths[0]))
            if plot is not None:
                failures += _draw([description.capture for description in descriptions], worker, plot)
        if as_json:
            entries = [description.as_dict() for description in descriptions]
            entries += [{"files": [str(failure.path)], "error": str(failure)} for failure in failures]
            typer.echo(json.dumps(entries, indent=2))
        elif descriptions:
            _print_table(descriptions)
        for failure in failures:
            typer.echo(str(failure), err=True)
    raise typer.Exit(SOME_FAILED if failures else ALL_DONE if descriptions else NOTHING_TO_DO)


def _draw(captures: list[Capture], worker: Worker, plot: Path) -> list[DpDeblurError]:
    """Draw photos, the first so many, and return what failed."""
    from tqdm import tqdm

    from dpdeblur.batch.overlap import find_limit
    from dpdeblur.evaluation.photo_plot import LARGEST_COUNT, draw_photos, measure_photo
    from dpdeblur.framing import square_pixels
    from dpdeblur.readers import read_photo

    failures: list[DpDeblurError] = []
    plots = []
    if len(captures) > LARGEST_COUNT:
        typer.echo(f"{plot}: shows the first {LARGEST_COUNT} of {len(captures)} photos", err=True)
    for capture in tqdm(captures[:LARGEST_COUNT], disable=None, file=sys.stderr, unit="photo"):
        try:
            photo = worker.call(find_limit(capture.paths), read_photo, capture)
        except DpDeblurError as error:
            failures.append(error if error.path else error.with_path(capture.paths[0]))
        else:
            name = capture.paths[0].name if len(capture.paths) == 1 else capture.name
            plots.append(measure_photo(name, square_pixels(photo)))
    if plots:
        draw_photos(plots).save(plot)
    return failures


def _print_table(descriptions: list[Description]) -> None:
    """Print a line a photo, and its warnings below it."""
    rows = [_COLUMNS, *(description.as_row() for description in descriptions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    for index, row in enumerate(rows):
        typer.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))
        for warning in descriptions[index - 1].probe.warnings if index else ():
            typer.echo(f"    {warning}")
