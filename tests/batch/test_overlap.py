"""Many photos: overlap, failures, interruption, and what is done already."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpdeblur.batch.outputs import Wanted
from dpdeblur.batch.overlap import LEAST_LIMIT_S, Batch, Outcome, find_limit
from dpdeblur.batch.plan import Job
from dpdeblur.batch.stages import Written
from dpdeblur.batch.worker import Worker
from dpdeblur.errors import PassingError, ReadError, UsageError, WriteError
from dpdeblur.metadata.provenance import Note, fingerprint_files
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture
from dpdeblur.writers import WriteOptions, write_image


class _Here(Worker):
    """Calls functions in this process, so that they may be closures."""

    def call(self, limit_s: float, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return work(*arguments, **options)


class _Recorder:
    """A task that notes the beginning and the end of each stage, and fails where it is told to."""

    def __init__(
        self,
        failures: dict[tuple[str, str], BaseException] | None = None,
        seconds: float = 0.0,
        passing: str = "",
    ) -> None:
        self.events: list[tuple[str, str, str]] = []
        self.decoded = 0
        self.most_decoded = 0
        self._failures = failures or {}
        self._passing = passing
        self._seconds = seconds
        self._lock = threading.Lock()

    def _pass(self, stage: str, name: str) -> str:
        self.events.append(("begin", stage, name))
        time.sleep(self._seconds)
        if (stage, name) in self._failures:
            error = self._failures[stage, name]
            if name in self._passing:
                del self._failures[stage, name]
            raise error
        self.events.append(("end", stage, name))
        return name

    def _hold(self, change: int) -> None:
        with self._lock:
            self.decoded += change
            self.most_decoded = max(self.most_decoded, self.decoded)

    def read(self, capture: Capture) -> str:
        self._hold(+1)
        return self._pass("read", capture.name)

    def estimate_bytes(self, photo: str) -> int:
        return 1_000_000

    def process(self, photo: str) -> str:
        return self._pass("process", photo)

    def write(self, product: str, outputs: tuple[Path, ...]) -> Written:
        self._pass("write", product)
        outputs[0].write_text(product)
        self._hold(-1)
        return Written(1, 1, (), {})

    def when(self, *event: str) -> int:
        return self.events.index(event)  # type: ignore[arg-type]


def make_jobs(folder: Path, names: str) -> list[Job]:
    return [Job(Capture((Path(f"{name}.cr2"),)), (folder / "out" / f"{name}.tif",)) for name in names]


def make_batch(task: _Recorder, outcomes: list[Outcome], postponed: list[Outcome] | None = None) -> Batch:
    return Batch(
        task.read,
        lambda: task,
        worker=_Here(),
        wanted=Wanted("run"),
        report=outcomes.append,
        postpone=[].append if postponed is None else postponed.append,
    )


def run(jobs: list[Job], task: _Recorder, postponed: list[Outcome] | None = None) -> dict[str, Outcome]:
    outcomes: list[Outcome] = []
    make_batch(task, outcomes, postponed).run(jobs)
    return {outcome.job.capture.name: outcome for outcome in outcomes}


def test_every_photo_passes_all_stages_in_order(tmp_path: Path) -> None:
    outcomes = run(make_jobs(tmp_path, "abc"), _Recorder())
    assert {name: outcome.status for name, outcome in outcomes.items()} == dict.fromkeys("abc", "done")
    assert list(outcomes) == ["a", "b", "c"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif", "c.tif"]
    assert set(outcomes["a"].seconds) == {"read", "process", "write"}


def test_decoding_and_writing_overlap_with_processing(tmp_path: Path) -> None:
    task = _Recorder(seconds=0.05)
    run(make_jobs(tmp_path, "abc"), task)
    assert task.when("begin", "read", "b") < task.when("end", "process", "a")
    assert task.when("begin", "process", "b") < task.when("end", "write", "a")


def test_one_photo_at_most_is_decoded_ahead(tmp_path: Path) -> None:
    task = _Recorder(seconds=0.01)
    run(make_jobs(tmp_path, "abcdefgh"), task)
    assert task.most_decoded <= 3  # one ahead, one being processed, one being written
    assert task.when("begin", "read", "c") > task.when("end", "process", "a")


@pytest.mark.parametrize("stage", ["read", "process", "write"])
def test_a_photo_that_fails_does_not_stop_the_rest(tmp_path: Path, stage: str) -> None:
    task = _Recorder({(stage, "b"): ReadError("is bad", path=Path("b.cr2"))})
    outcomes = run(make_jobs(tmp_path, "abc"), task)
    assert {name: outcome.status for name, outcome in outcomes.items()} == {"a": "done", "b": "failed", "c": "done"}
    assert str(outcomes["b"].error) == "b.cr2: is bad"
    assert not (tmp_path / "out" / "b.tif").exists()


def test_a_failure_without_a_file_gets_the_photos_name(tmp_path: Path) -> None:
    task = _Recorder({("write", "a"): WriteError("holds no numbers", remedy="try fp32")})
    assert str(run(make_jobs(tmp_path, "a"), task)["a"].error) == "a.cr2: holds no numbers; try fp32"


def test_want_of_memory_fails_one_photo(tmp_path: Path) -> None:
    outcomes = run(make_jobs(tmp_path, "ab"), _Recorder({("process", "a"): MemoryError()}))
    assert list(outcomes) == ["b", "a"]
    assert "not enough memory to process it" in str(outcomes["a"].error)
    assert outcomes["b"].status == "done"


def test_wrong_use_stops_everything(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such device"):
        run(make_jobs(tmp_path, "ab"), _Recorder({("process", "a"): UsageError("no such device")}))


def test_an_interruption_drops_the_current_photo_and_finishes_the_one_being_written(tmp_path: Path) -> None:
    task = _Recorder({("process", "b"): KeyboardInterrupt()}, seconds=0.02)
    outcomes: list[Outcome] = []
    with pytest.raises(KeyboardInterrupt):
        make_batch(task, outcomes).run(make_jobs(tmp_path, "abcd"))
    assert [(outcome.job.capture.name, outcome.status) for outcome in outcomes] == [("a", "done")]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.tif"]
    assert ("begin", "read", "d") not in task.events


def test_no_folder_is_made_where_nothing_is_written(tmp_path: Path) -> None:
    run(make_jobs(tmp_path, "a"), _Recorder({("read", "a"): ReadError("is bad")}))
    assert not (tmp_path / "out").exists()


def test_what_failed_for_a_passing_reason_is_tried_once_more_at_the_end(tmp_path: Path) -> None:
    failures: dict[tuple[str, str], BaseException] = {
        ("read", "a"): PassingError("its decoder crashed"),
        ("process", "b"): MemoryError(),
        ("write", "c"): WriteError("is locked"),
        ("read", "d"): ReadError("is bad"),
        ("read", "e"): PassingError("its decoder crashed"),
    }
    failures["write", "c"].__cause__ = OSError(errno.EBUSY, "busy")
    task, postponed = _Recorder(failures, passing="abc"), list[Outcome]()
    outcomes = run(make_jobs(tmp_path, "abcdef"), task, postponed)
    assert [outcome.job.capture.name for outcome in postponed] == ["a", "b", "c", "e"]
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        **dict.fromkeys("df", "done"),
        **dict.fromkeys("abc", "done"),
        **dict.fromkeys("de", "failed"),
    }
    assert list(outcomes) == ["d", "f", "a", "b", "c", "e"]
    reads = [name for event, stage, name in task.events if (event, stage) == ("begin", "read")]
    assert reads == [*"abcdef", *"abce"]
    assert str(outcomes["e"].error) == "e.cr2: its decoder crashed"


def test_second_tries_have_the_memory_to_themselves(tmp_path: Path) -> None:
    task = _Recorder({("read", name): MemoryError() for name in "abc"}, passing="abc")
    run(make_jobs(tmp_path, "abc"), task)
    assert task.when("end", "write", "a") < len(task.events) - 1 - task.events[::-1].index(("begin", "read", "b"))


def test_a_photo_that_others_finish_meanwhile_is_not_done_twice(tmp_path: Path) -> None:
    jobs = [Job(Capture((tmp_path / f"{name}.cr2",)), (tmp_path / "out" / f"{name}.tif",)) for name in "abc"]
    for job in jobs:
        job.capture.paths[0].write_text("raw")
    task = _Recorder()
    process = task.process

    def process_while_others_write(photo: str) -> str:
        for job in jobs:
            write_result(job.outputs[0], "run", job.capture.paths[0])
        return process(photo)

    task.process = process_while_others_write  # type: ignore[method-assign]
    (tmp_path / "out").mkdir()
    outcomes = run(jobs, task)
    assert {outcome.status for outcome in outcomes.values()} == {"skipped"}
    assert [event for event in task.events if event[1] == "write"] == []


def test_a_name_that_something_else_takes_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    jobs = make_jobs(tmp_path, "a")
    task = _Recorder()
    process = task.process

    def process_while_the_user_saves(photo: str) -> str:
        jobs[0].outputs[0].parent.mkdir()
        jobs[0].outputs[0].write_text("precious")
        return process(photo)

    task.process = process_while_the_user_saves  # type: ignore[method-assign]
    assert "was not written by dpdeblur" in str(run(jobs, task)["a"].error)
    assert jobs[0].outputs[0].read_text() == "precious"


def test_once_the_disk_is_full_nothing_is_restored_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 900_000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    (tmp_path / "out").mkdir()
    full = WriteError("the disk is full")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    task = _Recorder({("write", "b"): full}, seconds=0.05, passing="b")
    outcomes = run(make_jobs(tmp_path, "abcd"), task)
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        **dict.fromkeys("ac", "done"),  # c was on its way already
        **dict.fromkeys("bd", "failed"),
    }
    assert ("begin", "process", "d") not in task.events
    Usage.free = 2_000_000
    assert run(make_jobs(tmp_path, "bd"), task)["d"].status == "done"


@pytest.mark.parametrize(("size", "limit_s"), [(0, LEAST_LIMIT_S), (3_000_000, LEAST_LIMIT_S + 15)])
def test_large_files_may_take_longer(tmp_path: Path, size: int, limit_s: float) -> None:
    (tmp_path / "a").write_bytes(bytes(size))
    assert find_limit((tmp_path / "a", tmp_path / "gone")) == limit_s


def write_result(path: Path, marker: str, source: Path) -> None:
    image = np.full((2, 2, 3), 0.5, np.float32)
    note = Note(marker, "x", fingerprint_files((source,)))
    write_image(path, image, Photo((source,), "raw", image), WriteOptions(), provenance=str(note))
