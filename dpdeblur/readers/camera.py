"""The camera's name, as its files say it."""

from __future__ import annotations

from dpdeblur.metadata import Metadata

_MAKE, _MODEL = 0x010F, 0x0110


def name_camera(metadata: Metadata) -> str | None:
    """Return the maker and the model, the maker's name only once, or None where the file says neither."""
    texts = {
        entry.tag: entry.value.split(b"\0")[0].decode(errors="replace").strip()
        for entry in metadata.ifd0
        if entry.tag in (_MAKE, _MODEL)
    }
    make, model = texts.get(_MAKE, ""), texts.get(_MODEL, "")
    if model.casefold().startswith(make.casefold()):
        make = ""
    return f"{make} {model}".strip() or None
