"""`run --report` and `run --defocus-map`, as a user calls them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from cli_runs import call, draw_codes, list_files, run, write_tiff
from pages import Page
from tiny_networks import write_gkmnet

from dpdeblur.photo import Photo
from dpdeblur.pipeline import Restoration


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gkmnet(tmp_path_factory.mktemp("weights") / "w.safetensors", added=0.05)


def test_the_report_tells_of_every_photo(tmp_path: Path, weights: Path, dual_cr2: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    (tmp_path / "b.cr2").write_bytes(b"")
    page_path = tmp_path / "r.html"
    called = run(
        weights, tmp_path / "a.tif", tmp_path / "b.cr2", tmp_path / "gone.dng", dual_cr2,
        "-o", tmp_path / "out", "--report", page_path, "--precision", "fp32",
    )  # fmt: skip
    assert called.code == 1
    assert called.stdout == ""
    page = Page(page_path)
    assert sorted(page.names) == ["a.tif", "b.cr2", "dual.cr2", "gone.dng"]
    by_name = dict(zip(page.names, zip(page.states, page.records, strict=True), strict=True))
    assert by_name["a.tif"][0] == "Restored: gkmnet"
    assert "is empty" in by_name["b.cr2"][0] and "whole" not in by_name["b.cr2"][1]
    assert "no such file" in by_name["gone.dng"][0]
    facts = dict(by_name["dual.cr2"][1]["facts"])
    restoration = dict(facts["Restoration"])
    assert restoration["Network"].startswith("gkmnet (")
    assert (restoration["Device"], restoration["Working scale"]) == ("cpu, fp32", "1")
    assert dict(facts["Picture"])["Size"] == "96 × 64 px, 0.0 megapixels"
    assert dict(facts["Camera"])["Camera"].startswith("Canon")
    assert by_name["dual.cr2"][1]["defocus"]["quantity"] == "disparity"
    assert by_name["a.tif"][1]["defocus"]["quantity"] == "blur radius"


def test_a_run_that_goes_on_keeps_the_pictures_of_the_first(tmp_path: Path, weights: Path) -> None:
    for name in "ab":
        write_tiff(tmp_path / f"{name}.tif", draw_codes())
    report = ("-o", tmp_path / "out", "--report", tmp_path / "r.html")
    assert run(weights, tmp_path / "a.tif", *report).code == 0
    first = Page(tmp_path / "r.html").records[0]
    assert run(weights, tmp_path / "a.tif", tmp_path / "b.tif", *report).code == 0
    page = Page(tmp_path / "r.html")
    assert page.states == ["Done before", "Restored: gkmnet"]
    assert page.records[0] == first


def test_a_run_that_is_interrupted_leaves_a_report_of_what_was_done(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_tiff(tmp_path / f"{name}.tif", draw_codes())
    process = Restoration.process

    def interrupt_second(self: Restoration, photo: Photo) -> object:
        if photo.paths[0].name == "b.tif":
            raise KeyboardInterrupt
        return process(self, photo)

    monkeypatch.setattr(Restoration, "process", interrupt_second)
    called = run(
        weights, tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "c.tif",
        "-o", tmp_path / "out", "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert called.code == 130
    page = Page(tmp_path / "r.html")
    assert page.names == ["a.tif"]
    assert "whole" in page.records[0]
    assert "interrupted: 2 of 3 were not reached" in page.find("p", id="summary")[0].text


def test_a_report_that_cannot_be_written_is_found_before_any_work(tmp_path: Path, weights: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    (tmp_path / "r.html").write_text("mine")
    called = run(weights, tmp_path / "a.tif", "-o", tmp_path / "out", "--report", tmp_path / "r.html")
    assert called.code == 2
    assert "was not written by dpdeblur" in called.stderr
    assert list_files(tmp_path) == ["a.tif", "r.html"]


def test_a_report_that_fails_later_costs_no_photo_but_the_exit_code(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dpdeblur.writers.report.render_row", fail)
    write_tiff(tmp_path / "a.tif", draw_codes())
    called = run(weights, tmp_path / "a.tif", "-o", tmp_path / "out", "--report", tmp_path / "r.html")
    assert called.code == 1
    assert "no report: " in called.stderr and "the disk is full" in called.stderr
    assert list_files(tmp_path) == ["a.tif", "out/a.tif"]


def test_a_dry_run_writes_no_report(tmp_path: Path, weights: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    assert run(weights, tmp_path / "a.tif", "--dry-run", "--report", tmp_path / "r.html").code == 0
    assert list_files(tmp_path) == ["a.tif"]


def test_all_pixels_are_about_a_report(tmp_path: Path) -> None:
    called = call("run", tmp_path, "--report-full")
    assert called.code == 2
    assert "--report-full is about --report" in called.stderr


def test_pictures_of_a_report_are_no_photos_to_a_later_run(tmp_path: Path, weights: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65535, (1100, 1600, 3), np.uint16)
    write_tiff(tmp_path / "a.tif", noise)
    called = run(
        weights, tmp_path / "a.tif", "-o", tmp_path / "out", "--report", tmp_path / "r.html", "--report-full",
        "--scale", "0.05",
    )  # fmt: skip
    assert called.code == 0
    kept = [name for name in list_files(tmp_path) if name.startswith("r_files/")]
    assert len(kept) == 2
    assert call("run", tmp_path / "r_files", "--dry-run").code == 3


def test_maps_of_defocus_lie_beside_the_results_and_are_skipped_with_them(
    tmp_path: Path, weights: Path, dual_cr2: Path
) -> None:
    arguments = (dual_cr2, "-o", tmp_path / "out", "--defocus-map")
    assert run(weights, *arguments).code == 0
    assert list_files(tmp_path) == ["out/dual.tif", "out/dual_defocus.tif"]
    assert tifffile.imread(tmp_path / "out" / "dual_defocus.tif").shape == (64, 96)
    assert "already done" in run(weights, *arguments).stderr


def test_a_map_that_is_asked_for_later_is_made(tmp_path: Path, weights: Path, dual_cr2: Path) -> None:
    assert run(weights, dual_cr2, "-o", tmp_path / "out").code == 0
    assert run(weights, dual_cr2, "-o", tmp_path / "out", "--defocus-map").code == 0
    assert list_files(tmp_path) == ["out/dual.tif", "out/dual_defocus.tif"]
