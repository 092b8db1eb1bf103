"""What EXIF says about a photo, in words: the camera, and how it was taken. Places (GPS) and names are left out."""

from __future__ import annotations

import re
import struct

from dpdeblur.containers.directories import ByteOrder, Entry, read_number
from dpdeblur.metadata.entries import Metadata

_MAKE, _MODEL = 0x010F, 0x0110
_EXPOSURE_TIME, _F_NUMBER, _ISO, _TIME, _FOCAL_LENGTH, _LENS = 33434, 33437, 34855, 36867, 37386, 42036
_SIGNED_RATIONAL = 10
_LONGEST_TEXT = 200
_DATE = re.compile(r"(\d{4}):(\d{2}):(\d{2}) (\d{2}:\d{2})(:\d{2})?")


def name_camera(metadata: Metadata) -> str | None:
    """Return the maker and the model, the maker's name only once, or None where the file says neither."""
    make, model = (_read_text(metadata.ifd0, tag) for tag in (_MAKE, _MODEL))
    if model.casefold().startswith(make.casefold()):
        make = ""
    return f"{make} {model}".strip() or None


def summarise_exif(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """Return camera, lens, exposure and time as (name, value); what the file does not say is left out."""
    entries, order = (*metadata.exif, *metadata.ifd0), metadata.byte_order
    seconds, f_number, focal_mm = (
        _read_ratio(entries, tag, order) for tag in (_EXPOSURE_TIME, _F_NUMBER, _FOCAL_LENGTH)
    )
    iso = read_number(_find(entries, _ISO), order)
    taken = _DATE.fullmatch(_read_text(entries, _TIME))
    values = (
        ("Camera", name_camera(metadata)),
        ("Lens", _read_text(entries, _LENS)),
        ("Focal length", focal_mm and f"{focal_mm:.4g} mm"),
        ("Aperture", f_number and f"f/{f_number:.3g}"),
        ("Exposure", seconds and (f"1/{1 / seconds:.0f} s" if seconds < 0.3 else f"{seconds:.3g} s")),
        ("ISO", iso and str(iso)),
        ("Taken", taken and f"{taken[1]}-{taken[2]}-{taken[3]} {taken[4]}"),
    )
    return tuple((name, value) for name, value in values if value)


def _find(entries: tuple[Entry, ...], tag: int) -> Entry | None:
    return next((entry for entry in entries if entry.tag == tag), None)


def _read_text(entries: tuple[Entry, ...], tag: int) -> str:
    entry = _find(entries, tag)
    if entry is None:
        return ""
    text = entry.value[:_LONGEST_TEXT].split(b"\0")[0].decode(errors="replace")
    # what a file says may be meant for the terminal
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _read_ratio(entries: tuple[Entry, ...], tag: int, order: ByteOrder) -> float | None:
    """A positive fraction, or None where there is none: cameras write 0/0 or 0/1 for what they do not know."""
    entry = _find(entries, tag)
    if entry is None or len(entry.value) != 8:
        return None
    over, under = struct.unpack(order + ("ii" if entry.type == _SIGNED_RATIONAL else "II"), entry.value)
    return over / under if over > 0 and under > 0 else None
