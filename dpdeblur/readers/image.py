"""Single images: TIFF, PNG, JPEG, and a PGM without a twin."""

from __future__ import annotations

from dpdeblur.metadata.entries import read_metadata
from dpdeblur.metadata.exif import name_camera
from dpdeblur.photo import Photo
from dpdeblur.readers.capture import Capture, Probe, ReadOptions, describe_app_file
from dpdeblur.readers.raster import read_header
from dpdeblur.readers.view import read_view


def read_image(capture: Capture, options: ReadOptions) -> Photo:
    """Read a single image; alpha, profile, orientation and metadata are carried along.

    Raises:
        ReadError: It cannot be decoded.
    """
    path = capture.paths[0]
    options, warnings = describe_app_file(path, options)
    view = read_view(path, options)
    return Photo(
        (path,),
        "image",
        view.image,
        colour=view.colour,
        bits=view.bits,
        alpha=view.alpha,
        metadata=view.metadata,
        orientation=view.metadata.orientation,
        pixel_aspect=options.pixel_aspect or 1.0,
        warnings=(*view.warnings, *warnings),
    )


def probe_image(capture: Capture) -> Probe:
    """Find out what a single image is by its header."""
    path = capture.paths[0]
    header = read_header(path)
    metadata = read_metadata(path)
    camera, is_gray = name_camera(metadata), header.is_gray
    return Probe("image", header.width, header.height, False, camera, metadata.warnings, is_gray)
