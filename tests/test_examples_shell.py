"""The shell scripts of examples/ do what their first lines say."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from cli_runs import draw_codes, list_files, write_tiff
from shell import ROOT, run_shell, serve_program
from tiny_networks import write_gkmnet

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Where the scripts find the program."""
    with tempfile.TemporaryDirectory() as folder, serve_program(Path(folder)) as environment:
        yield environment


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options of run for weights that change nothing, at once."""
    weights = write_gkmnet(tmp_path_factory.mktemp("weights") / "same.safetensors")
    return "--weights", str(weights), "--scale", "1", "--device", "cpu"


# watch_folder.sh


def test_the_watched_folder_is_worked_on_again_when_something_new_has_come(
    tmp_path: Path, environment: dict[str, str], fast: tuple[str, ...]
):
    inbox, output, aside = tmp_path / "inbox", tmp_path / "out", tmp_path / "aside"
    write_tiff(inbox / "one.tif", draw_codes())
    write_tiff(aside / "two.tif", draw_codes())
    os.utime(aside / "two.tif", (0, 0))  # an old photo arrives now, too
    command = [EXAMPLES / "watch_folder.sh", inbox, output, *fast]
    settings = environment | {"ROUNDS": "2", "SETTLE_S": "0.3"}
    watcher = subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(output / "one.tif", watcher)
        (inbox / "later").mkdir()
        shutil.move(aside / "two.tif", inbox / "later" / "two.tif")
        _, said = watcher.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(watcher.pid, signal.SIGKILL)
    assert watcher.returncode == 0, said
    assert list_files(output) == ["later/two.tif", "one.tif"]
    assert "1 done, 1 already done" in said


def test_watching_goes_on_after_a_failed_photo_and_ends_with_wrong_use(
    tmp_path: Path, environment: dict[str, str], fast: tuple[str, ...]
):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "broken.tif").write_bytes(b"II*\0 this is no picture")
    settings = environment | {"ROUNDS": "1", "SETTLE_S": "0.2"}
    failed = run_shell(EXAMPLES / "watch_folder.sh", inbox, tmp_path / "out", *fast, environment=settings, cwd=tmp_path)
    assert failed.returncode == 0
    assert "1 failed" in failed.stderr
    wrong = run_shell(EXAMPLES / "watch_folder.sh", inbox, "out", "--strength", "9", environment=settings, cwd=tmp_path)
    assert wrong.returncode == 2


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file is there, while the process lives."""
    end = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.1)


# slurm_array.sh


def run_array_task(
    number: int, count: int, photos: Path, output: Path, environment: dict[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    """What Slurm does for one task of an array, without Slurm: the script, and these variables."""
    settings = environment | {
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_ARRAY_TASK_COUNT": str(count),
        "SLURM_ARRAY_TASK_MIN": "1",
        "SLURM_ARRAY_TASK_MAX": str(count),
    }
    return run_shell(
        "bash", EXAMPLES / "slurm_array.sh", photos, output, *options, environment=settings, cwd=photos.parent
    )


def test_the_tasks_of_an_array_share_the_photos_out(tmp_path: Path, environment: dict[str, str], fast: tuple[str, ...]):
    photos = {f"{folder}/{name}.tif" for folder in ("day1", "day2") for name in "ab"} | {"c.tif"}
    for name in photos:
        write_tiff(tmp_path / "photos" / name, draw_codes())
    for number in (1, 2):
        task = run_array_task(number, 2, tmp_path / "photos", tmp_path / "out", environment, *fast)
        assert task.returncode == 0, task.stderr
    shares = []
    for number in (1, 2):
        lines = (tmp_path / "out" / f"log_{number}.jsonl").read_text().splitlines()
        shares.append(
            {Path(json.loads(line)["input"][0]).relative_to(tmp_path / "photos").as_posix() for line in lines}
        )
    assert sorted(len(share) for share in shares) == [2, 3]
    assert shares[0] | shares[1] == photos
    assert {name for name in list_files(tmp_path / "out") if name.endswith(".tif")} == photos


def test_a_task_without_photos_is_no_failure_and_a_gap_in_the_array_is(
    tmp_path: Path, environment: dict[str, str], fast: tuple[str, ...]
):
    write_tiff(tmp_path / "photos" / "a.tif", draw_codes())
    idle = run_array_task(3, 3, tmp_path / "photos", tmp_path / "out", environment, *fast)
    assert idle.returncode == 0, idle.stderr
    gap = environment | {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MAX": "4"}
    refused = run_shell("bash", EXAMPLES / "slurm_array.sh", "photos", "out", environment=gap, cwd=tmp_path)
    assert refused.returncode == 2
    assert "1-N" in refused.stderr


# split_for_disparity.sh and match_views.py


def test_every_pair_of_views_is_handed_to_the_matcher(
    tmp_path: Path, environment: dict[str, str], dual_cr2: Path, srgb_tiff: Path
):
    photos = tmp_path / "photos"
    (photos / "a day").mkdir(parents=True)
    shutil.copy(dual_cr2, photos / "a day" / "it's one.cr2")
    shutil.copy(srgb_tiff, photos)
    script = (EXAMPLES / "split_for_disparity.sh", photos, tmp_path / "views")
    result = run_shell(*script, environment=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    disparity = tifffile.imread(tmp_path / "views" / "a day" / "it's one_disparity.tif")
    assert disparity.shape == tifffile.imread(tmp_path / "views" / "a day" / "it's one_left.tif").shape[:2]
    # a second call has nothing to do: a matcher that fails is not called
    assert run_shell(*script, "false", environment=environment, cwd=tmp_path).returncode == 0


def test_no_photo_with_two_views_is_nothing_to_do(tmp_path: Path, environment: dict[str, str], srgb_tiff: Path):
    script = (EXAMPLES / "split_for_disparity.sh", srgb_tiff.resolve(), tmp_path / "views")
    (tmp_path / "photos").mkdir()
    shutil.copy(srgb_tiff, tmp_path / "photos")
    result = run_shell(script[0], tmp_path / "photos", script[2], environment=environment, cwd=tmp_path)
    assert result.returncode == 3


@pytest.mark.parametrize("shift_px", [-3, 0, 2])
def test_a_shifted_picture_is_measured_to_a_fraction_of_a_pixel(tmp_path: Path, shift_px: int):
    noise = np.random.default_rng(1).uniform(0, 1, (96, 160))
    texture = np.fft.irfft2(np.fft.rfft2(noise) * np.exp(-40 * radius_squared(96, 160)), (96, 160))
    codes = np.rint((texture - texture.min()) / np.ptp(texture) * 65535).astype(np.uint16)
    for name, view in (("left", np.roll(codes, shift_px, axis=1)), ("right", codes)):
        tifffile.imwrite(tmp_path / f"{name}.tif", view)
    names = [str(tmp_path / f"{name}.tif") for name in ("left", "right", "result")]
    subprocess.run([sys.executable, EXAMPLES / "match_views.py", *names], check=True)
    inner = tifffile.imread(tmp_path / "result.tif")[8:-8, 16:-16]
    assert inner.dtype == np.float32
    assert np.nanmedian(inner) == pytest.approx(shift_px, abs=0.1)
    assert np.isfinite(inner).mean() > 0.9


def radius_squared(height: int, width: int) -> np.ndarray:
    """Squared frequency, in cycles a pixel, of each entry of a real Fourier transform."""
    return np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[None] ** 2


# catalogue_round_trip.sh


@pytest.fixture
def catalogue(tmp_path: Path, dual_cr2: Path, single_dng: Path) -> Path:
    """Photos with the sidecars of both programs: three marked, one of them missing, one not marked."""
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    folder = tmp_path / "my photos"
    folder.mkdir()
    shutil.copy(dual_cr2, folder / "IMG_1.cr2")
    shutil.copy(dual_cr2, folder / "IMG_2.cr2")
    shutil.copy(single_dng, folder / "IMG_3.dng")
    write_sidecar(folder / "IMG_1.xmp", "Deblur", "our cat", "-XMP-xmp:Rating=4", "-XMP-crs:Exposure2012=1.5")
    write_sidecar(folder / "IMG_2.cr2.xmp", "nothing", "deblurring later")
    write_sidecar(folder / "IMG_3.dng.xmp", "deblur", "-XMP-dc:Title=A & B")
    write_sidecar(folder / "IMG_4.xmp", "deblur")
    return folder


def write_sidecar(path: Path, *entries: str) -> None:
    """Make an XMP file; entries without a tag are keywords."""
    options = [entry if entry.startswith("-") else f"-XMP-dc:Subject={entry}" for entry in entries]
    subprocess.run(["exiftool", "-q", *options, str(path)], check=True)


def read_xmp(path: Path) -> dict[str, Any]:
    """What exiftool finds in a result."""
    command = ["exiftool", "-j", "-XMP:all", "-Software", "-G1", str(path)]
    (entries,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert isinstance(entries, dict)
    return entries


def test_marked_photos_come_back_with_their_catalogue_entries(
    tmp_path: Path, catalogue: Path, environment: dict[str, str], fast: tuple[str, ...]
):
    before = {path.name: path.read_bytes() for path in catalogue.iterdir()}
    script = (EXAMPLES / "catalogue_round_trip.sh", catalogue, *fast)
    result = run_shell(*script, environment=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "IMG_4.xmp: its photo is not beside it" in result.stderr
    assert list_files(catalogue / "deblurred") == ["IMG_1.tif", "IMG_3.tif"]
    one, three = (read_xmp(catalogue / "deblurred" / f"IMG_{number}.tif") for number in (1, 3))
    assert one["XMP-xmp:Rating"] == 4
    assert sorted(one["XMP-dc:Subject"]) == ["deblurred", "our cat"]
    assert "XMP-crs:Exposure2012" not in one
    assert three["XMP-dc:Title"] == "A & B"
    assert {path.name: path.read_bytes() for path in catalogue.iterdir() if path.is_file()} == before
    again = run_shell(*script, environment=environment, cwd=tmp_path)
    assert "2 already done" in again.stderr
    assert sorted(read_xmp(catalogue / "deblurred" / "IMG_1.tif")["XMP-dc:Subject"]) == ["deblurred", "our cat"]


def test_a_catalogue_without_marked_photos_is_nothing_to_do(
    tmp_path: Path, catalogue: Path, environment: dict[str, str]
):
    settings = environment | {"KEYWORD": "no such /keyword/ .*"}
    result = run_shell(EXAMPLES / "catalogue_round_trip.sh", catalogue, environment=settings, cwd=tmp_path)
    assert result.returncode == 3
    assert not (catalogue / "deblurred").exists()


def test_every_script_is_run_here_and_says_how_it_is_used():
    tested = {"watch_folder.sh", "slurm_array.sh", "split_for_disparity.sh", "catalogue_round_trip.sh"}
    assert {path.name for path in EXAMPLES.glob("*.sh")} == tested
    for name in tested:
        path = EXAMPLES / name
        assert os.access(path, os.X_OK)
        bare = subprocess.run([path], capture_output=True, text=True)
        assert bare.returncode == 2 and bare.stderr.startswith("usage: ")
