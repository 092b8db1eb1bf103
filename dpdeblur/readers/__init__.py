"""Readers: files -> Photo. One file per kind of capture; `READERS` names them all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from dpdeblur.errors import NoSecondViewError, ReadError
from dpdeblur.photo import Kind, Photo
from dpdeblur.readers.canon import probe_canon, read_canon, read_canon_mosaic
from dpdeblur.readers.capture import (
    IMAGE_SUFFIXES,
    RAW_SUFFIXES,
    SUFFIXES,
    Capture,
    Layout,
    Mosaic,
    Probe,
    ReadOptions,
    group_captures,
)
from dpdeblur.readers.dng import probe_dng, read_dng, read_dng_mosaic
from dpdeblur.readers.image import probe_image, read_image
from dpdeblur.readers.pair import probe_pair, read_pair
from dpdeblur.readers.pixel import probe_pixel, read_pixel
from dpdeblur.readers.raw import probe_raw, read_raw

__all__ = [
    "IMAGE_SUFFIXES",
    "MOSAIC_READERS",
    "PROBERS",
    "RAW_SUFFIXES",
    "READERS",
    "SUFFIXES",
    "Capture",
    "Layout",
    "Mosaic",
    "Probe",
    "ReadOptions",
    "group_captures",
    "probe_photo",
    "read_mosaic",
    "read_photo",
]

#: Who reads what. A raw of Canon or a DNG with one frame comes back as kind `raw`.
READERS: dict[Kind, Callable[[Capture, ReadOptions], Photo]] = {
    "canon": read_canon,
    "dng": read_dng,
    "raw": read_raw,
    "image": read_image,
    "pair": read_pair,
    "pixel": read_pixel,
}
PROBERS: dict[Kind, Callable[[Capture], Probe]] = {
    "canon": probe_canon,
    "dng": probe_dng,
    "raw": probe_raw,
    "image": probe_image,
    "pair": probe_pair,
    "pixel": probe_pixel,
}
MOSAIC_READERS: dict[Kind, Callable[[Capture], Mosaic]] = {"canon": read_canon_mosaic, "dng": read_dng_mosaic}

_KINDS_BY_SUFFIX: dict[str, Kind] = {".cr2": "canon", ".cr3": "canon", ".dng": "dng"}


def read_photo(capture: Capture, options: ReadOptions = ReadOptions()) -> Photo:
    """Read a capture.

    Args:
        capture: Its file or files.
        options: What the user says about bare files.

    Raises:
        ReadError: It cannot be read: one line with the file, the reason and the remedy.
    """
    with _explain_system(capture):
        return READERS[_find_kind(capture, options)](capture, options)


def probe_photo(capture: Capture, options: ReadOptions = ReadOptions()) -> Probe:
    """Find out what a capture is, without developing it.

    Args:
        capture: Its file or files.
        options: What the user says about bare files.

    Raises:
        ReadError: It cannot be read.
    """
    with _explain_system(capture):
        return PROBERS[_find_kind(capture, options)](capture)


def read_mosaic(capture: Capture) -> Mosaic:
    """Take a dual-pixel raw apart into the bare values of its photodiodes.

    Raises:
        NoSecondViewError: It is no dual-pixel raw.
        ReadError: It cannot be read.
    """
    kind = _find_kind(capture, ReadOptions())
    if kind not in MOSAIC_READERS:
        raise NoSecondViewError("is no dual-pixel raw, it has no mosaic to take apart", path=capture.paths[0])
    with _explain_system(capture):
        return MOSAIC_READERS[kind](capture)


def _find_kind(capture: Capture, options: ReadOptions) -> Kind:
    """Tell by names alone who is to read a capture; the readers look at the content."""
    if capture.layout == "pixel" or (capture.layout != "single" and options.describes_sensor):
        return "pixel"
    if capture.layout != "single":
        return "pair"
    suffix = capture.paths[0].suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix in RAW_SUFFIXES:
        return _KINDS_BY_SUFFIX.get(suffix, "raw")
    raise ReadError("is no kind of photo that dpdeblur reads", path=capture.paths[0], remedy="give raws or images")


@contextlib.contextmanager
def _explain_system(capture: Capture) -> Iterator[None]:
    """Turn what the system refuses while a file is read into ReadError."""
    path = capture.paths[0]
    try:
        yield
    except MemoryError as error:
        raise ReadError("does not fit into memory", path=path, remedy="close other programs") from error
    except OSError as error:
        remedy = "check that its folder is still there"
        raise ReadError(f"cannot be read ({error.strerror or error})", path=path, remedy=remedy) from error
