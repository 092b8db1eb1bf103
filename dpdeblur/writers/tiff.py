"""16-bit TIFF: tifffile writes the picture, then the merged directories are appended and the header turned to them.

tifffile cannot write EXIF and GPS directories, hence the graft. The strips are packed here (horizontal differences,
then zlib, on a few threads), so that the result does not depend on whether imagecodecs is installed.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import numpy as np
import tifffile

from dpdeblur.containers.directories import Entry, Source, make_bytes, read_directory, read_header
from dpdeblur.errors import WriteError
from dpdeblur.metadata.entries import IPTC, XMP, Metadata
from dpdeblur.writers.metadata import pack_directories
from dpdeblur.writers.picture import Picture, deflate

#: Classic TIFF counts its bytes in 32 bits; the rest is left to the metadata.
_MAX_SAMPLE_BYTES = 4_000_000_000

_BYTE = 1


def write_tiff(file: BinaryIO, picture: Picture, metadata: Metadata, *, is_compressed: bool) -> tuple[str, ...]:
    """Write a TIFF of 16 bits per sample, in the metadata's byte order.

    Args:
        file: Open for reading and writing, empty.
        picture: The picture.
        metadata: What belongs to it.
        is_compressed: Whether to compress (zlib with predictor 2), without loss.

    Returns:
        No warnings: a TIFF holds everything.

    Raises:
        WriteError: The picture is too large for TIFF, or holds values that are not numbers.
    """
    shape = (picture.height, picture.width, picture.samples_per_pixel)
    if 2 * shape[0] * shape[1] * shape[2] > _MAX_SAMPLE_BYTES:
        raise WriteError("the picture is larger than a TIFF can be", remedy="choose --format png, or --crop a part")
    sample_type = np.dtype(np.uint16).newbyteorder(metadata.byte_order)

    def pack_strip(start: int, stop: int) -> bytes:
        samples = picture.quantise_rows(start, stop, bits=16)
        if not is_compressed:
            return samples.astype(sample_type, copy=False).tobytes()
        differences = samples.copy()
        differences[:, 1:] -= samples[:, :-1]  # modulo 65536, as predictor 2 has it
        return deflate(differences.astype(sample_type, copy=False).tobytes())

    with tifffile.TiffWriter(file, byteorder=metadata.byte_order) as writer:
        writer.write(
            picture.map_strips(pack_strip),
            shape=shape if shape[2] > 1 else shape[:2],
            dtype=sample_type,
            photometric="minisblack" if picture.is_gray else "rgb",
            planarconfig="contig" if shape[2] > 1 else None,
            extrasamples=["unassalpha"] if picture.has_alpha else None,
            compression="zlib" if is_compressed else None,
            predictor=2 if is_compressed else None,
            rowsperstrip=picture.rows_per_strip,
            iccprofile=metadata.icc,
            metadata=None,
            software=False,
        )
    _graft(file, metadata)
    return ()


def _graft(file: BinaryIO, metadata: Metadata) -> None:
    """Append the directories and turn the header to them; the directory that tifffile wrote is left unused."""
    size = file.seek(0, io.SEEK_END)
    source = Source(file, 0, size)
    header = read_header(source)
    stored = read_directory(source, header.first, header.byte_order).entries
    merged: dict[int, Entry] = {entry.tag: entry for entry in (*stored, *metadata.ifd0)}
    if metadata.xmp is not None:
        merged[XMP] = Entry(XMP, _BYTE, metadata.xmp)
    if metadata.iptc is not None:
        merged[IPTC] = make_bytes(IPTC, metadata.iptc)
    offset = size + size % 2
    file.seek(size)
    file.write(bytes(size % 2) + pack_directories(metadata, merged.values(), offset))
    file.seek(4)
    file.write(struct.pack(metadata.byte_order + "I", offset))
