"""The program starts itself anew with glibc's settings for it, once, and as the same process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cli_runs import PROGRAM

from dpdeblur.commands import restart
from dpdeblur.commands.restart import restart_with_tunables

OURS = "glibc.malloc.tcache_count=0:glibc.malloc.hugetlb=1"
has_glibc = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="the setting is glibc's"
)
#: Says how it was started, then starts itself anew, or goes on.
REPORTER = """
import json, os, sys
print(json.dumps({"pid": os.getpid(), "argv": sys.argv[1:], "tunables": os.environ.get("GLIBC_TUNABLES")}), flush=True)
from dpdeblur.commands.restart import restart_with_tunables
restart_with_tunables()
print(json.dumps({"marked": "DPDEBLUR_RESTARTED" in os.environ, "heard": sys.stdin.read()}))
"""


def report(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the reporter as a script; its process number, and what it said."""
    script = tmp_path / "reporter.py"
    script.write_text(REPORTER)
    own = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    own["PYTHONPATH"] = str(Path(restart.__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, script, *arguments],
        env=own | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        stdout, _ = process.communicate("names\n")
    assert process.returncode == 0
    return process.pid, [json.loads(line) for line in stdout.splitlines()]


@has_glibc
def test_it_starts_anew_once_as_the_same_process_with_the_same_arguments_and_input(tmp_path: Path) -> None:
    arguments = ["run", "a file", "--flag=ü", ""]
    pid, (first, second, end) = report(tmp_path, *arguments)
    assert first == {"pid": pid, "argv": arguments, "tunables": None}
    assert second == {"pid": pid, "argv": arguments, "tunables": OURS}
    assert end == {"marked": False, "heard": "names\n"}


@has_glibc
def test_other_tunables_of_the_user_stay(tmp_path: Path) -> None:
    _, (_, second, _) = report(tmp_path, GLIBC_TUNABLES="glibc.malloc.arena_max=2")
    assert second["tunables"] == f"{OURS}:glibc.malloc.arena_max=2"


@pytest.mark.parametrize("tunables", [OURS, "glibc.malloc.tcache_count=3"])
def test_what_the_user_has_chosen_is_left_alone(tmp_path: Path, tunables: str) -> None:
    _, said = report(tmp_path, GLIBC_TUNABLES=tunables)
    assert len(said) == 2 and said[0]["tunables"] == tunables


def test_where_the_loader_drops_the_setting_it_does_not_start_for_ever(tmp_path: Path) -> None:
    _, said = report(tmp_path, DPDEBLUR_RESTARTED="1")
    assert len(said) == 2 and said[1]["marked"] is False


def test_other_systems_and_programs_and_too_long_lines_go_on_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def refuse(path: str, *_: object) -> NoReturn:
        calls.append(path)
        raise OSError("Argument list too long")

    monkeypatch.setattr(os, "execve", refuse)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "argv", ["dpdeblur", "run", "a.tif"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "dpdeblur", "run", "a.tif"])
    monkeypatch.setattr(os, "confstr_names", {"CS_GNU_LIBC_VERSION": 2}, raising=False)
    restart_with_tunables()
    assert calls == [sys.executable]
    # a program of another name, which calls this one
    monkeypatch.setattr(sys, "orig_argv", ["python", "server.py", "8080"])
    restart_with_tunables()
    assert len(calls) == 1
    monkeypatch.setattr(sys, "orig_argv", ["python", "dpdeblur", "run", "a.tif"])
    monkeypatch.setattr(os, "confstr_names", {})
    restart_with_tunables()
    assert len(calls) == 1


@has_glibc
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_run_is_started_so_and_commands_without_a_network_are_not(tmp_path: Path) -> None:
    # a FIFO that is read for names holds the program while its environment is looked at
    names = tmp_path / "names"
    os.mkfifo(names)
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    for command, is_restarted in (("run", True), ("info", False)):
        with subprocess.Popen(
            [*PROGRAM, command, "--files-from", names],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            with names.open("w"):  # opens when the program does
                there = Path(f"/proc/{process.pid}/environ").read_bytes()
            assert process.wait(timeout=60) == 3
        # glibc cuts its copy of the variable, which /proc shows, into pieces
        assert (f"GLIBC_TUNABLES={OURS}".encode() in there.replace(b"\0", b":")) == is_restarted
