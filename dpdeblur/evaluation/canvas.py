"""A picture to draw on: outline text, lines and images, by OpenCV, so that plots need no plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.containers.directories import make_text
from dpdeblur.errors import UsageError
from dpdeblur.metadata.entries import Metadata
from dpdeblur.metadata.provenance import SOFTWARE, read_note
from dpdeblur.readers import SUFFIXES as PHOTO_SUFFIXES
from dpdeblur.writers.atomic import open_atomic
from dpdeblur.writers.metadata import pack_exif
from dpdeblur.writers.signature import sign_note

Colour = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]

#: RGB. Series are told apart by everyone (M. Okabe, K. Ito, "Color Universal Design", 2008).
WHITE: Colour = (255, 255, 255)
INK: Colour = (34, 38, 46)
GRAY: Colour = (112, 118, 128)
FAINT: Colour = (226, 229, 234)
SERIES: tuple[Colour, ...] = (
    *((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0)),
)
SUFFIXES = (".png", ".jpg", ".jpeg")

_REGULAR, _BOLD = 400, 600
#: Lines are placed to a sixteenth of a pixel.
_SHIFT = 4
_LARGEST_JPEG_PX = 65_500
#: What the note of a drawing says that it is, so that a photo is never taken for one.
_DRAWING = "drawing"


class Canvas:
    """RGB pixels, 8 bit, white at first.

    Attributes:
        pixels: (H, W, 3) uint8.
    """

    def __init__(self, width: int, height: int) -> None:
        """Take a white sheet."""
        self.pixels: Pixels = np.full((height, width, 3), 255, np.uint8)
        self._font = cv2.FontFace("sans")

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = 22,
        colour: Colour = INK,
        align: Literal["left", "centre", "right"] = "left",
        bold: bool = False,
    ) -> float:
        """Write a line of text.

        Args:
            x: Where it begins, has its middle, or ends.
            y: Its base line.
            text: Any characters; those that the font lacks become question marks.
            size: Height of a line in pixels.
            colour: RGB.
            align: What `x` is.
            bold: Semibold.

        Returns:
            Its width in pixels.
        """
        width = self.measure(text, size=size, bold=bold)
        x -= {"left": 0, "centre": width / 2, "right": width}[align]
        origin = (round(x), round(y))
        cv2.putText(self.pixels, text, origin, colour, self._font, size, _BOLD if bold else _REGULAR, 0, (0, 1 << 20))
        return width

    def measure(self, text: str, *, size: int = 22, bold: bool = False) -> float:
        """The width of a line of text in pixels."""
        weight = _BOLD if bold else _REGULAR
        return float(cv2.getTextSize((0, 0), text, (0, 0), self._font, size, weight, 0, (0, 1 << 20))[2])

    def shorten(self, text: str, width: float, *, size: int = 22) -> str:
        """Cut the middle out of a text that is wider than `width`."""
        if self.measure(text, size=size) <= width:
            return text
        for kept in range(len(text) - 1, 1, -1):
            cut = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
            if self.measure(cut, size=size) <= width:
                return cut
        return "…"

    def draw_line(self, points: Sequence[tuple[float, float]], colour: Colour, thickness: int = 2) -> None:
        """Draw a line through points (x, y)."""
        places = np.rint(np.asarray(points, np.float64) * 2**_SHIFT).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(self.pixels, [places], False, colour, thickness, cv2.LINE_AA, _SHIFT)

    def draw_dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Draw a disc."""
        self._draw_circle(x, y, radius, colour, cv2.FILLED)

    def draw_ring(self, x: float, y: float, radius: float, colour: Colour, thickness: int = 3) -> None:
        """Draw a circle."""
        self._draw_circle(x, y, radius, colour, thickness)

    def _draw_circle(self, x: float, y: float, radius: float, colour: Colour, thickness: int) -> None:
        place = (round(x * 2**_SHIFT), round(y * 2**_SHIFT))
        cv2.circle(self.pixels, place, round(radius * 2**_SHIFT), colour, thickness, cv2.LINE_AA, _SHIFT)

    def draw_box(
        self, x: float, y: float, width: float, height: float, colour: Colour, thickness: int | None = None
    ) -> None:
        """Fill a rectangle, or draw its border."""
        corners = (round(x), round(y)), (round(x + width) - 1, round(y + height) - 1)
        if corners[1][0] >= corners[0][0] and corners[1][1] >= corners[0][1]:
            cv2.rectangle(self.pixels, *corners, colour, cv2.FILLED if thickness is None else thickness)

    def paste(self, image: Pixels, x: int, y: int) -> None:
        """Put an RGB image, (h, w, 3), with its upper left corner here."""
        self.pixels[y : y + image.shape[0], x : x + image.shape[1]] = image

    def save(self, path: Path) -> None:
        """Write the picture as PNG or JPEG, by the name's suffix, whole or not at all.

        Raises:
            UsageError: The suffix is neither, there is no such folder, or another picture has this name.
            WriteError: It cannot be written.
        """
        check_name(path)
        pixels = self.pixels
        is_png = path.suffix.lower() == ".png"
        if not is_png and max(pixels.shape) > _LARGEST_JPEG_PX:
            raise UsageError(f"a JPEG cannot have {max(pixels.shape)} pixels a side", path=path, remedy="name a .png")
        options = [] if is_png else [cv2.IMWRITE_JPEG_QUALITY, 92]
        software = make_text(SOFTWARE, sign_note(f"{_DRAWING}; a drawing"))
        exif = np.frombuffer(pack_exif(Metadata(ifd0=(software,))), np.uint8)
        _, encoded = cv2.imencodeWithMetadata(
            ".png" if is_png else ".jpg", pixels[..., ::-1], [cv2.IMAGE_METADATA_EXIF], [exif], options
        )
        with open_atomic(path) as file:
            file.write(encoded.tobytes())


def check_name(path: Path) -> None:
    """Refuse a picture's name under which nothing can be written, before any work.

    Raises:
        UsageError: It ends with none of `SUFFIXES`, its folder does not exist, or another picture has this name: only
            drawings of dpdeblur are replaced.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError("is no name for a picture", path=path, remedy=f"let it end with {', '.join(SUFFIXES)}")
    _check_folder(path)
    note = read_note(path) if path.exists() else None
    if path.exists() and (note is None or note.marker != _DRAWING):
        raise UsageError("is there already, and no drawing of dpdeblur", path=path, remedy="choose another name")


def check_text(path: Path) -> None:
    """Refuse a text's name under which nothing can be written, or that a photo may have.

    Raises:
        UsageError: Its folder does not exist, or it ends as photos do.
    """
    if path.suffix.lower() in PHOTO_SUFFIXES:
        raise UsageError("is a photo's name, and a text would be written", path=path, remedy="choose another name")
    _check_folder(path)


def _check_folder(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise UsageError("its folder does not exist", path=path, remedy="make it first")


def fit_image(image: Pixels, width: int, height: int) -> Pixels:
    """Scale an RGB image, (H, W, 3), to fit a box, keeping its shape; smaller ones are enlarged."""
    factor = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
