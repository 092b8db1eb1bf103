"""`dpdeblur simulate`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from dpdeblur.commands.options import MACHINE, OUTPUT, Overwrite
from dpdeblur.commands.reporter import report_errors

_SCENES = "Scenes"


class Size(NamedTuple):
    """Of a picture."""

    width_px: int
    height_px: int


def parse_size(text: str) -> Size:
    """Read WIDTHxHEIGHT."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or min(int(match[1]), int(match[2])) < 16:
        raise typer.BadParameter(f"'{text}' is not WIDTHxHEIGHT of at least 16 pixels")
    return Size(int(match[1]), int(match[2]))


def simulate(
    photos: Annotated[
        list[Path], typer.Argument(metavar="PHOTOS", help="Sharp photos, and folders of them.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Write below this folder.", show_default=False)
    ],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many pairs.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="The same seed makes the same pairs.")] = 0,
    size: Annotated[
        Size,
        typer.Option(
            "--size", parser=parse_size, metavar="WIDTHxHEIGHT", help="Of the pictures.", rich_help_panel=_SCENES
        ),
    ] = "768x512",  # type: ignore[assignment]  # parsed like the user's
    largest_radius_px: Annotated[
        float, typer.Option("--largest-radius", min=0.5, help="Of the blur, in pixels.", rich_help_panel=_SCENES)
    ] = 9.0,
    layers: Annotated[
        int, typer.Option("--layers", min=1, max=16, help="Most layers of depth.", rich_help_panel=_SCENES)
    ] = 3,
    kernels: Annotated[
        Path | None,
        typer.Option(
            "--kernels", metavar="FILE", help="Measured kernel pairs to use as well, a .npy.", rich_help_panel=_SCENES
        ),
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"], typer.Option("--split", help="Which set to write.", rich_help_panel=OUTPUT)
    ] = "train",
    format_name: Annotated[
        Literal["png", "tiff"], typer.Option("--format", help="Of the pictures, 16-bit.", rich_help_panel=OUTPUT)
    ] = "png",
    overwrite: Overwrite = False,
    device: Annotated[
        str, typer.Option("--device", metavar="cpu|cuda[:N]", help="What renders.", rich_help_panel=MACHINE)
    ] = "cpu",
) -> None:
    """Make dual-pixel training pairs from sharp photos, in the DPDD layout, with maps of defocus."""
    with report_errors():
        from tqdm import tqdm

        from dpdeblur.training.data import SceneOptions
        from dpdeblur.training.pairs import PairOptions, write_pairs

        scene = SceneOptions(
            height=size.height_px,
            width=size.width_px,
            largest_radius_px=largest_radius_px,
            layers=layers,
            # neighbouring slices differ by a pixel or two of radius, so that slants show no steps
            slices=min(10, max(4, round(largest_radius_px / 2))),
        )
        options = PairOptions(
            out=output,
            count=count,
            seed=seed,
            scene=scene,
            kernels=kernels,
            split=split,
            format=format_name,
            overwrite=overwrite,
            device=device,
        )
        with tqdm(total=count, unit="pair", disable=None) as bar:
            made = write_pairs(photos, options, bar.update)
    typer.echo(f"{made} pairs made, {count - made} there already", err=True)
