"""What is asked for, in a line that results carry in their notes: results of one marker are the same work."""

from __future__ import annotations

import os
from pathlib import Path

from dpdeblur.errors import ReadError
from dpdeblur.framing import Framing
from dpdeblur.metadata.provenance import hash_files
from dpdeblur.readers import ReadOptions


def mark_run(
    framing: Framing,
    options: ReadOptions,
    *,
    strength: float = 1.0,
    scale: float | None = None,
    ensemble: bool = False,
    profile: str | None,
) -> str:
    """Say what `run` is asked to make of a photo, in a line that differs where the results would.

    What is left to the program is not in it, nor what decides how it computes and not what: device, precision, tiles.

    Args:
        framing: Which pixels are worked on. A part comes first: it is no finished result.
        options: How bare files are to be understood.
        strength: How much of the change is applied.
        scale: The size at which the network works, or None.
        ensemble: Whether it works on the photo's mirror images too.
        profile: The colour space asked for, or None.

    Raises:
        ReadError: A white sheet cannot be read.
    """
    words = ["run"]
    if framing.crop is not None:
        words.append(f"crop={framing.crop}")
    if strength != 1:
        words.append(f"strength={strength:g}")
    if scale is not None:
        words.append(f"scale={scale:g}")
    if ensemble:
        words.append("ensemble")
    if profile is not None:
        words.append(f"profile={profile}")
    return " ".join([*words, *describe_reading(options, framing)])


def describe_reading(options: ReadOptions, framing: Framing) -> list[str]:
    """Name what the user said about the files, in words for a marker.

    Raises:
        ReadError: A white sheet cannot be read.
    """
    words = []
    for name, value in (
        ("black", options.black_level),
        ("white", options.white_level),
        ("aspect", options.pixel_aspect),
    ):
        if value is not None:
            words.append(f"{name}={value:g}")
    if options.white_sheet is not None:
        try:
            words.append(f"sheet={hash_files(options.white_sheet)}")
        except OSError as error:
            cause = f"the white sheet cannot be read ({error.strerror})"
            path = Path(os.fsdecode(error.filename or options.white_sheet[0]))
            raise ReadError(cause, path=path, remedy="check the names") from error
    flags = (("linear", options.linear), ("swapped", options.swap_views), ("keep-aspect", framing.keep_aspect))
    return words + [name for name, is_set in flags if is_set]
