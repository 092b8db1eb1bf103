"""Developing raws: mosaic -> linear sRGB, by LibRaw's AHD demosaic, always in the same way.

LibRaw is asked for 16-bit linear ProPhoto and the result is taken to linear sRGB in float32 here: colours outside sRGB
keep their negative values instead of being clipped, for wide output profiles and so that differences stay linear.

A dual-pixel frame is developed on a *pedestal*: a neutral offset added before the demosaic and taken off after it.
LibRaw clips what lies below black, which lifts the mean of noisy shadows, the more the noisier: without the pedestal
the views of a dark photo come out brighter than frame 0.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import rawpy

from dpdeblur.errors import ReadError
from dpdeblur.photo import Image
from dpdeblur.readers.structure import COPY_AGAIN, check_size

MosaicCodes = npt.NDArray[np.uint16]

#: LibRaw's matrix from linear sRGB to what it calls ProPhoto (src/tables/colorconst.cpp: prophoto_rgb).
_PROPHOTO_FROM_SRGB = np.array(
    [[0.529317, 0.330092, 0.140588], [0.098368, 0.873465, 0.028169], [0.016879, 0.117663, 0.865457]]
)
_SRGB_FROM_PROPHOTO = np.linalg.inv(_PROPHOTO_FROM_SRGB)

#: LibRaw's flip codes of dcraw -> EXIF Orientation.
_ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}

_BAND_ROWS = 256


@dataclasses.dataclass(frozen=True)
class Levels:
    """The levels of a mosaic of 2x2 colours.

    Attributes:
        black: (2, 2) int32, the black level at each place of the pattern.
        channels: (2, 2), LibRaw's number of the colour at each place: red 0, green 1, blue 2, second green 3.
        white: The stored value of saturation.
    """

    black: npt.NDArray[np.int32]
    channels: npt.NDArray[np.int32]
    white: int

    @property
    def range(self) -> int:
        """Saturation above black: what every colour reaches for certain."""
        return self.white - int(self.black.max())


@dataclasses.dataclass(frozen=True)
class Pedestal:
    """An offset that is neutral after white balance.

    Attributes:
        codes: (2, 2) int32, what is added to the mosaic at each place of the pattern.
        level: What that is after white balance, in units of the mosaic's codes.
    """

    codes: npt.NDArray[np.int32]
    level: int


@contextlib.contextmanager
def open_raw(path: Path, shot: int = 0) -> Iterator[rawpy.RawPy]:
    """Open and unpack one frame of a raw file.

    Args:
        path: The file.
        shot: Which frame, from 0.

    Raises:
        ReadError: LibRaw does not know the file or cannot decode it, it has no such frame, or it is too large.
    """
    # rawpy.imread(path, shot_select=n) sets the frame after opening, which is too late: CR2, CR3 and DNG with several
    # directories would silently give frame 0 (rawpy 0.28).
    with rawpy.RawPy() as raw:
        with explain_libraw(path):
            raw.set_unpack_params(shot_select=shot)
            raw.open_file(str(path))
            check_size(path, raw.sizes.raw_width, raw.sizes.raw_height, bits_per_pixel=16)
            raw.unpack()
        yield raw


@contextlib.contextmanager
def explain_libraw(path: Path) -> Iterator[None]:
    """Turn LibRaw's errors into ReadError."""
    try:
        yield
    except rawpy.LibRawFileUnsupportedError as error:
        raise ReadError("is no raw file that LibRaw knows, or is damaged", path=path, remedy=COPY_AGAIN) from error
    except (rawpy.LibRawIOError, rawpy.LibRawDataError) as error:
        raise ReadError("its picture data is damaged or cut short", path=path, remedy=COPY_AGAIN) from error
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ReadError(f"LibRaw cannot decode it ({text})", path=path, remedy=COPY_AGAIN) from error


def check_content(raw: rawpy.RawPy, path: Path) -> None:
    """Refuse a picture whose data are missing: LibRaw decodes what is not there to zeros, in silence.

    Raises:
        ReadError: It is all zero, or has zeros far below a black level that noise does not reach.
    """
    codes = raw.raw_image_visible
    missing = codes.size - np.count_nonzero(codes)
    if missing == codes.size:
        raise ReadError("its picture is all zeros: the data are missing", path=path, remedy=COPY_AGAIN)
    if missing > codes.size * 0.005 and min(raw.black_level_per_channel) >= 64:
        raise ReadError(
            f"{missing / codes.size:.1%} of its picture data are missing (zeros)", path=path, remedy=COPY_AGAIN
        )


def read_orientation(raw: rawpy.RawPy) -> int:
    """Return the EXIF Orientation, 1 to 8, that the developed picture still needs."""
    return _ORIENTATIONS.get(raw.sizes.flip, 1)


def read_white(raw: rawpy.RawPy) -> int:
    """Return the stored value of saturation: what the camera noted, where that is credible, else LibRaw's."""
    white = int(raw.white_level)
    noted = [int(level) for level in raw.camera_white_level_per_channel or () if level > 0]
    if noted and white / 2 < min(noted) <= white:
        white = min(noted)
    return max(white, max(raw.black_level_per_channel) + 1)


def read_levels(raw: rawpy.RawPy) -> Levels | None:
    """Return the levels of the visible mosaic, or None where it is none of 2x2 colours."""
    if raw.raw_type != rawpy.RawType.Flat or raw.raw_pattern is None or raw.raw_pattern.shape != (2, 2):
        return None
    top, left = raw.sizes.top_margin, raw.sizes.left_margin
    channels = [[raw.raw_color(top + row, left + column) for column in (0, 1)] for row in (0, 1)]
    black = np.array(raw.black_level_per_channel, np.int32)[np.array(channels)]
    return Levels(black, np.array(channels, np.int32), read_white(raw))


def choose_pedestal(raw: rawpy.RawPy, levels: Levels) -> Pedestal:
    """Choose an offset of about 4 % of the range, above any camera's noise, whose rounding casts the least colour."""
    gains = np.array(raw.camera_whitebalance, np.float64)
    if min(gains[:3]) <= 0:  # the file has none: LibRaw falls back on daylight
        gains = np.array(raw.daylight_whitebalance, np.float64)
    if gains[3] <= 0:
        gains[3] = gains[1]
    if min(gains) <= 0:
        return Pedestal(np.zeros((2, 2), np.int32), 0)
    gains /= gains.min()
    candidates = np.arange(levels.range // 32, levels.range // 16 + 1)
    codes = np.rint(candidates[:, None] / gains)
    best = int(np.abs(codes * gains - candidates[:, None]).max(axis=1).argmin())
    return Pedestal(codes[best].astype(np.int32)[levels.channels], int(candidates[best]))


def add_tile(codes: npt.NDArray[np.integer], tile: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return a mosaic, (H, W), plus a (2, 2) tile repeated over it, as int32."""
    signal = codes.astype(np.int32)
    columns = (codes.shape[1] + 1) // 2
    for row in (0, 1):
        signal[row::2] += np.tile(tile[row], columns)[: codes.shape[1]]
    return signal


def store_codes(values: npt.NDArray[np.int32]) -> MosaicCodes:
    """Clip to what a raw container holds."""
    return np.clip(values, 0, 65535, out=values).astype(np.uint16)


def develop_raw(raw: rawpy.RawPy, path: Path, *, pedestal_level: int = 0, signal_range: int | None = None) -> Image:
    """Develop what lies in the raw's container.

    Args:
        raw: An unpacked raw; its visible mosaic may have been replaced.
        path: Its file, for errors.
        pedestal_level: The pedestal that was added to the mosaic, see `Pedestal.level`.
        signal_range: Saturation above black, without the pedestal; None: the raw's own.

    Returns:
        (H, W, 3) float32 linear sRGB, saturation at 1, as it lies on the sensor; (H, W, 1) for one without colours.

    Raises:
        ReadError: LibRaw fails.
    """
    if signal_range is None:
        signal_range = read_white(raw) - max(raw.black_level_per_channel)
    # A camera without a matrix, or a picture that the camera demosaicked, comes as LibRaw's sRGB makes it.
    wide = raw.raw_type == rawpy.RawType.Flat and bool(np.any(raw.rgb_xyz_matrix))
    with explain_libraw(path):
        developed = raw.postprocess(
            demosaic_algorithm=rawpy.DemosaicAlgorithm.AHD,
            use_camera_wb=True,
            output_color=rawpy.ColorSpace.ProPhoto if wide else rawpy.ColorSpace.sRGB,
            output_bps=16,
            gamma=(1, 1),
            no_auto_bright=True,
            # the default changes each picture's exposure by its own brightest value
            adjust_maximum_thr=0,
            # counted above black
            user_sat=signal_range + pedestal_level,
            user_flip=0,
        )
    developed = developed.reshape(*developed.shape[:2], -1)
    gain = (signal_range + pedestal_level) / signal_range / 65535
    offset = pedestal_level / signal_range
    if developed.shape[2] == 1:
        return developed.astype(np.float32) * np.float32(gain) - np.float32(offset)
    return _to_linear_srgb(
        developed.astype(np.uint16, copy=False), _SRGB_FROM_PROPHOTO if wide else np.eye(3), gain, offset
    )


def _to_linear_srgb(
    developed: npt.NDArray[np.uint16], matrix: npt.NDArray[np.float64], gain: float, offset: float
) -> Image:
    """Convert band by band: a whole second float copy of 31 megapixels would be 370 MB."""
    transform = np.hstack([matrix * gain, np.full((3, 1), -offset)])
    image = np.empty(developed.shape, np.float32)
    for row in range(0, len(image), _BAND_ROWS):
        band = slice(row, row + _BAND_ROWS)
        cv2.transform(developed[band].astype(np.float32), transform, dst=image[band])
    return image
