"""From linear pictures to the mosaics that a dual-pixel sensor would record.

A *frame* is a whole RGGB mosaic, (H, W) uint16, black level included. Channel order of `wb` and `black`: R, G1, G2, B
(G1 in red's rows). The model: linear sRGB to white-balanced camera RGB by the camera's matrix (what LibRaw undoes), one
colour a photosite, white balance undone, half of the light in each photodiode, Poisson noise of the electrons, Gaussian
noise of each readout, clipping at the saturated value.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint16]
Levels = tuple[int, int, int, int]

BLACK: Levels = (512, 512, 512, 512)
WHITE = 15000
WB: Levels = (2048, 1024, 1024, 1536)
SMALLEST_SIDE_PX = 32  # LibRaw refuses raws of less than 22 pixels on a side

#: XYZ (D65) to the camera's RGB in units of 1/10000, the matrix of the claimed body as LibRaw prints it.
CAMERA_FROM_XYZ = np.array([[6446, -366, -864], [-4436, 12204, 2513], [-952, 2496, 6348]], np.int64)
#: Linear sRGB to XYZ (D65), IEC 61966-2-1 to seven digits.
XYZ_FROM_SRGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


@dataclasses.dataclass(frozen=True)
class Scene:
    """What the fixtures of conftest.py were made from.

    Attributes:
        left: (64, 96, 3) float32 linear sRGB, the left view at full exposure.
        right: The same of the right view.
        frame0: (64, 96) uint16, RGGB: both photodiodes, black 512, saturation 15000, no noise.
        frame1: The same of the left photodiodes.
    """

    left: npt.NDArray[np.float32]
    right: npt.NDArray[np.float32]
    frame0: Frame
    frame1: Frame


def camera_from_srgb() -> npt.NDArray[np.float64]:
    """Return the (3, 3) matrix from linear sRGB to white-balanced camera RGB; rows sum to 1, so white stays white."""
    matrix = CAMERA_FROM_XYZ / 10000 @ XYZ_FROM_SRGB
    return matrix / matrix.sum(axis=1, keepdims=True)


def sample_rggb(image_linear: npt.NDArray[np.floating], wb: Levels = WB) -> npt.NDArray[np.float64]:
    """Return what an RGGB sensor sees of a picture.

    Args:
        image_linear: (H, W, 3) linear sRGB, H and W even; 1 is white.
        wb: The multipliers that make white neutral again; the channel with the smallest saturates at white 1.

    Returns:
        (H, W) float64 at least 0, where 1 is saturation; brighter values are kept, for the caller to clip.

    Raises:
        ValueError: The shape is not (even, even, 3).
    """
    if image_linear.ndim != 3 or image_linear.shape[2] != 3 or image_linear.shape[0] % 2 or image_linear.shape[1] % 2:
        raise ValueError(f"a mosaic needs a picture of shape (even, even, 3), not {image_linear.shape}")
    camera = np.maximum(image_linear.astype(np.float64) @ camera_from_srgb().T, 0)
    mosaic = np.empty(camera.shape[:2])
    for channel, (row, column, colour) in enumerate(((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2))):
        mosaic[row::2, column::2] = camera[row::2, column::2, colour] * (min(wb) / wb[channel])
    return mosaic


def mosaic_from_linear(
    image_linear: npt.NDArray[np.floating],
    *,
    wb: Levels = WB,
    black: Levels = BLACK,
    white: int = WHITE,
    electrons_at_white: float | None = None,
    read_noise: float = 0.0,
    seed: int = 0,
) -> Frame:
    """Return the single frame that a camera would record of a picture.

    Args:
        image_linear: (H, W, 3) linear sRGB, H and W even; 1 is white.
        wb: White balance multipliers.
        black: Black levels.
        white: The saturated value; nothing recorded is brighter.
        electrons_at_white: Photosite charge at saturation, for Poisson noise; None: no shot noise.
        read_noise: Standard deviation of the Gaussian read noise, in recorded units.
        seed: Of both noises.

    Returns:
        (H, W) uint16 in [0, white], black included.
    """
    random = np.random.default_rng(seed)
    signal = _collect(sample_rggb(image_linear, wb), electrons_at_white, random)
    return _read_out(signal, black, white, read_noise, random)


def dual_frames(
    left_linear: npt.NDArray[np.floating],
    right_linear: npt.NDArray[np.floating],
    *,
    wb: Levels = WB,
    black: Levels = BLACK,
    black1: Levels | None = None,
    white: int = WHITE,
    electrons_at_white: float | None = None,
    read_noise: float = 0.0,
    seed: int = 0,
) -> tuple[Frame, Frame]:
    """Return both frames of a dual-pixel capture: left/2 + right/2 + black, and left/2 + black.

    Each photodiode collects half the light, so two equal views at full exposure give a frame 0 at that exposure. The
    shot noise of the photodiodes is independent and frame 0 holds the sum of both; each frame has its own read noise.

    Args:
        left_linear: (H, W, 3) linear sRGB, the left photodiodes' view at frame 0's exposure.
        right_linear: The same of the right photodiodes.
        wb: White balance multipliers.
        black: Black levels of frame 0.
        black1: Black levels of frame 1; None: the same.
        white: The saturated value, of either frame.
        electrons_at_white: Charge of a whole photosite at saturation; None: no shot noise.
        read_noise: Standard deviation in recorded units.
        seed: Of all noises.

    Returns:
        Frame 0 and frame 1, (H, W) uint16 in [0, white].

    Raises:
        ValueError: The views differ in shape.
    """
    if left_linear.shape != right_linear.shape:
        raise ValueError(f"the views differ in shape: {left_linear.shape} and {right_linear.shape}")
    random = np.random.default_rng(seed)
    left = _collect(sample_rggb(left_linear, wb) / 2, electrons_at_white, random)
    right = _collect(sample_rggb(right_linear, wb) / 2, electrons_at_white, random)
    frame0 = _read_out(left + right, black, white, read_noise, random)
    return frame0, _read_out(left, black if black1 is None else black1, white, read_noise, random)


def record_pixel_view(
    green_linear: npt.NDArray[np.floating], *, black: int = 4096, noise: float = 0.0, seed: int = 0
) -> Frame:
    """Return a view as the Pixel app stores it: two rows averaged to one, 65535 for white.

    Args:
        green_linear: (H, W), H even, linear green of square pixels; 1 is white.
        black: The stored black level.
        noise: Standard deviation of Gaussian noise in stored units.
        seed: Of the noise.

    Returns:
        (H/2, W) uint16; its pixels are twice as high as wide.
    """
    rows = (green_linear[0::2].astype(np.float64) + green_linear[1::2]) / 2
    stored = black + rows * (65535 - black) + np.random.default_rng(seed).normal(0, noise, rows.shape)
    return np.clip(np.rint(stored), 0, 65535).astype(np.uint16)


def _collect(
    signal: npt.NDArray[np.float64], electrons_at_white: float | None, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    if electrons_at_white is None:
        return signal
    return random.poisson(signal * electrons_at_white) / electrons_at_white


def _read_out(
    signal: npt.NDArray[np.float64], black: Levels, white: int, read_noise: float, random: np.random.Generator
) -> Frame:
    blacks = np.tile(np.reshape(black, (2, 2)), (signal.shape[0] // 2, signal.shape[1] // 2))
    recorded = signal * (white - blacks) + blacks + random.normal(0, read_noise, signal.shape)
    return np.clip(np.rint(recorded), 0, white).astype(np.uint16)


def draw_views(
    height: int, width: int, disparity: float = 2.0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Draw both views of a small scene: a coloured background in focus, a soft bright disc out of focus before it.

    Everything is a sum of cosines and Gaussians in closed form, so the pictures are the same everywhere. The disc lies
    `disparity` pixels further right in the left view than in the right one; the background does not move.

    Returns:
        The left and the right view, (height, width, 3) float32 linear sRGB in [0.02, 0.9].
    """
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    phases = np.array([0.0, 1.5, 3.0])
    ripples = np.cos(2 * np.pi * (columns / 16 + rows / 40))[..., None] * np.cos(rows[..., None] / 9 + phases)
    background = 0.2 + 0.06 * np.array([1.0, 0.8, 0.6]) * ripples + 0.1 * (columns / width)[..., None]
    views = []
    for shift in (disparity / 2, -disparity / 2):
        distance2 = (columns - width / 2 - shift) ** 2 + (rows - height / 2) ** 2
        cover = 0.8 * np.exp(-distance2 / (2 * (min(height, width) / 6) ** 2))[..., None]
        views.append((background * (1 - cover) + np.array([0.8, 0.7, 0.5]) * cover).astype(np.float32))
    return views[0], views[1]


def encode_srgb(linear: npt.NDArray[np.floating], largest: int) -> npt.NDArray[np.uint16]:
    """Return integer sRGB codes of linear values by IEC 61966-2-1, written apart from the package on purpose."""
    clipped = np.clip(linear.astype(np.float64), 0, 1)
    encoded = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return np.rint(encoded * largest).astype(np.uint16)


def check_frame(frame: Frame, shape: tuple[int, ...]) -> Frame:
    """Return the frame if a raw file can hold it beside others of this shape, else raise ValueError."""
    if frame.ndim != 2 or frame.dtype != np.uint16 or frame.shape != shape:
        raise ValueError(f"a frame is (H, W) uint16, all of one shape; this one is {frame.shape} {frame.dtype}")
    if min(shape) < SMALLEST_SIDE_PX or shape[0] % 2 or shape[1] % 2:
        raise ValueError(f"a frame has even sides of at least {SMALLEST_SIDE_PX} pixels, not {shape}")
    return frame


def add_masked_border(frame: Frame, black: Levels, masked: tuple[int, int]) -> Frame:
    """Return the whole sensor's frame: `masked` rows above and columns left of the given one, filled with black."""
    rows, columns = masked
    if rows % 2 or columns % 2:
        raise ValueError(f"a masked border of {masked} would change the colour pattern: both must be even")
    height, width = frame.shape[0] + rows, frame.shape[1] + columns
    sensor = np.tile(np.reshape(black, (2, 2)).astype(np.uint16), (height // 2, width // 2))
    sensor[rows:, columns:] = frame
    return sensor
