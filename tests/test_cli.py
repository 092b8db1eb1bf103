"""The program as its users call it: what it writes, says and returns."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from cli_runs import Run, call
from tiny_networks import ADDED, write_gkmnet, write_k3dn

from dpdeblur.networks import NETWORKS, dpanet

PROGRAM = [sys.executable, "-m", "dpdeblur.cli"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def gkmnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that change nothing."""
    return write_gkmnet(tmp_path_factory.mktemp("weights") / "gkmnet_same.safetensors")


@pytest.fixture(scope="module")
def brighter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that add `ADDED` to every sRGB-encoded value."""
    return write_gkmnet(tmp_path_factory.mktemp("weights") / "gkmnet_brighter.safetensors", added=ADDED)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights: both networks, neither of which changes anything but rounding."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    write_gkmnet(folder / "gkmnet.safetensors", scores={"pixel": 0.1, "canon": 0.1})
    write_k3dn(folder / "k3dn_tiny.safetensors", scores={"pixel": 0.9, "canon": 0.5})
    monkeypatch.setattr("dpdeblur.weights.WEIGHTS_FOLDER", folder)
    return folder


def draw_codes(height: int = 24, width: int = 40, channels: int = 3) -> npt.NDArray[np.uint16]:
    """Smooth 16-bit codes between 10,000 and 50,000, other ones in each channel."""
    rows, columns, colours = np.mgrid[0:height, 0:width, 0:channels]
    codes = 30000 + 20000 * np.sin(rows / 5 + columns / 7 + colours)
    return codes.astype(np.uint16)


def write_tiff(path: Path, codes: npt.NDArray[np.uint16]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, codes, photometric="rgb" if codes.shape[2:] == (3,) else "minisblack")
    return path


def run(weights: Path, *arguments: str | Path, stdin: bytes = b"") -> Run:
    return call("run", "--device", "cpu", "--scale", "1", "--weights", weights, *arguments, stdin=stdin)


def list_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# What comes out


def test_a_network_that_changes_nothing_gives_the_photo_back(gkmnet: Path, tmp_path: Path) -> None:
    codes = draw_codes()
    result = run(gkmnet, write_tiff(tmp_path / "a.tif", codes), "-o", tmp_path / "o")
    assert (result.code, result.stdout) == (0, "")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "a.tif"), codes)


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0])
def test_the_change_is_added_with_the_strength_asked_for(brighter: Path, tmp_path: Path, strength: float) -> None:
    codes = draw_codes()
    run(brighter, write_tiff(tmp_path / "a.tif", codes), "-o", tmp_path / "o", "--strength", str(strength))
    added = tifffile.imread(tmp_path / "o" / "a.tif").astype(float) - codes
    np.testing.assert_allclose(added, 65535 * ADDED * strength, rtol=0, atol=1)


def test_a_single_image_network_restores_the_mean_of_a_pair(gkmnet: Path, tmp_path: Path) -> None:
    left, right = draw_codes(), draw_codes()[::-1].copy()
    named = [write_tiff(tmp_path / f"s_{side}.tif", codes) for side, codes in (("left", left), ("right", right))]
    assert run(gkmnet, *named, "-o", tmp_path / "o").code == 0

    def decode(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:  # all of these codes lie above the line
        return ((codes / 65535 + 0.055) / 1.055) ** 2.4

    mean = 1.055 * ((decode(left) + decode(right)) / 2) ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(tifffile.imread(tmp_path / "o" / "s.tif"), mean * 65535, rtol=0, atol=0.6)


def test_gray_stays_gray_and_alpha_is_kept(brighter: Path, tmp_path: Path) -> None:
    write_tiff(tmp_path / "gray.tif", draw_codes(channels=1)[..., 0])
    codes = np.concatenate([draw_codes(), np.arange(24 * 40, dtype=np.uint16).reshape(24, 40, 1) * 60], axis=2)
    cv2.imwrite(str(tmp_path / "alpha.png"), codes)
    assert run(brighter, tmp_path, "-o", tmp_path / "o").code == 0
    assert tifffile.imread(tmp_path / "o" / "gray.tif").shape == (24, 40)
    restored = tifffile.imread(tmp_path / "o" / "alpha.tif")
    np.testing.assert_array_equal(restored[..., 3], codes[..., 3])
    np.testing.assert_allclose(restored[..., 2::-1].astype(float) - codes[..., :3], 65535 * ADDED, rtol=0, atol=1)


@pytest.mark.parametrize(("name", "suffix", "magic"), [("png", ".png", b"\x89PNG"), ("jpeg", ".jpg", b"\xff\xd8\xff")])
def test_results_have_the_format_asked_for(gkmnet: Path, tmp_path: Path, name: str, suffix: str, magic: bytes) -> None:
    codes = draw_codes()
    assert run(gkmnet, write_tiff(tmp_path / "a.tif", codes), "-o", tmp_path / "o", "--format", name).code == 0
    path = tmp_path / "o" / f"a{suffix}"
    assert path.read_bytes().startswith(magic)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    if name == "png":
        np.testing.assert_array_equal(stored, codes)
    else:
        assert np.abs(stored.astype(int) - codes / 257).mean() < 2


def test_the_profile_asked_for_is_embedded(gkmnet: Path, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", draw_codes())
    assert run(gkmnet, path, "-o", tmp_path / "o", "--profile", "linear").code == 0
    with tifffile.TiffFile(tmp_path / "o" / "a.tif") as file:
        page = file.pages.first
        assert b"acsp" in page.iccprofile[:128]
        linear = ((draw_codes() / 65535 + 0.055) / 1.055) ** 2.4
        np.testing.assert_allclose(page.asarray(), linear * 65535, rtol=0, atol=0.6)


def test_a_dual_pixel_raw_comes_back_as_frame_zero_plus_the_change(
    brighter: Path, dual_cr2: Path, tmp_path: Path
) -> None:
    assert run(brighter, dual_cr2, "-o", tmp_path / "o").code == 0
    assert call("split", "--combined", dual_cr2, "-o", tmp_path / "s").code == 0
    frame_zero = tifffile.imread(tmp_path / "s" / "dual_combined.tif").astype(float)
    added = tifffile.imread(tmp_path / "o" / "dual.tif") - frame_zero
    np.testing.assert_allclose(added, 65535 * ADDED, rtol=0, atol=1)


def test_a_rotated_raw_comes_back_upright(gkmnet: Path, rotated_cr2: Path, tmp_path: Path) -> None:
    assert run(gkmnet, rotated_cr2, "-o", tmp_path / "o").code == 0
    assert tifffile.imread(tmp_path / "o" / "rotated.tif").shape == (96, 64, 3)


def test_a_pixel_capture_comes_back_square_unless_its_aspect_is_kept(
    gkmnet: Path, pixel_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    name = "20240305_112233_042.tif"
    assert run(gkmnet, *pixel_pair, "-o", tmp_path / "a").code == 0
    assert tifffile.imread(tmp_path / "a" / name).shape == (64, 96)
    assert run(gkmnet, *pixel_pair, "--keep-aspect", "-o", tmp_path / "b").code == 0
    assert tifffile.imread(tmp_path / "b" / name).shape == (32, 96)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_a_result_keeps_the_exif_and_says_how_it_was_made(brighter: Path, dual_cr2: Path, tmp_path: Path) -> None:
    run(brighter, dual_cr2, "-o", tmp_path / "o", "--strength", "0.5")

    def read_tags(path: Path, *tags: str) -> list[str]:
        output = subprocess.run(["exiftool", "-s3", *tags, path], capture_output=True, text=True, check=True).stdout
        return output.splitlines()

    kept = ["-Model", "-DateTimeOriginal", "-ExposureTime", "-FNumber", "-GPSLatitude", "-MakerNotes:all"]
    result = tmp_path / "o" / "dual.tif"
    assert len(read_tags(dual_cr2, *kept)) > 5
    assert read_tags(result, *kept) == read_tags(dual_cr2, *kept)
    (software,) = read_tags(result, "-Software")
    assert software.startswith("dpdeblur ")
    assert "run; network gkmnet, weights " in software
    assert "strength 0.5, working scale 1" in software


# Where it goes


def test_by_default_results_lie_beside_their_photos(gkmnet: Path, tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    write_tiff(tmp_path / "day" / "b.tif", draw_codes())
    assert run(gkmnet, tmp_path, "--recursive").code == 0
    assert list_files(tmp_path) == ["a.tif", "day/b.tif", "day/deblurred/b.tif", "deblurred/a.tif"]


def test_an_output_folder_mirrors_the_tree(gkmnet: Path, tmp_path: Path) -> None:
    write_tiff(tmp_path / "in" / "a.tif", draw_codes())
    write_tiff(tmp_path / "in" / "day" / "b.tif", draw_codes())
    assert run(gkmnet, tmp_path / "in", "-r", "-o", tmp_path / "o").code == 0
    assert list_files(tmp_path / "o") == ["a.tif", "day/b.tif"]


def test_two_photos_of_one_stem_are_named_apart(gkmnet: Path, dual_cr2: Path, dual_dng: Path, tmp_path: Path) -> None:
    assert run(gkmnet, dual_cr2, dual_dng, "-o", tmp_path / "o").code == 0
    assert list_files(tmp_path / "o") == ["dual.cr2.tif", "dual.dng.tif"]


def test_a_raw_and_its_jpeg_give_one_result_unless_both_are_asked_for(
    gkmnet: Path, single_cr2: Path, jpeg_photo: Path, tmp_path: Path
) -> None:
    shutil.copy(single_cr2, tmp_path / "a.CR2")
    shutil.copy(jpeg_photo, tmp_path / "A.JPG")
    result = run(gkmnet, tmp_path, "-o", tmp_path / "o")
    assert (result.code, list_files(tmp_path / "o")) == (0, ["a.tif"])
    assert "1 camera JPEG" in result.stderr
    assert run(gkmnet, tmp_path, "-o", tmp_path / "both", "--twins").code == 0
    assert list_files(tmp_path / "both") == ["A.JPG.tif", "a.CR2.tif"]


def test_an_original_is_never_touched(brighter: Path, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", draw_codes())
    before = path.read_bytes()
    assert run(brighter, path, "-o", tmp_path, "--overwrite").code == 0
    assert path.read_bytes() == before
    assert list_files(tmp_path) == ["a.tif", "a.tif.tif"]


def test_a_file_of_another_program_is_never_replaced(gkmnet: Path, single_cr2: Path, tmp_path: Path) -> None:
    edited = write_tiff(tmp_path / "single.tif", draw_codes())
    before = edited.read_bytes()
    result = run(gkmnet, single_cr2, "-o", tmp_path, "--overwrite")
    assert result.code == 1
    assert f"{edited}: was not written by dpdeblur" in result.stderr
    assert edited.read_bytes() == before


# What is done already


def test_a_finished_photo_is_skipped_and_said_so(gkmnet: Path, brighter: Path, tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    run(gkmnet, tmp_path / "a.tif")
    result = tmp_path / "deblurred" / "a.tif"
    before = result.read_bytes()
    write_tiff(tmp_path / "b.tif", draw_codes())
    again = run(brighter, tmp_path)
    assert again.code == 0
    assert f"{tmp_path / 'a.tif'}: already done" in again.stderr
    assert "1 done, 1 already done" in again.stderr
    assert result.read_bytes() == before
    assert run(brighter, tmp_path, "--overwrite").code == 0
    assert result.read_bytes() != before


def test_a_batch_that_is_done_is_no_failure(gkmnet: Path, tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    assert [run(gkmnet, tmp_path).code for _ in range(2)] == [0, 0]


def test_a_preview_is_a_part_of_the_result_and_gives_way_to_it(gkmnet: Path, tmp_path: Path) -> None:
    codes = draw_codes()
    path = write_tiff(tmp_path / "a.tif", codes)
    result = tmp_path / "deblurred" / "a.tif"
    assert run(gkmnet, path, "--crop", "3,5,20,10").code == 0
    np.testing.assert_array_equal(tifffile.imread(result), codes[5:15, 3:23])
    assert run(gkmnet, path).code == 0
    np.testing.assert_array_equal(tifffile.imread(result), codes)
    refused = run(gkmnet, path, "--crop", "3,5,20,10")
    assert refused.code == 1
    assert "holds another result (run)" in refused.stderr


def test_what_a_killed_run_left_is_cleared(gkmnet: Path, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", draw_codes())
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / ".a.tif.dpdeblur-0123abcd.part").write_bytes(b"half")
    assert run(gkmnet, path, "-o", tmp_path / "o").code == 0
    assert list_files(tmp_path / "o") == ["a.tif"]


# Which photos


def test_the_shares_of_a_batch_are_the_batch(gkmnet: Path, tmp_path: Path) -> None:
    for name in "abcde":
        write_tiff(tmp_path / f"{name}.tif", draw_codes())
    assert run(gkmnet, tmp_path, "--shard", "1/2").code == 0
    assert list_files(tmp_path / "deblurred") == ["a.tif", "c.tif", "e.tif"]
    assert run(gkmnet, tmp_path, "--shard", "2/2").code == 0
    assert list_files(tmp_path / "deblurred") == ["a.tif", "b.tif", "c.tif", "d.tif", "e.tif"]


@pytest.mark.parametrize(("option", "end"), [([], b"\n"), (["-0"], b"\0")])
def test_photos_can_be_listed_on_standard_input(gkmnet: Path, tmp_path: Path, option: list[str], end: bytes) -> None:
    paths = [write_tiff(tmp_path / name, draw_codes()) for name in ("a b.tif", "c.tif")]
    listed = b"".join(os.fsencode(path) + end for path in paths)
    assert run(gkmnet, "--files-from", "-", *option, "-o", tmp_path / "o", stdin=listed).code == 0
    assert list_files(tmp_path / "o") == ["a b.tif", "c.tif"]


def test_a_walk_does_not_restore_its_own_results(gkmnet: Path, tmp_path: Path) -> None:
    write_tiff(tmp_path / "in" / "a.tif", draw_codes())
    run(gkmnet, tmp_path / "in", "-o", tmp_path / "in" / "sharp")
    result = run(gkmnet, tmp_path / "in" / "sharp")
    assert result.code == 3
    assert "1 result" in result.stderr


# What goes wrong


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


# What is said


def test_the_log_has_an_object_a_photo(gkmnet: Path, single_cr2: Path, truncated_cr2: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        run(gkmnet, single_cr2, truncated_cr2, tmp_path / "gone.cr2", "-o", tmp_path / "o", "--log", log)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(Path(entry["files"][0]).name, entry["status"]) for entry in entries] == [
        ("gone.cr2", "failed"),
        ("single.cr2", "done"),
        ("truncated.cr2", "failed"),
        ("gone.cr2", "failed"),
        ("single.cr2", "skipped"),
        ("truncated.cr2", "failed"),
    ]
    done, failed = entries[1], entries[2]
    assert done["outputs"] == [str(tmp_path / "o" / "single.tif")]
    assert done["megapixels"] == pytest.approx(64 * 96 / 1e6)
    assert (done["network"], done["device"], done["precision"], done["working_scale"]) == ("gkmnet", "cpu", "fp32", 1)
    assert set(done["seconds"]) == {"read", "process", "write"}
    assert failed["error"].startswith(f"{truncated_cr2}: ")


def test_the_device_and_precision_are_always_said(gkmnet: Path, tmp_path: Path) -> None:
    result = run(gkmnet, write_tiff(tmp_path / "a.tif", draw_codes()))
    assert "gkmnet (gkmnet_same.safetensors) on cpu in fp32" in result.stderr


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


def test_an_estimate_is_given_before_the_rest_of_a_batch(gkmnet: Path, tmp_path: Path) -> None:
    for name in "abc":
        write_tiff(tmp_path / f"{name}.tif", draw_codes())
    assert "for the other 2 photos" in run(gkmnet, tmp_path).stderr


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


@pytest.mark.parametrize("wrapped", [False, True])
def test_imported_weights_give_their_networks_own_picture(tmp_path: Path, wrapped: bool) -> None:
    torch.manual_seed(0)
    network = NETWORKS["dpanet"].build(width=8, released=True).eval()
    ours = network.state_dict()
    state = {theirs: ours[name] for theirs, name in dpanet.released_keys().items()}
    checkpoint = {"G_state_dict": {f"module.{key}": value for key, value in state.items()}} if wrapped else state
    torch.save(checkpoint, tmp_path / "theirs.pth")
    weights = tmp_path / "w.safetensors"
    assert call("weights", "import", tmp_path / "theirs.pth", "-o", weights).code == 0

    left, right = draw_codes(32, 48), draw_codes(32, 48)[:, ::-1].copy()
    named = [write_tiff(tmp_path / f"s_{side}.tif", codes) for side, codes in (("left", left), ("right", right))]
    # strength and scale are ours: the authors' picture is the result whatever they are
    arguments = ["--weights", weights, "--device", "cpu", "--strength", "0.5", "--scale", "0.5"]
    result = call("run", *named, *arguments, "-o", tmp_path / "o")
    assert result.code == 0
    assert "imported weights give their own picture: --strength and --scale do not apply" in result.stderr
    with torch.inference_mode():
        blue_first = [
            torch.from_numpy(view[..., ::-1] / np.float32(65535)).permute(2, 0, 1)[None] for view in (left, right)
        ]
        picture = network(*blue_first)[0].permute(1, 2, 0).numpy()[..., ::-1]
    assert picture.std() > 0.005
    np.testing.assert_allclose(tifffile.imread(tmp_path / "o" / "s.tif"), picture.clip(0, 1) * 65535, rtol=0, atol=2)


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
