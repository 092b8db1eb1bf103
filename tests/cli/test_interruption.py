"""Being told to stop while the main thread is deep in computation, where Python's own handlers wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_runs import ONE_THREAD

from dpdeblur.commands.interruption import stop_on_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

#: Writes half a file and computes for minutes, in one call of C that lets other threads run.
PROGRAM = """
import hashlib, signal, sys, threading
from pathlib import Path
from dpdeblur.commands.interruption import stop_on_signals
from dpdeblur.writers.atomic import open_atomic
# whatever these tests themselves were started with
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[2] == "nohup" else signal.SIG_DFL)
with stop_on_signals(lambda line: print(line, file=sys.stderr, flush=True)), open_atomic(Path(sys.argv[1])) as file:
    file.write(b"half")
    threading.Timer(0.3, print, ("ready",), {"flush": True}).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


def start(path: Path, mode: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, path, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ONE_THREAD | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("numbers", "code"),
    [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM,), 143), ((signal.SIGHUP,), 129)],
)
def test_a_second_ctrl_c_and_other_endings_are_at_once_and_leave_nothing(
    tmp_path: Path, numbers: tuple[signal.Signals, ...], code: int
) -> None:
    with start(tmp_path / "a.tif") as process:
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.05)  # two of a kind that are pending at one time are one
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []
    said = "stopping as soon as what is being written is complete; Ctrl-C again stops at once\n"
    assert stderr == (said if len(numbers) > 1 else "")


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    with start(tmp_path / "a.tif", "nohup") as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143


def test_afterwards_everything_is_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with stop_on_signals(print):
        assert signal.getsignal(signal.SIGTERM) != before[1]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert signal.set_wakeup_fd(-1) == -1
