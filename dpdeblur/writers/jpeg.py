"""8-bit JPEG: OpenCV codes the picture, and the metadata's segments are put before it.

Source: Exif 2.32, 4.7 (APP1), XMP part 3, ICC.1 annex B.4 (APP2), and Photoshop's APP13.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import BinaryIO

import cv2
import numpy as np

from dpdeblur.containers.directories import Entry
from dpdeblur.errors import WriteError
from dpdeblur.metadata.entries import Metadata
from dpdeblur.writers.metadata import pack_exif, trim_xmp, wrap_iptc
from dpdeblur.writers.picture import Picture

#: libjpeg refuses more pixels on a side.
_MAX_SIDE_PX = 65500

_MAX_SEGMENT_BYTES = 65533
_LONGEST_LIST = 5
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_ICC, _PHOTOSHOP = b"ICC_PROFILE\0", b"Photoshop 3.0\0"

#: A profile is cut into chunks that are numbered by one byte.
_ICC_CHUNK_BYTES = _MAX_SEGMENT_BYTES - len(_ICC) - 2
_MAX_PROFILE_BYTES = 255 * _ICC_CHUNK_BYTES


def write_jpeg(file: BinaryIO, picture: Picture, metadata: Metadata, *, quality: int) -> tuple[str, ...]:
    """Write a JPEG of 8 bits per sample, its colour at full resolution.

    Args:
        file: Open for writing, empty.
        picture: The picture.
        metadata: What belongs to it.
        quality: 1 to 100.

    Returns:
        What a JPEG cannot hold, one sentence each.

    Raises:
        WriteError: The picture is too large for JPEG, or holds values that are not numbers.
    """
    if max(picture.width, picture.height) > _MAX_SIDE_PX:
        raise WriteError("the picture is larger than a JPEG can be", remedy="choose --format png or tiff")
    pixels = np.empty((picture.height, picture.width, 1 if picture.is_gray else 3), np.uint8)
    for start in range(0, picture.height, picture.rows_per_strip):
        stop = min(start + picture.rows_per_strip, picture.height)
        pixels[start:stop] = picture.quantise_rows(start, stop, bits=8, alpha=False)[..., ::-1]  # OpenCV takes BGR
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    is_coded, coded = cv2.imencode(".jpg", pixels, settings)
    assert is_coded, "OpenCV raises where it cannot code"
    segments, warnings = _pack_segments(metadata)
    if picture.has_alpha:
        warnings += ("JPEG has no transparency; the alpha channel was left out.",)
    stream = coded.tobytes()
    head = 4 + struct.unpack_from(">H", stream, 4)[0]  # the start mark and the JFIF segment, which stays the first
    file.write(stream[:head])
    file.write(segments)
    file.write(stream[head:])
    return warnings


def _pack_segments(metadata: Metadata) -> tuple[bytes, tuple[str, ...]]:
    exif, warnings = _fit_exif(metadata)
    packed = _pack_segment(0xE1, _EXIF + exif)
    if metadata.xmp is not None:
        xmp = metadata.xmp if len(_XMP) + len(metadata.xmp) <= _MAX_SEGMENT_BYTES else trim_xmp(metadata.xmp)
        if len(_XMP) + len(xmp) <= _MAX_SEGMENT_BYTES:
            packed += _pack_segment(0xE1, _XMP + xmp)
        else:
            warnings += ("The XMP packet is too large for JPEG and was left out.",)
    if metadata.icc is not None and len(metadata.icc) <= _MAX_PROFILE_BYTES:
        packed += _pack_profile(metadata.icc)
    elif metadata.icc is not None:
        warnings += ("The colour profile is too large for JPEG and was left out.",)
    if metadata.iptc is not None:
        resource = wrap_iptc(metadata.iptc)
        size = _MAX_SEGMENT_BYTES - len(_PHOTOSHOP)
        for start in range(0, len(resource), size):
            packed += _pack_segment(0xED, _PHOTOSHOP + resource[start : start + size])
    return packed, warnings


def _fit_exif(metadata: Metadata) -> tuple[bytes, tuple[str, ...]]:
    """Pack EXIF into one segment: where it is too large, without the maker note, then without its largest entries."""
    exif = pack_exif(metadata)
    surplus = len(_EXIF) + len(exif) - _MAX_SEGMENT_BYTES
    if surplus <= 0:
        return exif, ()
    warnings: tuple[str, ...] = ()
    if metadata.maker_note is not None:
        metadata = dataclasses.replace(metadata, maker_note=None)
        warnings = ("The EXIF is too large for JPEG; the maker note was left out.",)
        exif = pack_exif(metadata)
        surplus = len(_EXIF) + len(exif) - _MAX_SEGMENT_BYTES
    if surplus > 0:
        dropped = _choose_largest((*metadata.ifd0, *metadata.exif, *metadata.gps, *metadata.interop), surplus)
        metadata = dataclasses.replace(
            metadata,
            ifd0=tuple(entry for entry in metadata.ifd0 if id(entry) not in dropped),
            exif=tuple(entry for entry in metadata.exif if id(entry) not in dropped),
            gps=tuple(entry for entry in metadata.gps if id(entry) not in dropped),
            interop=tuple(entry for entry in metadata.interop if id(entry) not in dropped),
        )
        tags = [str(entry.tag) for entry in dropped.values()]
        names = ", ".join(tags[:_LONGEST_LIST]) + (
            f" and {len(tags) - _LONGEST_LIST} more" * (len(tags) > _LONGEST_LIST)
        )
        warnings += (f"The EXIF is too large for JPEG; its entries {names} were left out.",)
        exif = pack_exif(metadata)
    return exif, warnings


def _choose_largest(entries: tuple[Entry, ...], surplus: int) -> dict[int, Entry]:
    """Return the largest entries that take at least so many bytes together, by their identity."""
    chosen: dict[int, Entry] = {}
    for entry in sorted(entries, key=lambda entry: len(entry.value), reverse=True):
        if surplus <= 0:
            break
        chosen[id(entry)] = entry
        # an entry has 12 bytes in its directory, which hold values of up to 4; longer ones are padded to even
        surplus -= 12 + (len(entry.value) + len(entry.value) % 2 if len(entry.value) > 4 else 0)
    return chosen


def _pack_profile(icc: bytes) -> bytes:
    chunks = [icc[start : start + _ICC_CHUNK_BYTES] for start in range(0, len(icc), _ICC_CHUNK_BYTES)]
    return b"".join(
        _pack_segment(0xE2, _ICC + bytes((number, len(chunks))) + chunk) for number, chunk in enumerate(chunks, 1)
    )


def _pack_segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data
