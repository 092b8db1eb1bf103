"""Canon CR2 files with one or two frames of sliced lossless JPEG; `captures.py` is the way in.

Source: the structure that LibRaw and ExifTool read (four IFDs: preview, thumbnail, small RGB, raw), from their
documentation and from experiments; no camera's file was copied.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from lossless_jpeg import encode_lossless_jpeg
from mosaics import BLACK, WB, WHITE, Frame, Levels, add_masked_border, check_frame
from tiff_blocks import (
    THUMBNAIL_SIZE,
    RawOptions,
    TiffFile,
    add_exif,
    build_maker_note,
    list_main_entries,
    list_thumbnail_entries,
    long,
    short,
    stored,
)

CR2_BITS = 14
#: A flat gray 16x16 baseline JPEG: quantization by 1, every DC difference and every AC run coded by a single 0 bit.
GRAY_JPEG = (
    b"\xff\xd8\xff\xdb\0\x43\0" + b"\1" * 64
    + b"\xff\xc0\0\x0b\x08\0\x10\0\x10\1\1\x11\0"
    + b"\xff\xc4\0\x14\x00\1" + bytes(15) + b"\0"
    + b"\xff\xc4\0\x14\x10\1" + bytes(15) + b"\0"
    + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + b"\0" + b"\xff\xd9"
)  # fmt: skip


class Cr2Options(RawOptions, total=False):
    """What a CR2 can have besides.

    Attributes:
        slices: Vertical slices (tag 0xC640) of the compressed frame, default 2.
        raw_directories_last: True puts each raw IFD behind its frame's data; by default all IFDs stand before all
            data, as in the cameras' files. A file cut within frame 1 then still announces two frames, with True one.
    """

    slices: int
    raw_directories_last: bool


def write_dual_cr2(path: Path, frame0: Frame, frame1: Frame, **options: Unpack[Cr2Options]) -> None:
    """Write a two-frame CR2: two raw IFDs of sliced lossless JPEG. Given two different shots, it is a burst.

    Args:
        path: The file to write.
        frame0: (H, W) uint16 below 2**14, H and W even and at least 32.
        frame1: The same.
        options: See `RawOptions` and `Cr2Options`. `black` is for both frames: a MakerNote has one set.

    Raises:
        ValueError: A frame's shape or range, the border or the slicing does not fit.
    """
    _write_cr2(path, (frame0, frame1), **options)


def write_single_cr2(path: Path, frame: Frame, **options: Unpack[Cr2Options]) -> None:
    """Write a CR2 with one frame; arguments as for `write_dual_cr2`."""
    _write_cr2(path, (frame,), **options)


def _write_cr2(
    path: Path,
    frames: Sequence[Frame],
    *,
    black: Levels = BLACK,
    white: int = WHITE,
    wb: Levels = WB,
    orientation: int = 1,
    metadata: bool = True,
    masked: tuple[int, int] = (0, 0),
    slices: int = 2,
    raw_directories_last: bool = False,
) -> None:
    frames = [add_masked_border(check_frame(frame, frames[0].shape), black, masked) for frame in frames]
    height, width = frames[0].shape
    slice_width = width // slices // 2 * 2  # even: both components of a JPEG pixel lie in one slice
    if slice_width == 0:
        raise ValueError(f"{width} columns do not make {slices} slices")
    streams = [_encode_slices(frame, slices, slice_width) for frame in frames]

    tiff = TiffFile(b"II*\0" + bytes(4) + b"CR\2\0" + bytes(4))
    maker_note_at = len(tiff.data)
    maker_note = build_maker_note(maker_note_at, (height, width), masked, wb, black, white)
    tiff.add_block(maker_note)
    pointers = add_exif(
        tiff, metadata, (height - masked[0], width - masked[1]), [stored(0x927C, 7, len(maker_note), maker_note_at)]
    )
    preview_at = tiff.add_block(GRAY_JPEG)
    main = list_main_entries(orientation, metadata) + pointers
    main += [short(0x0100, 16), short(0x0101, 16), short(0x0102, 8), short(0x0103, 6)]
    main += [long(0x0111, preview_at), long(0x0117, len(GRAY_JPEG))]
    thumbnail_at = tiff.add_block(GRAY_JPEG)
    pixels_at = tiff.add_block(bytes(6 * THUMBNAIL_SIZE[0] * THUMBNAIL_SIZE[1]))
    directories = [
        tiff.add_directory(main),
        tiff.add_directory([long(0x0201, thumbnail_at), long(0x0202, len(GRAY_JPEG))]),
        tiff.add_directory(list_thumbnail_entries(pixels_at, bits=16)),
    ]
    raw = [short(0x0103, 6), long(0x0111, 0), long(0x0117, 0), long(0xC5D8, 1), long(0xC5E0, 3), long(0xC6C5, 1)]
    raw.append(short(0xC640, slices - 1, slice_width, width - (slices - 1) * slice_width))
    if raw_directories_last:
        for stream in streams:
            stream_at = tiff.add_block(stream)
            directories.append(tiff.add_directory(raw))
            tiff.set_long(directories[-1], 0x0111, stream_at)
    else:
        directories += [tiff.add_directory(raw) for _ in streams]
        for directory, stream in zip(directories[3:], streams, strict=True):
            tiff.set_long(directory, 0x0111, tiff.add_block(stream))
    for directory, stream in zip(directories[3:], streams, strict=True):
        tiff.set_long(directory, 0x0117, len(stream))
    tiff.chain(directories)
    struct.pack_into("<I", tiff.data, 12, directories[3])  # Canon's own header field: where the raw IFD is
    path.write_bytes(tiff.data)


def _encode_slices(frame: Frame, slices: int, slice_width: int) -> bytes:
    edges = [slice_width * i for i in range(slices)] + [frame.shape[1]]
    # the samples run through slice after slice; cut into the frame's rows again they are what the JPEG codes
    samples = np.concatenate([frame[:, a:b].ravel() for a, b in zip(edges, edges[1:], strict=False)])
    return encode_lossless_jpeg(samples.reshape(frame.shape[0], frame.shape[1] // 2, 2), CR2_BITS)
