"""Raws, dual-pixel ones among them: two frames of one exposure become the views of the left and right photodiodes.

Frame 0 holds both photodiodes of every photosite, frame 1 one of them, the left by default:
`left = frame 1 - black 1`, `right = (frame 0 - black 0) - (frame 1 - black 1)`, signed. One photodiode collects about
half of the light, so each view is scaled by 2 about black: both come out at frame 0's exposure, without any fit.

Where frame 0 is saturated the difference is too small. There both views take frame 0's value, before the demosaic.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import rawpy

from dpdeblur.errors import NoSecondViewError
from dpdeblur.metadata.entries import read_metadata
from dpdeblur.metadata.exif import name_camera
from dpdeblur.photo import Image, Kind, Photo
from dpdeblur.readers.capture import Capture, Mosaic, Probe, ReadOptions
from dpdeblur.readers.develop import (
    Levels,
    MosaicCodes,
    add_tile,
    check_content,
    choose_pedestal,
    develop_raw,
    open_raw,
    read_levels,
    read_orientation,
    store_codes,
)
from dpdeblur.readers.structure import check_file

#: What a file's structure says about frames after the first: none; another photodiode; another shot; or one of both.
Second = Literal["none", "photodiode", "shot", "unclear"]
FindSecond = Callable[[Path], Second]

_BLOCK_PX = 16
_SAMPLED_BLOCKS = 4096
_REPORTED_CLIPPED_SHARE = 0.01


@dataclasses.dataclass(frozen=True)
class Frames:
    """The frames of a raw, open.

    Attributes:
        first: Frame 0.
        second: Frame 1 where it is one photodiode's, else None.
        warnings: Why there is no second frame where one was announced.
    """

    first: rawpy.RawPy
    second: rawpy.RawPy | None
    warnings: tuple[str, ...] = ()


@contextlib.contextmanager
def open_frames(path: Path, second: Second) -> Iterator[Frames]:
    """Open the frame or both frames of a raw, unpacked.

    Args:
        path: The file.
        second: What its structure says.

    Raises:
        ReadError: A frame that is announced cannot be decoded, or holds no data.
    """
    with contextlib.ExitStack() as stack:
        if second in ("none", "shot"):
            first = stack.enter_context(open_raw(path))
            check_content(first, path)
            yield Frames(first, None, () if second == "none" else (_BURST,))
            return
        with ThreadPoolExecutor(1) as pool:  # LibRaw unpacks on one core
            other = pool.submit(lambda: stack.enter_context(open_raw(path, shot=1)))
            first = stack.enter_context(open_raw(path))
            last = other.result()
        check_content(first, path)
        check_content(last, path)
        warning = _doubt_second(first, last, certain=second == "photodiode")
        yield Frames(first, None if warning else last, (warning,) if warning else ())


_BURST = "The file holds several shots (a burst): the first was used, as a single image."


def _doubt_second(first: rawpy.RawPy, second: rawpy.RawPy, *, certain: bool) -> str | None:
    """Return None where frame 1 can be one photodiode's share of frame 0, else a warning that says why not."""
    levels, levels1 = read_levels(first), read_levels(second)
    if levels is None or levels1 is None:
        return "The two frames are no mosaics of 2x2 colours: the first was used, as a single image."
    codes, codes1 = first.raw_image_visible, second.raw_image_visible
    if codes.shape != codes1.shape:
        return "The two frames differ in size: the first was used, as a single image."
    share = measure_share(codes, codes1, levels, levels1)
    if share is None:
        return None if certain else _BURST
    if share.brighter > 0.02 or not 0.3 < share.mean < 0.7:
        return f"{_BURST} The second frame has {share.mean:.2f} of the first one's light; one photodiode has half."
    return None


@dataclasses.dataclass(frozen=True)
class Share:
    """How frame 1 compares with frame 0.

    Attributes:
        mean: Its light divided by frame 0's.
        brighter: The share of places where it is brighter than frame 0, or darker than black, beyond noise.
    """

    mean: float
    brighter: float


def measure_share(codes: MosaicCodes, codes1: MosaicCodes, levels: Levels, levels1: Levels) -> Share | None:
    """Compare two frames on some blocks of 16x16 photosites, spread over the picture.

    Args:
        codes: (H, W), frame 0.
        codes1: (H, W), frame 1.
        levels: Of frame 0.
        levels1: Of frame 1.

    Returns:
        The comparison, or None where nothing can be said: all is dark, or saturated.
    """
    height, width = codes.shape
    side = max(2, min(_BLOCK_PX, height // 2 * 2, width // 2 * 2))
    tops, lefts = np.meshgrid(np.arange(0, height - side + 1, side), np.arange(0, width - side + 1, side))
    step = -(-tops.size // _SAMPLED_BLOCKS)
    rows = tops.ravel()[::step, None, None] + np.arange(side)[:, None]
    columns = lefts.ravel()[::step, None, None] + np.arange(side)
    repeats = (side // 2, side // 2)
    blocks = codes[rows, columns]
    unclipped = (blocks < levels.white).all(axis=(1, 2))
    signal = blocks[unclipped] - np.tile(levels.black, repeats)
    signal1 = codes1[rows, columns][unclipped] - np.tile(levels1.black, repeats)
    # texture is the same in both and largely cancels in this difference, which leaves the noise of a block's mean
    noise = (signal1 - 0.5 * signal).std(axis=(1, 2)) / side
    mean, mean1 = signal.mean(axis=(1, 2)), signal1.mean(axis=(1, 2))
    tolerance = 4 * noise + 1
    lit = mean > 4 * tolerance
    if not lit.any() or lit.sum() < len(blocks) / 200:
        return None
    implausible = (mean1 > mean + tolerance) | (mean1 < -tolerance)
    return Share(mean=float(mean1[lit].sum() / mean[lit].sum()), brighter=float(implausible.mean()))


def find_no_second(path: Path) -> Second:
    """Raws of all other makers have one frame.

    Raises:
        ReadError: It is no readable file.
    """
    check_file(path)
    return "none"


def read_raw(capture: Capture, options: ReadOptions, kind: Kind, find_second: FindSecond) -> Photo:
    """Read a raw that may have a second frame: both views and frame 0 where it has, one image where not.

    Args:
        capture: Its file.
        options: Only `swap_views` matters.
        kind: What a photo with both views shall be called; one without is a `raw`.
        find_second: Says what the file's structure tells about a second frame.

    Raises:
        ReadError: The file cannot be decoded.
    """
    path = capture.paths[0]
    second = find_second(path)
    metadata = read_metadata(path)
    with open_frames(path, second) as frames:
        orientation = read_orientation(frames.first)
        warnings = (*metadata.warnings, *frames.warnings)
        if frames.second is None:
            image = develop_raw(frames.first, path)
            return Photo((path,), "raw", image, metadata=metadata, orientation=orientation, warnings=warnings)
        base, left, right, clipped_share = _develop_views(frames.first, frames.second, path)
    if options.swap_views:
        left, right = right, left
    if clipped_share > _REPORTED_CLIPPED_SHARE:
        warnings += (f"{clipped_share:.1%} of the photosites are clipped; there, both views show frame 0.",)
    return Photo(
        (path,),
        kind,
        base,
        left=left,
        right=right,
        metadata=metadata,
        orientation=orientation,
        clipped_share=clipped_share,
        warnings=warnings,
    )


def _develop_views(first: rawpy.RawPy, second: rawpy.RawPy, path: Path) -> tuple[Image, Image, Image, float]:
    """Develop frame 0 and both views alike; the frames' containers are overwritten.

    Returns:
        Frame 0, left, right, and the clipped share.
    """
    levels, levels1 = _need_levels(first), _need_levels(second)
    pedestal = choose_pedestal(first, levels)
    frame0, frame1 = first.raw_image_visible, second.raw_image_visible
    clipped = frame0 >= levels.white
    right = split_right(frame0, frame1, levels, levels1)
    # in each container a view stands on that container's black
    right_codes = _place_view(right, clipped, levels.black + pedestal.codes)
    left_codes = _place_view(add_tile(frame1, -levels1.black), clipped, levels1.black + pedestal.codes)
    base_codes = store_codes(add_tile(frame0, pedestal.codes))

    def develop(raw: rawpy.RawPy, codes: MosaicCodes) -> Image:
        raw.raw_image_visible[:] = codes
        return develop_raw(raw, path, pedestal_level=pedestal.level, signal_range=levels.range)

    with ThreadPoolExecutor(1) as pool:  # the demosaic, on one core, takes most of the time
        developed_left = pool.submit(develop, second, left_codes)
        developed_base = develop(first, base_codes)
        developed_right = develop(first, right_codes)
        return developed_base, developed_left.result(), developed_right, float(clipped.mean())


def split_right(frame0: MosaicCodes, frame1: MosaicCodes, levels: Levels, levels1: Levels) -> npt.NDArray[np.int32]:
    """Return the right photodiodes' signal, (H, W) int32 about 0: `(frame 0 - black 0) - (frame 1 - black 1)`."""
    return add_tile(frame0, levels1.black - levels.black) - frame1


def _place_view(
    signal: npt.NDArray[np.int32], clipped: npt.NDArray[np.bool_], floor: npt.NDArray[np.int32]
) -> MosaicCodes:
    """Scale a view by 2 about black, fill what is clipped, and put it on `floor`, (2, 2); overwrites `signal`."""
    signal *= 2
    signal[clipped] = 65535
    for row in (0, 1):
        signal[row::2] += np.tile(floor[row], (signal.shape[1] + 1) // 2)[: signal.shape[1]]
    return store_codes(signal)


def _need_levels(raw: rawpy.RawPy) -> Levels:
    levels = read_levels(raw)
    assert levels is not None  # open_frames has looked
    return levels


def probe_raw(capture: Capture, kind: Kind, find_second: FindSecond) -> Probe:
    """Find out what a raw is without developing it; arguments as for `read_raw`."""
    path = capture.paths[0]
    second = find_second(path)
    metadata = read_metadata(path)
    with open_frames(path, second) as frames:
        sizes = frames.first.sizes
        dual = frames.second is not None
    warnings = (*metadata.warnings, *frames.warnings)
    return Probe(kind if dual else "raw", sizes.width, sizes.height, dual, name_camera(metadata), warnings)


def read_raw_mosaic(capture: Capture, find_second: FindSecond) -> Mosaic:
    """Take a dual-pixel raw apart without developing it.

    Raises:
        NoSecondViewError: It holds one view.
        ReadError: It cannot be decoded.
    """
    path = capture.paths[0]
    with open_frames(path, find_second(path)) as frames:
        if frames.second is None:
            raise NoSecondViewError("holds no second frame", path=path)
        levels, levels1 = _need_levels(frames.first), _need_levels(frames.second)
        frame0, frame1 = frames.first.raw_image_visible, frames.second.raw_image_visible.copy()
        right = split_right(frame0, frame1, levels, levels1)
        letters = frames.first.color_desc.decode("ascii")
        red, green, blue, green2 = frames.second.black_level_per_channel
        return Mosaic(
            left=frame1,
            right=store_codes(add_tile(right, levels1.black)),
            black_level=(red, green, blue, green2),
            pattern="".join(letters[channel] for channel in levels.channels.ravel()),
            clipped_share=float((frame0 >= levels.white).mean()),
        )
