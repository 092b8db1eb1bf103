"""Image files as stored values, whichever format they are: told by how they begin, not by their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dpdeblur.errors import ReadError
from dpdeblur.readers.jpeg import JPEG_START, read_jpeg, read_jpeg_header
from dpdeblur.readers.pgm import PGM_START, read_pgm, read_pgm_header
from dpdeblur.readers.png import PNG_START, read_png, read_png_header
from dpdeblur.readers.stored import Header, Raster
from dpdeblur.readers.structure import check_file, read_start
from dpdeblur.readers.tiff import TIFF_STARTS, read_tiff, read_tiff_header

_Reading = tuple[Callable[[Path], Header], Callable[[Path], Raster]]

#: How a file begins, who reads its header, and who decodes it.
_FORMATS: dict[bytes, _Reading] = {
    PNG_START: (read_png_header, read_png),
    JPEG_START: (read_jpeg_header, read_jpeg),
    PGM_START: (read_pgm_header, read_pgm),
    **dict.fromkeys(TIFF_STARTS, (read_tiff_header, read_tiff)),
}


def read_header(path: Path) -> Header:
    """Read the declared size of a TIFF, PNG, JPEG or PGM; nothing is decoded.

    Raises:
        ReadError: It is none of them, is cut short, or declares an impossible size.
    """
    return _find_format(path)[0](path)


def read_raster(path: Path) -> Raster:
    """Decode a TIFF, PNG, JPEG or PGM; its declared size and whether all of it is there are looked at before.

    Raises:
        ReadError: It cannot be decoded.
    """
    return _find_format(path)[1](path)


def _find_format(path: Path) -> _Reading:
    check_file(path)
    start = read_start(path)
    found = next((reading for mark, reading in _FORMATS.items() if start.startswith(mark)), None)
    if found is None:
        raise ReadError("is no TIFF, PNG, JPEG or PGM file, whatever its name", path=path, remedy="check what it is")
    return found
