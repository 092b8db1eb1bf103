"""`dpdeblur train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dpdeblur.commands.options import MACHINE, NETWORK
from dpdeblur.commands.reporter import report_errors

_DATA = "Data"
_BUDGET = "Budget"
_NUMBERS = "Instead of the recipe's"


def train(
    textures: Annotated[
        Path | None,
        typer.Option("--textures", metavar="DIR", help="Sharp photos to simulate pairs from.", rich_help_panel=_DATA),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", metavar="DIR", help="Pairs in the DPDD layout.", rich_help_panel=_DATA),
    ] = None,
    pairs_share: Annotated[
        float | None,
        typer.Option("--pairs-share", min=0, max=1, help="Of each batch, where both are given.", rich_help_panel=_DATA),
    ] = None,
    kernels: Annotated[
        Path | None,
        typer.Option("--kernels", metavar="FILE", help="Measured kernel pairs, a .npy.", rich_help_panel=_DATA),
    ] = None,
    scenes: Annotated[
        Path | None,
        typer.Option(
            "--scenes",
            metavar="FILE",
            help="Real scenes to judge by, an .npz. By default simulated ones.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    largest_radius_px: Annotated[
        float, typer.Option("--largest-radius", min=0.5, help="Of simulated blur, in pixels.", rich_help_panel=_DATA)
    ] = 9.0,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="For weights, state, log and pictures.")
    ] = Path("training"),
    recipe: Annotated[
        Literal["shipped", "gkmnet", "dpanet", "k3dn", "jdrl"],
        typer.Option("--recipe", help="A paper's losses and schedule, or those of the shipped weights."),
    ] = "shipped",
    network: Annotated[
        Literal["gkmnet", "dpanet", "k3dn"] | None,
        typer.Option("--network", help="By default the recipe's.", rich_help_panel=NETWORK),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--form", metavar="JSON", help='The network\'s form, such as {"base": 20}.', rich_help_panel=NETWORK
        ),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option("--initial", metavar="FILE", help="Start from these weights, a .pt.", rich_help_panel=NETWORK),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Of training.", rich_help_panel=_BUDGET)] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.01, help="By default the recipe's epochs.", rich_help_panel=_BUDGET),
    ] = None,
    stop_after: Annotated[
        float | None,
        typer.Option("--stop-after", min=0, help="Stop after these minutes, to go on.", rich_help_panel=_BUDGET),
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Pairs a step.", rich_help_panel=_NUMBERS)] = None,
    height: Annotated[
        int | None, typer.Option("--height", min=16, help="Of the crops.", rich_help_panel=_NUMBERS)
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", min=16, help="Of the crops.", rich_help_panel=_NUMBERS)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="At its highest.", rich_help_panel=_NUMBERS)
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="cpu|cuda[:N]", help="What trains.", rich_help_panel=MACHINE)
    ] = "cpu",
    precision: Annotated[
        Literal["bf16", "fp16", "fp32"],
        typer.Option("--precision", help="What to compute in.", rich_help_panel=MACHINE),
    ] = "bf16",
    compile_network: Annotated[
        bool, typer.Option("--compile", help="Compile the network.", rich_help_panel=MACHINE)
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard's log too.", rich_help_panel=MACHINE)
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="The same seed draws the same data.")] = 1,
) -> None:
    """Train a network. The same command goes on where a killed one stopped.

    For several GPUs: torchrun --nproc-per-node N -m dpdeblur.cli train --device cuda ...
    """
    with report_errors():
        import json

        from dpdeblur.errors import UsageError
        from dpdeblur.training.export import export_weights
        from dpdeblur.training.loop import train as run_training
        from dpdeblur.training.options import TrainOptions

        try:
            parsed_form = None if form is None else json.loads(form)
        except json.JSONDecodeError as error:
            raise UsageError(f"--form is no JSON: {error}", remedy="write it as '{\"base\": 20}'") from error
        options = TrainOptions(
            recipe=recipe,
            network=network,
            form=parsed_form,
            textures=textures,
            pairs=pairs,
            pairs_share=pairs_share,
            out=output,
            minutes=minutes,
            steps=steps,
            stop_after=stop_after,
            kernels=kernels,
            scenes=scenes,
            initial=initial,
            batch=batch,
            height=height,
            width=width,
            largest_radius_px=largest_radius_px,
            learning_rate=learning_rate,
            device=device,
            precision=precision,
            compile=compile_network,
            seed=seed,
            tensorboard=tensorboard,
        )
        scores = run_training(options)
        path = export_weights(options, scores)
    if path is not None:
        typer.echo(f"{path}: {', '.join(f'{name} {gain:+.2f} dB' for name, gain in scores.items())}", err=True)
