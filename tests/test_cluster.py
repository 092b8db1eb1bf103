"""Batches on a Ray cluster of this machine: the same results, each photo once, whatever dies. Needs Ray, else skips."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from cli_runs import ONE_THREAD, PROGRAM, call, draw_codes, write_tiff
from tiny_networks import ADDED, write_gkmnet

from dpdeblur.batch.ledger import MOST_DEATHS
from dpdeblur.batch.outputs import Wanted
from dpdeblur.batch.overlap import Outcome
from dpdeblur.batch.plan import Job
from dpdeblur.batch.stages import Written, read_framed
from dpdeblur.cluster import Cluster, Work, choose_cluster, run_on_cluster
from dpdeblur.cluster import crew as crew_module
from dpdeblur.errors import UsageError
from dpdeblur.framing import WHOLE
from dpdeblur.metadata.provenance import Note
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture, ReadOptions
from dpdeblur.writers import WriteOptions, write_image

# what the command line asks for, without Ray


def test_a_cluster_is_chosen_by_its_options():
    assert choose_cluster(None, None, "cuda:1") is None
    assert choose_cluster("auto", None, "auto") == Cluster("auto", None, uses_gpus=True)
    assert choose_cluster("head:6379", 3, "cpu") == Cluster("head:6379", 3, uses_gpus=False)
    with pytest.raises(UsageError, match="--ray-workers is about --ray"):
        choose_cluster(None, 2, "cpu")
    with pytest.raises(UsageError, match="cuda:1 names another"):
        choose_cluster("auto", None, "cuda:1")


def test_without_ray_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    photo = write_tiff(tmp_path / "a.tif", draw_codes())
    result = call("run", photo, "-o", tmp_path / "out", "--ray", "auto", "--device", "cpu")
    assert result.code == 2
    assert "pip install 'dpdeblur[ray]'" in result.stderr
    assert not (tmp_path / "out").exists()


# with Ray


@pytest.fixture(scope="module")
def ray() -> Any:
    """The library, quiet, and carrying this module's classes to the workers by value."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return ray


@pytest.fixture(scope="module")
def address(ray: Any) -> Iterator[str]:
    """A cluster of one machine with two CPUs, of our own."""
    from ray.cluster_utils import Cluster as LocalCluster

    settings = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": 100_000_000, "include_dashboard": False}
    local = LocalCluster(initialize_head=True, connect=False, head_node_args=settings)
    yield local.address
    local.shutdown()


class Task:
    """Writes each photo as it is; kills its own process where it is told to, and leaves traces in a folder."""

    def __init__(self, folder: Path, *, once: str = "", always: str = "", hide: bool = False) -> None:  # noqa: D107
        self._folder, self._once, self._always, self._hide = folder, once, always, hide
        (folder / f"made_{os.getpid()}").touch()

    def estimate_bytes(self, photo: Photo) -> int:
        """As `stages.Task`."""
        return 0

    def process(self, photo: Photo) -> Photo:
        """Take long enough for both workers to get some."""
        name = photo.paths[0].stem
        killed = self._folder / f"killed_{name}"
        if name == self._always or name == self._once and not killed.exists():
            with killed.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        return photo

    def write(self, photo: Photo, outputs: tuple[Path, ...]) -> Written:
        """Write it, or only say so."""
        if not self._hide:
            note = Note("run", "the photo as it was", photo.fingerprint)
            write_image(outputs[0], photo.base, photo, WriteOptions(), provenance=str(note))
        return Written(40, 24, (), {"worker": os.getpid()})


class Listener:
    """Remembers what it is told."""

    def __init__(self) -> None:  # noqa: D107
        self.workers = 0
        self.lines: list[str] = []
        self.outcomes: list[Outcome] = []

    def say(self, line: str) -> None:
        """As `cluster.Listener`."""
        self.lines.append(line)

    def advance(self, share: float) -> None:
        """As `cluster.Listener`."""
        raise AssertionError("shares do not travel")

    def report_finished(self, outcome: Outcome) -> None:
        """As `cluster.Listener`."""
        self.outcomes.append(outcome)

    def postpone(self, outcome: Outcome) -> None:
        """As `cluster.Listener`."""
        self.lines.append(str(outcome.error))


def work_on(photos: int, folder: Path, address: str, **options: Any) -> Listener:
    """Let two workers do `Task` on so many photos `0.tif`, `1.tif` ..."""
    names = [write_tiff(folder / f"{number}.tif", draw_codes()) for number in range(photos)]
    jobs = [Job(Capture((path,)), (folder / "out" / path.name,)) for path in names]
    listener = Listener()
    read = functools.partial(read_framed, options=ReadOptions(), framing=WHOLE)
    work = Work(read, lambda _: Task(folder, **options), Wanted("run"))
    run_on_cluster(jobs, work, listener, Cluster(address, workers=2))
    return listener


def count_by_name(listener: Listener) -> dict[str, str]:
    """How each photo ended; one that ended twice is an error."""
    ends = {outcome.job.capture.name: outcome.status for outcome in listener.outcomes}
    assert len(ends) == len(listener.outcomes)
    return ends


def test_two_workers_do_every_photo_once_and_load_their_networks_once(tmp_path: Path, address: str):
    listener = work_on(12, tmp_path, address)
    assert count_by_name(listener) == {str(number): "done" for number in range(12)}
    workers = {str(outcome.written.details["worker"]) for outcome in listener.outcomes if outcome.written is not None}
    assert len(workers) == listener.workers == 2
    assert {path.name for path in tmp_path.glob("made_*")} == {f"made_{worker}" for worker in workers}


def test_the_photos_of_a_killed_worker_are_done_by_another(tmp_path: Path, address: str):
    listener = work_on(10, tmp_path, address, once="3")
    assert (tmp_path / "killed_3").read_text() == "x"
    ends = count_by_name(listener)
    # what was written before its worker died, and could not say so, is found done
    assert set(ends) == {str(number) for number in range(10)}
    assert set(ends.values()) <= {"done", "skipped"} and ends["3"] == "done"
    assert {path.stem for path in (tmp_path / "out").glob("*.tif")} == set(ends)
    assert any("a worker died" in line for line in listener.lines)


def test_a_photo_that_kills_every_worker_fails_alone(tmp_path: Path, address: str):
    listener = work_on(6, tmp_path, address, always="2")
    assert (tmp_path / "killed_2").read_text() == "x" * MOST_DEATHS
    ends = count_by_name(listener)
    assert {name for name, status in ends.items() if status == "failed"} == {"2"}
    assert len(ends) == 6
    (error,) = (str(outcome.error) for outcome in listener.outcomes if outcome.error is not None)
    assert error.startswith(f"{tmp_path / '2.tif'}: the worker that restored it died, {MOST_DEATHS} times")


def test_a_result_that_cannot_be_seen_from_here_is_a_failure(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(crew_module, "_VISIBLE_WITHIN_S", 0.1)
    listener = work_on(1, tmp_path, address, hide=True)
    (outcome,) = listener.outcomes
    assert outcome.status == "failed"
    assert "is not to be seen here" in str(outcome.error)


def test_the_command_line_gives_the_same_files_lines_and_log_as_without_a_cluster(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)  # relative names, of weights too, are understood from here
    write_gkmnet(Path("brighter.safetensors"), added=ADDED)
    for name in ("a", "b/c", "d"):
        write_tiff(Path("photos") / f"{name}.tif", draw_codes())
    (tmp_path / "photos" / "broken.tif").write_bytes(b"II*\0 this is no picture")
    options = ("run", "photos", "-r", "--weights", "brighter.safetensors", "--scale", "1", "--device", "cpu")
    here = call(*options, "-o", "here", "--log", "here.jsonl")
    there = call(*options, "-o", "there", "--log", "there.jsonl", "--ray", address, "--ray-workers", "2")
    assert (here.code, there.code) == (1, 1)
    for name in ("a.tif", "b/c.tif", "d.tif"):
        np.testing.assert_array_equal(tifffile.imread(Path("here") / name), tifffile.imread(Path("there") / name))
    assert read_log("there.jsonl") == read_log("here.jsonl")
    assert "3 done, 1 failed" in there.stderr
    again = call(*options, "-o", "there", "--ray", address)
    assert "3 already done, 1 failed" in again.stderr


def test_a_worker_killed_under_the_command_line_costs_nothing(tmp_path: Path, address: str):
    weights = write_gkmnet(tmp_path / "same.safetensors")
    for number in range(12):
        write_tiff(tmp_path / "photos" / f"{number}.tif", draw_codes(96, 128))
    command = [*PROGRAM, "run", "photos", "-o", "out", "--weights", str(weights), "--scale", "1", "--device", "cpu"]
    command += ["--ray", address, "--ray-workers", "2", "--log", "log.jsonl"]
    program = subprocess.Popen(
        command, cwd=tmp_path, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("out/*.tif")):
        assert program.poll() is None, program.communicate()
        time.sleep(0.05)
    victim = next(path for path in Path("/proc").glob("[0-9]*/cmdline") if b"ray::Station" in path.read_bytes())
    os.kill(int(victim.parent.name), signal.SIGKILL)
    stdout, stderr = program.communicate(timeout=120)
    assert (program.returncode, stdout) == (0, ""), stderr
    assert "a worker died" in stderr
    entries = read_log(str(tmp_path / "log.jsonl"))
    assert sorted(Path(entry["input"][0]).stem for entry in entries) == sorted(str(number) for number in range(12))
    assert {entry["status"] for entry in entries} <= {"done", "skipped"}
    assert len(list(tmp_path.glob("out/*.tif"))) == 12


def read_log(name: str) -> list[dict[str, Any]]:
    """A log without times, in the order of the photos, its results under one folder."""
    entries = []
    for line in Path(name).read_text().splitlines():
        entry = json.loads(line.replace("there/", "here/"))
        entry["seconds"] = sorted(entry["seconds"])
        entries.append(entry)
    return sorted(entries, key=lambda entry: str(entry["input"]))


@pytest.mark.parametrize("nowhere", ["local", "127.0.0.1:1"])
def test_no_cluster_is_one_line_and_none_is_started(
    ray: Any, tmp_path: Path, nowhere: str, monkeypatch: pytest.MonkeyPatch
):
    photo = write_tiff(tmp_path / "a.tif", draw_codes())
    result = call("run", photo, "-o", tmp_path / "out", "--ray", nowhere, "--device", "cpu")
    assert result.code == 2
    assert nowhere in result.stderr.splitlines()[-1]
    assert not ray.is_initialized()
    assert not (tmp_path / "out").exists()
