"""Processes, what they leave behind, and rooms of their own for them to mount in. Linux."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from faults.shoots import ENVIRONMENT, Shoot


class NotHere(Exception):
    """This machine does not allow such a fault."""


def list_children(pid: int) -> list[int]:
    """The processes that a process started and that have not ended."""
    children = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                children.append(int(entry.name))
    return children


def wait_for_end(pids: list[int]) -> None:
    """Assert that processes end by themselves within seconds."""
    deadline = time.monotonic() + 20
    while pids and time.monotonic() < deadline:
        pids = [pid for pid in pids if is_running(pid)]
        time.sleep(0.01)
    assert not pids, f"processes were left behind: {pids}"


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie, which nobody but its heir can bury."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_process(pid: int) -> bool:
    """Send SIGKILL, and return whether there was anybody to receive it."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def list_shared_memory() -> set[str]:
    """The names of what lies in shared memory."""
    return set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()


def run_in_namespace(
    shoot: Shoot, script: str, argument: str
) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """Run a script of two runs where it may mount; the shoot's output becomes what was there after the first."""
    if shutil.which("unshare") is None:
        raise NotHere("no unshare")
    shoot.output.mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", argument, shoot.folder]
    end = subprocess.run(
        [*command, *shoot.list_command()], env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    if end.returncode == 99 or not (shoot.folder / "code.2").exists():
        raise NotHere(end.stderr.strip() or "no mounts for ordinary users")
    runs = [
        subprocess.CompletedProcess(
            [], int((shoot.folder / f"code.{number}").read_text()), "", (shoot.folder / f"stderr.{number}").read_text()
        )
        for number in (1, 2)
    ]
    shoot.output = shoot.folder / "first"
    return runs[0], runs[1]


def give_up_rights() -> list[str]:
    """The beginning of a command line that makes root an ordinary user to the file system."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise NotHere("no setpriv")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
