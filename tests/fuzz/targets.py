"""What is fuzzed, and from which good files: tiny fixtures of every kind, and a call that must succeed or refuse.

A seed's content is what gets damaged; its `wrap` makes a file of it. So damage reaches behind checksums, compression
and hashes: a PNG gets its checksums right again, a profile is compressed into its chunk, a card's hash still fits.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import random
import struct
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile
from captures import (
    draw_views,
    dual_frames,
    mosaic_from_linear,
    record_pixel_view,
    write_burst_dng,
    write_dual_cr2,
    write_dual_dng,
    write_pixel_pair,
    write_single_cr2,
    write_single_dng,
)
from metadata_sources import (
    IPTC,
    build_cr3,
    build_source,
    build_track,
    make_xmp,
    wrap_in_jpeg,
    wrap_in_png,
)
from PIL import Image
from png_blocks import Chunk, pack_png

from dpdeblur.colour.spaces import ADOBE_RGB, SRGB, read_profile
from dpdeblur.errors import NoSecondViewError, ReadError
from dpdeblur.metadata.entries import read_metadata
from dpdeblur.metadata.exif import summarise_exif
from dpdeblur.metadata.provenance import read_note
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture, Layout, ReadOptions, probe_photo, read_mosaic, read_photo
from dpdeblur.writers import WRITERS, WriteOptions, write_image
from dpdeblur.writers.metadata import describe_result
from dpdeblur.writers.picture import Picture
from fuzz.mutations import mutate

HEIGHT_PX, WIDTH_PX = 32, 48


def _keep(content: bytes) -> bytes:
    return content


@dataclasses.dataclass(frozen=True)
class Seed:
    """A good file: what of it is damaged, and how the rest is put around it."""

    content: bytes
    wrap: Callable[[bytes], bytes] = _keep

    @property
    def file(self) -> bytes:
        """The file as it is read."""
        return self.wrap(self.content)


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that takes files from strangers.

    Attributes:
        names: Of the files of one input.
        build: Makes the seeds, a file's for each name.
        act: Reads the files; raises DpDeblurError where it refuses them, and nothing else.
    """

    names: tuple[str, ...]
    build: Callable[[], list[tuple[Seed, ...]]]
    act: Callable[[tuple[Path, ...]], None]


class Mutator:
    """Damages the seeds of a target; the same numbers give the same files."""

    def __init__(self, name: str, files: Sequence[Sequence[str | Path]] = ()) -> None:
        """Build the seeds.

        Args:
            name: Key of `TARGETS` or `TRAPS`.
            files: Files to damage besides, those of one input together.
        """
        self.target = (TARGETS | TRAPS)[name]
        self.name = name
        self.seeds = self.target.build()
        self.seeds += [tuple(Seed(Path(part).read_bytes()) for part in parts) for parts in files]
        self._contents = [seed.content for seeds in self.seeds for seed in seeds]

    def damage(self, seed: int, index: int) -> tuple[bytes, ...]:
        """Return the damaged input of a number: its files' contents, at least one of them changed."""
        chance = random.Random(f"{self.name} {seed} {index}")
        chosen = chance.choice(self.seeds)
        damaged = chance.randrange(len(chosen))
        return tuple(
            part.wrap(mutate(part.content, chance, self._contents)) if place == damaged else part.file
            for place, part in enumerate(chosen)
        )


def _write_seeds(*writers: Callable[[Path], object], wrap: Callable[[bytes], bytes] = _keep) -> list[tuple[Seed, ...]]:
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for number, write in enumerate(writers):
            path = Path(folder) / str(number)
            write(path)
            seeds.append((Seed(path.read_bytes(), wrap),))
    return seeds


_LEFT, _RIGHT = draw_views(HEIGHT_PX, WIDTH_PX)
_FRAME0, _FRAME1 = dual_frames(_LEFT, _RIGHT)
_NOISE = np.random.default_rng(1).integers(0, 65536, (HEIGHT_PX, WIDTH_PX, 4), dtype=np.uint16)
_SMOOTH = (np.clip(_LEFT, 0, 1) * 65535).astype(np.uint16)


def _build_cr2() -> list[tuple[Seed, ...]]:
    return _write_seeds(
        lambda path: write_dual_cr2(path, _FRAME0, _FRAME1),
        lambda path: write_dual_cr2(path, _FRAME0, _FRAME1, raw_directories_last=True, masked=(4, 8)),
        lambda path: write_single_cr2(path, _FRAME0, orientation=6),
    )


def _build_dng() -> list[tuple[Seed, ...]]:
    return _write_seeds(
        lambda path: write_dual_dng(path, _FRAME0, _FRAME1),
        lambda path: write_burst_dng(path, _FRAME0, mosaic_from_linear(_LEFT[::-1])),
        lambda path: write_single_dng(path, _FRAME0),
    )


def _build_raw() -> list[tuple[Seed, ...]]:
    """What LibRaw tells by content alone, whatever the suffix."""
    return _write_seeds(
        lambda path: write_single_dng(path, _FRAME0, metadata=False),
        lambda path: write_single_cr2(path, _FRAME0),
        lambda path: path.write_bytes(
            b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">II", 200, 900) + _NOISE.tobytes()
        ),
    )


def _build_cr3() -> list[tuple[Seed, ...]]:
    tracks = build_track(96, 64, 1), build_track(96, 64, 1)
    return [(Seed(build_cr3(*tracks)),), (Seed(build_cr3(build_track(6000, 4000, 9))),), (Seed(build_cr3()),)]


def _build_tiff() -> list[tuple[Seed, ...]]:
    forms = [
        (_SMOOTH, {"photometric": "rgb"}),
        (_SMOOTH, {"photometric": "rgb", "compression": "zlib", "predictor": 2, "rowsperstrip": 8}),
        (_SMOOTH, {"photometric": "rgb", "compression": "lzw", "byteorder": ">"}),
        (_SMOOTH, {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"}),
        ((_SMOOTH >> 8).astype(np.uint8), {"photometric": "rgb", "compression": "jpeg", "tile": (16, 16)}),
        (_NOISE, {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": (16, 16), "bigtiff": True}),
        (_SMOOTH[..., :2], {"photometric": "minisblack", "extrasamples": ["assocalpha"], "compression": "zlib"}),
        (_SMOOTH[..., 0], {"photometric": "miniswhite", "compression": "packbits"}),
        (_LEFT.astype(np.float32), {"photometric": "rgb", "iccprofile": ADOBE_RGB.icc}),
        (_LEFT.astype(np.float16), {"photometric": "rgb", "compression": "zlib", "predictor": 3}),
    ]

    def bind(pixels: np.ndarray, options: dict[str, object]) -> Callable[[Path], object]:
        return lambda path: tifffile.imwrite(path, pixels, metadata=None, **options)

    full = [(Seed(build_source(order)),) for order in "<>"]
    return full + _write_seeds(*(bind(*form) for form in forms))


def _iterate_chunks(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each chunk of a PNG begins and how long its content is, as far as they make sense."""
    place = 8
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        if place + 12 + length > len(content):
            return
        yield place, length
        place += 12 + length


def repair_png(content: bytes) -> bytes:
    """Make every checksum of a PNG right, so that damage gets past the first look."""
    repaired = bytearray(content)
    for place, length in _iterate_chunks(content):
        struct.pack_into(">I", repaired, place + 8 + length, zlib.crc32(repaired[place + 4 : place + 8 + length]))
    return bytes(repaired)


def _make_png(kind: int, depth: int, rows: bytes, *chunks: Chunk, interlaced: int = 0) -> bytes:
    """A PNG of 16x12 pixels around its filtered rows."""
    return pack_png((16, 12), kind, depth, zlib.compress(rows), *chunks, rest=bytes((0, 0, interlaced)))


def _build_png() -> list[tuple[Seed, ...]]:
    rows = bytes(range(256)) * 8
    rgb = b"".join(bytes((row % 5,)) + rows[:96] for row in range(12))
    palette = b"".join(b"\0" + bytes(range(16)) for _ in range(12))
    # Adam7's passes over 16x12 pixels: columns and rows of each
    passes = ((2, 2), (2, 2), (4, 1), (4, 3), (8, 3), (8, 6), (16, 6))
    interlaced = b"".join(b"\0" + rows[: 3 * width] for width, height in passes for _ in range(height))
    full = (
        (b"iCCP", b"name\0\0" + zlib.compress(ADOBE_RGB.icc or b"")),
        (b"eXIf", build_source()),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(make_xmp())),
        (b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(b"\niptc\n 12\n" + IPTC.hex().encode())),
        (b"gAMA", struct.pack(">I", 45455)),
    )
    whole = [
        _make_png(2, 16, rgb, *full),
        _make_png(0, 8, b"".join(b"\1" + rows[:16] for _ in range(12))),
        _make_png(3, 8, palette, (b"PLTE", rows[:48]), (b"tRNS", rows[:16])),
        _make_png(6, 8, b"".join(b"\4" + rows[:64] for _ in range(12))),
        _make_png(4, 16, b"".join(b"\2" + rows[:64] for _ in range(12))),
        _make_png(0, 1, b"".join(b"\0\xaa\x55" for _ in range(12))),
        _make_png(2, 8, interlaced, interlaced=1),
    ]
    seeds = [(Seed(content, repair_png),) for content in whole] + [(Seed(whole[0]),)]
    seeds.append((Seed(rgb, lambda damaged: _make_png(2, 16, damaged)),))
    for chunk, keyword in ((b"iCCP", b"n\0\0"), (b"zTXt", b"Raw profile type iptc\0\0"), (b"eXIf", None)):

        def wrap(damaged: bytes, chunk: bytes = chunk, keyword: bytes | None = keyword) -> bytes:
            body = damaged if keyword is None else keyword + zlib.compress(damaged)
            return _make_png(2, 16, rgb, (chunk, body))

        inner = {b"iCCP": ADOBE_RGB.icc or b"", b"eXIf": build_source(">")}.get(chunk, IPTC.hex().encode())
        seeds.append((Seed(inner, wrap),))
    return seeds


def _build_jpeg() -> list[tuple[Seed, ...]]:
    def encode(pixels: np.ndarray, **options: object) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", **options)
        return buffer.getvalue()

    pixels = (_SMOOTH >> 8).astype(np.uint8)
    segments = (
        (0xE1, b"Exif\0\0" + build_source()),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + make_xmp()),
        (0xE2, b"ICC_PROFILE\0\1\1" + (ADOBE_RGB.icc or b"")),
        (0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC),
        (0xFE, b"A comment"),
    )
    contents = [
        encode(pixels, quality=90),
        encode(pixels, quality=90, progressive=True),
        encode(pixels[..., 1], quality=60),
        encode(pixels, quality=80, subsampling=0, restart_marker_blocks=1),
        wrap_in_jpeg(*segments),
    ]
    return [(Seed(content),) for content in contents]


def _build_pgm() -> list[tuple[Seed, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        views = (record_pixel_view(view[..., 1]) for view in (_LEFT, _RIGHT))
        paths = write_pixel_pair(Path(folder), "20240305_112233_042", *views)
        app = tuple(Seed(path.read_bytes()) for path in paths)
    small = b"P5\n# a comment\n8 6\n65535\n" + bytes(range(96))
    return [app, (Seed(small), Seed(small))]


def _build_dpdd() -> list[tuple[Seed, ...]]:
    views = []
    for view in (_LEFT, _RIGHT):
        samples = (np.clip(view[:12, :16], 0, 1) * 65535).astype(np.uint16)
        views.append(Seed(cv2.imencode(".png", samples[..., ::-1])[1].tobytes(), repair_png))
    return [tuple(views)]


def _build_metadata() -> list[tuple[Seed, ...]]:
    inside = wrap_in_jpeg((0xE1, b"Exif\0\0" + build_source()))
    raf = b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">II", 200, len(inside))
    contents = [build_source(order) for order in "<>"]
    contents += [build_source(make="SONY", note="sony"), build_source(">", make="NIKON", note="own"), build_cr3()]
    contents += [inside, raf.ljust(200, b"\0") + inside]
    chunks = (b"iCCP", b"n\0\0" + zlib.compress(b"profile")), (b"eXIf", build_source())
    return [(Seed(content),) for content in contents] + [(Seed(wrap_in_png(*chunks), repair_png),)]


def _build_icc() -> list[tuple[Seed, ...]]:
    from PIL import ImageCms

    table = b"".join(struct.pack(">H", value * 257) for value in range(256))
    icc = bytearray(SRGB.icc or b"")
    place = icc.index(b"rTRC")
    struct.pack_into(">II", icc, place + 4, len(icc), 12 + len(table))
    icc += struct.pack(">4s4xI", b"curv", 256) + table
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profiles = (SRGB.icc, SRGB.gray_icc, ADOBE_RGB.icc, bytes(icc), made)
    return [(Seed(profile),) for profile in profiles if profile is not None]


def _build_notes() -> list[tuple[Seed, ...]]:
    def write(path: Path, **options: object) -> None:
        photo = Photo((), "image", np.zeros((2, 2, 3), np.float32))
        note = "run crop=1,2,3,4; network k3dn, weights 0123abcd, strength 1, working scale 0.5"
        write_image(path, photo.base, photo, WriteOptions(**options), provenance=note)

    tiff, png, jpeg = (_write_seeds(lambda path, name=name: write(path, format=name))[0][0].content for name in WRITERS)
    return [(Seed(tiff),), (Seed(png, repair_png),), (Seed(jpeg),)]


def _build_weights() -> list[tuple[Seed, ...]]:
    import torch

    from dpdeblur.networks import NETWORKS
    from dpdeblur.weights import Card, hash_tensors, save_weights

    torch.manual_seed(1)
    networks = [("dpanet", {"width": 2}), ("k3dn", {"base": 2, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1})]

    def bind(name: str, form: dict[str, int]) -> Callable[[Path], object]:
        card = Card(name, form, scores={"pixel": 1.0}, training={"steps": 7})
        return lambda path: save_weights(path, name, NETWORKS[name].build(**form), card)

    files = [seeds[0].content for seeds in _write_seeds(*(bind(*network) for network in networks))]
    seeds = [(Seed(content),) for content in files]

    def split(content: bytes) -> tuple[bytes, bytes]:
        (size,) = struct.unpack_from("<Q", content)
        return content[8 : 8 + size], content[8 + size :]

    for content in files:
        header, data = split(content)
        card = json.loads(header)["__metadata__"]["dpdeblur"].encode()

        def wrap_header(damaged: bytes, data: bytes = data) -> bytes:
            return struct.pack("<Q", len(damaged)) + damaged + data

        def wrap_card(damaged: bytes, header: bytes = header, data: bytes = data) -> bytes:
            fields = json.loads(header)
            fields["__metadata__"]["dpdeblur"] = damaged.decode("latin-1")
            return wrap_header(json.dumps(fields).encode(), data)

        seeds += [(Seed(header, wrap_header),), (Seed(card, wrap_card),)]
    # a tensor of any kind under a hash that fits
    state = {"a": torch.zeros(8, 8, dtype=torch.uint8)}
    card = json.dumps({"network": "dpanet", "form": {"width": 2}, "sha256": hash_tensors(state)}).encode()
    seeds.append((Seed(card, lambda damaged: _wrap_tensor(damaged)),))
    return seeds


def _wrap_tensor(card: bytes) -> bytes:
    tensors = {"a": {"dtype": "U8", "shape": [8, 8], "data_offsets": [0, 64]}}
    header = json.dumps({"__metadata__": {"dpdeblur": card.decode("latin-1")}, **tensors}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(64)


def _build_checkpoints() -> list[tuple[Seed, ...]]:
    import torch

    from dpdeblur.networks import NETWORKS, dpanet, k3dn

    torch.manual_seed(1)
    ours = NETWORKS["dpanet"].build(width=2, released=True).state_dict()
    form = {"base": 2, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1}
    theirs = NETWORKS["k3dn"].build(**form, released=True).state_dict()
    states = [
        {key: ours[name].clone() for key, name in dpanet.released_keys().items()},
        {"G_state_dict": {f"module.{key}": theirs[name].clone() for key, name in k3dn.released_keys(1, 1, 1).items()}},
        {"a.weight": torch.zeros(3, 2), "a.steps": torch.tensor(3), "a.half": torch.zeros(2, dtype=torch.bfloat16)},
        {"a": torch.zeros(3).to_sparse(), "b": torch.zeros(2, 2, device="meta")},
    ]
    seeds = []
    for state in states:
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
            seeds.append((Seed(buffer.getvalue()),))
            if zipped:
                seeds.append((_open_zip(buffer.getvalue()),))
    seeds.append((Seed(pickle.dumps({"a": [1.0, {"b": (2, None)}]}, protocol=2)),))
    return seeds


def _open_zip(content: bytes) -> Seed:
    """The pickle within a checkpoint, to be damaged behind the archive's checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in parts if name.endswith("data.pkl"))

    def wrap(damaged: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for part, data in parts.items():
                archive.writestr(part, damaged if part == name else data)
        return buffer.getvalue()

    return Seed(parts[name], wrap)


def _read(paths: tuple[Path, ...], layout: Layout = "single", **options: object) -> None:
    capture = Capture(paths, layout)
    chosen = ReadOptions(**options)  # type: ignore[arg-type]
    probe_photo(capture, chosen)
    photo = read_photo(capture, chosen)
    for image in (photo.base, photo.left, photo.right, photo.alpha):
        assert image is None or np.isfinite(image).all(), "a picture with values that are no numbers"


def _read_raw(paths: tuple[Path, ...]) -> None:
    try:
        read_mosaic(Capture(paths))
    except NoSecondViewError:
        pass
    _read(paths)


def _carry_metadata(paths: tuple[Path, ...]) -> None:
    """Read metadata and put it into every form of result."""
    metadata = read_metadata(paths[0])
    summarise_exif(metadata)
    image = np.full((2, 3, 3), 0.5, np.float32)
    picture = Picture(image, None, 1, SRGB, SRGB)
    described = describe_result(metadata, picture, "dpdeblur 1 (run; fuzz)", None)
    for form, write in WRITERS.items():
        # without write_image's fsync, which takes longer than all the rest
        file = io.BytesIO()
        write(file, picture, described, WriteOptions(format=form))
        result = paths[0].with_name("result")
        result.write_bytes(file.getvalue())
        assert read_metadata(result).orientation == 1, "a result that is to be turned"


def _read_icc(paths: tuple[Path, ...]) -> None:
    try:
        space = read_profile(paths[0].read_bytes())
    except ValueError as error:
        raise ReadError(str(error)) from error
    channels = 1 if space.icc is None else 3
    ramp = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[:, None], channels, axis=1)
    linear = space.decode(ramp)
    assert np.isfinite(linear).all() and np.isfinite(space.encode(linear)).all(), "a curve that leads nowhere"
    assert len(space.name) < 200, "a name that fills a screen"


def _read_note(paths: tuple[Path, ...]) -> None:
    note = read_note(paths[0])
    if note is not None:
        assert isinstance(note.is_restored, bool) and isinstance(note.is_preview, bool)


def _load_weights(paths: tuple[Path, ...]) -> None:
    from dpdeblur.weights import load_weights, read_card

    card = read_card(paths[0])
    assert f"{card.parameters / 1e6:.2f} {sum(card.scores.values()):+.2f} {card.fitting_radius_px:g}"
    load_weights(paths[0])


def _import_checkpoint(paths: tuple[Path, ...]) -> None:
    from dpdeblur.checkpoints import import_checkpoint

    import_checkpoint(paths[0], paths[0].with_name("imported.safetensors"))


TARGETS: dict[str, Target] = {
    "cr2": Target(("a.cr2",), _build_cr2, _read_raw),
    "cr3": Target(("a.cr3",), _build_cr3, _read_raw),
    "dng": Target(("a.dng",), _build_dng, _read_raw),
    "raw": Target(("a.nef",), _build_raw, _read),
    "tiff": Target(("a.tif",), _build_tiff, _read),
    "png": Target(("a.png",), _build_png, _read),
    "jpeg": Target(("a.jpg",), _build_jpeg, _read),
    "pgm": Target(("20240305_112233_042_left.pgm", "20240305_112233_042_right.pgm"), _build_pgm,
                  lambda paths: _read(paths, "pixel")),
    "dpdd": Target(("l.png", "r.png"), _build_dpdd, lambda paths: _read(paths, "dpdd")),
    "metadata": Target(("a",), _build_metadata, _carry_metadata),
    "icc": Target(("a.icc",), _build_icc, _read_icc),
    "note": Target(("a",), _build_notes, _read_note),
    "weights": Target(("a.safetensors",), _build_weights, _load_weights),
    "import": Target(("a.pth",), _build_checkpoints, _import_checkpoint),
}  # fmt: skip


def _trap(act: Callable[[], object]) -> Target:
    return Target(("a",), lambda: [(Seed(b"anything"),)], lambda paths: paths[0].name and act())


def _warn() -> None:
    warnings.warn("a remark of a library", RuntimeWarning, stacklevel=1)


#: What the harness must notice, to be trusted with the targets.
TRAPS: dict[str, Target] = {
    "trap: raises": _trap(lambda: 1 // 0),
    "trap: dies": _trap(os.abort),
    "trap: hangs": _trap(lambda: time.sleep(600)),
    "trap: prints": _trap(lambda: os.write(2, b"libfoo: oops")),
    "trap: warns": _trap(_warn),
    "trap: grows": _trap(lambda: np.ones(60_000_000).sum()),
    "trap: asks for the moon": _trap(lambda: np.zeros(1 << 40)),
}
