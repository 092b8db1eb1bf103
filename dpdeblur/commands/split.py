"""`dpdeblur split`."""

from __future__ import annotations

from typing import Annotated

import typer

from dpdeblur.commands.options import (
    OUTPUT,
    BlackLevel,
    DryRun,
    FilesFrom,
    KeepAspect,
    Log,
    Null,
    Output,
    Overwrite,
    Photos,
    PixelAspect,
    Recursive,
    Shard,
    SwapViews,
    Update,
    WhiteLevel,
    WhiteSheet,
)
from dpdeblur.commands.photos import Results, Selection, choose_redo, work_through
from dpdeblur.commands.reporter import report_errors
from dpdeblur.errors import UsageError


def split(
    photos: Photos = None,
    recursive: Recursive = False,
    files_from: FilesFrom = None,
    null: Null = False,
    shard: Shard = None,
    output: Output = None,
    overwrite: Overwrite = False,
    update: Update = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="Write linear light instead of sRGB.", rich_help_panel=OUTPUT)
    ] = False,
    mosaic: Annotated[
        bool,
        typer.Option("--mosaic", help="Write the photodiodes' bare values, undeveloped.", rich_help_panel=OUTPUT),
    ] = False,
    combined: Annotated[
        bool, typer.Option("--combined", help="Write the whole photo too.", rich_help_panel=OUTPUT)
    ] = False,
    dpdd_layout: Annotated[
        bool,
        typer.Option(
            "--dpdd-layout", help="Write test_l/source/NAME.png and test_r/source/NAME.png.", rich_help_panel=OUTPUT
        ),
    ] = False,
    log: Log = None,
    dry_run: DryRun = False,
    black_level: BlackLevel = None,
    white_level: WhiteLevel = None,
    pixel_aspect: PixelAspect = None,
    white_sheet: WhiteSheet = None,
    swap_views: SwapViews = False,
    keep_aspect: KeepAspect = False,
) -> None:
    """Export the left and right views of dual-pixel captures as NAME_left.tif and NAME_right.tif."""
    with report_errors():
        from dpdeblur.batch.inputs import SPLIT_FOLDER
        from dpdeblur.batch.outputs import Wanted
        from dpdeblur.readers import ReadOptions
        from dpdeblur.views import Splitting

        if mosaic and (linear or combined or dpdd_layout):
            raise UsageError("--mosaic writes bare values, and goes with none of --linear, --combined, --dpdd-layout")
        splitting = Splitting(
            ReadOptions(black_level, white_level, False, pixel_aspect, white_sheet, swap_views),
            form="mosaic" if mosaic else "linear" if linear else "srgb",
            combined=combined,
            layout="dpdd" if dpdd_layout else "named",
            keep_aspect=keep_aspect,
        )
        results = Results(
            output=output,
            folder_name=SPLIT_FOLDER,
            name_outputs=splitting.name_outputs,
            wanted=Wanted(splitting.marker, redo=choose_redo(overwrite, update)),
            log=log,
            dry_run=dry_run,
            needs_two_views=True,
        )
        selection = Selection(photos, recursive, files_from, null, twins=False, shard=shard)
        code = work_through(selection, results, splitting.read, lambda reporter: splitting)
    raise typer.Exit(code)
