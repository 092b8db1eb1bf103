"""Finding photos: what was named, what a walk takes and what it passes by."""

from __future__ import annotations

import inspect
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from dpdeblur.batch.inputs import Inputs, find_inputs, read_list
from dpdeblur.errors import UsageError
from dpdeblur.metadata.provenance import Note
from dpdeblur.photo import Photo
from dpdeblur.writers import WriteOptions, write_image


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def write_ours(path: Path, marker: str) -> None:
    image = np.full((2, 2, 3), 0.5, np.float32)
    write_image(path, image, Photo((Path("a.cr2"),), "raw", image), WriteOptions(), provenance=str(Note(marker, "x")))


def name_found(inputs: Inputs, folder: Path) -> list[str]:
    return [" ".join(path.relative_to(folder).as_posix() for path in one.capture.paths) for one in inputs.found]


def test_a_walk_follows_no_link_to_a_folder(tmp_path: Path) -> None:
    make_files(tmp_path, "in/a.tif", "in/day1/b.tif", "elsewhere/c.tif")
    (tmp_path / "in" / "day1" / "up").symlink_to("..")
    (tmp_path / "in" / "out").symlink_to(tmp_path / "elsewhere")
    inputs = find_inputs([tmp_path / "in"], recursive=True)
    assert name_found(inputs, tmp_path) == ["in/a.tif", "in/day1/b.tif"]
    assert inputs.failures == ()


def test_a_folder_gives_its_photos_by_name_and_nothing_from_below(tmp_path: Path) -> None:
    make_files(tmp_path, "b.CR2", "a.tif", "notes.txt", ".hidden.cr2", "day1/c.dng")
    assert name_found(find_inputs([tmp_path], recursive=False), tmp_path) == ["a.tif", "b.CR2"]


def test_a_recursive_walk_passes_by_results_and_hidden_folders(tmp_path: Path) -> None:
    make_files(
        tmp_path, "a.cr2", "day1/c.dng", "day1/deblurred/c.tif", "Deblurred/x.tif", "split_views/y.tif", ".t/z.cr2"
    )
    inputs = find_inputs([tmp_path], recursive=True)
    assert name_found(inputs, tmp_path) == ["a.cr2", "day1/c.dng"]
    assert {one.root for one in inputs.found} == {tmp_path}


def test_a_folder_of_results_that_is_named_itself_is_walked(tmp_path: Path) -> None:
    make_files(tmp_path, "deblurred/x.cr2")
    assert name_found(find_inputs([tmp_path / "deblurred"], recursive=False), tmp_path) == ["deblurred/x.cr2"]


def test_a_walk_passes_by_what_run_wrote_and_takes_exported_views(tmp_path: Path) -> None:
    write_ours(tmp_path / "done.tif", "run")
    write_ours(tmp_path / "part.tif", "run crop=0,0,2,2")
    write_ours(tmp_path / "a_left.tif", "split srgb")
    write_ours(tmp_path / "a_right.tif", "split srgb")
    inputs = find_inputs([tmp_path], recursive=False)
    assert name_found(inputs, tmp_path) == ["a_left.tif a_right.tif"]
    assert inputs.own_results == 2


def test_a_result_that_is_named_itself_is_taken(tmp_path: Path) -> None:
    write_ours(tmp_path / "done.tif", "run")
    assert name_found(find_inputs([tmp_path / "done.tif"], recursive=False), tmp_path) == ["done.tif"]


def test_a_file_named_twice_is_taken_once(tmp_path: Path) -> None:
    make_files(tmp_path, "a.cr2")
    (tmp_path / "link.cr2").symlink_to(tmp_path / "a.cr2")
    named = [tmp_path / "a.cr2", tmp_path, tmp_path / "." / "a.cr2"]
    assert name_found(find_inputs(named, recursive=False), tmp_path) == ["a.cr2"]


def test_a_missing_file_among_others_fails_alone(tmp_path: Path) -> None:
    make_files(tmp_path, "a.cr2")
    inputs = find_inputs([tmp_path / "gone.cr2", tmp_path / "a.cr2"], recursive=False)
    assert name_found(inputs, tmp_path) == ["a.cr2"]
    assert [str(error) for error in inputs.failures] == [f"{tmp_path / 'gone.cr2'}: no such file; check the name"]


def test_nothing_but_missing_files_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.cr2: no such file"):
        find_inputs([tmp_path / "gone.cr2"], recursive=False)


@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_with_a_photos_name_is_a_failure(tmp_path: Path, inside: bool) -> None:
    (tmp_path / "IMG_1.CR2").mkdir()
    make_files(tmp_path, "IMG_1.CR2/x.cr2")
    inputs = find_inputs([tmp_path if inside else tmp_path / "IMG_1.CR2"], recursive=True)
    assert inputs.found == ()
    assert [error.path for error in inputs.failures] == [tmp_path / "IMG_1.CR2"]


def test_a_data_sets_view_folders_need_no_recursion(tmp_path: Path) -> None:
    make_files(tmp_path, "test_l/source/1.png", "test_r/source/1.png", "test_c/source/1.png", "other/2.png")
    names = name_found(find_inputs([tmp_path], recursive=False), tmp_path)
    assert names == ["test_l/source/1.png test_r/source/1.png"]


def test_a_pair_is_one_photo(tmp_path: Path) -> None:
    make_files(tmp_path, "s_left.png", "s_right.png", "t_left.png")
    assert name_found(find_inputs([tmp_path], recursive=False), tmp_path) == ["s_left.png s_right.png", "t_left.png"]


def test_a_list_has_a_path_a_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a b.cr2\r\n\n/c.dng\n")
    assert read_list(str(tmp_path / "list"), null=False) == [Path("a b.cr2"), Path("/c.dng")]


def test_a_list_from_standard_input_may_end_its_paths_with_nul(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb.cr2\0c.dng\0")))
    assert read_list("-", null=True) == [Path("a\nb.cr2"), Path("c.dng")]


def test_a_list_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the list of files"):
        read_list(str(tmp_path / "list"), null=False)


def test_what_leads_nowhere_is_a_failure_of_its_own(tmp_path: Path) -> None:
    make_files(tmp_path, "a.cr2")
    (tmp_path / "loop.cr2").symlink_to("loop.cr2")
    (tmp_path / "gone.cr2").symlink_to("nowhere")
    long_name = tmp_path / ("x" * 300 + ".cr2")
    inputs = find_inputs([tmp_path, long_name, Path("nul\0.cr2")], recursive=True)
    assert name_found(inputs, tmp_path) == ["a.cr2"]
    causes = {error.path: error.cause for error in inputs.failures}
    assert causes.keys() == {tmp_path / "loop.cr2", tmp_path / "gone.cr2", long_name, Path("nul\0.cr2")}
    assert causes[tmp_path / "loop.cr2"].startswith("cannot be reached")
    assert causes[long_name].startswith("cannot be reached")
    assert causes[tmp_path / "gone.cr2"] == causes[Path("nul\0.cr2")] == "no such file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize("name", ["pipe.cr2", "pipe.tif"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    for named in (tmp_path, tmp_path / name):
        inputs = find_inputs([named], recursive=False)
        assert inputs.found == ()
        assert [error.cause for error in inputs.failures] == ["is no regular file"]


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path) -> None:
    deep = "/".join("d" * 200)
    make_files(tmp_path, f"{deep}/a.cr2", "e.cr2")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        inputs = find_inputs([tmp_path], recursive=True)
    finally:
        sys.setrecursionlimit(limit)
    assert name_found(inputs, tmp_path) == ["e.cr2", f"{deep}/a.cr2"]
