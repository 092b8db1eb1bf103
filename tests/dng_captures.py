"""DNG files with one frame, two samples a pixel, or two raw IFDs; `captures.py` is the way in.

Source: Adobe, Digital Negative Specification 1.4.0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from lossless_jpeg import encode_lossless_jpeg
from mosaics import BLACK, CAMERA_FROM_XYZ, WB, WHITE, Frame, Levels, add_masked_border, check_frame
from tiff_blocks import (
    MODEL,
    THUMBNAIL_SIZE,
    Entry,
    RawOptions,
    TiffFile,
    add_exif,
    byte,
    list_main_entries,
    list_thumbnail_entries,
    long,
    rational,
    short,
    signed_rational,
    text,
)


def write_dual_dng(
    path: Path, frame0: Frame, frame1: Frame, *, black1: Levels | None = None, **options: Unpack[RawOptions]
) -> None:
    """Write a DNG in the form of Adobe's converter: one raw IFD, two samples a pixel.

    Args:
        path: The file to write.
        frame0: (H, W) uint16, H and W even and at least 32.
        frame1: The same.
        black1: Black levels of frame 1; None: those of frame 0.
        options: See `RawOptions`.

    Raises:
        ValueError: A frame's shape or the border does not fit.
    """
    _write_dng(path, [(frame0, frame1)], black1=black1, **options)


def write_single_dng(path: Path, frame: Frame, **options: Unpack[RawOptions]) -> None:
    """Write a DNG with one raw IFD and one sample a pixel; arguments as for `write_dual_dng`."""
    _write_dng(path, [(frame,)], **options)


def write_burst_dng(path: Path, frame0: Frame, frame1: Frame, **options: Unpack[RawOptions]) -> None:
    """Write a DNG with two raw IFDs, one sample a pixel, as of two shots; arguments as for `write_dual_dng`."""
    _write_dng(path, [(frame0,), (frame1,)], **options)


def _write_dng(
    path: Path,
    images: Sequence[tuple[Frame, ...]],
    *,
    black: Levels = BLACK,
    black1: Levels | None = None,
    white: int = WHITE,
    wb: Levels = WB,
    orientation: int = 1,
    metadata: bool = True,
    masked: tuple[int, int] = (0, 0),
) -> None:
    tiff = TiffFile(b"II*\0" + bytes(4))
    height, width = images[0][0].shape
    main = list_main_entries(orientation, metadata) + add_exif(tiff, metadata, (height, width), [])
    pixels_at = tiff.add_block(bytes(3 * THUMBNAIL_SIZE[0] * THUMBNAIL_SIZE[1]))
    main += [long(0x00FE, 1), *list_thumbnail_entries(pixels_at, bits=8), long(0x014A, *[0] * len(images))]
    main += [
        byte(0xC612, 1, 4, 0, 0),
        byte(0xC613, 1, 4, 0, 0),
        text(0xC614, MODEL),
        signed_rational(0xC621, *[(int(value), 10000) for value in CAMERA_FROM_XYZ.flat]),
        rational(0xC628, (min(wb), wb[0]), (min(wb), wb[1]), (min(wb), wb[3])),
        short(0xC65A, 21),  # the matrix is for D65
    ]
    directory = tiff.add_directory(main)
    blacks = [black] if len(images[0]) == 1 else [black, black if black1 is None else black1]
    raw_directories = []
    streams = []
    for frames in images:
        checked = [check_frame(frame, (height, width)) for frame in frames]
        whole = [add_masked_border(frame, levels, masked) for frame, levels in zip(checked, blacks, strict=True)]
        streams.append(_encode_tile(whole))
        raw_directories.append(tiff.add_directory(_list_raw_entries(whole[0].shape, blacks, white, masked)))
    for raw_directory, stream in zip(raw_directories, streams, strict=True):
        tiff.set_long(raw_directory, 0x0144, tiff.add_block(stream))
        tiff.set_long(raw_directory, 0x0145, len(stream))
    tiff.set_long(directory, 0x014A, *raw_directories)
    tiff.chain([directory])
    path.write_bytes(tiff.data)


def _list_raw_entries(
    shape: tuple[int, ...], blacks: Sequence[Levels], white: int, masked: tuple[int, int]
) -> list[Entry]:
    samples = len(blacks)
    return [
        long(0x00FE, 0),
        long(0x0100, shape[1]),
        long(0x0101, shape[0]),
        short(0x0102, *[16] * samples),
        short(0x0103, 7),
        short(0x0106, 32803),
        short(0x0115, samples),
        short(0x011C, 1),
        long(0x0142, shape[1]),
        long(0x0143, shape[0]),
        long(0x0144, 0),
        long(0x0145, 0),
        short(0x828D, 2, 2),
        byte(0x828E, 0, 1, 1, 2),
        short(0xC619, 2, 2),
        short(0xC61A, *np.stack(blacks, axis=-1).ravel().tolist()),  # DNG 1.4: row, column, sample, the last fastest
        short(0xC61D, *[white] * samples),
        long(0xC68D, masked[0], masked[1], shape[0], shape[1]),
    ]


def _encode_tile(frames: Sequence[Frame]) -> bytes:
    # one sample a pixel: two columns make one JPEG pixel, so that each is predicted from its own colour
    height, width = frames[0].shape
    samples = frames[0].reshape(height, width // 2, 2) if len(frames) == 1 else np.stack(frames, axis=-1)
    return encode_lossless_jpeg(samples, 16)
