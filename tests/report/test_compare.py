"""`compare`: what belongs together, what is said of what does not, and the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from cli_runs import call, draw_codes, list_files, write_tiff
from pages import Page

from dpdeblur.comparison import compare_photos, match_pictures
from dpdeblur.errors import ReadError, UsageError
from dpdeblur.photo import Photo
from dpdeblur.writers.examiner import Examiner
from dpdeblur.writers.signature import sign_note


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def match_names(first: Path, second: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs and the rest, by their places below the two folders."""
    matches = match_pictures(first, second)

    def name(path: Path) -> str:
        root = second if path.is_relative_to(second) else first
        return path.relative_to(root).as_posix()

    pairs = [(name(one.first.paths[0]), name(one.second.paths[0])) for one in matches.pairs]
    return pairs, [name(capture.paths[0]) for capture in matches.lonely]


def test_results_belong_to_the_photos_of_their_names(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", "a.CR2", "day/b.DNG", "day/c.jpg", "x.png")
    results = touch(tmp_path / "sharp", "a.tif", "day/b.tif", "day/c.tif", "y.tif")
    pairs, lonely = match_names(photos, results)
    assert pairs == [("a.CR2", "a.tif"), ("day/b.DNG", "day/b.tif"), ("day/c.jpg", "day/c.tif")]
    assert lonely == ["x.png", "y.tif"]


def test_results_that_would_share_a_name_belong_to_the_photos_they_are_named_after(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", "a.CR2", "a.dng")
    results = touch(tmp_path / "sharp", "a.cr2.tif", "a.dng.tif")
    assert match_names(photos, results) == ([("a.CR2", "a.cr2.tif"), ("a.dng", "a.dng.tif")], [])


def test_pictures_in_different_places_belong_together_where_names_leave_no_doubt(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", "day/a.CR2", "one/b.CR2", "two/b.CR2")
    results = touch(tmp_path / "sharp", "a.tif", "b.tif")
    assert match_names(photos, results) == ([("day/a.CR2", "a.tif")], ["one/b.CR2", "two/b.CR2", "b.tif"])


def test_pairs_of_views_are_one_photo_and_twins_of_raws_none(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", "s_left.png", "s_right.png", "a.CR2", "a.JPG")
    results = touch(tmp_path / "sharp", "s.tif", "a.tif")
    assert match_names(photos, results) == ([("a.CR2", "a.tif"), ("s_left.png", "s.tif")], [])


def test_results_beside_their_photos_are_found_when_they_are_named_and_not_taken_for_photos(tmp_path: Path) -> None:
    photos = touch(
        tmp_path / "photos", "a.CR2", "out/b.tif", "deblurred/a.tif", ".hidden/a.tif", "split_views/a_left.tif"
    )
    assert match_names(photos, photos / "deblurred")[0] == [("a.CR2", "a.tif")]
    touch(photos, "b.CR2")
    assert match_names(photos, photos / "out") == ([("b.CR2", "b.tif")], ["a.CR2"])


def test_maps_and_pictures_of_reports_are_no_results(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", "a.CR2", "a_defocus.CR2")
    results = touch(tmp_path / "sharp", "a.tif")
    for name, note in (("a_defocus.tif", "run; x"), ("a-0-after.tif", "run for=report; x")):
        tifffile.imwrite(results / name, np.zeros((2, 2), np.uint8), software=sign_note(note))
    assert match_names(photos, results) == ([("a.CR2", "a.tif")], ["a_defocus.CR2"])


def test_two_files_belong_together_whatever_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "b.png")
    (pair,) = match_pictures(tmp_path / "a.tif", tmp_path / "b.png").pairs
    assert (pair.first.paths, pair.second.paths) == ((tmp_path / "a.tif",), (tmp_path / "b.png",))


def test_a_file_finds_its_result_in_a_folder(tmp_path: Path) -> None:
    results = touch(tmp_path / "sharp", "a.tif", "b.tif")
    touch(tmp_path, "b.CR2")
    (pair,) = match_pictures(tmp_path / "b.CR2", results).pairs
    assert pair.second.paths == (results / "b.tif",)


def test_what_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        match_pictures(tmp_path, tmp_path / "gone")


def make_photo(width: int, height: int, orientation: int = 1) -> Photo:
    image = np.full((height, width, 1), 0.3, np.float32)
    return Photo((Path(f"{width}.tif"),), "image", image, orientation=orientation)


def test_a_result_lies_upright_over_a_turned_photo() -> None:
    compared = compare_photos(make_photo(60, 40, 6), make_photo(40, 60), Examiner(100_000))
    assert compared.preview is not None
    assert (compared.preview.whole.width, compared.preview.whole.height) == (40, 60)
    assert compared.warnings == ()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_size_that_differs_a_little_is_said_and_scaled(orientation: int) -> None:
    second = make_photo(118, 80, orientation) if orientation == 1 else make_photo(80, 118, orientation)
    compared = compare_photos(make_photo(60, 40), second, Examiner(100_000))
    assert compared.preview is not None
    assert (compared.preview.whole.width, compared.preview.whole.height) == (60, 40)
    assert compared.warnings == ("The sizes differ (60x40 and 118x80): the second was scaled.",)


def test_another_shape_is_another_photo() -> None:
    with pytest.raises(ReadError, match="is 40x60 pixels, and 60.tif is 60x40"):
        compare_photos(make_photo(60, 40), make_photo(40, 60), Examiner(100_000))


def test_the_page_shows_pairs_failures_and_what_has_no_partner(tmp_path: Path) -> None:
    photos, results = tmp_path / "photos", tmp_path / "sharp"
    codes = draw_codes()
    write_tiff(photos / "a.tif", codes)
    write_tiff(results / "a.tif", codes + 2000)
    write_tiff(photos / "b.tif", codes)
    touch(results, "b.tif")
    write_tiff(results / "c.tif", codes)
    run = call("compare", photos, results, "-o", tmp_path / "page.html")
    assert run.code == 1
    assert run.stdout == ""
    assert "b.tif: is empty" in run.stderr
    assert "without a partner: 1" in run.stderr
    assert "report: " in run.stderr
    page = Page(tmp_path / "page.html")
    assert page.names == ["a.tif", "b.tif", "c.tif"]
    assert [state.split(":")[0] for state in page.states] == ["Compared", "Failed", "Without a partner"]
    body = page.find("body")[0].attributes
    assert (body["data-before"], body["data-after"]) == ("photos", "sharp")
    assert page.records[0]["whole"]["before"] != page.records[0]["whole"]["after"]
    assert sorted(list_files(photos) + list_files(results)) == ["a.tif", "a.tif", "b.tif", "b.tif", "c.tif"]


def test_sides_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in ("k3dn", "gkmnet"):
        write_tiff(tmp_path / folder / "a.tif", draw_codes())
    run = call("compare", tmp_path / "k3dn" / "a.tif", tmp_path / "gkmnet" / "a.tif", "-o", tmp_path / "p.html")
    assert run.code == 0
    assert Page(tmp_path / "p.html").find("title")[0].text == "k3dn/a.tif and gkmnet/a.tif"


def test_folders_with_nothing_in_common_are_nothing_to_work_on(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "x", "a.tif"), touch(tmp_path / "y", "b.tif")
    run = call("compare", first, second, "-o", tmp_path / "page.html")
    assert (run.code, list_files(tmp_path)) == (3, ["x/a.tif", "y/b.tif"])
    assert "belongs to anything" in run.stderr


def test_a_page_that_is_not_ours_is_wrong_use(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", draw_codes())
    (tmp_path / "page.html").write_text("mine")
    run = call("compare", tmp_path / "a.tif", tmp_path / "a.tif", "-o", tmp_path / "page.html")
    assert run.code == 2
    assert "was not written by dpdeblur" in run.stderr
    assert (tmp_path / "page.html").read_text() == "mine"
