"""How dpdeblur signs what it writes."""

from __future__ import annotations

from dpdeblur import __version__


def sign_note(provenance: str) -> str:
    """The text of the tag Software: the program, its version and, in brackets, how a result was made, in one line."""
    return f"dpdeblur {__version__} ({' '.join(provenance.split())})"
