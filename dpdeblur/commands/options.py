"""The options that commands share: names, help, and how their text is understood. Nothing heavy is imported here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

_INPUT = "Photos to take"
_SENSOR = "Bare sensor data and views"
OUTPUT = "Results"
NETWORK = "Network"
MACHINE = "Machine"

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Share(NamedTuple):
    """The `number`-th, counted from 1, of `shares` equal shares of a batch."""

    number: int
    shares: int


class Part(NamedTuple):
    """A rectangle of the upright picture, in pixels."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


def parse_tile(text: str) -> int | None:
    """Read `auto` or a side length in pixels."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise typer.BadParameter(f"'{text}' is neither 'auto' nor a number of pixels")
    return int(text)


def parse_memory(text: str) -> int:
    """Read a number of bytes with a unit: 800M, 1.5G, 6GiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if match is None or float(match[1]) == 0:
        raise typer.BadParameter(f"'{text}' is no amount of memory; write 800M or 6G")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_part(text: str) -> Part:
    """Read X,Y,W,H."""
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text)
    if match is None or 0 in (int(match[3]), int(match[4])):
        raise typer.BadParameter(f"'{text}' is not X,Y,WIDTH,HEIGHT in pixels")
    return Part(*(int(number) for number in match.groups()))


def parse_share(text: str) -> Share:
    """Read I/N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"'{text}' is not I/N with I from 1 to N")
    return Share(int(match[1]), int(match[2]))


Photos = Annotated[
    list[Path] | None, typer.Argument(metavar="PHOTOS", help="Photos, and folders of photos.", show_default=False)
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Look into the folders' folders too.", rich_help_panel=_INPUT)
]
FilesFrom = Annotated[
    str | None,
    typer.Option(
        "--files-from",
        metavar="FILE",
        help="Take more paths from this file, one a line; - is standard input.",
        rich_help_panel=_INPUT,
    ),
]
Null = Annotated[
    bool,
    typer.Option("--null", "-0", help="The paths of --files-from end with NUL, not newline.", rich_help_panel=_INPUT),
]
Twins = Annotated[
    bool,
    typer.Option("--twins", help="Take a camera's JPEG too where its raw lies beside it.", rich_help_panel=_INPUT),
]
Shard = Annotated[
    Share | None,
    typer.Option(
        "--shard",
        parser=parse_share,
        metavar="I/N",
        help="Take only the I-th, from 1, of N equal shares of the photos.",
        rich_help_panel=_INPUT,
    ),
]

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Write below this folder.", rich_help_panel=OUTPUT),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Make everything again that is there already.", rich_help_panel=OUTPUT)
]
Update = Annotated[
    bool,
    typer.Option(
        "--update",
        help="Make again what is there by other settings or weights, or of a photo that changed.",
        rich_help_panel=OUTPUT,
    ),
]
Log = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="Append one JSON object a photo to this file.", rich_help_panel=OUTPUT),
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.", rich_help_panel=OUTPUT)]

BlackLevel = Annotated[
    float | None, typer.Option("--black-level", help="The sensor value of black.", rich_help_panel=_SENSOR)
]
WhiteLevel = Annotated[
    float | None, typer.Option("--white-level", help="The sensor value of white.", rich_help_panel=_SENSOR)
]
Linear = Annotated[
    bool,
    typer.Option("--linear", help="The values are linear light, not sRGB-encoded.", rich_help_panel=_SENSOR),
]
PixelAspect = Annotated[
    float | None,
    typer.Option(
        "--pixel-aspect", min=0.05, max=20, help="A pixel's height divided by its width.", rich_help_panel=_SENSOR
    ),
]
WhiteSheet = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--white-sheet",
        metavar="LEFT RIGHT",
        help="Captures of a white sheet, to even out the shading of the views.",
        rich_help_panel=_SENSOR,
    ),
]
SwapViews = Annotated[
    bool, typer.Option("--swap-views", help="Take left for right and right for left.", rich_help_panel=_SENSOR)
]
KeepAspect = Annotated[
    bool,
    typer.Option("--keep-aspect", help="Leave pixels that are not square as they are.", rich_help_panel=_SENSOR),
]

Model = Annotated[
    Literal["auto", "k3dn", "dpanet", "gkmnet", "both"],
    typer.Option(
        "--model",
        help="auto is the one that measured best for each photo, both adds up what k3dn and gkmnet change.",
        rich_help_panel=NETWORK,
    ),
]
WeightsFile = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Use these weights instead.", rich_help_panel=NETWORK),
]
Ensemble = Annotated[
    bool,
    typer.Option(
        "--ensemble",
        help="Average over each photo's four mirror images: a little better, four times as slow.",
        rich_help_panel=NETWORK,
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda[:N]|mps", help="What computes.", rich_help_panel=MACHINE)
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on the machines of this running Ray cluster: auto, or HOST:PORT. Photos and results lie on storage "
        "that all of them see.",
        rich_help_panel=MACHINE,
    ),
]
RayWorkers = Annotated[
    int | None,
    typer.Option(
        "--ray-workers",
        min=1,
        metavar="N",
        help="How many workers. By default one a GPU, or one a machine.",
        rich_help_panel=MACHINE,
    ),
]
