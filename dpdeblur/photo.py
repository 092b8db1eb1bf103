"""The nouns of the program: what a reader returns, the networks change and a writer stores.

Every image array here is float32, **linear** light (not sRGB-encoded), of shape (H, W, C) with C = 1 (gray) or 3 (RGB),
in the primaries of `Photo.colour`. Black is 0; a saturated sensor or a full code value is 1. Values outside [0, 1] are
allowed (noise around black, highlights of a developed raw) and survive until the writer rounds them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from dpdeblur.colour.spaces import SRGB, ColourSpace
from dpdeblur.metadata.entries import EMPTY_METADATA, Metadata

Image = npt.NDArray[np.float32]

#: What a photo is. `canon` and `dng` are dual-pixel raws, `raw` has one frame, `image` is a TIFF, PNG or JPEG,
#: `pair` is two named files of encoded views, `pixel` is two files of bare linear sensor values.
Kind = Literal["canon", "dng", "raw", "image", "pair", "pixel"]


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photograph, decoded.

    Attributes:
        paths: The files it came from: one, or left and right.
        kind: What it is.
        base: (H, W, C). The photograph itself: frame 0 developed, the mean of a pair's views, or the single image.
            `run` returns it plus the change that a network predicts.
        left: (H, W, C) like `base`, the view of the sensor's left photodiodes at frame 0's exposure, or None.
        right: The same of the right photodiodes.
        colour: The primaries and the transfer curve that the result is to be written in.
        bits: Bits per sample of the source (8 or 16; raws count as 16).
        alpha: (H, W) float32 in [0, 1], kept untouched, or None.
        metadata: EXIF and its kin, to be grafted into the result.
        orientation: The EXIF Orientation (1 to 8) that is still to be applied: the arrays lie as on the sensor.
        pixel_aspect: Height of a pixel divided by its width: 1 for square pixels, 2 for the Pixel app's captures.
        clipped_share: Share of frame 0's photosites at saturation, in [0, 1], or None where it means nothing.
        warnings: One plain sentence each, for the user.
        fingerprint: What tells the files from others, see `provenance.fingerprint_files`; empty where there are none.
    """

    paths: tuple[Path, ...]
    kind: Kind
    base: Image
    left: Image | None = None
    right: Image | None = None
    colour: ColourSpace = SRGB
    bits: int = 16
    alpha: Image | None = None
    metadata: Metadata = EMPTY_METADATA
    orientation: int = 1
    pixel_aspect: float = 1.0
    clipped_share: float | None = None
    warnings: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def is_dual(self) -> bool:
        """Whether both views are there."""
        return self.left is not None and self.right is not None

    @property
    def is_gray(self) -> bool:
        """Whether it has one channel."""
        return bool(self.base.shape[2] == 1)
