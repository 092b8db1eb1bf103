"""`dpdeblur run`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dpdeblur.commands.options import (
    MACHINE,
    NETWORK,
    OUTPUT,
    BlackLevel,
    Device,
    FilesFrom,
    KeepAspect,
    Linear,
    Log,
    Model,
    Null,
    Output,
    Overwrite,
    Part,
    Photos,
    PixelAspect,
    Recursive,
    Shard,
    SwapViews,
    Twins,
    WeightsFile,
    WhiteLevel,
    WhiteSheet,
    parse_memory,
    parse_part,
    parse_tile,
)
from dpdeblur.commands.photos import Results, Selection, work_through
from dpdeblur.commands.reporter import report_errors

_SUFFIXES = {"tiff": ".tif", "png": ".png", "jpeg": ".jpg"}


def run(
    photos: Photos = None,
    recursive: Recursive = False,
    files_from: FilesFrom = None,
    null: Null = False,
    twins: Twins = False,
    shard: Shard = None,
    output: Output = None,
    overwrite: Overwrite = False,
    format_name: Annotated[
        Literal["tiff", "png", "jpeg"],
        typer.Option("--format", help="16-bit TIFF or PNG, or 8-bit JPEG.", rich_help_panel=OUTPUT),
    ] = "tiff",
    profile: Annotated[
        Literal["srgb", "adobe-rgb", "prophoto", "display-p3", "linear"] | None,
        typer.Option(
            "--profile", help="The results' colour space. By default the photo's own, or srgb.", rich_help_panel=OUTPUT
        ),
    ] = None,
    crop: Annotated[
        Part | None,
        typer.Option(
            "--crop", parser=parse_part, metavar="X,Y,W,H", help="Preview this part only.", rich_help_panel=OUTPUT
        ),
    ] = None,
    log: Log = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be done.", rich_help_panel=OUTPUT)
    ] = False,
    model: Model = "auto",
    weights: WeightsFile = None,
    strength: Annotated[
        float, typer.Option("--strength", min=0, max=1, help="How much of the change.", rich_help_panel=NETWORK)
    ] = 1.0,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale",
            min=0.01,
            max=1,
            help="The size at which the network works, 1 being the photo's. By default chosen for each photo.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        typer.Option("--precision", help="What to compute in.", rich_help_panel=MACHINE),
    ] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile", parser=parse_tile, metavar="auto|PIXELS", help="Side of a tile.", rich_help_panel=MACHINE
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", min=0, metavar="PIXELS", help="How far tiles overlap.", rich_help_panel=MACHINE),
    ] = None,
    max_memory: Annotated[
        int | None,
        typer.Option(
            "--max-memory", parser=parse_memory, metavar="6G", help="Keep within this.", rich_help_panel=MACHINE
        ),
    ] = None,
    black_level: BlackLevel = None,
    white_level: WhiteLevel = None,
    linear: Linear = False,
    pixel_aspect: PixelAspect = None,
    white_sheet: WhiteSheet = None,
    swap_views: SwapViews = False,
    keep_aspect: KeepAspect = False,
) -> None:
    """Restore photos: dual-pixel captures from their two views, others as single images."""
    with report_errors():
        from dpdeblur.framing import Crop, Framing
        from dpdeblur.inference import Settings
        from dpdeblur.inputs import RUN_FOLDER
        from dpdeblur.pipeline import Restoration, mark_run
        from dpdeblur.readers import ReadOptions
        from dpdeblur.writers import WriteOptions

        framing = Framing(None if crop is None else Crop(*crop), keep_aspect)
        settings = Settings(
            device=device,
            precision=precision,
            tile_px=tile,
            overlap_px=overlap,
            strength=strength,
            max_memory_bytes=max_memory,
            working_scale=scale,
        )
        read_options = ReadOptions(black_level, white_level, linear, pixel_aspect, white_sheet, swap_views)
        suffix = _SUFFIXES[format_name]
        code = work_through(
            Selection(photos, recursive, files_from, null, twins, shard),
            Results(
                output=output,
                folder_name=RUN_FOLDER,
                name_outputs=lambda stem: (stem.with_name(stem.name + suffix),),
                marker=mark_run(framing),
                overwrite=overwrite,
                log=log,
                dry_run=dry_run,
            ),
            lambda reporter: Restoration(
                read_options=read_options,
                write_options=WriteOptions(format=format_name, profile=profile),
                settings=settings,
                model=model,
                weights=weights,
                framing=framing,
                announce=reporter.say,
                advance=reporter.advance,
            ),
        )
    raise typer.Exit(code)
