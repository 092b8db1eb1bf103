"""A PNG's metadata chunks, and the forms in which ImageMagick puts profiles into texts.

Source: PNG (third edition), W3C 2025: 11.3 (ancillary chunks); XMP part 3, 1.1.5.
"""

from __future__ import annotations

import re
import struct
import zlib

from dpdeblur.containers.blocks import MAX_PARTS, Blocks, wrap_bytes
from dpdeblur.containers.directories import DamagedError, Source

_MAX_UNPACKED_BYTES = 32 << 20
_LONGEST_LIST = 5

_XMP_KEYWORD = b"XML:com.adobe.xmp"
_PROFILE_KEYWORD = re.compile(rb"Raw profile type (exif|APP1|xmp|iptc|8bim)", re.IGNORECASE)
_XMP_IN_APP1 = b"http://ns.adobe.com/xap/1.0/\0"
#: What programs note about the file that they wrote, and ImageMagick's copies of other blocks.
_MACHINE_KEYWORDS = (b"Software", b"date:", b"exif:", b"icc:", b"jpeg:", b"png:", b"tiff:")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_COLOURS = (b"gAMA", b"cHRM", b"cICP")

#: What these chunks hold where the colours are those of sRGB.
_SRGB = {
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"cICP": b"\1\x0d\0\1",
}


def find_in_png(source: Source, blocks: Blocks) -> None:
    """Collect a PNG's chunks; of each kind the first counts.

    Raises:
        DamagedError: It is cut short; what came before is in `blocks`.
    """
    chunks: dict[tuple[bytes, bytes], bytes] = {}
    try:
        _read_chunks(source, chunks)
    finally:
        for (kind, keyword), data in chunks.items():
            try:
                _take_chunk(kind, keyword, data, blocks)
            except DamagedError as error:  # the others can still be whole
                blocks.warnings.append(f"The chunk {kind.decode()} is damaged and was left out: {error}.")
        _name_losses(chunks, blocks)


def _read_chunks(source: Source, chunks: dict[tuple[bytes, bytes], bytes]) -> None:
    """Read what may be metadata, by kind and, for texts, keyword."""
    offset = 8
    for _ in range(MAX_PARTS):
        size, kind = struct.unpack(">I4s", source.read(offset, 8))
        if kind == b"IEND":
            return
        if kind in (b"eXIf", b"iCCP", b"sRGB", *_TEXTS, *_COLOURS):
            data = source.read(offset + 8, size)
            keyword = data.partition(b"\0")[0][:80] if kind in _TEXTS else b""
            chunks.setdefault((kind, keyword), data)
        offset += 12 + size
    raise DamagedError("the PNG has too many chunks")


def _take_chunk(kind: bytes, keyword: bytes, data: bytes, blocks: Blocks) -> None:
    rest = data.partition(b"\0")[2]
    if kind == b"eXIf":
        blocks.tiff = wrap_bytes(data.removeprefix(b"Exif\0\0"))
    elif kind == b"iCCP":
        blocks.icc = _unpack(rest[1:])
    elif kind == b"iTXt" and keyword == _XMP_KEYWORD:
        text = rest[2:].split(b"\0", 2)[-1]  # behind language and translated keyword
        blocks.xmp = _unpack(text) if rest[:1] == b"\1" else text
    elif kind in (b"tEXt", b"zTXt") and _PROFILE_KEYWORD.fullmatch(keyword):
        _take_profile(_unpack(rest[1:]) if kind == b"zTXt" else rest, blocks)


def _take_profile(text: bytes, blocks: Blocks) -> None:
    """Take a profile from a line with its kind, a line with its length, and lines of hexadecimal digits."""
    try:
        kind, _, digits = text.decode("ascii").lstrip().split("\n", 2)
        profile = bytes.fromhex(digits)
    except ValueError as error:
        raise DamagedError("a profile within a text is damaged") from error
    if profile.startswith(b"Exif\0\0"):
        blocks.tiff = blocks.tiff or wrap_bytes(profile[6:])
    elif profile.startswith(_XMP_IN_APP1):
        blocks.xmp = blocks.xmp or profile[len(_XMP_IN_APP1) :]
    elif profile.startswith(b"8BIM"):
        blocks.take_resources(profile)
    elif kind.lower().startswith("iptc"):  # ExifTool writes "IPTC profile"
        blocks.iptc = blocks.iptc or profile
    elif kind.lower().startswith("xmp"):
        blocks.xmp = blocks.xmp or profile
    else:
        raise DamagedError("a profile within a text is none")


def _name_losses(chunks: dict[tuple[bytes, bytes], bytes], blocks: Blocks) -> None:
    """Say what a result will not have: texts, and colours that only these chunks describe."""
    texts = [
        keyword.decode("latin-1")
        for kind, keyword in chunks
        if kind in _TEXTS
        and keyword != _XMP_KEYWORD
        and not _PROFILE_KEYWORD.fullmatch(keyword)
        and not keyword.startswith(_MACHINE_KEYWORDS)
    ]
    if texts:
        names = ", ".join(repr(text) for text in texts[:_LONGEST_LIST]) + (" ..." if texts[_LONGEST_LIST:] else "")
        blocks.warnings.append(f"The PNG's texts were left out: {names}.")
    odd = [kind.decode() for kind, _ in chunks if kind in _SRGB and chunks[kind, b""] != _SRGB[kind]]
    if odd and not {(b"iCCP", b""), (b"sRGB", b"")} & chunks.keys():
        blocks.warnings.append(
            f"The colours that {' and '.join(odd)} describe were taken as sRGB: there is no profile."
        )


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, _MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise DamagedError("compressed metadata is damaged") from error
    if not unpacker.eof:
        raise DamagedError("compressed metadata is cut short or too large")
    return unpacked
