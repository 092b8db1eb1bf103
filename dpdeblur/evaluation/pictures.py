"""Pictures as they are scored: upright, sRGB-encoded, float64, black 0 and white 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpdeblur.colour.spaces import encode_srgb
from dpdeblur.errors import ReadError
from dpdeblur.evaluation.metrics import Floats
from dpdeblur.photo import Image, Photo
from dpdeblur.readers import Capture, read_photo
from dpdeblur.restoration.change import to_linear_srgb
from dpdeblur.writers.picture import orient_pixels


def encode_picture(photo: Photo, linear: Image) -> Floats:
    """Bring linear light of a photo to the form that is scored.

    Args:
        photo: Whose primaries and orientation the picture has.
        linear: (H, W, C) float32.

    Returns:
        (H, W, C) clipped to [0, 1]; upright, so height and width may change places. For files without a profile, or
        with that of sRGB, these are the stored codes divided by the full code.
    """
    upright = orient_pixels(linear, photo.orientation)
    seen = upright if linear.shape[2] == 1 else to_linear_srgb(photo, upright)
    return np.clip(encode_srgb(np.ascontiguousarray(seen)), 0, 1).astype(np.float64)


def read_picture(path: Path) -> Floats:
    """Read an image file, (H, W, C).

    Raises:
        ReadError: It cannot be read.
    """
    photo = read_photo(Capture((path,)))
    return encode_picture(photo, photo.base)


def quantise(picture: Floats, bits: int) -> Floats:
    """Round a picture to whole codes of 8 or 16 bits, as a file stores it, and divide by the full code again.

    The evaluations of DPANet and JDRL cut 8-bit codes off instead of rounding them, of result and reference alike.
    """
    peak = 2**bits - 1
    return np.asarray(np.rint(picture * peak) / peak, np.float64)


def check_shape(picture: Floats, reference: Floats, path: Path, other: Path) -> None:
    """Refuse a picture that is not of its reference's size and number of channels.

    Raises:
        ReadError: They differ.
    """
    if picture.shape != reference.shape:
        ours, theirs = (f"{p.shape[1]}x{p.shape[0]} pixels of {p.shape[2]} channel(s)" for p in (picture, reference))
        raise ReadError(f"is {ours}, but {other.name} is {theirs}", path=path, remedy="give pictures of one size")
