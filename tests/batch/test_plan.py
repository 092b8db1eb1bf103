"""Names of results: by the input's stem, never two alike, never an original."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpdeblur.batch.inputs import Found
from dpdeblur.batch.plan import Job, drop_twins, plan_jobs, take_share
from dpdeblur.readers import Capture, group_captures


def find(root: str, *names: str) -> list[Found]:
    return [Found(capture, Path(root)) for capture in group_captures([Path(root, name) for name in names])]


def name_tiff(stem: PurePath) -> tuple[PurePath, ...]:
    return (stem.with_name(stem.name + ".tif"),)


def plan(found: list[Found], output: str | None = "/out") -> list[str]:
    jobs = plan_jobs(found, name_tiff, output=None if output is None else Path(output), folder_name="deblurred")
    return [path.as_posix() for job in jobs for path in job.outputs]


def test_results_lie_in_a_folder_beside_their_photo() -> None:
    assert plan(find("/p", "IMG.1.CR2", "day/b.dng"), None) == ["/p/deblurred/IMG.1.tif", "/p/day/deblurred/b.tif"]


def test_an_output_folder_mirrors_the_tree() -> None:
    assert plan(find("/p", "a.cr2", "day/b.dng")) == ["/out/a.tif", "/out/day/b.tif"]


def test_two_photos_of_one_stem_keep_their_suffixes() -> None:
    found = find("/p", "IMG_1.cr2", "IMG_1.dng", "IMG_2.cr2")
    assert plan(found) == ["/out/IMG_1.cr2.tif", "/out/IMG_1.dng.tif", "/out/IMG_2.tif"]


def test_names_that_differ_in_case_only_are_told_apart() -> None:
    assert plan(find("/p", "a.cr2", "A.dng")) == ["/out/a.cr2.tif", "/out/A.dng.tif"]


def test_photos_of_one_name_from_two_folders_keep_their_folders() -> None:
    found = [*find("/p/x", "IMG_1.cr2"), *find("/p/y/z", "IMG_1.cr2"), *find("/p/x", "IMG_2.cr2")]
    assert plan(found) == ["/out/x/IMG_1.tif", "/out/y/z/IMG_1.tif", "/out/IMG_2.tif"]


def test_folders_first_then_suffixes_tell_apart() -> None:
    found = [*find("/p/x", "a.cr2", "a.dng"), *find("/p/y", "a.cr2")]
    assert plan(found) == ["/out/x/a.cr2.tif", "/out/x/a.dng.tif", "/out/y/a.tif"]


def test_a_pair_and_a_photo_of_its_name_are_told_apart() -> None:
    assert plan(find("/p", "s_left.png", "s_right.png", "s.png")) == ["/out/s.pair.png.tif", "/out/s.png.tif"]


def test_what_still_meets_is_numbered() -> None:
    found = find("/p", "a.CR2", "a.cr2", "A.Cr2")
    assert plan(found) == ["/out/a.CR2.tif", "/out/a.cr2-2.tif", "/out/A.Cr2-2-3.tif"]


def test_a_result_never_takes_an_originals_name() -> None:
    assert plan(find("/p", "a.tif", "b.cr2"), "/p") == ["/p/a.tif.tif", "/p/b.tif"]


def test_a_data_sets_photo_is_named_after_its_part_of_the_set() -> None:
    found = find("/dd", "test_l/source/1.png", "test_r/source/1.png", "val_l/source/1.png", "val_r/source/1.png")
    assert plan(found) == ["/out/test/1.tif", "/out/val/1.tif"]
    assert plan(found, None) == ["/dd/deblurred/test/1.tif", "/dd/deblurred/val/1.tif"]


def test_several_outputs_of_one_photo_are_kept_together() -> None:
    def name_views(stem: PurePath) -> tuple[PurePath, ...]:
        return tuple(stem.with_name(f"{stem.name}_{view}.tif") for view in ("left", "right"))

    found = find("/p", "a.cr2", "a.dng")
    jobs = plan_jobs(found, name_views, output=Path("/out"), folder_name="views")
    assert [[path.name for path in job.outputs] for job in jobs] == [
        ["a.cr2_left.tif", "a.cr2_right.tif"],
        ["a.dng_left.tif", "a.dng_right.tif"],
    ]


names = st.from_regex(r"[aA]{1,2}(-2)?\.(cr2|CR2|dng|tif)", fullmatch=True)
folders = st.sampled_from(["/p", "/p/x", "/p/x/y", "/out"])


@given(st.lists(st.tuples(folders, names), max_size=8, unique=True), st.sampled_from([None, "/out", "/p"]))
def test_no_two_results_and_no_original_ever_share_a_name(files: list[tuple[str, str]], output: str | None) -> None:
    found = [Found(Capture((Path(folder, name),)), Path(folder)) for folder, name in files]
    results = [path.casefold() for path in plan(found, output)]
    originals = {f"{folder}/{name}".casefold() for folder, name in files}
    assert len(set(results)) == len(files)
    assert not originals & set(results)


def test_the_cameras_jpeg_gives_way_to_its_raw() -> None:
    found = find("/p", "a.CR2", "A.JPG", "b.jpg", "c.tif", "c.jpeg", "x/a.jpg")
    kept, twins = drop_twins(found)
    assert [one.capture.paths[0].name for one in twins] == ["A.JPG"]
    assert [one.capture.paths[0].name for one in kept] == ["a.CR2", "b.jpg", "c.tif", "c.jpeg", "a.jpg"]


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_the_shares_are_the_whole_without_overlap(shares: int) -> None:
    jobs = [Job(Capture((Path(f"{index}.cr2"),)), ()) for index in range(5)]
    taken = [job for number in range(1, shares + 1) for job in take_share(jobs, number, shares)]
    assert sorted(taken, key=lambda job: job.capture.paths) == jobs
    assert take_share(jobs, 1, shares)[0] == jobs[0]
