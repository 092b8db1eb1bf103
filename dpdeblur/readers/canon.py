"""Canon's raws: CR2 with one or two raw directories, CR3 with one or two tracks of raw frames.

A CR2 has three directories of previews before those of the raw frames. A dual-pixel CR3 has two tracks of full-size
frames with one frame each; a burst has one track of many shots, and LibRaw hands out the next shot as frame 1.
Bodies: 5D Mark IV (CR2); R, RP, R5, R6 Mark II, 90D and others of their generation (CR3).
"""

from __future__ import annotations

from pathlib import Path

from dpdeblur.errors import ReadError
from dpdeblur.readers.dual import Second
from dpdeblur.readers.structure import check_file, read_pictures, read_start, read_tracks

_CR2_PREVIEWS = 3


def find_canon_second(path: Path) -> Second:
    """Look for a second frame in the structure of a CR2 or CR3.

    Raises:
        ReadError: The file is neither, or is cut short.
    """
    check_file(path)
    start = read_start(path)
    if start[4:12] == b"ftypcrx ":
        return _find_in_tracks(path)
    if start[:2] not in (b"II", b"MM"):
        raise ReadError("is neither a CR2 nor a CR3 file, whatever its name", path=path, remedy="check what it is")
    chain, _ = read_pictures(path)
    frames = sum(picture.has_data for picture in chain[_CR2_PREVIEWS:])
    return "photodiode" if frames > 1 else "none"


def _find_in_tracks(path: Path) -> Second:
    tracks = read_tracks(path)
    largest = max(((track.width, track.height) for track in tracks), default=(0, 0))
    frames = [track.frames for track in tracks if (track.width, track.height) == largest]
    if max(frames, default=1) > 1:
        return "shot"
    return "photodiode" if len(frames) > 1 else "none"
