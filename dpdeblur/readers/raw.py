"""Ordinary raws: one frame, developed by LibRaw."""

from __future__ import annotations

from dpdeblur.exif import name_camera
from dpdeblur.metadata import read_metadata
from dpdeblur.photo import Photo
from dpdeblur.readers.capture import Capture, Probe, ReadOptions
from dpdeblur.readers.develop import check_content, develop_raw, open_raw, read_orientation
from dpdeblur.readers.structure import check_file


def read_raw(capture: Capture, options: ReadOptions) -> Photo:
    """Read a raw with one frame; no option concerns it.

    Raises:
        ReadError: LibRaw does not know it, or it is damaged.
    """
    path = capture.paths[0]
    check_file(path)
    metadata = read_metadata(path)
    with open_raw(path) as raw:
        check_content(raw, path)
        orientation = read_orientation(raw)
        image = develop_raw(raw, path)
    return Photo((path,), "raw", image, metadata=metadata, orientation=orientation, warnings=metadata.warnings)


def probe_raw(capture: Capture) -> Probe:
    """Find out what a raw is; the picture itself is decoded only as far as LibRaw needs to know its size."""
    path = capture.paths[0]
    check_file(path)
    metadata = read_metadata(path)
    with open_raw(path) as raw:
        check_content(raw, path)
        size = raw.sizes
    return Probe("raw", size.width, size.height, False, name_camera(metadata), metadata.warnings)
