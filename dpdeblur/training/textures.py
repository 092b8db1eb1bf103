"""What simulated scenes are painted with: photographs from any folder, and procedural leaves, text and lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.errors import ReadError

TILE_PX = 512
_SUFFIXES = {".webp", ".png", ".jpg", ".jpeg", ".tif", ".tiff"}


def find_photographs(paths: Iterable[Path]) -> list[Path]:
    """WebP, PNG, JPEG and TIFF files among the paths and in the folders among them, at any depth, sorted by folder.

    Raises:
        ReadError: A path is not there, or nothing is found.
    """
    paths = list(paths)
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ReadError("is not there", path=path, remedy="name sharp photos or folders of them")
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [file for file in files if file.suffix.lower() in _SUFFIXES]
    if not found:
        raise ReadError("no WebP, PNG, JPEG or TIFF", path=paths[0] if paths else None, remedy="name sharp photos")
    return found


def read_photograph(path: Path) -> npt.NDArray[np.uint8]:
    """A photograph as (H, W, 3) uint8, sRGB-encoded RGB.

    Raises:
        ReadError: It cannot be decoded.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ReadError("cannot be decoded as a texture", path=path, remedy="remove it from the folder")
    return np.asarray(image[..., ::-1], np.uint8)


def load_textures(folder: Path, *, limit: int | None = None) -> npt.NDArray[np.uint8]:
    """Cut every photograph of a folder into square tiles.

    Args:
        folder: Searched recursively for WebP, PNG, JPEG and TIFF files.
        limit: Read at most this many files.

    Returns:
        (N, 512, 512, 3) uint8, sRGB-encoded RGB.

    Raises:
        ReadError: If no file of the folder is at least 512 pixels wide and high, or one cannot be decoded.
    """
    tiles = []
    for path in find_photographs([folder])[:limit]:
        image = read_photograph(path)
        for top in range(0, image.shape[0] - TILE_PX + 1, TILE_PX):
            for left in range(0, image.shape[1] - TILE_PX + 1, TILE_PX):
                tiles.append(image[top : top + TILE_PX, left : left + TILE_PX])
    if not tiles:
        raise ReadError(
            f"holds no photograph of at least {TILE_PX}x{TILE_PX} pixels",
            path=folder,
            remedy="name a folder of sharp photos",
        )
    return np.stack(tiles)


def draw_textures(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Procedural textures in turn: dead leaves, printed text, line drawings.

    Args:
        count: How many.
        seed: The same seed gives the same textures.

    Returns:
        (count, 512, 512, 3) uint8, sRGB-encoded RGB.
    """
    rng = np.random.default_rng(seed)
    painters = (_paint_leaves, _paint_text, _paint_text, _paint_lines)
    return np.stack([painters[i % len(painters)](rng) for i in range(count)])


def _pick_colours(rng: np.random.Generator, count: int) -> npt.NDArray[np.uint8]:
    """Colours that are gray, or saturated, or anything, (count, 3)."""
    colours = rng.uniform(0, 255, (count, 3))
    saturation = rng.uniform(0, 1)
    return np.asarray(colours * saturation + colours.mean(1, keepdims=True) * (1 - saturation), np.uint8)


def _paint_leaves(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Overlapping ellipses with sizes by a power law: the dead-leaves model (Lee, Mumford and Huang, IJCV 2001)."""
    canvas = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    count = 1500
    size = (rng.uniform(1 / 90**2, 1 / 2.5**2, count)) ** -0.5
    order: Sequence[int] = np.argsort(-size + rng.normal(0, 20, count)).tolist()
    colours = _pick_colours(rng, count)
    for i in order:
        centre = tuple(rng.integers(0, TILE_PX * 16, 2).tolist())
        axes = (int(size[i] * 16), int(size[i] * 16 * rng.uniform(0.2, 1)))
        box = (centre, axes, float(rng.uniform(0, 180)))
        cv2.ellipse(canvas, box[0], box[1], box[2], 0, 360, colours[i].tolist(), -1, cv2.LINE_AA, 4)
    return canvas


def _paint_text(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Lines of made-up words in Hershey fonts on a plain or shaded page, turned a little."""
    paper, ink = _pick_colours(rng, 2).astype(float)
    if rng.random() < 0.6:
        paper, ink = 255 - rng.uniform(0, 60) * np.ones(3), rng.uniform(0, 80) * np.ones(3)
    shade = np.linspace(1, rng.uniform(0.6, 1), TILE_PX)[None, :, None]
    canvas = np.asarray(np.broadcast_to(paper * shade, (TILE_PX, TILE_PX, 3)), np.uint8).copy()
    fonts = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
    letters = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:-&")
    baseline = 0.0
    while baseline < TILE_PX:
        height = float(np.exp(rng.uniform(np.log(0.3), np.log(2.6))))
        font, thickness = fonts[rng.integers(len(fonts))], max(1, round(height * rng.uniform(0.8, 2.6)))
        for _ in range(int(rng.integers(1, 4))):
            baseline += 34 * height
            words = [" ".join("".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(12))]
            origin = (int(rng.integers(-40, 40)), int(baseline))
            cv2.putText(canvas, words[0], origin, font, height, ink.tolist(), thickness, cv2.LINE_AA)
        if rng.random() < 0.3:
            ink = _pick_colours(rng, 1)[0].astype(float)
    turn = cv2.getRotationMatrix2D((TILE_PX / 2, TILE_PX / 2), float(rng.normal(0, 8)), float(rng.uniform(1.0, 1.2)))
    return np.asarray(cv2.warpAffine(canvas, turn, (TILE_PX, TILE_PX), borderMode=cv2.BORDER_REFLECT), np.uint8)


def _paint_lines(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Strokes, rectangles, circles and gratings, thin and thick."""
    canvas = np.empty((TILE_PX, TILE_PX, 3), np.uint8)
    canvas[:] = _pick_colours(rng, 1)[0]
    for _ in range(int(rng.integers(20, 90))):
        colour = _pick_colours(rng, 1)[0].tolist()
        start, end = (tuple(rng.integers(-50, TILE_PX + 50, 2).tolist()) for _ in range(2))
        thickness = int(rng.integers(1, 7))
        kind = rng.integers(5)
        if kind < 2:
            cv2.line(canvas, start, end, colour, thickness, cv2.LINE_AA)
        elif kind == 2:
            cv2.rectangle(canvas, start, end, colour, thickness if rng.random() < 0.7 else -1, cv2.LINE_AA)
        elif kind == 3:
            cv2.circle(canvas, start, int(rng.integers(4, 120)), colour, thickness, cv2.LINE_AA)
        else:
            pitch, angle = int(rng.integers(4, 24)), rng.uniform(0, np.pi)
            along = np.array([np.cos(angle), np.sin(angle)]) * rng.integers(30, 160)
            across = np.array([-np.sin(angle), np.cos(angle)]) * pitch
            for step in range(int(rng.integers(3, 14))):
                first = np.array(start) + across * step
                start_px, end_px = ((int(p[0]), int(p[1])) for p in (first, first + along))
                cv2.line(canvas, start_px, end_px, colour, max(1, pitch // 3), cv2.LINE_AA)
    return canvas
