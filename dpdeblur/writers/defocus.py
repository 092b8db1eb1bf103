"""A map of defocus as a TIFF: 16 bits a pixel, of the photo's size, upright, with the scale in its description."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from dpdeblur.restoration.defocus import DefocusMap, Quantity, enlarge_rows
from dpdeblur.writers.atomic import open_atomic
from dpdeblur.writers.picture import deflate, orient_pixels
from dpdeblur.writers.signature import sign_note

#: Codes per pixel, and the code of 0 pixels: one scale for all photos, so that maps can be compared.
CODES_PER_PX = 256
ZERO_CODES: dict[Quantity, int] = {"disparity": 32768, "blur radius": 0}

_MEANINGS: dict[Quantity, str] = {
    "disparity": "column in the left view minus column in the right view, as on the sensor; 0 is in focus",
    "blur radius": "radius of the disc that blurs as much, in blocks of 160 pixels; 0 is in focus or without detail",
}
_STRIP_ROWS = 256


def describe_codes(quantity: Quantity) -> str:
    """How the values of a map's file are to be read: the text of its ImageDescription."""
    zero = ZERO_CODES[quantity]
    code = f"(value - {zero})" if zero else "value"
    return f"{quantity} in pixels of the photo = {code} / {CODES_PER_PX}; {_MEANINGS[quantity]}"


def write_defocus_map(
    path: Path, defocus: DefocusMap, size: tuple[int, int], orientation: int, *, provenance: str
) -> None:
    """Write a map enlarged to its photo's size, and its confidence as a second, 8-bit picture (255 is 1).

    Args:
        path: The file to write.
        defocus: The map.
        size: (height, width) of the photo as on the sensor.
        orientation: EXIF Orientation of the photo: the file is upright.
        provenance: What made it, as in the photo's result.

    Raises:
        WriteError: It cannot be written; nothing is left behind.
    """
    height, width = size if orientation < 5 else size[::-1]
    zero = ZERO_CODES[defocus.quantity]
    pages = (
        (defocus.values_px, CODES_PER_PX, zero, np.dtype("<u2"), describe_codes(defocus.quantity)),
        (defocus.confidence, 255, 0, np.dtype("u1"), "confidence = value / 255"),
    )
    with open_atomic(path) as file, tifffile.TiffWriter(file, byteorder="<") as writer:
        for values, factor, offset, dtype, description in pages:
            writer.write(
                _pack_strips(orient_pixels(values, orientation), (height, width), factor, offset, dtype),
                shape=(height, width),
                dtype=dtype,
                photometric="minisblack",
                compression="zlib",
                predictor=2,
                rowsperstrip=_STRIP_ROWS,
                description=description,
                software=sign_note(provenance),
                metadata=None,
            )


def _pack_strips(
    values: npt.NDArray[np.float32], size: tuple[int, int], factor: int, zero: int, dtype: np.dtype[np.unsignedinteger]
) -> Iterator[bytes]:
    """Yield a map in strips: enlarged, rounded, as differences along the rows (predictor 2), compressed."""
    upright = np.ascontiguousarray(values)
    for top in range(0, size[0], _STRIP_ROWS):
        part = enlarge_rows(upright, size, slice(top, min(top + _STRIP_ROWS, size[0])))
        codes = np.clip(np.rint(part * factor + zero), 0, np.iinfo(dtype).max).astype(dtype)
        codes[:, 1:] -= codes[:, :-1].copy()  # modulo its range, as predictor 2 has it
        yield deflate(codes.tobytes())
