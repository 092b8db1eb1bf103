"""What the program never does: run what a file brings along, talk to a network, write outside its output folder."""

from __future__ import annotations

import ast
import hashlib
import os
import pickle
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cli_runs import call, draw_codes, list_files, run, write_tiff
from intruder import Intruder
from PIL import Image, PngImagePlugin
from tiny_networks import write_gkmnet

from dpdeblur.errors import ReadError
from dpdeblur.writers.atomic import open_atomic

PACKAGE = Path(__file__).resolve().parents[1] / "dpdeblur"

#: Calls that run what a string or a file says.
BANNED_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen"),
    *("os.execl", "os.execv", "os.execve", "os.execvp", "os.execvpe", "os.spawnl", "os.spawnv", "os.posix_spawn"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "importlib.import_module", "runpy.run_path"),
}
#: Modules that talk to networks.
BANNED_MODULES = {"socket", "ssl", "http", "urllib.request", "ftplib", "smtplib", "requests", "httpx", "aiohttp"}

#: What is allowed all the same, and why.
ALLOWED = {
    "batch/worker.py: pickle.loads",  # from and to a process of our own, over its pipes
    "commands/restart.py: os.execve",  # this very program, with its own arguments
    "commands/interruption.py: import socket",  # a pair within the process, to wake a thread
    "cluster/__init__.py: import socket",  # only where Ray is asked for
    "__init__.py: from import of importlib.import_module",  # our own modules, when they are first needed
}


def name_of(node: ast.expr) -> str:
    """A call's or keyword's dotted name, as it is written."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def find_dangers(tree: ast.AST) -> Iterator[str]:
    """What of a module could run foreign code or reach a network."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = name_of(node.func)
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if name in BANNED_CALLS:
                yield name
            shell = keywords.get("shell")
            if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
                yield f"{name} with a shell"
            if name.endswith("torch.load"):
                safe = keywords.get("weights_only")
                if not (isinstance(safe, ast.Constant) and safe.value is True):
                    yield "torch.load without weights_only"
            if name in ("np.load", "numpy.load"):
                allow = keywords.get("allow_pickle")
                if allow is not None and not (isinstance(allow, ast.Constant) and allow.value is False):
                    yield "numpy.load with pickles"
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [str(node.module)]
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from sorted(f"from import of {name}" for name in names & BANNED_CALLS)
        yield from (f"import {module}" for module in modules if module in BANNED_MODULES)


def test_no_module_runs_strings_shells_or_pickles_or_talks_to_a_network() -> None:
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}: {danger}"
        for path in PACKAGE.rglob("*.py")
        for danger in find_dangers(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found - ALLOWED == set()


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "import os\nos.system('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess\nsubprocess.run('ls', shell=flag)",
        "import pickle\npickle.load(file)",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "def f():\n    import urllib.request",
        "from http import client\nimport http",
    ],
)
def test_every_danger_is_found(line: str) -> None:
    assert list(find_dangers(ast.parse(line)))


GUARD = """
import os, sys
def forbid(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        with open(os.environ["NETWORK_LOG"], "a") as file:
            file.write(f"{event} {arguments!r}\\n")
        raise PermissionError("no network")
    if event == "socket.__new__" and arguments[1] not in (1, -1):
        with open(os.environ["NETWORK_LOG"], "a") as file:
            file.write(f"{event} {arguments!r}\\n")
sys.addaudithook(forbid)
"""

COMMANDS = """
import sys
from typer.testing import CliRunner
from dpdeblur.cli import app
photos, out, weights = sys.argv[1:]
for arguments in (
    ["info", photos, "--json"],
    ["split", photos, "-o", out + "/split"],
    ["run", photos, "-o", out + "/run", "--weights", weights, "--device", "cpu", "--scale", "1"],
    ["weights", "list"],
    ["weights", "verify", weights],
):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (arguments, result.output, result.stderr)
"""


def run_guarded(folder: Path, program: str, *arguments: str | Path) -> tuple[str, str]:
    """Run a program in a process whose sockets are watched: from within, and where strace works, from without.

    Returns:
        What was seen: by Python's audit of this process and of those that it starts, and by the system's.
    """
    (folder / "guard").mkdir()
    (folder / "guard" / "sitecustomize.py").write_text(GUARD)
    log, calls = folder / "network", folder / "calls"
    log.touch()
    calls.touch()
    path = os.pathsep.join((str(folder / "guard"), str(PACKAGE.parent)))
    environment = os.environ | {"PYTHONPATH": path, "NETWORK_LOG": str(log), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    watch = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=socket", "-o", str(calls)]
    if shutil.which("strace") and subprocess.run([*watch, "true"], capture_output=True, check=False).returncode == 0:
        command = [*watch, *command]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    system = [line for line in calls.read_text().splitlines() if "AF_UNIX" not in line and "socket(" in line]
    return log.read_text(), "\n".join(system)


def test_no_command_opens_a_network_socket(tmp_path: Path, dual_dng: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(dual_dng, photos / "dual.dng")
    weights = write_gkmnet(tmp_path / "w.safetensors")
    assert run_guarded(tmp_path, COMMANDS, photos, tmp_path / "out", weights) == ("", "")
    assert list_files(tmp_path / "out" / "run") == ["dual.tif"]
    assert list_files(tmp_path / "out" / "split") == ["dual_left.tif", "dual_right.tif"]


def test_the_guard_sees_a_network_socket(tmp_path: Path) -> None:
    program = """
import socket
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError:
    pass
"""
    seen, calls = run_guarded(tmp_path, program)
    assert "socket.getaddrinfo" in seen or "socket.__new__" in seen
    assert calls == "" or "AF_INET" in calls


@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_checkpoint_is_never_taken_for_weights_and_its_code_never_runs(tmp_path: Path, form: str) -> None:
    trace, checkpoint = tmp_path / "trace", tmp_path / "theirs.safetensors"
    if form == "pickle":
        checkpoint.write_bytes(pickle.dumps(Intruder(trace)))
    else:
        torch.save({"a": torch.zeros(1), "extra": Intruder(trace)}, checkpoint)
    photo = write_tiff(tmp_path / "a.tif", draw_codes())
    for result in (
        run(checkpoint, photo, "-o", tmp_path / "out"),
        call("weights", "verify", checkpoint),
        call("weights", "import", checkpoint, "-o", tmp_path / "w.safetensors"),
    ):
        assert result.code in (1, 2)
        assert len(result.stderr.strip().splitlines()) == 1
    assert not trace.exists()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.tif", "theirs.safetensors"]


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below a folder, links not followed, with its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.skipif(os.name != "posix", reason="names and links of POSIX")
def test_results_stay_in_the_output_folder_whatever_the_inputs_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_gkmnet(tmp_path / "w.safetensors")
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    codes = draw_codes()
    for name in ("plain.tif", "..tif", "...tif", "-o.tif", "~.tif", "$(touch x).tif", "a\nb.tif", "sub/..hidden/c.tif"):
        write_tiff(home / "photos" / name, codes)
    write_tiff(elsewhere / "inside" / "d.tif", codes)
    (home / "photos" / "link").symlink_to(elsewhere / "inside")
    (home / "photos" / "up").symlink_to("..")
    (home / "photos" / "linked.tif").symlink_to(elsewhere / "inside" / "d.tif")
    monkeypatch.chdir(home)
    before = snapshot(tmp_path)
    listed = f"photos/../photos/plain.tif\n../elsewhere/inside/d.tif\n{elsewhere}/inside/d.tif\n".encode()
    for number, arguments in enumerate(
        (
            ["photos", "--recursive"],
            ["../home/photos/../photos", "--recursive"],
            [home / "photos", "--recursive"],
            ["photos/../../elsewhere/inside/d.tif", elsewhere / "inside" / "d.tif", "photos/linked.tif"],
            ["--files-from", "-"],
        )
    ):
        out = f"out{number}"
        result = run(weights, *arguments, "-o", out, stdin=listed)
        assert result.code in (0, 1), result.stderr
        assert list_files(home / out), result.stderr
    after = snapshot(tmp_path)
    new = after.keys() - before.keys()
    assert {name: after[name] for name in before} == before
    assert new and all(name.startswith("home/out") for name in new)


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
def test_a_file_in_the_making_is_its_owner_s_alone_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    path = tmp_path / "result.tif"
    path.symlink_to(outside)
    before = os.umask(0o022)
    try:
        with open_atomic(path) as file:
            file.write(b"half")
            (part,) = tmp_path.glob(".*.part")
            assert stat.S_IMODE(part.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert (path.read_bytes(), path.is_symlink(), outside.read_bytes()) == (b"half", False, b"precious")


def test_what_a_file_says_never_steers_the_terminal(tmp_path: Path) -> None:
    escape = "\x1b]0;owned\x07\x1b[2J"
    exif = Image.Exif()
    exif[0x10F], exif[0x110], exif[0x131] = (
        f"Maker{escape}",
        f"Model\n{escape}" + "x" * 100_000,
        f"dpdeblur 1 ({escape}; x)",
    )
    Image.new("RGB", (16, 16)).save(tmp_path / "a.tif", exif=exif)
    text = PngImagePlugin.PngInfo()
    text.add_text(f"key{escape}"[:70], "value")
    Image.new("RGB", (16, 16)).save(tmp_path / "b.png", pnginfo=text)
    weights = write_gkmnet(tmp_path / "w.safetensors")
    (tmp_path / "out").mkdir()
    shutil.copy(tmp_path / "a.tif", tmp_path / "out" / "b.tif")  # not ours, whatever it says
    for result in (
        call("info", tmp_path / "a.tif", tmp_path / "b.png"),
        run(weights, tmp_path / "a.tif", tmp_path / "b.png", "-o", tmp_path / "out"),
    ):
        assert "\x1b" not in result.stdout + result.stderr
        assert "\x07" not in result.stdout + result.stderr
        assert max(map(len, (result.stdout + result.stderr).splitlines())) < 1000


def test_an_error_that_quotes_a_file_stays_on_its_line() -> None:
    line = str(ReadError("holds another result (\x1b[2Jrun\r\n)", path=Path("a\nb"), remedy="\x07"))
    assert line == "a\\nb: holds another result (\\x1b[2Jrun ); \\x07"
