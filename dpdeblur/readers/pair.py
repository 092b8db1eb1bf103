"""Pairs of files that are the left and the right view: named pairs and the DPDD layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpdeblur.errors import ReadError
from dpdeblur.metadata.entries import read_metadata
from dpdeblur.metadata.exif import name_camera
from dpdeblur.photo import Image, Kind, Photo
from dpdeblur.readers.capture import Capture, Probe, ReadOptions
from dpdeblur.readers.raster import read_header
from dpdeblur.readers.view import View, read_view

#: The side to which views are reduced to see whether they show one scene; disparity and noise are lost on the way.
_LOOK_PX = 64
#: The least deviation of the reduced views, as a share of their mean, below which there is no scene to compare.
_LEAST_CONTRAST = 0.1
#: Views of nine real captures correlate by 0.98 and more, 99 of 100 pairs of unrelated photographs by less than 0.66.
_LEAST_CORRELATION = 0.7


def read_pair(capture: Capture, options: ReadOptions) -> Photo:
    """Read two views, sRGB-encoded unless their profile or the options say otherwise; the base is their mean.

    Raises:
        ReadError: One cannot be decoded, or they do not belong together.
    """
    return join_views(capture, options, "pair", *read_twins(capture, options))


def read_twins(capture: Capture, options: ReadOptions) -> tuple[View, View]:
    """Read the left and the right file.

    Raises:
        ReadError: One cannot be decoded, or they differ in size, colours, profile or orientation.
    """
    left_path, right_path = capture.paths
    left, right = read_view(left_path, options), read_view(right_path, options)
    check_twin_sizes(right_path, right.image.shape, left_path, left.image.shape)
    for what, ours, theirs in (
        ("number of channels", right.image.shape[2], left.image.shape[2]),
        ("colour profile", right.metadata.icc, left.metadata.icc),
        ("orientation", right.metadata.orientation, left.metadata.orientation),
    ):
        if ours != theirs:
            raise ReadError(
                f"its {what} is not that of {left_path.name}", path=right_path, remedy="export both views alike"
            )
    return left, right


def check_twin_sizes(path: Path, shape: tuple[int, ...], other: Path, other_shape: tuple[int, ...]) -> None:
    """Refuse files that must be of one size and are not; shapes begin with height and width.

    Raises:
        ReadError: They differ.
    """
    if shape[:2] != other_shape[:2]:
        raise ReadError(
            f"is {shape[1]}x{shape[0]} pixels, but {other.name} is {other_shape[1]}x{other_shape[0]}",
            path=path,
            remedy="export both at one size",
        )


def join_views(capture: Capture, options: ReadOptions, kind: Kind, left: View, right: View) -> Photo:
    """Make one photo of two views."""
    images = (right.image, left.image) if options.swap_views else (left.image, right.image)
    base = images[0] + images[1]
    base *= np.float32(0.5)
    doubts = () if look_alike(*images) else ("The two files hardly look alike: are they the views of one photo?",)
    return Photo(
        capture.paths,
        kind,
        base,
        left=images[0],
        right=images[1],
        colour=left.colour,
        bits=max(left.bits, right.bits),
        alpha=left.alpha,
        metadata=left.metadata,
        orientation=left.metadata.orientation,
        pixel_aspect=options.pixel_aspect or 1.0,
        warnings=tuple(dict.fromkeys((*left.warnings, *right.warnings, *doubts))),
    )


def look_alike(left: Image, right: Image) -> bool:
    """Whether two pictures of one size can be views of one scene: two photos that only share a name are not.

    Args:
        left: (H, W, C) float32, linear light.
        right: The same.
    """
    step = max(left.shape[:2]) // _LOOK_PX
    if not 1 < step <= min(left.shape[:2]):  # too small to lose its noise, or no more than a strip
        return True
    height, width = (side // step * step for side in left.shape[:2])
    small = []
    for view in (left, right):
        gray = view[:height, :width].mean(axis=2).reshape(height // step, step, width // step, step).mean(axis=(1, 3))
        if gray.std() <= _LEAST_CONTRAST * gray.mean():
            return True
        encoded = np.sqrt(np.maximum(gray, 0)).ravel()
        small.append(encoded - encoded.mean())
    scale = float(np.linalg.norm(small[0]) * np.linalg.norm(small[1]))
    return float(small[0] @ small[1]) >= _LEAST_CORRELATION * scale


def probe_pair(capture: Capture) -> Probe:
    """Find out what a pair is by the headers of its files.

    Raises:
        ReadError: One is not readable, or they differ in size.
    """
    return probe_twins(capture, "pair")


def probe_twins(capture: Capture, kind: Kind) -> Probe:
    """Find out what two files are, by their headers."""
    left_path, right_path = capture.paths
    left, right = read_header(left_path), read_header(right_path)
    check_twin_sizes(right_path, (right.height, right.width), left_path, (left.height, left.width))
    metadata = read_metadata(left_path)
    is_gray = left.is_gray and right.is_gray
    return Probe(kind, left.width, left.height, True, name_camera(metadata), metadata.warnings, is_gray)
