"""The boxes of a CR3, and which of them hold metadata.

Source: ISO/IEC 14496-12, and https://github.com/lclevy/canon_cr3 for which box is what.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dpdeblur.containers.blocks import MAX_PARTS, Blocks
from dpdeblur.containers.directories import DamagedError, Source

_CANON_BOX = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")

#: Each is a small TIFF structure of one directory.
_CANON_PARTS = {b"CMT1": "ifd0", b"CMT2": "exif", b"CMT3": "maker_note", b"CMT4": "gps"}


def find_in_cr3(source: Source, blocks: Blocks) -> None:
    """Collect the boxes of a CR3.

    Raises:
        DamagedError: It is cut short; what came before is in `blocks`.
    """
    # the picture's own box comes last; its end may lie behind a cut, and nothing of it is needed
    for kind, identity, box in iterate_boxes(source, until=b"mdat"):
        if kind == b"moov":
            for inner_kind, inner_identity, inner in iterate_boxes(box):
                if inner_kind == b"uuid" and inner_identity == _CANON_BOX:
                    for name, _, content in iterate_boxes(inner):
                        if name in _CANON_PARTS:
                            blocks.parts[_CANON_PARTS[name]] = content
        elif kind == b"uuid" and identity == _XMP_BOX:
            # the camera pads its packet with kilobytes of zeros
            blocks.xmp = box.read(0, box.size).rstrip(b"\0") or None
    if not blocks.parts:
        raise DamagedError("the boxes that hold it are missing")


def iterate_boxes(source: Source, *, until: bytes = b"") -> Iterator[tuple[bytes, bytes, Source]]:
    """Yield type, user type and content of the boxes that follow each other in a stretch.

    Args:
        source: The stretch.
        until: The type of a box that ends the walk, and is not looked at.

    Raises:
        DamagedError: One reaches beyond the stretch or is shorter than its header, or there are too many.
    """
    offset = 0
    for _ in range(MAX_PARTS):
        if source.size - offset < 8:
            return
        size, kind = struct.unpack(">I4s", source.read(offset, 8))
        if kind == until:
            return
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", source.read(offset + 8, 8))[0], 16
        elif size == 0:
            size = source.size - offset
        identity = b""
        if kind == b"uuid":
            identity = source.read(offset + head, 16)
            head += 16
        yield kind, identity, source.window(offset + head, size - head)
        offset += size
    raise DamagedError("the file has too many boxes")
