"""`dpdeblur info`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from dpdeblur.commands.options import Device, FilesFrom, Model, Null, Photos, Recursive, WeightsFile
from dpdeblur.commands.photos import Selection, find_photos
from dpdeblur.commands.reporter import ALL_DONE, NOTHING_TO_DO, SOME_FAILED, report_errors
from dpdeblur.errors import DpDeblurError, UsageError

if TYPE_CHECKING:
    from dpdeblur.description import Description

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
) -> None:
    """Say what each file is, and what `run` would do with it and why."""
    with report_errors():
        from dpdeblur.batch import find_limit
        from dpdeblur.description import describe_capture
        from dpdeblur.readers import probe_photo
        from dpdeblur.worker import Worker

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
        if as_json:
            entries = [description.as_dict() for description in descriptions]
            entries += [{"files": [str(failure.path)], "error": str(failure)} for failure in failures]
            typer.echo(json.dumps(entries, indent=2))
        elif descriptions:
            _print_table(descriptions)
        for failure in failures:
            typer.echo(str(failure), err=True)
    raise typer.Exit(SOME_FAILED if failures else ALL_DONE if descriptions else NOTHING_TO_DO)


def _print_table(descriptions: list[Description]) -> None:
    """Print a line a photo, and its warnings below it."""
    rows = [_COLUMNS, *(description.as_row() for description in descriptions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    for index, row in enumerate(rows):
        typer.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))
        for warning in descriptions[index - 1].probe.warnings if index else ():
            typer.echo(f"    {warning}")
