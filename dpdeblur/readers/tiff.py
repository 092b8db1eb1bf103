"""TIFF files as stored values: 8 and 16 bit and floating point, gray and RGB, with or without alpha.

tifffile reads the structure and whatever needs no codec. LZW, deflate and JPEG go through OpenCV's libtiff, which is
always there (tifffile needs the optional imagecodecs for two of them) and which decodes no more than was declared. As
OpenCV applies the orientation, multiplies alpha into 8-bit colours and inverts only some white-is-zero files, the tags
that make it do so are neutralized in memory first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from dpdeblur.errors import ReadError
from dpdeblur.readers.stored import (
    Header,
    Raster,
    Values,
    decode_with_opencv,
    read_content,
    say_damaged,
    scale_alpha,
)
from dpdeblur.readers.structure import check_size, read_pictures

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _SEPARATED, _YCBCR = 0, 1, 2, 5, 6
_ASSOCIATED_ALPHA = 1
#: Deflate has an old number too.
_DEFLATE = (8, 32946)
#: With LZW and JPEG.
_OPENCV_CODECS = (5, 7, *_DEFLATE)
#: Besides these, none and PackBits: others would depend on what else is installed, and some can unpack without bounds.
_CODECS = (1, *_OPENCV_CODECS, 32773)
#: Some programs end a strip with more than it needs.
_SPARE_BYTES = 65536
_ORIENTATION, _PHOTOMETRIC, _EXTRA_SAMPLES = 274, 262, 338
#: Of floating point, where white is 1: what half precision holds at most, and no tone curve's power overflows.
_LARGEST_VALUE = 65504.0
_UNPACK = "save it without compression, or with LZW or Deflate"
_CONVERT = "save it as an 8-bit or 16-bit RGB or gray TIFF"

#: What tifffile raises for damaged files besides its own error.
_DAMAGE = (
    *(tifffile.TiffFileError, zlib.error, struct.error, ValueError, RuntimeError, TypeError),
    *(LookupError, ArithmeticError, OSError),
)

# tifffile reports damage to this logger as well, which would double our one line on stderr
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def read_tiff_header(path: Path) -> Header:
    """Read the declared size of a TIFF's first page; nothing is decoded.

    Raises:
        ReadError: It is no TIFF, is cut short, declares an impossible size, or holds no gray or RGB picture.
    """
    header, _ = _read_chain(path)
    with _open_page(path, header) as page:
        return dataclasses.replace(header, is_gray=int(page.photometric) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO))


def read_tiff(path: Path) -> Raster:
    """Decode a TIFF's first page.

    Raises:
        ReadError: It cannot be decoded, or holds no gray or RGB picture.
    """
    header, pages = _read_chain(path)
    with _open_page(path, header) as page:
        values = _decode_page(page, path)
        photometric, extra = int(page.photometric), tuple(int(kind) for kind in page.extrasamples)
    warnings = (f"The file has {pages} pages; only the first was read.",) if pages > 1 else ()
    return _sort_samples(values, photometric, extra, warnings, path)


@contextlib.contextmanager
def _open_page(path: Path, header: Header) -> Iterator[tifffile.TiffPage]:
    """Open the first page, which is one that can be decoded.

    Raises:
        ReadError: It is not, or turns out to be damaged while it is open.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            _check_page(page, header, path)
            yield page
    except _DAMAGE as error:
        raise say_damaged(path) from error


def _read_chain(path: Path) -> tuple[Header, int]:
    """Return the first page's declared size, and the number of pages that are no smaller copies or thumbnails."""
    chain, _ = read_pictures(path)
    width, height = (chain[0].width or 0, chain[0].height or 0) if chain else (0, 0)
    check_size(path, width, height, bits_per_pixel=1)
    others = sum(picture.width is not None and not picture.is_reduced for picture in chain[1:])
    return Header(width, height), 1 + others


def _check_page(page: tifffile.TiffPage, header: Header, path: Path) -> None:
    """Refuse what is no picture of gray or RGB values, and what would take more memory or time than the file says."""
    photometric, codec = int(page.photometric), int(page.compression)
    if codec not in _CODECS or int(page.predictor) not in tifffile.TIFF.UNPREDICTORS:
        name = getattr(page.compression, "name", codec)
        raise ReadError(f"its compression ({name}) is not known here", path=path, remedy=_UNPACK)
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) and (photometric, codec) != (_YCBCR, 7):
        name = "CMYK" if photometric == _SEPARATED else getattr(page.photometric, "name", photometric)
        raise ReadError(f"its colours are {name}", path=path, remedy=_CONVERT)
    if page.dtype is None or page.dtype.kind not in "uf" or page.dtype.itemsize > {"u": 2, "f": 8}[page.dtype.kind]:
        raise ReadError("its samples are neither 8 nor 16 bits nor floating point", path=path, remedy=_CONVERT)
    if page.dtype.kind == "u" and page.bitspersample not in (8, 16):
        raise ReadError(f"its samples have {page.bitspersample} bits", path=path, remedy=_CONVERT)
    if page.samplesperpixel < (1 if photometric < _RGB else 3):
        raise ReadError(f"an RGB picture with {page.samplesperpixel} samples a pixel", path=path, remedy=_CONVERT)
    if (page.imagewidth, page.imagelength, page.imagedepth) != (header.width, header.height, 1):
        raise say_damaged(path)
    bits_per_pixel = 8 * page.dtype.itemsize * page.samplesperpixel
    check_size(path, header.width, header.height, bits_per_pixel=bits_per_pixel)
    if page.is_tiled:
        check_size(path, page.tilewidth, page.tilelength * page.tiledepth, bits_per_pixel=bits_per_pixel)
    if math.prod(page.chunked) > len(page.dataoffsets):
        raise say_damaged(path)


def _decode_page(page: tifffile.TiffPage, path: Path) -> Values:
    """Return the stored values, (H, W, samples)."""
    codec = int(page.compression)
    is_plain = int(page.planarconfig) == 1 and page.samplesperpixel in (1, 3, 4)
    if codec in _OPENCV_CODECS and is_plain and page.dtype in (np.uint8, np.uint16, np.float32):
        values = decode_with_opencv(_neutralize_tags(page, read_content(path)), path)
    else:
        _check_segments(page, path)
        # (planes, depth, height, width, samples)
        blocks = page.asarray().reshape(page.shaped)
        values = blocks[0, 0] if blocks.shape[0] == 1 else blocks[:, 0, ..., 0].transpose(1, 2, 0)
    if values.shape[:2] != (page.imagelength, page.imagewidth) or values.shape[2] != page.samplesperpixel:
        raise say_damaged(path)
    return values


def _check_segments(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse deflated strips and tiles that unpack to more than they should: tifffile unpacks them whole."""
    if int(page.compression) not in _DEFLATE:
        return
    assert page.dtype is not None  # _check_page has looked
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    size = min(rows, page.imagelength + page.tilelength) * columns * page.samplesperpixel * page.dtype.itemsize
    with path.open("rb") as file:
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False):
            file.seek(offset)
            unpacker = zlib.decompressobj()
            unpacker.decompress(file.read(length), size + _SPARE_BYTES)
            if unpacker.unconsumed_tail:
                raise say_damaged(path)


def _neutralize_tags(page: tifffile.TiffPage, content: bytes) -> bytes:
    """Patch the tags that would make OpenCV change values or their order."""
    patched = bytearray(content)
    neutral = {_ORIENTATION: 1, _EXTRA_SAMPLES: _ASSOCIATED_ALPHA}
    if int(page.photometric) == _WHITE_IS_ZERO:
        neutral[_PHOTOMETRIC] = _BLACK_IS_ZERO
    for tag, number in neutral.items():
        found = page.tags.get(tag)
        if found is not None and int(found.dtype) == 3:
            struct.pack_into(page.parent.byteorder + "H", patched, found.valueoffset, number)
    return bytes(patched)


def _sort_samples(
    values: Values, photometric: int, extra: tuple[int, ...], warnings: tuple[str, ...], path: Path
) -> Raster:
    """Tell colours from alpha and turn them the usual way up."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ReadError("holds values that are no numbers (NaN or infinite)", path=path, remedy=_CONVERT)
        if np.abs(values).max() > _LARGEST_VALUE:
            raise ReadError(f"holds values beyond {_LARGEST_VALUE:g} times white", path=path, remedy=_CONVERT)
        values, white = values.astype(np.float32), 1.0
    else:
        white = float(np.iinfo(values.dtype).max)
    colours = 1 if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) else 3
    alpha = scale_alpha(values[..., colours]) if values.shape[2] > colours else None
    if values.shape[2] > colours + 1:
        warnings += (f"{values.shape[2] - colours - 1} channels besides colours and alpha were left out.",)
    values = np.ascontiguousarray(values[..., :colours])
    if photometric == _WHITE_IS_ZERO:
        values = white - values if values.dtype.kind == "f" else np.iinfo(values.dtype).max - values
    if alpha is not None and extra[:1] == (_ASSOCIATED_ALPHA,):
        # colours come multiplied by alpha; where that is 0 they are lost, and black
        values = np.minimum(values / np.maximum(alpha, np.float32(1e-6))[..., None], white).astype(np.float32)
    return Raster(values, white, alpha, warnings)
