"""Measure the disparity of two views by OpenCV's semi-global matching.

    python examples/match_views.py LEFT RIGHT RESULT.tif

The result is a float32 TIFF: how many pixels a detail lies further right in LEFT than in RIGHT; NaN where nothing
matched. It is positive or negative, depending on which side of the plane in focus the detail lies, and 0 in focus.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import tifffile

#: The views of a dual pixel differ by a few pixels, either way.
LARGEST_PX = 8
#: Matching works on whole pixels and their 16ths; enlarging the views first makes those smaller.
ENLARGED = 2
BLOCK_PX = 7


def measure_disparity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 pixels for two views, (H, W) or (H, W, 3) uint16 or uint8."""
    height, width = left.shape[:2]
    size = (width * ENLARGED, height * ENLARGED)
    reach_px = LARGEST_PX * ENLARGED
    matcher = cv2.StereoSGBM.create(
        minDisparity=-reach_px,
        numDisparities=2 * reach_px,
        blockSize=BLOCK_PX,
        P1=8 * BLOCK_PX**2,
        P2=32 * BLOCK_PX**2,
        mode=cv2.STEREO_SGBM_MODE_HH,
    )
    # matching looks left of the first view's pixel only as far as the picture goes
    border_px = (0, 0, reach_px, reach_px)
    pictures = []
    for view in (left, right):
        picture = cv2.resize(to_gray(view), size, interpolation=cv2.INTER_CUBIC)
        pictures.append(cv2.copyMakeBorder(picture, *border_px, cv2.BORDER_REFLECT))
    sixteenths = matcher.compute(*pictures)[:, reach_px:-reach_px].astype(np.float32)
    found = sixteenths >= -16 * reach_px
    disparity = np.where(found, sixteenths / 16 / ENLARGED, np.nan).astype(np.float32)
    return disparity[ENLARGED // 2 :: ENLARGED, ENLARGED // 2 :: ENLARGED]


def to_gray(view: np.ndarray) -> np.ndarray:
    """The 8-bit gray picture that the matcher takes."""
    gray = view.astype(np.float32).reshape(*view.shape[:2], -1).mean(axis=2)
    return np.rint(gray / np.iinfo(view.dtype).max * 255).astype(np.uint8)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: match_views.py LEFT RIGHT RESULT.tif")
    left_path, right_path, result_path = (Path(argument) for argument in sys.argv[1:])
    tifffile.imwrite(result_path, measure_disparity(tifffile.imread(left_path), tifffile.imread(right_path)))
