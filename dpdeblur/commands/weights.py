"""`dpdeblur weights`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpdeblur.commands.reporter import SOME_FAILED, report_errors
from dpdeblur.errors import WeightsError

if TYPE_CHECKING:
    from dpdeblur.weights import Card

app = typer.Typer(help="List, verify, import and join weights.", no_args_is_help=True)

_Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors file to write.", show_default=False)
]


@app.command("list")
def list_files() -> None:
    """List the weights that came with dpdeblur, and what they measured."""
    with report_errors():
        from dpdeblur.weights import list_weights, read_card

        for path in list_weights():
            typer.echo(f"{path.name}: {_describe(read_card(path))}")


@app.command("verify")
def verify_files(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES", help="Weights files. Default: those of dpdeblur.")
    ] = None,
) -> None:
    """Load weights and check their tensors against the hashes in their cards."""
    failures = 0
    with report_errors():
        from dpdeblur.weights import list_weights, load_weights

        for path in files or list_weights():
            try:
                _, card = load_weights(path)
            except WeightsError as error:
                failures += 1
                typer.echo(str(error), err=True)
            else:
                typer.echo(f"{path.name}: good, sha256 {card.sha256}")
    if failures:
        raise typer.Exit(SOME_FAILED)


@app.command("import")
def import_file(
    checkpoint: Annotated[Path, typer.Argument(help="The authors' checkpoint, a .pth file.", show_default=False)],
    output: _Output,
) -> None:
    """Turn a checkpoint of a paper's authors into weights for `run --weights`."""
    with report_errors():
        from dpdeblur.checkpoints import import_checkpoint

        card = import_checkpoint(checkpoint, output)
        typer.echo(f"{output}: {_describe(card)}", err=True)


@app.command("join")
def join_files(
    k3dn: Annotated[Path, typer.Argument(metavar="K3DN", help="Weights of K3DN.", show_default=False)],
    gkmnet: Annotated[Path, typer.Argument(metavar="GKMNET", help="Weights of GKMNet.", show_default=False)],
    output: _Output,
) -> None:
    """Join weights that were trained apart to those of `both`, which adds up what they change."""
    with report_errors():
        from dpdeblur.weights import join_weights

        card = join_weights(k3dn, gkmnet, output)
        typer.echo(f"{output}: {_describe(card)}", err=True)


@app.command("plot")
def plot_log(
    log: Annotated[Path, typer.Argument(metavar="LOG.csv", help="A training's log.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE.png", help="The picture to write.", show_default=False),
    ],
) -> None:
    """Draw the course of a training: loss, learning rate, and the scores on the way."""
    with report_errors():
        from dpdeblur.evaluation.canvas import check_name
        from dpdeblur.evaluation.plots import draw_training, read_log

        check_name(output)
        draw_training(read_log(log), log.name).save(output)


def _describe(card: Card) -> str:
    """The network, its size, and what it measured."""
    form = "the authors' form" if card.released else "our form"
    cameras = [camera for camera in ("pixel", "canon") if camera in card.scores]
    scores = [f"{card.scores[camera]:+.2f} dB on real {camera} scenes" for camera in cameras]
    return "; ".join([f"{card.network} in {form}, {card.parameters / 1e6:.2f} M parameters", *scores])
