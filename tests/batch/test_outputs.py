"""What is there already: done, of other settings, of another photo, or somebody else's."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dpdeblur.batch.outputs import Disks, Redo, Wanted, check_outputs
from dpdeblur.batch.plan import Job
from dpdeblur.errors import WriteError
from dpdeblur.metadata.provenance import Note, fingerprint_files
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture
from dpdeblur.writers import WriteOptions, write_image

OURS, THEIRS = "0123456789ab", "ba9876543210"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A photo with one output, which is not there yet."""
    (tmp_path / "a.cr2").write_bytes(b"content")
    return Job(Capture((tmp_path / "a.cr2",)), (tmp_path / "out" / "a.tif",))


def write_result(job: Job, marker: str, *, weights: str = OURS, index: int = 0) -> None:
    path = job.outputs[index]
    path.parent.mkdir(exist_ok=True)
    image = np.full((2, 2, 3), 0.5, np.float32)
    note = Note(marker, f"network x, weights {weights}, y", fingerprint_files(job.capture.paths))
    write_image(path, image, Photo((Path("a.cr2"),), "raw", image), WriteOptions(), provenance=str(note))


@pytest.mark.parametrize(
    ("found", "wanted", "redo", "is_done"),
    [
        (None, "run", "none", False),
        ("run", "run", "none", True),
        ("run", "run", "changed", True),
        ("run", "run", "all", False),
        ("run crop=0,0,2,2", "run", "none", False),
        ("run crop=0,0,2,2", "run crop=0,0,2,2", "none", True),
        ("run crop=0,0,2,2", "run crop=0,0,2,3", "none", False),
        ("run", "run crop=0,0,2,2", "none", "holds another result (run), not"),
        (
            "run",
            "run strength=0.5",
            "none",
            "holds another result (run), not what is asked for (run strength=0.5); give --update",
        ),
        ("run", "run strength=0.5", "changed", False),
        ("run", "run strength=0.5", "all", False),
        ("split srgb", "split mosaic", "none", "holds another result (split srgb), not"),
        ("split srgb", "split mosaic", "changed", False),
    ],
)
def test_what_is_there_decides_what_is_done(
    job: Job, found: str | None, wanted: str, redo: Redo, is_done: bool | str
) -> None:
    if found is not None:
        write_result(job, found)
    if isinstance(is_done, bool):
        assert check_outputs(job, Wanted(wanted, redo=redo)) == is_done
    else:
        with pytest.raises(WriteError) as caught:
            check_outputs(job, Wanted(wanted, redo=redo))
        assert is_done in str(caught.value)


def test_a_result_of_other_weights_is_not_taken_for_this_one(job: Job) -> None:
    write_result(job, "run")
    assert check_outputs(job, Wanted("run", lambda: {OURS, THEIRS}))
    with pytest.raises(WriteError, match=f"a result of other weights .{OURS}.; give --update"):
        check_outputs(job, Wanted("run", lambda: {THEIRS}))
    assert not check_outputs(job, Wanted("run", lambda: {THEIRS}, "changed"))


def test_weights_are_looked_at_only_where_there_are_results(job: Job) -> None:
    def fail() -> frozenset[str]:
        raise AssertionError

    assert not check_outputs(job, Wanted("run", fail))


def test_a_photo_that_changed_is_noticed_and_a_copy_of_it_is_not(job: Job, tmp_path: Path) -> None:
    (source,) = job.capture.paths
    write_result(job, "run")
    shutil.copy(source, tmp_path / "copy")  # the same content with another time
    os.utime(tmp_path / "copy", ns=(1, 1))
    os.replace(tmp_path / "copy", source)
    assert check_outputs(job, Wanted("run"))
    source.write_bytes(b"CONTENT")
    with pytest.raises(WriteError, match=r"was made of another a\.cr2, or before that changed; give --update"):
        check_outputs(job, Wanted("run"))
    assert not check_outputs(job, Wanted("run", redo="changed"))


def test_a_photo_that_cannot_be_read_is_left_to_its_reader(job: Job) -> None:
    write_result(job, "run")
    job.capture.paths[0].unlink()
    assert check_outputs(job, Wanted("run"))


def test_a_photo_is_done_when_all_its_outputs_are(job: Job, tmp_path: Path) -> None:
    both = Job(job.capture, (*job.outputs, tmp_path / "out" / "b.tif"))
    write_result(both, "split srgb")
    assert not check_outputs(both, Wanted("split srgb"))
    write_result(both, "split srgb", index=1)
    assert check_outputs(both, Wanted("split srgb"))


@pytest.mark.parametrize("redo", ["none", "changed", "all"])
@pytest.mark.parametrize("content", [b"", b"II*\0\x08\0\0\0\0\0\0\0\0\0"])
def test_what_something_else_wrote_is_never_replaced(job: Job, content: bytes, redo: Redo) -> None:
    job.outputs[0].parent.mkdir()
    job.outputs[0].write_bytes(content)
    with pytest.raises(WriteError, match="was not written by dpdeblur"):
        check_outputs(job, Wanted("run", redo=redo))


def test_places_that_cannot_be_written_are_found_before_any_work(job: Job, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="its name is too long"):
        check_outputs(Job(job.capture, (tmp_path / f"{'ü' * 126}.tif",)), Wanted("run"))
    assert not check_outputs(Job(job.capture, (tmp_path / f"{'ü' * 125}.tif",)), Wanted("run"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match=f"{tmp_path / 'file'}: is no folder"):
        check_outputs(Job(job.capture, (tmp_path / "file" / "deeper" / "a.tif",)), Wanted("run"))


@pytest.mark.parametrize("kind", ["folder", "dangling link", "loop"])
def test_what_is_no_file_in_a_results_place_is_a_failure(job: Job, kind: str) -> None:
    job.outputs[0].parent.mkdir()
    if kind == "folder":
        job.outputs[0].mkdir()
    else:
        job.outputs[0].symlink_to("nowhere" if kind == "dangling link" else job.outputs[0].name)
    with pytest.raises(WriteError, match="is no file"):
        check_outputs(job, Wanted("run", redo="all"))


def test_a_disk_that_was_full_is_tried_again_by_what_may_fit_or_when_it_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1000

    def tell_usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", tell_usage)
    disks = Disks()
    path = tmp_path / "a.tif"
    disks.check(path, 5000)  # nothing is known against this disk
    refused = WriteError("the disk is full")
    refused.__cause__ = OSError(errno.EACCES, "no")
    disks.note_failure(tmp_path, refused)
    disks.check(path, 5000)  # it failed for another reason
    refused.__cause__ = OSError(errno.ENOSPC, "full")
    disks.note_failure(tmp_path, refused)
    disks.check(path, 1000)  # fits
    with pytest.raises(WriteError, match="the disk is full; free some space"):
        disks.check(path, 1001)
    free = 2000  # somebody made room: it may be enough
    disks.check(path, 5000)
