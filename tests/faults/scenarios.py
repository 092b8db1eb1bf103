"""The faults: each function does harm to a batch once, and asserts that it was survived.

All take a folder of their own, weights that change nothing, and a source of chance, and return how often they did harm
where that is not once. What this machine does not allow raises `NotHere`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from faults.processes import (
    give_up_rights,
    kill_process,
    list_children,
    list_shared_memory,
    run_in_namespace,
    wait_for_end,
)
from faults.shoots import ROOT, Command, Shoot

Scenario = Callable[[Path, Path, random.Random], int | None]

#: Names that shells, terminals, JSON and file systems stumble over; the fourth has 250 bytes with its ending.
NAMES = (
    "new\nline",
    "quote\"s and 'more'",
    os.fsdecode(b"caf\xe9"),
    "x" * (250 - len("_right.tif")),
    " space ",
    "-o",
    "100%d",
    "$(touch pwned); *",
    "red\x1b[31m",
    "写真",
)


def kill(folder: Path, weights: Path, rng: random.Random, command: Command = "split", most: int = 20) -> int:
    """SIGKILL at random moments until all is done: no half file, no orphan, no work done twice or lost."""
    shoot = _make_shoot(folder, weights, command, photos=12)
    memory = list_shared_memory()
    for kills in range(most):
        before, done, leftovers = shoot.list_stamps(), shoot.list_done_files(), set(shoot.list_hidden())
        process = shoot.start()
        _wait_for_moment(process, shoot, rng)
        children = list_children(process.pid)
        process.kill()
        stdout, stderr = process.communicate(timeout=60)
        wait_for_end(children)
        assert list_shared_memory() <= memory
        shoot.check(stderr)
        after = shoot.list_stamps()
        assert all(after[file] == before[file] for file in done), "work was lost or done twice"
        if len(after) > len(before):
            assert not leftovers & set(shoot.list_hidden()), "unfinished files were not cleared"
        if process.returncode == 0:
            shoot.check_end(subprocess.CompletedProcess([], 0, stdout, stderr), 0)
            return max(kills, 1)
    shoot.resume()
    return most


def kill_run(folder: Path, weights: Path, rng: random.Random) -> int:
    """The same for `run`, with a network."""
    return kill(folder, weights, rng, "run")


def kill_decoder(folder: Path, weights: Path, rng: random.Random) -> None:
    """SIGKILL of the decoder's process: its photo is tried again, and nobody notices but by a line."""
    shoot = _make_shoot(folder, weights)
    process = shoot.start()
    kills = 0
    while kills == 0 and process.poll() is None:
        for child in list_children(process.pid):
            time.sleep(rng.uniform(0, 0.4))
            kills += kill_process(child)
    stdout, stderr = process.communicate(timeout=120)
    shoot.check_end(subprocess.CompletedProcess([], process.returncode, stdout, stderr), 0)


def interrupt(folder: Path, weights: Path, rng: random.Random) -> None:
    """Ctrl-C once, twice, or SIGTERM, at a random moment: the exit code says so, and no unfinished file stays."""
    shoot = _make_shoot(folder, weights)
    numbers, code = rng.choice((((signal.SIGINT,), 130), ((signal.SIGINT,) * 2, 130), ((signal.SIGTERM,), 143)))
    process = shoot.start()
    while not shoot.output.exists() and process.poll() is None:  # before, Python itself is still starting
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.3))
    for number in numbers:
        process.send_signal(number)
        time.sleep(rng.uniform(0, 0.05))
    _, stderr = process.communicate(timeout=60)
    # a shell says 143 of a process that SIGTERM ended, too: the program handles it only while there is work
    seen = process.returncode if process.returncode >= 0 else 128 - process.returncode
    assert seen in (code, 0), f"{seen} instead of {code}: {stderr}"
    assert seen == code or shoot.list_done() == set(shoot.photos)
    shoot.check(stderr)
    assert not shoot.list_hidden()
    shoot.resume()


def fill_disk(folder: Path, weights: Path, rng: random.Random) -> None:
    """A disk of a few megabytes: what fits is done, the rest fails by a line, and is done when there is room."""
    shoot = _make_shoot(folder, weights)
    script = """
        mount -t tmpfs -o size=$1 tmpfs "$2/out" || exit 99
        shift; place=$1; shift
        "$@" 2>"$place/stderr.1"; echo $? >"$place/code.1"; cp -a "$place/out/." "$place/first"
        mount -o remount,size=100m "$place/out"
        "$@" 2>"$place/stderr.2"; echo $? >"$place/code.2"; cp -a "$place/out/." "$place/second"
    """
    first, second = run_in_namespace(shoot, script, f"{rng.randint(1500, 4500)}k")
    failed = set(shoot.photos) - shoot.list_done()
    assert failed
    shoot.check_end(first, 1, failed)
    assert first.stderr.count("the disk is full; free some space and run again") >= len(failed)
    shoot.output = folder / "second"
    shoot.check_end(second, 0)
    assert f"{len(failed)} done, {len(shoot.photos) - len(failed)} already done" in second.stderr


def forbid_writing(folder: Path, weights: Path, rng: random.Random) -> None:
    """The results' folder becomes read-only after the first result: a read-only mount, which binds even root."""
    shoot = _make_shoot(folder, weights)
    script = f"""
        shift; place=$1; shift
        mount --bind "$place/out" "$place/out" || exit 99
        "$@" 2>"$place/stderr.1" & process=$!
        until ls "$place/out" | grep -q tif; do sleep 0.01; done
        sleep {rng.uniform(0, 0.2)}
        until mount -o remount,ro,bind "$place/out" 2>/dev/null; do :; done
        wait $process; echo $? >"$place/code.1"; cp -a "$place/out/." "$place/first"
        mount -o remount,rw,bind "$place/out"
        "$@" 2>"$place/stderr.2"; echo $? >"$place/code.2"; cp -a "$place/out/." "$place/second"
    """
    first, second = run_in_namespace(shoot, script, "")
    failed = set(shoot.photos) - shoot.list_done()
    shoot.check_end(first, 1 if failed else 0, failed)
    assert first.stderr.count("cannot be written to") >= len(failed)
    shoot.output = folder / "second"
    shoot.check_end(second, 0)


def vanish(folder: Path, weights: Path, rng: random.Random) -> None:
    """A photo is deleted at a random moment: it is done, or fails by a line; all others are done."""
    shoot = _make_shoot(folder, weights)
    name = rng.choice(sorted(shoot.photos))
    victim = shoot.input / rng.choice(sorted(shoot.photos[name]))
    process = shoot.start()
    time.sleep(rng.uniform(0.2, 1.2))
    victim.unlink()
    shoot.forget_original(victim)
    stdout, stderr = process.communicate(timeout=120)
    end = subprocess.CompletedProcess([], process.returncode, stdout, stderr)
    if victim.name.replace("_left", "") not in stderr and victim.name not in stderr and name in shoot.list_done():
        shoot.check_end(end, 0)
    elif process.returncode == 1:
        shoot.check_end(end, 1, {name})
    else:  # it had gone before the program looked: the view that is left is no pair, and split passes it by
        shoot.check_end(end, 0, {name})


def change(folder: Path, weights: Path, rng: random.Random) -> None:
    """A photo is written over and over while the batch runs: never a mixture of versions, and never kept silently."""
    shoot = _make_shoot(folder, weights)
    versions = [np.full((240, 320, 3), code, np.uint16) for code in (20000, 40000)]
    path = shoot.input / "02_left.tif"
    contents = []
    for codes in versions:
        tifffile.imwrite(folder / "version.tif", codes, photometric="rgb")
        contents.append((folder / "version.tif").read_bytes())
    shoot.forget_original(path)
    is_over = threading.Event()

    def write_over_and_over() -> None:
        while not is_over.is_set():
            for content in contents:
                with path.open("wb") as file:
                    for start in range(0, len(content), 100_000):
                        file.write(content[start : start + 100_000])
                        time.sleep(rng.uniform(0, 0.002))
                time.sleep(rng.uniform(0, 0.05))

    writer = threading.Thread(target=write_over_and_over)
    writer.start()
    try:
        end = shoot.call()
    finally:
        is_over.set()
        writer.join()
    result = shoot.output / path.name
    if result.exists():
        found = tifffile.imread(result)
        version = next(codes for codes in versions if abs(int(codes[0, 0, 0]) - int(found[0, 0, 0])) <= 1)
        assert np.abs(found.astype(int) - version).max() <= 1, "a mixture of two versions"
        shoot.photos["02"][path.name] = version
    failed = set() if result.exists() else {"02"}
    shoot.check_end(end, len(failed), failed)
    shoot.photos["02"][path.name] = versions[1]  # what the last turn left
    shoot.check_end(shoot.call("--update"), 0)


def delete_output(folder: Path, weights: Path, rng: random.Random) -> None:
    """The results' folder is deleted several times: the batch makes it again and goes on."""
    shoot = _make_shoot(folder, weights)
    process = shoot.start()
    for _ in range(rng.randint(1, 4)):
        while not shoot.output.exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        shoot.clear()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode in (0, 1), stderr
    shoot.check(stderr)
    shoot.resume()


def forbid_reading(folder: Path, weights: Path, rng: random.Random) -> None:
    """A photo, a folder of photos and then the results' folder without permission: a line each, the rest is done."""
    shoot = _make_shoot(folder, weights)
    prefix = give_up_rights()
    name = rng.choice(sorted(shoot.photos))
    file, closed = shoot.input / f"{name}_right.tif", shoot.input / "closed"
    closed.mkdir()
    shutil.copy(file, closed)
    file.chmod(0)
    closed.chmod(0)
    try:
        end = shoot.call("--recursive", prefix=prefix)
    finally:
        file.chmod(0o644)
        closed.chmod(0o755)
    shutil.rmtree(closed)
    shoot.check_end(end, 1, {name})
    assert "cannot be opened (Permission denied)" in end.stderr
    assert f"{closed}: cannot be listed (Permission denied)" in end.stderr
    shoot.clear()
    shoot.output.mkdir(mode=0o555)
    end = shoot.call(prefix=prefix)
    shoot.output.chmod(0o755)
    shoot.check_end(end, 1, shoot.photos)
    assert end.stderr.count("the folder cannot be written to") >= len(shoot.photos)
    shoot.resume()


def tie_loops(folder: Path, weights: Path, rng: random.Random) -> None:
    """Links that lead in circles or nowhere, and a pipe nobody writes to, among the photos: a line each."""
    shoot = _make_shoot(folder, weights)
    (shoot.input / "loop_left.tif").symlink_to("loop_left.tif")
    (shoot.input / "a.cr2").symlink_to("b.cr2")
    (shoot.input / "b.cr2").symlink_to("a.cr2")
    (shoot.input / "gone.cr2").symlink_to("nowhere")
    (shoot.input / "again").symlink_to(".")
    os.mkfifo(shoot.input / "pipe.tif")
    end = shoot.call("--recursive")
    shoot.check_end(end, 1)
    for name, words in (
        ("loop_left.tif", "cannot be reached"),
        ("a.cr2", "cannot be reached"),
        ("b.cr2", "cannot be reached"),
        ("gone.cr2", "no such file"),
        ("pipe.tif", "is no regular file"),
    ):
        assert f"{shoot.input / name}: {words}" in end.stderr, end.stderr
    end = shoot.call(shoot.input / "a.cr2")
    shoot.check_end(end, 1)


def name_badly(folder: Path, weights: Path, rng: random.Random, command: Command = "split") -> None:
    """Names with newlines, quotes, escapes, bytes that are no text: each is done, told of in one line, and logged."""
    shoot = Shoot(folder, command, weights, options=("--log", folder / "log"))
    shoot.add_photos(NAMES, size=(24, 32))
    (shoot.input / "bad\nname.cr2").write_bytes(b"no raw")
    end = shoot.call()
    shoot.check_end(end, 1)
    (line,) = (line for line in end.stderr.splitlines() if line.startswith(str(shoot.input / r"bad\nname.cr2")))
    assert "\x1b" not in end.stderr
    entries = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    written = {os.path.basename(path) for entry in entries if entry["status"] == "done" for path in entry["output"]}
    assert written == {file for results in shoot.photos.values() for file in results}
    assert not Path("pwned").exists() and not (ROOT / "pwned").exists()
    listed = folder / "list"
    listed.write_bytes(b"\0".join(os.fsencode(path) for path in sorted(shoot.input.iterdir()) if path.suffix == ".tif"))
    shoot.clear()
    (shoot.input / "bad\nname.cr2").unlink()
    shoot.check_end(shoot.call("--files-from", listed, "-0"), 0)


def name_badly_run(folder: Path, weights: Path, rng: random.Random) -> None:
    """The same for `run`."""
    name_badly(folder, weights, rng, "run")


def start_twice(folder: Path, weights: Path, rng: random.Random) -> None:
    """Two runs on one folder: both end well, each result is there once and whole; one may be killed meanwhile."""
    shoot = _make_shoot(folder, weights)
    processes = [shoot.start() for _ in range(2)]
    is_killing = rng.random() < 0.5
    if is_killing:
        time.sleep(rng.uniform(0, 1.5))
        processes[0].kill()
    ends = [process.communicate(timeout=120) for process in processes]
    for process, (_, stderr) in zip(processes, ends, strict=True):
        assert process.returncode in ((0, -signal.SIGKILL) if is_killing else (0,)), stderr
        shoot.check(stderr)
    assert shoot.list_done() == set(shoot.photos)
    shoot.resume()


def crash_on_many(folder: Path, weights: Path, rng: random.Random) -> None:
    """Damaged files of every kind among good ones: a line each, the good ones are done."""
    shoot = _make_shoot(folder, weights)
    whole = (shoot.input / "00_left.tif").read_bytes()
    for number in range(6):
        content = bytearray(whole[: rng.randrange(len(whole))])
        for _ in range(20):
            if content:
                content[rng.randrange(min(len(content), 400))] = rng.randrange(256)
        (shoot.input / f"bad{number}.{rng.choice(('tif', 'cr2', 'cr3', 'dng', 'nef', 'png', 'jpg'))}").write_bytes(
            content
        )
    end = shoot.call()
    assert end.returncode in (0, 1), end.stderr
    shoot.check(end.stderr)
    assert shoot.list_done() >= {f"{number:02}" for number in range(6)}


#: Every fault by its name.
SCENARIOS: dict[str, Scenario] = {
    function.__name__: function
    for function in (
        *(kill, kill_run, kill_decoder, interrupt, fill_disk, forbid_writing, vanish, change, delete_output),
        *(forbid_reading, tie_loops, name_badly, name_badly_run, start_twice, crash_on_many),
    )
}


def _make_shoot(folder: Path, weights: Path, command: Command = "split", photos: int = 6) -> Shoot:
    shoot = Shoot(folder, command, weights)
    shoot.add_photos(f"{number:02}" for number in range(photos))
    return shoot


def _wait_for_moment(process: subprocess.Popen[str], shoot: Shoot, rng: random.Random) -> None:
    """Wait for a random moment: of the start, or of the time in which results appear."""
    if rng.random() < 0.25:
        time.sleep(rng.uniform(0, 2.0))
        return
    results, leftovers = len(shoot.list_stamps()), set(shoot.list_hidden())
    goal = results + rng.randint(1, 7)
    while process.poll() is None and len(shoot.list_stamps()) + len(set(shoot.list_hidden()) - leftovers) < goal:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.05))
