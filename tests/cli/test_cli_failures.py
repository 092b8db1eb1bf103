"""Bad files, wrong use, and interruption."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cli_runs import ONE_THREAD, PROGRAM, call, draw_codes, list_files, run, write_tiff


def write_bad_files(folder: Path, truncated: Path) -> dict[str, str]:
    """One bad file of each kind, and a word of the line that it is worth."""
    shutil.copy(truncated, folder / "cut.cr2")
    (folder / "empty.cr2").write_bytes(b"")
    (folder / "text.dng").write_text("I am no raw file")
    (folder / "folder.cr2").mkdir()
    (folder / "empty.png").write_bytes(b"")
    tifffile.imwrite(folder / "nan.tif", np.full((8, 8, 3), np.nan, np.float32), photometric="rgb")
    write_tiff(folder / "size_left.tif", draw_codes(24, 40))
    write_tiff(folder / "size_right.tif", draw_codes(24, 38))
    return {
        "cut.cr2": "cut",
        "empty.cr2": "",
        "text.dng": "",
        "folder.cr2": "folder",
        "empty.png": "",
        "nan.tif": "",
        "size_right.tif": "size",
    }


@pytest.mark.parametrize("command", ["run", "split", "info"])
def test_every_bad_file_costs_one_line_and_the_rest_is_done(
    command: str, gkmnet: Path, truncated_cr2: Path, dual_cr2: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    bad = write_bad_files(folder, truncated_cr2)
    shutil.copy(dual_cr2, folder / "z.cr2")
    options = {
        "run": ["--weights", gkmnet, "-o", tmp_path / "o"],
        "split": ["-o", tmp_path / "o"],
        "info": ["--weights", gkmnet],
    }
    result = call(command, folder, folder / "missing.cr2", *options[command])
    assert result.code == 1
    lines = result.stderr.splitlines()
    if command == "info":
        del bad["nan.tif"]  # looked at, not decoded
    for name, word in {**bad, "missing.cr2": "no such file"}.items():
        (line,) = [line for line in lines if line.startswith(f"{folder / name}: ")]
        assert word in line
    assert "Traceback" not in result.stderr
    if command == "info":
        assert "z.cr2" in result.stdout
    else:
        assert list_files(tmp_path / "o") == (["z.tif"] if command == "run" else ["z_left.tif", "z_right.tif"])


def test_a_pair_whose_twin_is_missing_is_an_ordinary_photo(gkmnet: Path, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x_left.tif", draw_codes())
    assert run(gkmnet, path, "-o", tmp_path / "o").code == 0
    assert list_files(tmp_path / "o") == ["x_left.tif"]


def test_two_views_that_are_not_there_fail_one_photo_only(
    shipped: Path, single_cr2: Path, dual_cr2: Path, tmp_path: Path
) -> None:
    result = call("run", "--model", "k3dn", "--device", "cpu", single_cr2, dual_cr2, "-o", tmp_path / "o")
    assert result.code == 1
    assert f"{single_cr2}: k3dn needs a left and a right view; use --model auto or gkmnet" in result.stderr
    assert list_files(tmp_path / "o") == ["dual.tif"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-0", "a.tif"],
        ["gone.tif"],
        ["a.tif", "--shard", "3/2"],
        ["a.tif", "--shard", "0/2"],
        ["a.tif", "--crop", "1,2,3"],
        ["a.tif", "--crop", "1,2,0,4"],
        ["a.tif", "--tile", "big"],
        ["a.tif", "--max-memory", "much"],
        ["a.tif", "--strength", "1.5"],
        ["a.tif", "--model", "unet"],
        ["a.tif", "--device", "abacus"],
        ["a.tif", "--weights", "a.tif"],
        ["a.tif", "--weights", "gone.safetensors"],
        ["a.tif", "--files-from", "gone.txt"],
        ["a.tif", "--log", "nowhere/log"],
        ["a.tif", "-o", "a.tif"],
    ],
)
def test_wrong_use_is_said_before_any_work(
    arguments: list[str], gkmnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiff(tmp_path / "a.tif", draw_codes())
    weights = [] if "--weights" in arguments or "--model" in arguments else ["--weights", str(gkmnet)]
    result = call("run", *arguments, *weights)
    assert result.code == 2
    assert result.stderr
    assert "Traceback" not in result.stderr
    assert list_files(tmp_path) == ["a.tif"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("command", [["weights", "list"], ["run", "a.tif", "--dry-run"], ["info", "a.tif"]])
def test_a_full_disk_behind_standard_output_is_one_line(command: list[str], tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    with open("/dev/full", "w") as full:
        result = subprocess.run([*PROGRAM, *command], stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        "dpdeblur: a file or standard output: cannot be written or read (No space left on device)\n"
    )


@pytest.mark.parametrize(
    "command", [["simulate", "a.tif", "--count", "1"], ["train", "--textures", ".", "--steps", "1"]]
)
def test_an_output_folder_that_is_a_file_is_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiff(tmp_path / "a.tif", draw_codes(600, 800))
    (tmp_path / "o").write_text("mine")
    result = call(*command, "-o", "o")
    assert result.code in (1, 2)
    assert result.stderr.splitlines()[-1].startswith("dpdeblur: o")
    assert (tmp_path / "o").read_text() == "mine"


def test_an_empty_folder_is_nothing_to_work_on(tmp_path: Path) -> None:
    for command in ("run", "split", "info"):
        assert call(command, tmp_path).code == 3


def test_an_interrupted_run_leaves_whole_files_and_goes_on_later(gkmnet: Path, tmp_path: Path) -> None:
    for number in range(40):
        write_tiff(tmp_path / "in" / f"{number:02}.tif", draw_codes(400, 400))
    output = tmp_path / "o"
    command = [*PROGRAM, "run", tmp_path / "in", "-o", output, "--weights", gkmnet, "--device", "cpu", "--scale", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=ONE_THREAD, text=True) as process:
        deadline = time.monotonic() + 60
        while not any(output.glob("*.tif")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    done = list_files(output)
    assert 1 <= len(done) < 40
    assert all(tifffile.imread(output / name).shape == (400, 400, 3) for name in done)
    for path in sorted((tmp_path / "in").iterdir())[len(done) + 1 :]:
        path.unlink()  # one more is enough
    assert f"1 done, {len(done)} already done" in run(gkmnet, tmp_path / "in", "-o", output).stderr
