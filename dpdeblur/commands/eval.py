"""`dpdeblur eval`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import typer

from dpdeblur.commands.options import NETWORK, OUTPUT, Device
from dpdeblur.commands.reporter import INTERRUPTED, NOTHING_TO_DO, SOME_FAILED, report_errors

if TYPE_CHECKING:
    from dpdeblur.evaluation.runs import Evaluation

_SCORING = "Scoring"


def evaluate(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The folder of the data set.", show_default=False)],
    layout: Annotated[
        Literal["pairs", "dpdd", "realdof", "sdd", "pixel4"],
        typer.Option("--layout", help="How it is laid out.", show_default=False),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="auto|k3dn|dpanet|gkmnet|both",
            help="Score this network; may be repeated.",
            show_default="auto",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option("--weights", metavar="FILE", help="Score these weights; likewise.", rich_help_panel=NETWORK),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--results",
            metavar="FOLDER",
            help="Score what lies in this folder, found by the photos' names; likewise.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    device: Device = "auto",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many photos, the first.", show_default=False)
    ] = None,
    bits: Annotated[
        Literal["8", "16"],
        typer.Option("--bits", help="Round the values to codes of 8 or 16 bits first.", rich_help_panel=_SCORING),
    ] = "16",
    reference: Annotated[
        Literal["as-is", "deformed"] | None,
        typer.Option(
            "--reference",
            help="Compare with the reference as it is, or deformed onto each result by optical flow. sdd: deformed.",
            rich_help_panel=_SCORING,
            show_default=False,
        ),
    ] = None,
    focus_masks: Annotated[
        Path | None,
        typer.Option(
            "--focus-masks",
            metavar="FOLDER",
            help="Pictures that are white where a photo is in focus, by the photos' names.",
            rich_help_panel=_SCORING,
        ),
    ] = None,
    published: Annotated[
        Literal["networks", "all", "none"],
        typer.Option("--published", help="Which of the papers' rows to print.", rich_help_panel=OUTPUT),
    ] = "networks",
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a line a photo and method.", rich_help_panel=OUTPUT),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.", rich_help_panel=OUTPUT)
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write the table as Markdown.", rich_help_panel=OUTPUT),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet", metavar="FILE.jpg", help="Draw the photos, the worst first, with errors.", rich_help_panel=OUTPUT
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw the PSNR of each photo.", rich_help_panel=OUTPUT),
    ] = None,
) -> None:
    """Score networks, or results of any program, against references: PSNR, SSIM, MAE, RMSE_rel, LPIPS."""
    with report_errors():
        from dpdeblur.evaluation.canvas import check_name, check_text
        from dpdeblur.evaluation.runs import Plan, run_evaluation

        for picture in (sheet, plot):
            if picture is not None:
                check_name(picture)
        for path in (csv_file, json_file, markdown):
            if path is not None:
                check_text(path)
        plan = Plan(
            data=data,
            layout=layout,
            models=model or [],
            weights=weights or [],
            results=results or [],
            device=device,
            limit=limit,
            bits=int(bits),
            deforms=None if reference is None else reference == "deformed",
            focus_masks=focus_masks,
            published=published,
            has_sheet=sheet is not None,
        )
        try:
            with _Bar() as bar:
                evaluation = run_evaluation(plan, bar)
        except KeyboardInterrupt as error:
            typer.echo("dpdeblur: interrupted; nothing was written", err=True)
            raise typer.Exit(INTERRUPTED) from error
        report = evaluation.report
        if report.rows:
            _write(evaluation, {"csv": csv_file, "json": json_file, "markdown": markdown}, sheet, plot)
    if report.failures:
        raise typer.Exit(SOME_FAILED)
    if not report.rows:
        typer.echo("no photos found", err=True)
        raise typer.Exit(NOTHING_TO_DO)


class _Bar:
    """A bar on stderr; lines are said above it. Without a terminal, only the lines."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=0,
            disable=None,  # None: where stderr is no terminal
            file=sys.stderr,
            bar_format="{n:.1f}/{total} photos |{bar}| {remaining} left",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def start(self, scenes: int) -> None:
        self._bar.reset(total=scenes)

    def advance(self, share: float) -> None:
        self._bar.update(share)

    def say(self, line: str) -> None:
        self._bar.write(line, file=sys.stderr)


def _write(evaluation: Evaluation, texts: dict[str, Path | None], sheet: Path | None, plot: Path | None) -> None:
    """Print the table, and write what else was asked for."""
    from dpdeblur.evaluation.plots import draw_scores
    from dpdeblur.evaluation.tables import format_csv, format_json, format_markdown, format_text
    from dpdeblur.writers.atomic import open_atomic

    report = evaluation.report
    typer.echo(format_text(report))
    formats = {"csv": format_csv, "json": format_json, "markdown": format_markdown}
    for name, path in texts.items():
        if path is not None:
            with open_atomic(path) as file:
                file.write(formats[name](report).encode())
    if sheet is not None and evaluation.sheet is not None:
        evaluation.sheet.draw(report.title, evaluation.methods, report.focus).save(sheet)
    if plot is not None:
        draw_scores(report.photos, evaluation.methods).save(plot)
