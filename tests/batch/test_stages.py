"""Reading files that others change meanwhile, and markers that differ where results would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dpdeblur.batch.markers import describe_reading, mark_run
from dpdeblur.batch.stages import read_framed, read_steady
from dpdeblur.errors import PassingError, ReadError
from dpdeblur.framing import WHOLE, Crop, Framing
from dpdeblur.metadata.provenance import fingerprint_files
from dpdeblur.readers import Capture, ReadOptions


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.cr2"
    path.write_bytes(b"content")
    return path


def test_a_steady_file_comes_with_its_fingerprint(source: Path) -> None:
    assert read_steady(Capture((source,)), lambda: 5) == (5, fingerprint_files((source,)))


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("change", ["grow", "touch", "vanish"])
def test_a_file_that_changes_while_it_is_read_is_told_apart_from_a_bad_one(
    source: Path, change: str, fails: bool
) -> None:
    def read() -> None:
        if change == "grow":
            source.write_bytes(b"content and more")
        elif change == "touch":
            os.utime(source, ns=(1, 1))
        else:
            source.unlink()
        if fails:
            raise ReadError("is damaged", path=source)

    with pytest.raises(PassingError, match=f"{source}: changed while it was being read"):
        read_steady(Capture((source,)), read)


def test_a_bad_file_that_stays_as_it_is_is_bad(source: Path) -> None:
    def read() -> None:
        raise ReadError("is damaged", path=source)

    with pytest.raises(ReadError, match="is damaged") as caught:
        read_steady(Capture((source,)), read)
    assert not caught.value.is_passing


def test_a_missing_file_is_called_missing_and_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no such file") as caught:
        read_framed(Capture((tmp_path / "gone.cr2",)), ReadOptions(), WHOLE)
    assert caught.value.is_passing


def test_a_marker_names_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    assert mark_run(WHOLE, ReadOptions(), profile=None) == "run"
    sheets = tmp_path / "l", tmp_path / "r"
    for sheet in sheets:
        sheet.write_bytes(b"")
    options = ReadOptions(64, 1023.5, True, 2.0, sheets, True)
    framing = Framing(Crop(1, 2, 3, 4), keep_aspect=True)
    words = mark_run(framing, options, strength=0.5, scale=0.25, profile="linear").split()
    (sheet_word,) = (word for word in words if word.startswith("sheet="))
    assert [word for word in words if word != sheet_word] == [
        *("run", "crop=1,2,3,4", "strength=0.5", "scale=0.25", "profile=linear"),
        *("black=64", "white=1023.5", "aspect=2", "linear", "swapped", "keep-aspect"),
    ]
    sheets[1].write_bytes(b"another sheet")
    assert sheet_word not in describe_reading(options, framing)


def test_a_white_sheet_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"a sheet")
    options = ReadOptions(white_sheet=(tmp_path / "here", tmp_path / "gone"))
    with pytest.raises(ReadError, match="gone: the white sheet cannot be read"):
        describe_reading(options, WHOLE)
