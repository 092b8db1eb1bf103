"""The command line, one line a command. What computes is imported by a command that runs, not by `--help`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from dpdeblur import __version__
from dpdeblur.commands import compare, info, manual, run, simulate, split, train, weights
from dpdeblur.commands.eval import evaluate
from dpdeblur.commands.examples import attach_examples
from dpdeblur.commands.restart import restart_with_tunables

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PHOTOS, _NETWORKS = "Photos", "Networks and data sets"
app.command(rich_help_panel=_PHOTOS)(run.run)
app.command(rich_help_panel=_PHOTOS)(split.split)
app.command(rich_help_panel=_PHOTOS)(info.info)
app.command(rich_help_panel=_PHOTOS)(compare.compare)
app.command("eval", rich_help_panel=_NETWORKS)(evaluate)
app.command(rich_help_panel=_NETWORKS)(simulate.simulate)
app.command(rich_help_panel=_NETWORKS)(train.train)
app.add_typer(weights.app, name="weights", rich_help_panel=_NETWORKS)
app.command(hidden=True)(manual.manual)
attach_examples(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dpdeblur {__version__}")
        raise typer.Exit


@app.callback()
def choose_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Turn out-of-focus dual-pixel photographs sharp."""


def main() -> None:
    """Run the program; file names that are no text in the terminal's encoding are printed with escapes.

    Torch's idle threads are told to sleep instead of spinning, before it is loaded: where decoding, writing or other
    programs want the cores too, spinning threads wait for each other. Measured on two busy cores: 0.1 s instead of 15 s
    for two small photos.
    """
    if sys.argv[1:2] in (["run"], ["eval"]):  # what runs a network
        restart_with_tunables()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: nobody listens
            setattr(sys, name, open(os.devnull, "w"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        app()
    finally:  # nothing is left to interrupt, and Ctrl-C would only spoil the exit code
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
