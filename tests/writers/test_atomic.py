"""Files appear whole or not at all, and leftovers of killed runs are told from files in the making."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dpdeblur.errors import WriteError
from dpdeblur.writers.atomic import clear_leftovers, open_atomic

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="locks, modes and signals of POSIX")

WRITER = """
import sys, time
from pathlib import Path
from dpdeblur.writers.atomic import open_atomic
with open_atomic(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_file_has_its_final_name_and_no_other(tmp_path: Path) -> None:
    with open_atomic(tmp_path / "a.tif") as file:
        file.write(b"whole")
        assert list_names(tmp_path)[0].startswith(".a.tif.dpdeblur-")
        assert not (tmp_path / "a.tif").exists()
    assert list_names(tmp_path) == ["a.tif"]
    assert (tmp_path / "a.tif").read_bytes() == b"whole"


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def note(name: str) -> None:
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given: calls.append(name) or original(*given))

    note("fsync")
    note("replace")
    with open_atomic(tmp_path / "a.tif") as file:
        file.write(b"whole")
    assert calls[:2] == ["fsync", "replace"]


def test_an_existing_file_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), open_atomic(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert list_names(tmp_path) == ["a.tif"]
    assert path.read_bytes() == b"old"
    with open_atomic(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@posix_only
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_file_has_the_mode_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with open_atomic(tmp_path / "a.tif"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.tif").stat().st_mode) == mode


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EACCES, "cannot be written to; choose another"),
        (errno.EROFS, "cannot be written to; choose another"),
        (errno.EIO, r"cannot be written \(Input/output error\)"),
    ],
)
def test_what_the_system_refuses_is_one_line_with_a_remedy_and_leaves_nothing(
    tmp_path: Path, code: int, words: str
) -> None:
    with pytest.raises(WriteError, match=words) as caught, open_atomic(tmp_path / "a.tif") as file:
        file.write(b"half")
        raise OSError(code, os.strerror(code))
    assert caught.value.path == tmp_path / "a.tif"
    assert list_names(tmp_path) == []


@posix_only
def test_a_limit_that_the_system_enforces_while_buffers_are_flushed_leaves_nothing(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from pathlib import Path
from dpdeblur.errors import WriteError
from dpdeblur.writers.atomic import open_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    with open_atomic(Path(sys.argv[1])) as file:
        file.write(bytes(8000))
except WriteError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a.tif")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written (File too large)" in result.stdout
    assert result.stderr == ""
    assert list_names(tmp_path) == []


def test_a_folder_that_vanishes_meanwhile_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(WriteError, match="the folder is gone"), open_atomic(folder / "a.tif"):
        shutil.rmtree(folder)
    with pytest.raises(WriteError, match="the folder is gone"), open_atomic(folder / "a.tif"):
        pass


@posix_only
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(WriteError, match="cannot be written to"), open_atomic(tmp_path / "a.tif"):
            pass
    finally:
        tmp_path.chmod(0o755)


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    with pytest.raises(WriteError, match="a folder has this name"), open_atomic(tmp_path / "a.tif"):
        pass
    assert list_names(tmp_path) == ["a.tif"]


def test_the_longest_name_that_a_file_can_have_still_works(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".tif")
    with open_atomic(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"


@posix_only
def test_a_file_in_the_making_is_left_alone_and_a_killed_runs_is_cleared(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.tif")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert clear_leftovers(tmp_path) == ()
        assert len(list_names(tmp_path)) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(clear_leftovers(tmp_path)) == 1
    assert list_names(tmp_path) == []


def test_only_our_own_leftovers_are_cleared(tmp_path: Path) -> None:
    for name in ("a.part", ".a.tif.part", ".a.tif.dpdeblur-123.part", "a.tif.dpdeblur-0123abcd.part", "a.tif"):
        (tmp_path / name).touch()
    before = list_names(tmp_path)
    (tmp_path / ".a.tif.dpdeblur-0123abcd.part").touch()
    assert clear_leftovers(tmp_path) == (tmp_path / ".a.tif.dpdeblur-0123abcd.part",)
    assert list_names(tmp_path) == before
    assert clear_leftovers(tmp_path / "missing") == ()


@posix_only
def test_without_locks_a_day_of_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    young, old = tmp_path / ".a.dpdeblur-00000001.part", tmp_path / ".a.dpdeblur-00000002.part"
    young.touch()
    old.touch()
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    assert clear_leftovers(tmp_path) == (old,)
    with open_atomic(tmp_path / "a.tif") as file:
        file.write(b"whole")
    assert list_names(tmp_path) == [young.name, "a.tif"]
