"""Many photos: overlap, failures, interruption, and what is done already."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dpdeblur.batch import Outcome, check_outputs, run_batch
from dpdeblur.errors import ReadError, UsageError, WriteError
from dpdeblur.photo import Photo
from dpdeblur.plan import Job
from dpdeblur.provenance import Note
from dpdeblur.readers import Capture
from dpdeblur.stages import Written
from dpdeblur.writers import WriteOptions, write_image


class _Recorder:
    """A task that notes the beginning and the end of each stage, and fails where it is told to."""

    def __init__(self, failures: dict[tuple[str, str], BaseException] | None = None, seconds: float = 0.0) -> None:
        self.events: list[tuple[str, str, str]] = []
        self.decoded = 0
        self.most_decoded = 0
        self._failures = failures or {}
        self._seconds = seconds
        self._lock = threading.Lock()

    def _pass(self, stage: str, name: str) -> str:
        self.events.append(("begin", stage, name))
        time.sleep(self._seconds)
        if (stage, name) in self._failures:
            raise self._failures[stage, name]
        self.events.append(("end", stage, name))
        return name

    def _hold(self, change: int) -> None:
        with self._lock:
            self.decoded += change
            self.most_decoded = max(self.most_decoded, self.decoded)

    def read(self, capture: Capture) -> str:
        self._hold(+1)
        return self._pass("read", capture.name)

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


def run(jobs: list[Job], task: _Recorder) -> dict[str, Outcome]:
    outcomes: list[Outcome] = []
    run_batch(jobs, task, outcomes.append)
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
    assert "not enough memory to process it" in str(outcomes["a"].error)
    assert outcomes["b"].status == "done"


def test_wrong_use_stops_everything(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such device"):
        run(make_jobs(tmp_path, "ab"), _Recorder({("process", "a"): UsageError("no such device")}))


def test_an_interruption_drops_the_current_photo_and_finishes_the_one_being_written(tmp_path: Path) -> None:
    task = _Recorder({("process", "b"): KeyboardInterrupt()}, seconds=0.02)
    outcomes: list[Outcome] = []
    with pytest.raises(KeyboardInterrupt):
        run_batch(make_jobs(tmp_path, "abcd"), task, outcomes.append)
    assert [(outcome.job.capture.name, outcome.status) for outcome in outcomes] == [("a", "done")]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.tif"]
    assert ("begin", "read", "d") not in task.events


def test_a_folder_that_cannot_be_made_fails_the_photo(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    outcome = run(make_jobs(tmp_path, "a"), _Recorder())["a"]
    assert isinstance(outcome.error, WriteError)
    assert outcome.error.path == tmp_path / "out"


def test_no_folder_is_made_where_nothing_is_written(tmp_path: Path) -> None:
    run(make_jobs(tmp_path, "a"), _Recorder({("read", "a"): ReadError("is bad")}))
    assert not (tmp_path / "out").exists()


def write_result(path: Path, marker: str) -> None:
    image = np.full((2, 2, 3), 0.5, np.float32)
    write_image(path, image, Photo((Path("a.cr2"),), "raw", image), WriteOptions(), provenance=str(Note(marker, "x")))


@pytest.mark.parametrize(
    ("found", "wanted", "overwrite", "status"),
    [
        (None, "run", False, None),
        ("run", "run", False, "skipped"),
        ("run", "run", True, None),
        ("run crop=0,0,2,2", "run", False, None),
        ("run crop=0,0,2,2", "run crop=0,0,2,2", False, "skipped"),
        ("run", "run crop=0,0,2,2", False, "failed"),
        ("split srgb", "split mosaic", False, "failed"),
        ("split srgb", "split mosaic", True, None),
    ],
)
def test_what_is_there_decides_what_is_done(
    tmp_path: Path, found: str | None, wanted: str, overwrite: bool, status: str | None
) -> None:
    job = Job(Capture((Path("a.cr2"),)), (tmp_path / "a.tif",))
    if found is not None:
        write_result(tmp_path / "a.tif", found)
    outcome = check_outputs(job, wanted, overwrite=overwrite)
    assert (None if outcome is None else outcome.status) == status


def test_a_photo_is_done_when_all_its_outputs_are(tmp_path: Path) -> None:
    job = Job(Capture((Path("a.cr2"),)), (tmp_path / "a_left.tif", tmp_path / "a_right.tif"))
    write_result(tmp_path / "a_left.tif", "split srgb")
    assert check_outputs(job, "split srgb", overwrite=False) is None
    write_result(tmp_path / "a_right.tif", "split srgb")
    assert check_outputs(job, "split srgb", overwrite=False) == Outcome(job, "skipped")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", [b"", b"II*\0\x08\0\0\0\0\0\0\0\0\0"])
def test_what_something_else_wrote_is_never_replaced(tmp_path: Path, content: bytes, overwrite: bool) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    outcome = check_outputs(Job(Capture((Path("a.cr2"),)), (tmp_path / "a.tif",)), "run", overwrite=overwrite)
    assert outcome is not None
    assert "was not written by dpdeblur" in str(outcome.error)


def test_a_folder_in_a_results_place_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    outcome = check_outputs(Job(Capture((Path("a.cr2"),)), (tmp_path / "a.tif",)), "run", overwrite=True)
    assert outcome is not None
    assert outcome.status == "failed"
