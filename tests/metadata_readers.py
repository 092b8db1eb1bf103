"""Independent programs that read metadata: ExifTool, ExifRead, Pillow and Exiv2; and what of it results must keep."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import exifread
import pytest
from PIL import Image

#: Groups of ExifTool that tell about the photo; the others tell about files and pixels.
GROUPS = ("IFD0", "ExifIFD", "GPS", "InteropIFD", "Canon", "CanonCustom", "Sony", "XMP-", "IPTC")

#: What a result says differently, or not at all, because it is another picture in another file.
CHANGED = {
    *("IFD0:Orientation", "IFD0:Software", "ExifIFD:ExifImageWidth", "ExifIFD:ExifImageHeight"),
    *("XMP-tiff:Orientation", "XMP-exif:ExifImageWidth", "XMP-exif:ExifImageHeight"),
}
STORAGE = {
    *("ImageWidth", "ImageHeight", "BitsPerSample", "Compression", "PhotometricInterpretation", "StripOffsets"),
    *("SamplesPerPixel", "RowsPerStrip", "StripByteCounts", "SubfileType", "PlanarConfiguration", "Predictor"),
    *("PreviewImageStart", "PreviewImageLength", "PreviewImage", "ThumbnailTIFF", "ThumbnailImage"),
    *("YCbCrCoefficients", "YCbCrSubSampling", "YCbCrPositioning", "ReferenceBlackWhite"),
}
#: CR3's boxes that hold no metadata of the photo.
BOXES = {"CompressorVersion", "Unknown_CCDT", "Unknown_CTBO", "Unknown_free"}


def pick_tags(tags: dict[str, Any], *, is_source: bool) -> dict[str, Any]:
    """The tags that must be the same in source and result."""
    picked = {}
    for key, value in tags.items():
        group, _, name = key.partition(":")
        is_dng = name.startswith(
            ("DNG", "Preview", "Profile", "Baseline", "Camera", "Forward", "ColorMatrix", "Analog")
        )
        is_dng |= name in DNG_TAGS
        if not group.startswith(GROUPS) or key in CHANGED or name in STORAGE | BOXES:
            continue
        if is_source and group == "IFD0" and is_dng and name != "CameraSerialNumber":
            continue
        picked[key] = value
    return picked


#: DNG's own tags in the first directory: they describe the raw's pixels.
DNG_TAGS = {
    *("AsShotNeutral", "LinearResponseLimit", "ShadowScale", "CalibrationIlluminant1", "CalibrationIlluminant2"),
    *("RawDataUniqueID", "OriginalDefaultFinalSize", "NewRawImageDigest"),
}


def skip_without_exiftool() -> None:
    """Skip a test where ExifTool is not installed."""
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")


class _ExifTool:
    """ExifTool kept running: starting it takes far longer than reading a file."""

    def __init__(self) -> None:
        command = ["exiftool", "-stay_open", "True", "-@", "-"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        atexit.register(self._stop)

    def ask(self, *arguments: str) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n".join((*arguments, "-execute\n")).encode())
        self._process.stdin.flush()
        lines = []
        while (line := self._process.stdout.readline()) != b"{ready}\n":
            assert line, "ExifTool has ended"
            lines.append(line)
        return b"".join(lines)

    def _stop(self) -> None:
        self._process.kill()
        self._process.communicate()


_start_exiftool = functools.cache(_ExifTool)


def read_with_exiftool(path: Path) -> dict[str, Any]:
    """Every tag that ExifTool finds, unknown ones too, as `group:name`; and its complaints under "Warning"."""
    answer = _start_exiftool().ask("-json", "-G1", "-a", "-n", "-u", "-struct", str(path))
    tags: dict[str, Any] = json.loads(answer)[0]
    return tags


def read_with_exifread(path: Path) -> dict[str, tuple[int, str]]:
    """Every tag that ExifRead finds, the maker note's too: its type, and its values as text."""
    with path.open("rb") as file:
        tags = exifread.process_file(file, details=True)
    return {
        name: (tag.field_type, repr(tag.values))
        for name, tag in tags.items()
        if not isinstance(tag, bytes) and hasattr(tag, "field_type")
    }


def read_with_pillow(path: Path) -> dict[str, dict[int, object]]:
    """The values that Pillow finds in the first, the EXIF and the GPS directory; fractions as they are written."""

    def spell(value: Any) -> object:
        if isinstance(value, tuple):
            return tuple(spell(part) for part in value)
        is_fraction = hasattr(value, "denominator") and not isinstance(value, int)
        return (value.numerator, value.denominator) if is_fraction else value

    with Image.open(path) as image:
        exif = image.getexif()
        parts = {"ifd0": dict(exif), "exif": exif.get_ifd(0x8769), "gps": exif.get_ifd(0x8825)}
        return {name: {tag: spell(value) for tag, value in part.items()} for name, part in parts.items()}


def read_with_exiv2(path: Path) -> dict[str, tuple[str, str]]:
    """Every EXIF, IPTC and XMP value that Exiv2 finds: its type, and its value as text."""
    if shutil.which("exiv2") is None:
        pytest.skip("exiv2 is not installed")
    result = subprocess.run(["exiv2", "-PEIXkyv", "-u", str(path)], capture_output=True, check=False)
    lines = (line.split(maxsplit=2) for line in result.stdout.decode(errors="replace").splitlines())
    return {words[0]: (words[1], words[2] if len(words) > 2 else "") for words in lines if len(words) > 1}
