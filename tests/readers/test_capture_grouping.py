"""Which files are one photo."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpdeblur.readers import SUFFIXES, Capture, group_captures


def group(*names: str) -> list[tuple[str, str, tuple[str, ...]]]:
    captures = group_captures([Path(name) for name in names])
    return [(capture.layout, capture.name, tuple(path.as_posix() for path in capture.paths)) for capture in captures]


@pytest.mark.parametrize("suffix", [".pgm", ".png", ".tif", ".tiff"])
@pytest.mark.parametrize(("left", "right"), [("_left", "_right"), ("_L", "_R")])
def test_two_files_named_left_and_right_are_one_photo_left_first(left: str, right: str, suffix: str) -> None:
    files = f"a/x{right}{suffix}", f"a/x{left}{suffix}"
    assert group(*files) == [("pair", "x", (files[1], files[0]))]


def test_suffixes_of_a_pair_may_differ_in_case() -> None:
    assert group("x_left.PNG", "x_right.png") == [("pair", "x", ("x_left.PNG", "x_right.png"))]


@pytest.mark.parametrize(
    "names",
    [
        ("x_left.png",),
        ("x_left.png", "y_right.png"),
        ("a/x_left.png", "b/x_right.png"),
        ("x_left.jpg", "x_right.jpg"),
        ("x_left.cr2", "x_right.cr2"),
        ("x_left.png", "x_right.tif"),
        ("x_left.png", "x_R.png"),
        ("xleft.png", "xright.png"),
        ("_left.png", "_right.png"),
    ],
)
def test_files_without_a_twin_are_photos_of_their_own(names: tuple[str, ...]) -> None:
    assert group(*names) == [("single", Path(name).stem, (name,)) for name in names]


def test_the_pixel_apps_names_are_told_apart_from_other_pairs() -> None:
    names = "20240305_112233_042_left.pgm", "20240305_112233_042_right.pgm"
    assert group(*names) == [("pixel", "20240305_112233_042", names)]
    assert group("scene_left.pgm", "scene_right.pgm")[0][0] == "pair"


def test_both_folders_of_the_dpdd_layout_make_pairs_under_the_files_name() -> None:
    files = "d/test_l/source/1.png", "d/test_r/source/1.png", "d/test_c/source/1.png", "d/val_r/source/1.png"
    assert group(*files) == [
        ("dpdd", "1", files[:2]),
        ("single", "1", (files[2],)),
        ("single", "1", (files[3],)),
    ]


def test_the_order_of_the_files_is_kept_and_none_is_lost_or_doubled() -> None:
    files = "z.cr2", "x_R.tif", "b.jpg", "x_L.tif", "b.jpg", "x_L.tiff"
    assert group(*files) == [
        ("single", "z", ("z.cr2",)),
        ("pair", "x", ("x_L.tif", "x_R.tif")),
        ("single", "b", ("b.jpg",)),
        ("single", "x_L", ("x_L.tiff",)),
    ]


def test_the_stem_of_a_single_photo_keeps_its_dots() -> None:
    assert Capture((Path("a/IMG_1.edit.tif"),)).name == "IMG_1.edit"


def test_all_suffixes_are_lower_case_with_a_dot() -> None:
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
    assert {".cr2", ".cr3", ".dng", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".pgm", ".nef"} <= SUFFIXES
