"""Arrays of Python callers: encoded or linear, of any depth, to the program's linear float32 and back."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from dpdeblur.colour.spaces import decode_srgb, encode_srgb
from dpdeblur.errors import UsageError
from dpdeblur.photo import Image

#: Whether an array's values are sRGB-encoded or linear light; both with the primaries of sRGB.
Encoding = Literal["srgb", "linear"]
Picture = TypeVar("Picture", bound=npt.NDArray[Any])


def encode_image(linear: Image, encoding: Encoding) -> Image:
    """Bring linear light of any shape to the encoding; nothing is clipped."""
    return encode_srgb(linear) if encoding == "srgb" else linear


def decode_array(array: npt.NDArray[Any], encoding: Encoding) -> Image:
    """Take a caller's array to linear light.

    Args:
        array: (H, W), (H, W, 1) or (H, W, 3): floating point with white at 1, uint8 or uint16.
        encoding: What its values are.

    Returns:
        (H, W, C) float32, C = 1 or 3.

    Raises:
        UsageError: It is no picture.
    """
    if encoding not in ("srgb", "linear"):
        raise UsageError(f"there is no encoding {encoding!r}", remedy="use srgb or linear")
    if array.ndim not in (2, 3) or array.ndim == 3 and array.shape[2] not in (1, 3) or 0 in array.shape:
        raise UsageError(f"an array of shape {array.shape} is no picture", remedy="give (H, W), (H, W, 1) or (H, W, 3)")
    white = _find_white(array.dtype)
    values = array.astype(np.float32) / np.float32(white)
    if not np.isfinite(values).all():
        raise UsageError("the array holds values that are not numbers", remedy="replace NaN and infinity")
    values = values if values.ndim == 3 else values[..., None]
    return decode_srgb(values) if encoding == "srgb" else values


def encode_like(linear: Image, encoding: Encoding, like: Picture) -> Picture:
    """Bring (H, W, C) linear light to the shape and type of a caller's array, integers rounded once and clipped."""
    values = encode_image(linear, encoding).reshape(like.shape)
    if like.dtype.kind == "u":
        white = _find_white(like.dtype)
        values = np.clip(np.rint(values * np.float32(white)), 0, white)
    return values.astype(like.dtype)  # type: ignore[return-value]  # mypy cannot tie a dtype to a type variable


def _find_white(dtype: np.dtype[Any]) -> float:
    """The value of full light."""
    if dtype.kind == "f":
        return 1.0
    if dtype in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    raise UsageError(f"arrays of {dtype} are not understood", remedy="give floating point, uint8 or uint16")
