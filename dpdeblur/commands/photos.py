"""What `run` and `split` share: find the photos, plan the results, work, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dpdeblur.commands.interruption import stop_on_signals
from dpdeblur.commands.options import Share
from dpdeblur.commands.reporter import ALL_DONE, NOTHING_TO_DO, SOME_FAILED, Observer, Reporter
from dpdeblur.errors import UsageError, show_path

if TYPE_CHECKING:
    from dpdeblur.batch.inputs import Inputs
    from dpdeblur.batch.outputs import Redo, Wanted
    from dpdeblur.batch.overlap import Outcome
    from dpdeblur.batch.plan import Job, NameOutputs
    from dpdeblur.batch.stages import Read, Task
    from dpdeblur.cluster import Cluster


@dataclasses.dataclass(frozen=True)
class Selection:
    """The photos that the user named; attributes are the options of the same names."""

    photos: list[Path] | None
    recursive: bool
    files_from: str | None
    null: bool
    twins: bool
    shard: Share | None = None


@dataclasses.dataclass(frozen=True)
class Results:
    """Where the results go; attributes are the options of the same names, and what the command itself decides.

    Attributes:
        output: The folder, or None for `folder_name` beside each photo.
        folder_name: Its name.
        name_outputs: The files of one result.
        wanted: What the command makes.
        needs_two_views: Photos with one view are passed by.
    """

    output: Path | None
    folder_name: str
    name_outputs: NameOutputs
    wanted: Wanted
    log: Path | None = None
    dry_run: bool = False
    needs_two_views: bool = False


def choose_redo(overwrite: bool, update: bool) -> Redo:
    """Put `--overwrite` and `--update` into one word."""
    return "all" if overwrite else "changed" if update else "none"


def find_photos(selection: Selection) -> Inputs:
    """Find what was named.

    Raises:
        UsageError: Nothing was named, or nothing of it exists.
    """
    from dpdeblur.batch.inputs import find_inputs, read_list

    if selection.null and selection.files_from is None:
        raise UsageError("-0 is about --files-from, which is not there")
    if not selection.photos and selection.files_from is None:
        raise UsageError("no photos were named", remedy="give files or folders, or --files-from")
    named = list(selection.photos or [])
    if selection.files_from is not None:
        named += read_list(selection.files_from, null=selection.null)
    return find_inputs(named, recursive=selection.recursive)


def work_through(
    selection: Selection,
    results: Results,
    read: Read,
    make_task: Callable[[Reporter], Task],
    observer: Observer | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Do a command's work on all photos.

    Args:
        selection: The photos.
        results: Where the results go.
        read: The command's first stage.
        make_task: Makes the other stages, given whom to tell of progress. Called only where there is work.
        observer: Told how each photo ended, or None.
        cluster: Where to work, or None for here.

    Returns:
        The exit code.

    Raises:
        DpDeblurError: The command cannot work at all.
        KeyboardInterrupt: The user wants to stop.
    """
    from dpdeblur.batch.overlap import Batch, check_job
    from dpdeblur.batch.worker import Worker
    from dpdeblur.cluster import Work, run_on_cluster
    from dpdeblur.writers import clear_leftovers

    if results.output is not None and results.output.exists() and not results.output.is_dir():
        raise UsageError("is a file, and --output wants a folder", path=results.output)
    inputs = find_photos(selection)
    jobs = _plan(inputs, selection, results)
    checked = [(job, check_job(job, results.wanted)) for job in jobs]
    if results.dry_run:
        return _print_plan(checked, inputs)
    pending = [job for job, outcome in checked if outcome is None]
    if observer is not None:
        observer.begin(len(checked) + len(inputs.failures))
    with Reporter(len(pending), results.log, needs_two_views=results.needs_two_views, observer=observer) as reporter:
        for error in inputs.failures:
            reporter.refuse(error)
        for _, outcome in checked:
            if outcome is not None:
                reporter.report_known(outcome)
        for folder in {path.parent for job in jobs for path in job.outputs}:
            clear_leftovers(folder)
        if pending:
            try:
                with stop_on_signals(reporter.say), Worker() as worker:
                    if cluster is not None:
                        run_on_cluster(pending, Work(read, make_task, results.wanted), reporter, cluster)
                    else:
                        batch = Batch(
                            read,
                            lambda: make_task(reporter),
                            worker=worker,
                            wanted=results.wanted,
                            report=reporter.report_finished,
                            postpone=reporter.postpone,
                        )
                        batch.run(pending)
            except KeyboardInterrupt:
                reporter.summarize()
                raise
        return reporter.finish()


def _plan(inputs: Inputs, selection: Selection, results: Results) -> list[Job]:
    """Choose the photos and name their results; say what was left out."""
    from dpdeblur.batch.plan import drop_twins, plan_jobs, take_share

    found, twins = (inputs.found, ()) if selection.twins else drop_twins(inputs.found)
    if twins:
        hint = "" if results.needs_two_views else " (--twins takes them too)"
        typer.echo(f"camera JPEGs left to their raws: {len(twins)}{hint}", err=True)
    if inputs.own_results:
        typer.echo(f"results of dpdeblur passed by: {inputs.own_results}", err=True)
    jobs = plan_jobs(found, results.name_outputs, output=results.output, folder_name=results.folder_name)
    return jobs if selection.shard is None else take_share(jobs, *selection.shard)


def _print_plan(checked: Sequence[tuple[Job, Outcome | None]], inputs: Inputs) -> int:
    """Print each photo with its results on stdout, and on stderr what cannot be done."""
    failures = list(inputs.failures)
    for job, outcome in checked:
        if outcome is not None and outcome.error is not None:
            failures.append(outcome.error)
            continue
        state = "" if outcome is None else " (already done)"
        sources, targets = (", ".join(map(show_path, paths)) for paths in (job.capture.paths, job.outputs))
        typer.echo(f"{sources} -> {targets}{state}")
    for error in failures:
        typer.echo(str(error), err=True)
    if not checked and not failures:
        typer.echo("no photos found", err=True)
        return NOTHING_TO_DO
    return SOME_FAILED if failures else ALL_DONE
