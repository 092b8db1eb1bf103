"""The stored values of an image file, and what its readers share: levels, alpha, the decoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.errors import ReadError
from dpdeblur.photo import Image
from dpdeblur.readers.structure import COPY_AGAIN

Values = npt.NDArray[Any]

#: What OpenCV counts the bytes of a file in memory in.
_MAX_CONTENT_BYTES = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Raster:
    """The stored values of an image file.

    Attributes:
        values: (H, W, C), C = 1 or 3, uint8, uint16 or float32, as stored; RGB order; as they lie in the file.
        white: The value of full light: 255, 65535, a PGM's own, or 1 for floating point.
        alpha: (H, W) float32 in [0, 1], not multiplied into the colours, or None.
        warnings: One plain sentence each.
    """

    values: Values
    white: float
    alpha: Image | None = None
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Header:
    """What an image file declares about itself."""

    width: int
    height: int
    is_gray: bool = False


def say_cut_short(path: Path) -> ReadError:
    """The error of a file whose end is missing."""
    return ReadError("is cut short", path=path, remedy=COPY_AGAIN)


def say_damaged(path: Path) -> ReadError:
    """The error of a file that makes no sense."""
    return ReadError("is damaged and cannot be decoded", path=path, remedy=COPY_AGAIN)


def read_content(path: Path) -> bytes:
    """Return a whole file, for a decoder that works in memory.

    Raises:
        ReadError: It is larger than any picture, compressed.
    """
    if path.stat().st_size > _MAX_CONTENT_BYTES:
        raise ReadError("is larger than 2 GB", path=path, remedy="cut it into parts, or save it as a plain TIFF")
    return path.read_bytes()


def scale_alpha(stored: Values) -> Image:
    """Take stored alpha, integers of their full range or floating point, to float32 in [0, 1]."""
    if np.issubdtype(stored.dtype, np.integer):
        return stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)
    return np.clip(stored, 0, 1).astype(np.float32)


def decode_with_opencv(content: bytes, path: Path) -> Values:
    """Decode an image file's content with OpenCV.

    Returns:
        (H, W, C) with C = 1, 3 (RGB) or 4 (RGBA), the stored values.

    Raises:
        ReadError: OpenCV cannot.
    """
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        # from memory, because OpenCV opens no path beyond ASCII on Windows; UNCHANGED leaves EXIF's rotation undone
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise say_damaged(path) from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if decoded is None:
        raise say_damaged(path)
    if decoded.ndim == 2:
        return decoded[..., None]
    swap = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(decoded.shape[2])
    return decoded if swap is None else cv2.cvtColor(decoded, swap)


def split_alpha(decoded: Values, header: Header, path: Path) -> Raster:
    """Tell the colours that OpenCV decoded from alpha.

    Raises:
        ReadError: The picture is not of the size that its header declares.
    """
    if decoded.shape[:2] != (header.height, header.width):
        raise say_damaged(path)
    alpha = scale_alpha(decoded[..., 3]) if decoded.shape[2] == 4 else None
    colours = decoded[..., : 1 if header.is_gray else 3]
    return Raster(np.ascontiguousarray(colours), float(np.iinfo(decoded.dtype).max), alpha)
