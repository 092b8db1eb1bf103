"""DNG: Adobe's converter keeps both frames of a dual-pixel raw as two samples of each pixel of one picture.

A DNG with two mosaics in directories of their own holds two shots, unless their light says otherwise.
Source: Digital Negative Specification 1.4.0.0.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from dpdeblur.errors import ReadError
from dpdeblur.readers.dual import Second
from dpdeblur.readers.structure import COPY_AGAIN, check_file, read_pictures


def find_dng_second(path: Path) -> Second:
    """Look for a second frame in the structure of a DNG.

    Raises:
        ReadError: The file is none, is cut short, or holds no data for its mosaic.
    """
    check_file(path)
    chain, inner = read_pictures(path)
    mosaics = [picture for picture in (*chain, *inner) if picture.is_mosaic]
    if any(not picture.has_data for picture in mosaics):
        raise ReadError("its picture data are missing", path=path, remedy=COPY_AGAIN)
    if any(picture.samples == 2 for picture in mosaics):
        return "photodiode"
    sizes = Counter((picture.width, picture.height) for picture in mosaics)
    return "unclear" if max(sizes.values(), default=0) > 1 else "none"
