"""Which files of a data set are one scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_sets import draw_scene, write_codes, write_dpdd, write_pixel4, write_twofold

from dpdeblur.errors import UsageError
from dpdeblur.evaluation.datasets import find_scenes


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_dpdd_as_its_authors_hand_it_out_is_paired_in_order(tmp_path: Path) -> None:
    write_dpdd(tmp_path, {"1P0A0004": "1P0A0003", "1P0A0011": "1P0A0012"})
    scenes = find_scenes(tmp_path, "dpdd")
    assert [scene.name for scene in scenes.found] == ["1P0A0004", "1P0A0011"]
    first = scenes.found[0]
    assert first.sharp == tmp_path / "test_c/target/1P0A0003.png"
    assert first.blurred == tmp_path / "test_c/source/1P0A0004.png"
    assert first.views == (
        tmp_path / "test_l/source/1P0A0004_L.png",
        tmp_path / "test_r/source/1P0A0004_R.png",
    )
    assert scenes.failures == ()
    assert scenes.notes == ("the references have other names than the photos: the n-th was taken for the n-th",)


def test_dpdd_as_restormer_packs_it_is_paired_by_name(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/{n}.png" for folder in ("inputL", "inputR", "inputC", "target") for n in (2, 10)))
    scenes = find_scenes(tmp_path, "dpdd")
    assert [scene.name for scene in scenes.found] == ["2", "10"]  # as numbers, not as letters
    assert scenes.found[1].sharp == tmp_path / "target/10.png"
    assert scenes.notes == ()


def test_dpdd_without_whole_photos_has_views_only(tmp_path: Path) -> None:
    write_dpdd(tmp_path, {"a": "a"}, blurred=False)
    (scene,) = find_scenes(tmp_path, "dpdd").found
    assert scene.blurred is None
    assert scene.views is not None


@pytest.mark.parametrize(("layout", "sharp", "blurred"), [("realdof", "target", "source"), ("sdd", "gt", "blur")])
def test_sets_of_two_folders_have_no_views(tmp_path: Path, layout: str, sharp: str, blurred: str) -> None:
    write_twofold(tmp_path, sharp, blurred, ["a", "b"])
    scenes = find_scenes(tmp_path, layout)  # type: ignore[arg-type]  # a layout's name
    assert [scene.name for scene in scenes.found] == ["a", "b"]
    assert scenes.found[0].blurred == tmp_path / blurred / "a.png"
    assert scenes.found[0].views is None


def test_the_folder_above_test_will_do(tmp_path: Path) -> None:
    write_twofold(tmp_path / "test", "gt", "blur", ["a"])
    assert len(find_scenes(tmp_path, "sdd").found) == 1


def test_pairs_are_folders_or_endings_of_names(tmp_path: Path) -> None:
    touch(tmp_path / "folders", "sharp/a.png", "left/a.tif", "right/a.tif", "blurred/a.jpg")
    touch(tmp_path / "names", "a_sharp.png", "a_left.tif", "a_right.tif", "a_blurred.jpg", "readme.png")
    for root in ("folders", "names"):
        (scene,) = find_scenes(tmp_path / root, "pairs").found
        assert (scene.name, scene.sharp.suffix) == ("a", ".png")
        assert scene.views is not None and scene.views[1].suffix == ".tif"
        assert scene.blurred is not None and scene.blurred.suffix == ".jpg"


def test_pixel4_takes_the_files_beside_its_calibration(tmp_path: Path) -> None:
    write_pixel4(tmp_path, "002")
    (scene,) = find_scenes(tmp_path, "pixel4").found
    assert (scene.name, scene.sharp.name, scene.blurred) == ("002", "002_gt.png", None)


def test_a_file_without_its_counterpart_fails_alone(tmp_path: Path) -> None:
    write_dpdd(tmp_path, {"a": "a", "b": "b", "c": "c"})
    (tmp_path / "test_c/target/b.png").unlink()
    (tmp_path / "test_r/source/b_R.png").unlink()
    scenes = find_scenes(tmp_path, "dpdd")
    assert [scene.name for scene in scenes.found] == ["a", "c"]
    (failure,) = scenes.failures
    assert "there is no sharp and no right of it" in str(failure)
    assert failure.path is not None and failure.path.stem.startswith("b")


def test_names_and_folders_tell_indoor_from_outdoor(tmp_path: Path) -> None:
    touch(tmp_path, "source/indoor_1.png", "target/indoor_1.png")
    touch(tmp_path, "source/Outdoor/2.png", "target/Outdoor/2.png", "source/3.png", "target/3.png")
    groups = {scene.name: scene.group for scene in find_scenes(tmp_path, "realdof").found}
    assert groups == {"indoor_1": "indoor", "Outdoor/2": "outdoor", "3": ""}


def test_the_lists_beside_dpdd_count_references_from_one(tmp_path: Path) -> None:
    write_dpdd(tmp_path, {"5": "4", "7": "6", "12": "9"})
    np.save(tmp_path / "indoor_labels.npy", np.array([1, 3]))
    np.save(tmp_path / "outdoor_labels.npy", np.array([2]))
    groups = {scene.name: scene.group for scene in find_scenes(tmp_path, "dpdd").found}
    assert groups == {"5": "indoor", "7": "outdoor", "12": "indoor"}


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    write_dpdd(tmp_path, {"a": "a"})
    (tmp_path / "indoor_labels.npy").write_bytes(b"not numpy")
    with pytest.raises(UsageError, match=r"indoor_labels\.npy"):
        find_scenes(tmp_path, "dpdd")


def test_a_folder_that_holds_no_such_set_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    write_codes(tmp_path / "sharp" / "a.png", draw_scene()[0])
    with pytest.raises(UsageError, match="sdd has the folders gt, blur"):
        find_scenes(tmp_path, "sdd")
    with pytest.raises(UsageError, match="layout pairs"):  # references alone are no pairs
        find_scenes(tmp_path, "pairs")
    with pytest.raises(UsageError, match="_gt, _left, _right"):
        find_scenes(tmp_path, "pixel4")
    with pytest.raises(UsageError, match="is no folder"):
        find_scenes(tmp_path / "missing", "pairs")
