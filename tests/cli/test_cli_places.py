"""Which photos are taken, where results go, and what is done already."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cli_runs import draw_codes, list_files, run, write_tiff

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
    assert "camera JPEGs left to their raws: 1" in result.stderr
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


def test_a_finished_photo_is_skipped_and_said_so(gkmnet: Path, tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    run(gkmnet, tmp_path / "a.tif")
    result = tmp_path / "deblurred" / "a.tif"
    before = result.stat().st_mtime_ns
    write_tiff(tmp_path / "b.tif", draw_codes())
    again = run(gkmnet, tmp_path)
    assert again.code == 0
    assert f"{tmp_path / 'a.tif'}: already done" in again.stderr
    assert "1 done, 1 already done" in again.stderr
    assert result.stat().st_mtime_ns == before
    assert run(gkmnet, tmp_path, "--overwrite").code == 0
    assert result.stat().st_mtime_ns != before


@pytest.mark.parametrize("change", ["weights", "strength", "scale", "ensemble", "profile", "keep-aspect", "photo"])
def test_what_changed_since_is_noticed_and_made_again_on_demand(
    gkmnet: Path, brighter: Path, tmp_path: Path, change: str
) -> None:
    for name in "ab":
        write_tiff(tmp_path / f"{name}.tif", draw_codes())
    assert run(gkmnet, tmp_path).code == 0
    results = [tmp_path / "deblurred" / f"{name}.tif" for name in "ab"]
    before = [path.read_bytes() for path in results]
    values = {"strength": ["0.5"], "scale": ["0.5"], "profile": ["linear"]}.get(change, [])
    options = [] if change in ("weights", "photo") else [f"--{change}", *values]
    weights = brighter if change == "weights" else gkmnet
    if change == "photo":
        write_tiff(tmp_path / "a.tif", draw_codes()[::-1])
    refused = run(weights, tmp_path, *options)
    assert refused.code == 1
    assert f"{results[0]}: " in refused.stderr
    assert "give --update to make it again" in refused.stderr
    assert [path.read_bytes() for path in results] == before
    planned = run(weights, tmp_path, *options, "--update", "--dry-run").stdout
    assert planned.count("already done") == (1 if change == "photo" else 0)
    updated = run(weights, tmp_path, *options, "--update")
    assert updated.code == 0
    assert ("1 done, 1 already done" if change == "photo" else "2 done") in updated.stderr
    assert results[0].read_bytes() != before[0]
    assert "2 already done" in run(weights, tmp_path, *options, "--update").stderr


def test_how_a_photo_is_computed_is_no_change(gkmnet: Path, tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    assert run(gkmnet, tmp_path).code == 0
    options = ["--tile", "32", "--overlap", "4", "--precision", "fp32", "--max-memory", "900M"]
    assert "1 already done" in run(gkmnet, tmp_path, *options).stderr


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
    assert "holds another result (run scale=1)" in refused.stderr


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
    assert "results of dpdeblur passed by: 1" in result.stderr
