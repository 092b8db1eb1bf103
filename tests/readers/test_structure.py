"""CR3's tracks and TIFF's directories, built by hand from their specifications."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from metadata_sources import box, build_track

from dpdeblur.errors import ReadError
from dpdeblur.readers.canon import find_canon_second
from dpdeblur.readers.structure import Track, read_pictures, read_tracks


def write_cr3(path: Path, *tracks: bytes) -> Path:
    start = box(b"ftyp", b"crx \0\0\0\1crx isom")
    path.write_bytes(start + box(b"moov", b"".join(tracks)) + box(b"mdat", bytes(64)))
    return path


PREVIEWS = build_track(1620, 1080, 1), build_track(6000, 4000, 1, codec=b"JPEG")


@pytest.mark.parametrize(
    ("tracks", "second"),
    [
        ((build_track(6000, 4000, 1),), "none"),
        ((build_track(6000, 4000, 1), build_track(6000, 4000, 1)), "photodiode"),
        ((build_track(6000, 4000, 9),), "shot"),
        ((build_track(6000, 4000, 2), build_track(6000, 4000, 2)), "shot"),
    ],
)
def test_two_tracks_are_photodiodes_and_many_frames_are_shots(
    tmp_path: Path, tracks: tuple[bytes, ...], second: str
) -> None:
    assert find_canon_second(write_cr3(tmp_path / "a.cr3", *tracks)) == second
    assert find_canon_second(write_cr3(tmp_path / "b.cr3", *PREVIEWS, *tracks)) == second


def test_tracks_tell_their_frames_size_and_number(tmp_path: Path) -> None:
    path = write_cr3(tmp_path / "a.cr3", *PREVIEWS, build_track(6000, 4000, 3))
    assert read_tracks(path) == (Track(1620, 1080, 1), Track(6000, 4000, 3))


@pytest.mark.parametrize("lost", [1, 64, 80])
def test_a_cr3_whose_boxes_reach_beyond_its_end_is_cut_short(tmp_path: Path, lost: int) -> None:
    path = write_cr3(tmp_path / "a.cr3", build_track(60, 40, 1))
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(ReadError, match="cut short"):
        read_tracks(path)


def tiff(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """A little-endian TIFF of one directory: (tag, type, count, value in the entry)."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", following)


def test_directories_that_run_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff([(256, 4, 1, 5)], following=8))
    with pytest.raises(ReadError, match="circle"):
        read_pictures(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "content",
    [
        tiff([(256, 4, 1, 5)], following=4000),
        tiff([(273, 4, 1, 8), (279, 4, 1, 4000)]),
        tiff([(324, 4, 1, 4000), (325, 4, 1, 1)]),
        tiff([(273, 4, 300, 26)]),
        tiff([(330, 4, 1, 4000)]),
    ],
)
def test_a_tiff_structure_that_points_beyond_its_end_is_cut_short(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.dng").write_bytes(content)
    with pytest.raises(ReadError, match="cut short"):
        read_pictures(tmp_path / "a.dng")
