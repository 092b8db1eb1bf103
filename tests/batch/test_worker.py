"""The decoder's process: what it hands back, and that whatever happens to it costs one call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import worker_jobs
from faults.processes import is_running

from dpdeblur.batch.stages import read_framed
from dpdeblur.batch.worker import Worker
from dpdeblur.errors import PassingError, ReadError
from dpdeblur.framing import WHOLE
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture, ReadOptions

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
linux_only = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks /proc")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


def count_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("pipe_only", [False, True])
def test_arrays_come_back_as_they_were_and_may_be_changed(worker: Worker, pipe_only: bool) -> None:
    worker.call(60, os.getpid)
    shares, worker._shares_memory = worker._shares_memory, worker._shares_memory and not pipe_only
    arrays = worker.call(60, worker_jobs.make_several)
    worker._shares_memory = shares
    np.testing.assert_array_equal(arrays["large"], np.arange(200_000, dtype=np.float32))
    np.testing.assert_array_equal(arrays["small"], [0, 1, 2])
    np.testing.assert_array_equal(arrays["strided"], np.arange(0, 400_000, 2, dtype=np.float32))
    for array in arrays.values():
        array[0] = 7
        assert array[0] == 7


def test_a_photo_comes_back_whole(worker: Worker, dual_cr2: Path) -> None:
    there = worker.call(60, read_framed, Capture((dual_cr2,)), ReadOptions(), WHOLE)
    here = read_framed(Capture((dual_cr2,)), ReadOptions(), WHOLE)
    assert isinstance(there, Photo)
    for view in ("base", "left", "right"):
        np.testing.assert_array_equal(getattr(there, view), getattr(here, view))
    assert (there.metadata, there.kind, there.fingerprint) == (here.metadata, here.kind, here.fingerprint)
    assert there.colour.name == here.colour.name


@linux_only
def test_what_comes_back_leaves_nothing_open_once_it_is_let_go(worker: Worker) -> None:
    pid = worker.call(60, os.getpid)
    counts = count_files(pid), count_files(os.getpid())
    for _ in range(3):
        array = worker.call(60, worker_jobs.count_up, 1_000_000)
        assert "memfd:dpdeblur" in Path("/proc/self/maps").read_text()
        del array
    worker.call(60, os.getpid)
    assert "memfd:dpdeblur" not in Path("/proc/self/maps").read_text()
    assert (count_files(pid), count_files(os.getpid())) == counts


def test_a_decoder_loads_no_torch_and_is_a_process_of_its_own(worker: Worker, single_cr2: Path) -> None:
    worker.call(60, read_framed, Capture((single_cr2,)), ReadOptions(), WHOLE)
    modules = worker.call(60, worker_jobs.list_modules)
    assert {"rawpy", "cv2", "numpy"} <= modules
    assert not {"torch", "typer"} & modules
    assert worker.call(60, os.getpid) != os.getpid()


@posix_only
@pytest.mark.parametrize(
    ("work", "limit_s", "words"),
    [
        (worker_jobs.crash, 60, r"its decoder crashed \(SIGSEGV\)"),
        (os.abort, 60, r"its decoder crashed \(SIGABRT\)"),
        (worker_jobs.kill_oneself, 60, "its decoder was killed, as systems do when memory runs out"),
        (worker_jobs.hang_with_python_locked, 0.6, "decoding took more than 1 s and was given up"),
        (worker_jobs.divide_by_zero, 60, r"its decoder crashed \(code 1: ZeroDivisionError: division by zero\)"),
    ],
)
def test_a_decoder_that_dies_costs_one_call(
    worker: Worker, work: Callable[[], None], limit_s: float, words: str
) -> None:
    with pytest.raises(PassingError, match=words) as caught:
        worker.call(limit_s, work)
    assert "\n" not in str(caught.value)
    assert worker.call(60, worker_jobs.count_up, 3).tolist() == [0, 1, 2]


def test_expected_failures_come_back_as_they_are(worker: Worker) -> None:
    pid = worker.call(60, os.getpid)
    with pytest.raises(ReadError) as caught:
        worker.call(60, worker_jobs.fail_to_read)
    assert str(caught.value) == "a.cr2: is bad; copy it"
    assert caught.value.is_passing
    with pytest.raises(MemoryError):
        worker.call(60, worker_jobs.want_memory)
    assert worker.call(60, os.getpid) == pid


def test_what_libraries_print_or_read_does_not_get_between(worker: Worker) -> None:
    assert worker.call(60, worker_jobs.talk_and_listen) == ""
    assert worker.call(60, worker_jobs.count_up, 2).tolist() == [0, 1]


@posix_only
def test_an_interruption_is_the_parents_to_handle(worker: Worker) -> None:
    pid = worker.call(60, os.getpid)
    os.kill(pid, signal.SIGINT)
    assert worker.call(60, os.getpid) == pid


def test_closing_ends_a_call_in_its_thread() -> None:
    worker = Worker()
    failures: list[PassingError] = []

    def call() -> None:
        try:
            worker.call(60, worker_jobs.wait, 60)
        except PassingError as error:
            failures.append(error)

    worker.call(60, os.getpid)
    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.05)
    worker.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert len(failures) == 1
    with pytest.raises(PassingError):
        worker.call(60, os.getpid)


PARENT = """
import os, sys
sys.path[:0] = [{tests!r}, {root!r}]
import worker_jobs
from dpdeblur.batch.worker import Worker
worker = Worker()
print(worker.call(60, os.getpid), flush=True)
array = worker.call(60, worker_jobs.count_up, 1_000_000)
worker.call(600, worker_jobs.wait, 600)
"""


@posix_only
@linux_only
def test_a_parent_that_is_killed_leaves_no_process_behind() -> None:
    tests = Path(__file__).parents[1]
    program = PARENT.format(tests=str(tests), root=str(tests.parent))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.2)
        assert is_running(child)
        parent.kill()
    deadline = time.monotonic() + 20
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(child)
