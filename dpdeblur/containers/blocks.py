"""The metadata blocks of a file, and Photoshop's image resources, in which JPEG, PNG and TIFF hold IPTC.

Source: Adobe Photoshop File Formats Specification, "Image Resources Section".
"""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Iterator

from dpdeblur.containers.directories import Source

#: More segments, chunks or boxes no photo has.
MAX_PARTS = 100_000

_IPTC = 0x0404
#: What people put there themselves and no other block repeats.
_OWN_RESOURCES = {0x03F0: "caption", 0x040A: "copyright flag", 0x040B: "URL"} | dict.fromkeys(range(2000, 2999), "path")


@dataclasses.dataclass
class Blocks:
    """The metadata blocks of a file.

    Attributes:
        tiff: A TIFF structure whose first directory leads to the others, or None.
        parts: For CR3, the structures "ifd0", "exif", "maker_note" and "gps" of one directory each.
        xmp: The XMP packet, or None.
        iptc: The IPTC records, or None.
        icc: The colour profile, or None.
        warnings: What could not be had, or is not carried over, one sentence each.
    """

    tiff: Source | None = None
    parts: dict[str, Source] = dataclasses.field(default_factory=dict)
    xmp: bytes | None = None
    iptc: bytes | None = None
    icc: bytes | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)

    def take_resources(self, photoshop: bytes) -> None:
        """Take IPTC from Photoshop's image resources (the first, if there are several), and name what stays behind."""
        lost = set()
        for identity, content in _iterate_resources(photoshop):
            if identity == _IPTC:
                self.iptc = self.iptc or content or None
            elif identity in _OWN_RESOURCES and content:
                lost.add(_OWN_RESOURCES[identity])
        if lost:
            self.warnings.append(f"Photoshop's resources ({', '.join(sorted(lost))}) were left out.")


def wrap_bytes(data: bytes) -> Source:
    """Return bytes in memory as a source."""
    return Source(io.BytesIO(data), 0, len(data))


def _iterate_resources(photoshop: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each resource, as far as they make sense."""
    offset = 0
    while photoshop[offset : offset + 4] == b"8BIM" and len(photoshop) >= offset + 12:
        identity, name_size = struct.unpack_from(">HB", photoshop, offset + 4)
        offset += 6 + (name_size + 2) // 2 * 2  # a Pascal string, padded to even
        if len(photoshop) < offset + 4:
            return
        size = struct.unpack_from(">I", photoshop, offset)[0]
        yield identity, photoshop[offset + 4 : offset + 4 + size]
        offset += 4 + size + size % 2
