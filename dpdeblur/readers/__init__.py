"""Readers: files -> Photo. One file per kind of capture; `READERS` names them all."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

from dpdeblur.errors import NoSecondViewError, ReadError
from dpdeblur.photo import Kind, Photo
from dpdeblur.readers.canon import find_canon_second
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
from dpdeblur.readers.complaints import hear_complaints
from dpdeblur.readers.dng import find_dng_second
from dpdeblur.readers.dual import FindSecond, find_no_second, probe_raw, read_raw, read_raw_mosaic
from dpdeblur.readers.image import probe_image, read_image
from dpdeblur.readers.pair import probe_pair, read_pair
from dpdeblur.readers.pixel import probe_pixel, read_pixel

__all__ = [
    "IMAGE_SUFFIXES",
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

#: Who tells from a raw's structure whether it has a second frame. One without comes back as kind `raw`.
_RAWS: dict[Kind, FindSecond] = {"canon": find_canon_second, "dng": find_dng_second, "raw": find_no_second}

#: Who reads what.
READERS: dict[Kind, Callable[[Capture, ReadOptions], Photo]] = {
    **{kind: functools.partial(read_raw, kind=kind, find_second=find) for kind, find in _RAWS.items()},
    "image": read_image,
    "pair": read_pair,
    "pixel": read_pixel,
}
PROBERS: dict[Kind, Callable[[Capture], Probe]] = {
    **{kind: functools.partial(probe_raw, kind=kind, find_second=find) for kind, find in _RAWS.items()},
    "image": probe_image,
    "pair": probe_pair,
    "pixel": probe_pixel,
}

_KINDS_BY_SUFFIX: dict[str, Kind] = {".cr2": "canon", ".cr3": "canon", ".dng": "dng"}


def read_photo(capture: Capture, options: ReadOptions = ReadOptions()) -> Photo:
    """Read a capture.

    Args:
        capture: Its file or files.
        options: What the user says about bare files.

    Raises:
        ReadError: It cannot be read: one line with the file, the reason and the remedy.
    """
    with _explain_system(capture), hear_complaints() as complaints:
        photo = READERS[_find_kind(capture, options)](capture, options)
    return dataclasses.replace(photo, warnings=(*photo.warnings, *complaints))


def probe_photo(capture: Capture, options: ReadOptions = ReadOptions()) -> Probe:
    """Find out what a capture is, without developing it.

    Args:
        capture: Its file or files.
        options: What the user says about bare files.

    Raises:
        ReadError: It cannot be read.
    """
    with _explain_system(capture), hear_complaints() as complaints:
        probe = PROBERS[_find_kind(capture, options)](capture)
    return dataclasses.replace(probe, warnings=(*probe.warnings, *complaints))


def read_mosaic(capture: Capture) -> Mosaic:
    """Take a dual-pixel raw apart into the bare values of its photodiodes.

    Raises:
        NoSecondViewError: It is no dual-pixel raw.
        ReadError: It cannot be read.
    """
    kind = _find_kind(capture, ReadOptions())
    if kind not in _RAWS:
        raise NoSecondViewError("is no dual-pixel raw, it has no mosaic to take apart", path=capture.paths[0])
    with _explain_system(capture), hear_complaints() as complaints:
        mosaic = read_raw_mosaic(capture, _RAWS[kind])
    return dataclasses.replace(mosaic, warnings=tuple(complaints))


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
    raise ReadError(
        "is no kind of photo that dpdeblur reads", path=capture.paths[0], remedy="give raws, TIFF, PNG or JPEG"
    )


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
