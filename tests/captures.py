"""Writers of small synthetic captures: dual-pixel CR2 and DNG, single raws, Pixel app pairs.

For the tests and for `examples/make_examples.py`. Numpy and the standard library only; every file is a function of its
arguments, to the last byte. LibRaw (rawpy 0.28) decodes the raws bit for bit. A capture from two linear pictures:

    left, right = draw_views(512, 768)                  # or any (H, W, 3) linear sRGB, H and W even, at full exposure
    frame0, frame1 = dual_frames(left, right, electrons_at_white=60000, read_noise=3, seed=1)
    write_dual_cr2(path, frame0, frame1)                # or write_dual_dng
    write_single_cr2(path, frame0)                      # or write_single_dng; mosaic_from_linear makes single frames
    write_pixel_pair(folder, "20240305_112233_042", record_pixel_view(left[..., 1]), record_pixel_view(right[..., 1]))

The options of the writers are those of `RawOptions` (tiff_blocks.py) and `Cr2Options` (cr2_captures.py), frames, `wb`
and `black` are as in mosaics.py. Frame 0 is what both photodiodes collect, frame 1 the left ones alone.

Developing a capture with rawpy gives the pictures back (up to the mosaic and the noise) with `use_camera_wb=True,
user_sat=white - black, no_auto_bright=True, adjust_maximum_thr=0, gamma=(1, 1), output_bps=16`. LibRaw compares
`user_sat` with values whose black is already subtracted, and without it takes 16383 for a CR2's white. The files claim
to be a body that LibRaw knows, because a CR2 carries no colour matrix.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from cr2_captures import write_dual_cr2, write_single_cr2
from dng_captures import write_burst_dng, write_dual_dng, write_single_dng
from mosaics import draw_views, dual_frames, mosaic_from_linear, record_pixel_view

__all__ = [
    "draw_views",
    "dual_frames",
    "mosaic_from_linear",
    "record_pixel_view",
    "truncate_file",
    "write_burst_dng",
    "write_dual_cr2",
    "write_dual_dng",
    "write_pixel_pair",
    "write_single_cr2",
    "write_single_dng",
]


def write_pixel_pair(
    folder: Path, stem: str, left: npt.NDArray[np.uint16], right: npt.NDArray[np.uint16]
) -> tuple[Path, Path]:
    """Write a pair as the Pixel app does: STEM_left.pgm and STEM_right.pgm, P5, one header line, 16-bit big-endian.

    Args:
        folder: Where to.
        stem: The capture's time, `yyyyMMdd_HHmmss_SSS`.
        left: (H, W) uint16, linear green values, black near 4096 included, white 65535. The app's pixels are twice as
            high as wide: `record_pixel_view` makes them of a picture.
        right: The same.

    Returns:
        Both paths, left first.
    """
    paths = folder / f"{stem}_left.pgm", folder / f"{stem}_right.pgm"
    for path, view in zip(paths, (left, right), strict=True):
        if view.ndim != 2 or view.dtype != np.uint16:
            raise ValueError(f"a PGM holds (H, W) uint16, not {view.shape} {view.dtype}")
        path.write_bytes(b"P5 %d %d 65535\n" % (view.shape[1], view.shape[0]) + view.astype(">u2").tobytes())
    return paths


def truncate_file(source: Path, target: Path, share: float) -> None:
    """Copy the first `share` (0 to 1) of a file's bytes: a transfer that broke off."""
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
