"""`dpdeblur run`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dpdeblur.commands.options import (
    MACHINE,
    NETWORK,
    OUTPUT,
    BlackLevel,
    Device,
    DryRun,
    Ensemble,
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
    Ray,
    RayWorkers,
    Recursive,
    Shard,
    SwapViews,
    Twins,
    Update,
    WeightsFile,
    WhiteLevel,
    WhiteSheet,
    parse_memory,
    parse_part,
    parse_tile,
)
from dpdeblur.commands.pages import ReportFile, ReportFull, observe_run
from dpdeblur.commands.photos import Results, Selection, choose_redo, work_through
from dpdeblur.commands.reporter import Reporter, report_errors

if TYPE_CHECKING:
    from dpdeblur.pipeline import Restoration

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
    update: Update = False,
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
    defocus_map: Annotated[
        bool,
        typer.Option(
            "--defocus-map",
            help="Write NAME_defocus.tif too: how far out of focus each place is.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    report: ReportFile = None,
    report_full: ReportFull = False,
    log: Log = None,
    dry_run: DryRun = False,
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
    ensemble: Ensemble = False,
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
    ray: Ray = None,
    ray_workers: RayWorkers = None,
    black_level: BlackLevel = None,
    white_level: WhiteLevel = None,
    linear: Linear = False,
    pixel_aspect: PixelAspect = None,
    white_sheet: WhiteSheet = None,
    swap_views: SwapViews = False,
    keep_aspect: KeepAspect = False,
) -> None:
    """Restore photos: dual-pixel captures from their two views, others as single images."""
    with report_errors(), observe_run(report, keeps_full=report_full) as observer:
        from dpdeblur.batch.inputs import RUN_FOLDER
        from dpdeblur.batch.markers import mark_run
        from dpdeblur.batch.outputs import Wanted
        from dpdeblur.batch.stages import read_framed
        from dpdeblur.cluster import choose_cluster
        from dpdeblur.framing import Crop, Framing
        from dpdeblur.readers import ReadOptions

        framing = Framing(None if crop is None else Crop(*crop), keep_aspect)
        read_options = ReadOptions(black_level, white_level, linear, pixel_aspect, white_sheet, swap_views)
        examine = None if observer is None else observer.examine

        @functools.cache
        def list_weights() -> frozenset[str]:
            from dpdeblur.pipeline import list_candidates

            return list_candidates(model, weights)

        def make_task(reporter: Reporter) -> Restoration:
            from dpdeblur.pipeline import Restoration
            from dpdeblur.restoration.inference import Settings
            from dpdeblur.writers import WriteOptions

            return Restoration(
                read_options=read_options,
                write_options=WriteOptions(format=format_name, profile=profile),
                settings=Settings(
                    device=device,
                    precision=precision,
                    tile_px=tile,
                    overlap_px=overlap,
                    strength=strength,
                    max_memory_bytes=max_memory,
                    working_scale=scale,
                    ensemble=ensemble,
                ),
                model=model,
                weights=weights,
                framing=framing,
                announce=reporter.say,
                advance=reporter.advance,
                examine=examine,
                keeps_photo=defocus_map or examine is not None,
            )

        marker = mark_run(framing, read_options, strength=strength, scale=scale, ensemble=ensemble, profile=profile)
        endings = (_SUFFIXES[format_name], *(["_defocus.tif"] if defocus_map else []))
        code = work_through(
            Selection(photos, recursive, files_from, null, twins, shard),
            Results(
                output=output,
                folder_name=RUN_FOLDER,
                name_outputs=lambda stem: tuple(stem.with_name(stem.name + ending) for ending in endings),
                wanted=Wanted(marker, list_weights, choose_redo(overwrite, update)),
                log=log,
                dry_run=dry_run,
            ),
            functools.partial(read_framed, options=read_options, framing=framing.uncropped),
            make_task,
            observer,
            cluster=choose_cluster(ray, ray_workers, device),
        )
    raise typer.Exit(code if observer is None else observer.correct_code(code))
