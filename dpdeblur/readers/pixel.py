"""Pairs of bare sensor values: the Pixel app's PGM files, and any pair whose levels the user gives.

The app (Google's dual-pixel research app) stores the green photosites of each half, 16-bit linear, at half the
sensor's columns and a quarter of its rows: a pixel is twice as high as wide. `base`, `left` and `right` stay as stored,
and `Photo.pixel_aspect` says how to stretch them.

Black and white levels belong to each source: files under the app's own names have the app's defaults (black 4096 of
65535), which options override; other sets give their own (the Pixel 4 scenes of Xin et al., ICCV 2021: 1024 to 16383).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from dpdeblur.errors import ReadError
from dpdeblur.photo import Image, Photo
from dpdeblur.readers.capture import Capture, Probe, ReadOptions, describe_app_file
from dpdeblur.readers.pair import check_twin_sizes, join_views, probe_twins, read_twins
from dpdeblur.readers.view import read_view

_BALANCE_WINDOW_PX = (101, 101)


def read_pixel(capture: Capture, options: ReadOptions) -> Photo:
    """Read two views of bare sensor values; the base is their mean.

    With white sheets, the right view is multiplied by the local ratio of the sheets (left / right, a box mean of
    101x101), which evens out how much light each photodiode gets across the sensor.

    Raises:
        ReadError: A view or a sheet cannot be decoded, or their sizes differ.
    """
    options, warnings = describe_app_file(capture.paths[0], options)
    left, right = read_twins(capture, options)
    if options.white_sheet is not None:
        balance = _measure_balance(options.white_sheet, options, capture.paths[0], left.image.shape)
        right = dataclasses.replace(right, image=right.image * balance)
    photo = join_views(capture, options, "pixel", left, right)
    return dataclasses.replace(photo, warnings=(*photo.warnings, *warnings))


def _measure_balance(sheets: tuple[Path, Path], options: ReadOptions, view_path: Path, shape: tuple[int, ...]) -> Image:
    """Return what the right view, (H, W, C), is to be multiplied by, of the same shape."""
    images = []
    for path in sheets:
        image = np.maximum(read_view(path, options).image, 0)
        check_twin_sizes(path, image.shape, view_path, shape)
        if image.shape != shape:
            raise ReadError(f"has not as many channels as {view_path.name}", path=path, remedy="export both alike")
        images.append(image)
    left, right = images
    dark = min(float((image > 0).mean()) for image in images)
    if dark < 0.99:
        raise ReadError(
            f"{1 - dark:.1%} of a white sheet are no brighter than black",
            path=sheets[1],
            remedy="check --black-level and --white-sheet",
        )
    # a dead photosite has no ratio: it takes no side
    ratio = np.divide(left, right, out=np.ones_like(left), where=right > 0)
    return np.asarray(cv2.blur(ratio, _BALANCE_WINDOW_PX), np.float32).reshape(shape)


def probe_pixel(capture: Capture) -> Probe:
    """Find out what a pair of bare sensor values is, by its headers."""
    return probe_twins(capture, "pixel")
