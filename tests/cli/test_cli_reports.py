"""What the program says: reports, logs, `info`, `weights`, help."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from cli_runs import ONE_THREAD, PROGRAM, call, draw_codes, list_files, run, write_tiff

# What is said
from dpdeblur.commands.reporter import format_seconds


def test_the_log_has_an_object_a_photo(gkmnet: Path, single_cr2: Path, truncated_cr2: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        inputs = single_cr2, truncated_cr2, tmp_path / "gone.cr2"
        run(gkmnet, *inputs, "-o", tmp_path / "o", "--log", log, "--precision", "bf16")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(Path(entry["input"][0]).name, entry["status"]) for entry in entries] == [
        ("gone.cr2", "failed"),
        ("single.cr2", "done"),
        ("truncated.cr2", "failed"),
        ("gone.cr2", "failed"),
        ("single.cr2", "skipped"),
        ("truncated.cr2", "failed"),
    ]
    fields = "input output status error kind network weights device precision tile_px seconds clipped_share warnings"
    assert all(set(fields.split()) <= entry.keys() for entry in entries)
    done, failed = entries[1], entries[2]
    assert done["output"] == [str(tmp_path / "o" / "single.tif")]
    assert done["megapixels"] == pytest.approx(64 * 96 / 1e6)
    assert (done["network"], done["device"], done["precision"], done["working_scale"]) == ("gkmnet", "cpu", "bf16", 1)
    assert (done["kind"], done["error"], done["warnings"], done["tile_px"] > 0) == ("raw", None, [], True)
    assert set(done["seconds"]) == {"read", "process", "write"}
    assert failed["error"].startswith(f"{truncated_cr2}: ")
    assert (failed["kind"], failed["output"]) == (None, [str(tmp_path / "o" / "truncated.tif")])


def test_split_logs_the_clipped_share(dual_cr2: Path, tmp_path: Path) -> None:
    assert call("split", dual_cr2, "-o", tmp_path / "o", "--log", tmp_path / "log").code == 0
    entry = json.loads((tmp_path / "log").read_text())
    assert (entry["kind"], entry["clipped_share"], entry["network"]) == ("canon", 0, None)
    assert [Path(path).name for path in entry["output"]] == ["dual_left.tif", "dual_right.tif"]


def test_a_photo_is_never_taken_for_the_log(gkmnet: Path, single_cr2: Path, tmp_path: Path) -> None:
    before = single_cr2.read_bytes()
    photo = write_tiff(tmp_path / "a.tif", draw_codes())
    refused = run(gkmnet, "--log", single_cr2, photo)  # the log's name was forgotten
    assert (refused.code, single_cr2.read_bytes()) == (2, before)
    assert f"{single_cr2}: is no log, it holds something else" in refused.stderr


def test_a_log_whose_last_line_was_cut_off_goes_on_in_a_new_one(gkmnet: Path, tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"input": ["a.tif"], "sta')
    run(gkmnet, write_tiff(tmp_path / "a.tif", draw_codes()), "--log", tmp_path / "log")
    assert [json.loads(line)["status"] for line in (tmp_path / "log").read_text().splitlines()[1:]] == ["done"]


def test_the_summary_lists_what_failed(gkmnet: Path, truncated_cr2: Path, tmp_path: Path) -> None:
    photo = write_tiff(tmp_path / "a.tif", draw_codes())
    lines = run(gkmnet, truncated_cr2, photo, tmp_path / "gone.cr2", "-o", tmp_path / "o").stderr.splitlines()
    start = lines.index("failed:")
    assert lines[start - 1].startswith("1 done, 2 failed in ")
    assert lines[start + 1] == f"  {tmp_path / 'gone.cr2'}: no such file; check the name"
    assert lines[start + 2].startswith(f"  {truncated_cr2}: ")
    assert len(lines) == start + 3
    alone = run(gkmnet, truncated_cr2, "-o", tmp_path / "o").stderr
    assert "failed:" not in alone  # the line stands right above


def test_the_device_and_precision_are_always_said(gkmnet: Path, tmp_path: Path) -> None:
    result = run(gkmnet, write_tiff(tmp_path / "a.tif", draw_codes()), "--precision", "bf16")
    assert "gkmnet (gkmnet_same.safetensors) on cpu in bf16" in result.stderr


def test_a_dry_run_prints_the_plan_and_writes_nothing(gkmnet: Path, tmp_path: Path) -> None:
    for name in "ab":
        write_tiff(tmp_path / f"{name}.tif", draw_codes())
    run(gkmnet, tmp_path / "a.tif")
    before = list_files(tmp_path)
    result = run(gkmnet, tmp_path, "--dry-run", "--log", tmp_path / "log")
    assert result.code == 0
    assert result.stdout.splitlines() == [
        f"{tmp_path / 'a.tif'} -> {tmp_path / 'deblurred' / 'a.tif'} (already done)",
        f"{tmp_path / 'b.tif'} -> {tmp_path / 'deblurred' / 'b.tif'}",
    ]
    assert list_files(tmp_path) == before


def test_a_dry_run_of_split_prints_the_plan_and_writes_nothing(dual_cr2: Path, tmp_path: Path) -> None:
    result = call("split", dual_cr2, "--dry-run", "-o", tmp_path / "o")
    assert result.code == 0
    left, right = (tmp_path / "o" / f"dual_{view}.tif" for view in ("left", "right"))
    assert result.stdout == f"{dual_cr2} -> {left}, {right}\n"
    assert not (tmp_path / "o").exists()


def test_a_dry_run_that_finds_nothing_says_so(tmp_path: Path) -> None:
    result = call("run", tmp_path, "--dry-run")
    assert (result.code, result.stdout, result.stderr) == (3, "", "no photos found\n")


def test_split_offers_no_option_that_it_does_not_have(dual_cr2: Path, tmp_path: Path) -> None:
    shutil.copy(dual_cr2, tmp_path / "a.cr2")
    (tmp_path / "a.jpg").write_bytes(b"its twin")
    assert "camera JPEGs left to their raws: 1\n" in call("split", tmp_path, "--dry-run").stderr
    assert "camera JPEGs left to their raws: 1 (--twins takes them too)\n" in call("run", tmp_path, "--dry-run").stderr


def test_the_estimate_is_made_of_a_photo_that_did_not_wait_for_the_network(gkmnet: Path, tmp_path: Path) -> None:
    for name in "abcd":
        write_tiff(tmp_path / f"{name}.tif", draw_codes())
    said = run(gkmnet, tmp_path).stderr
    assert " for 2 more" in said
    assert " for 3 more" not in said


def test_there_is_a_bar_on_a_terminal_only(gkmnet: Path, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", draw_codes())
    command = [*PROGRAM, "run", path, "--weights", gkmnet, "--device", "cpu", "--scale", "1", "--overwrite"]
    quiet = subprocess.run(command, stderr=subprocess.PIPE, env=ONE_THREAD, check=True).stderr
    assert b"\r" not in quiet
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run(command, stderr=theirs, env=ONE_THREAD, check=True)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass  # Linux ends a terminal that nobody writes to any more with EIO
    os.close(terminal)
    assert b"1.0/1 photos" in shown
    assert b"megapixels/s" in shown
    assert b" left" in shown


# info


def test_info_tells_views_of_one_name_apart(dual_cr2: Path, tmp_path: Path) -> None:
    assert call("split", dual_cr2, "--dpdd-layout", "-o", tmp_path).code == 0
    left, right = (tmp_path / f"test_{side}" / "source" / "dual.png" for side in "lr")
    assert f"{left} + {right}  pair" in call("info", tmp_path).stdout


def test_info_says_what_a_file_is_and_what_run_would_do(
    shipped: Path, dual_cr2: Path, single_dng: Path, pixel_pair: tuple[Path, Path]
) -> None:
    result = call("info", "--json", dual_cr2, single_dng, *pixel_pair)
    assert result.code == 0
    dual, single, pixel = json.loads(result.stdout)
    assert (dual["kind"], dual["dual"], dual["width"], dual["height"]) == ("canon", True, 96, 64)
    assert (dual["network"], Path(dual["weights"])) == ("k3dn", shipped / "k3dn_tiny.safetensors")
    assert "+0.50 dB" in dual["reason"]
    assert (single["dual"], single["network"]) == (False, "gkmnet")
    assert "+0.10 dB" in single["reason"]
    assert (pixel["kind"], pixel["dual"], pixel["files"]) == ("pixel", True, [str(path) for path in pixel_pair])
    assert "+0.90 dB" in pixel["reason"]


def test_info_has_a_line_a_photo_for_people(shipped: Path, dual_cr2: Path, single_dng: Path) -> None:
    header, dual, single = call("info", dual_cr2, single_dng).stdout.splitlines()[:3]
    assert header.split() == ["file", "kind", "size", "camera", "views", "run", "would"]
    assert all(word in dual for word in (str(dual_cr2), "canon", "96x64", "left, right", "use k3dn"))
    assert all(word in single for word in (str(single_dng), "raw", "96x64", "one", "use gkmnet"))


def test_info_says_that_run_would_fail(shipped: Path, single_dng: Path) -> None:
    (entry,) = json.loads(call("info", "--json", "--model", "k3dn", single_dng).stdout)
    assert entry["network"] is None
    assert entry["reason"] == "k3dn needs a left and a right view"


def test_info_lists_failures_in_json_too(gkmnet: Path, truncated_cr2: Path) -> None:
    result = call("info", "--json", "--weights", gkmnet, truncated_cr2)
    assert result.code == 1
    (entry,) = json.loads(result.stdout)
    assert entry["files"] == [str(truncated_cr2)]
    assert entry["error"] + "\n" == result.stderr


# weights


def test_shipped_weights_are_listed_with_what_they_measured(shipped: Path) -> None:
    lines = call("weights", "list").stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["gkmnet.safetensors", "k3dn_tiny.safetensors"]
    assert "+0.90 dB on real pixel scenes; +0.50 dB on real canon scenes" in lines[1]


def test_weights_are_verified_by_their_hash(shipped: Path) -> None:
    assert call("weights", "verify").code == 0
    path = shipped / "gkmnet.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = call("weights", "verify")
    assert result.code == 1
    assert result.stderr.startswith(f"{path}: ")
    assert "k3dn_tiny.safetensors: good" in result.stdout


def test_weights_are_joined_and_can_be_used(tmp_path: Path, shipped: Path) -> None:
    parts = shipped / "k3dn_tiny.safetensors", shipped / "gkmnet.safetensors"
    result = call("weights", "join", *parts, "-o", tmp_path / "both.safetensors")
    assert (result.code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"{tmp_path / 'both.safetensors'}: both in our form, ")
    assert call("weights", "verify", tmp_path / "both.safetensors").code == 0
    result = call("weights", "join", *parts[::-1], "-o", tmp_path / "other.safetensors")
    assert result.code == 2 and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "other.safetensors").exists()


def test_a_checkpoint_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"no checkpoint")
    result = call("weights", "import", tmp_path / "a.pth", "-o", tmp_path / "a.safetensors")
    assert result.code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "a.pth" in result.stderr
    assert not (tmp_path / "a.safetensors").exists()


def test_help_names_every_command() -> None:
    for command in ("run", "split", "info", "weights"):
        assert command in call("--help").stdout
    assert call("--version").stdout.startswith("dpdeblur ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_log_on_a_full_disk_stops_nothing(gkmnet: Path, tmp_path: Path) -> None:
    for name in "ab":
        write_tiff(tmp_path / f"{name}.tif", draw_codes())
    result = run(gkmnet, tmp_path, "--log", "/dev/full")
    assert result.code == 0
    assert result.stderr.count("the log cannot be written any more") == 1
    assert list_files(tmp_path / "deblurred") == ["a.tif", "b.tif"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")],
)
def test_times_are_written_as_they_are_spoken(seconds: float, words: str) -> None:
    assert format_seconds(seconds) == words
