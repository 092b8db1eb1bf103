"""Whole simulated photographs: the simulator that feeds training, over a frame whose blur changes from place to place.

A frame is rendered in tiles that overlap by half, each with the kernels of its own place in the field, and blended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpdeblur.training.data import Sample, SceneOptions, add_smoothed, draw_sample
from dpdeblur.training.kernels import FAMILIES, Lenses, build_kernels
from dpdeblur.training.recipe import Pair
from dpdeblur.training.sensor import finish_pair
from dpdeblur.training.simulator import Scene, find_fast_size, render_radius, render_sharp, render_views
from dpdeblur.training.textures import read_photograph

TILE_PX = 384
#: Side of the textures, in longer sides of the frame: they are turned and shrunk before use.
_TEXTURE_SIZE = 1.25


@dataclasses.dataclass(frozen=True)
class Frame:
    """A simulated photograph.

    Attributes:
        pair: The views and the sharp picture, (1, 3, H, W) sRGB-encoded.
        radius_px: (H, W) float32 signed radius of the circle of confusion of what the sharp picture shows.
        description: What was drawn, for JSON.
    """

    pair: Pair
    radius_px: npt.NDArray[np.float32]
    description: dict[str, Any]


def simulate_frame(
    photographs: Sequence[Path],
    options: SceneOptions,
    seed: int,
    number: int,
    *,
    bank: Tensor | None = None,
    device: str = "cpu",
) -> Frame:
    """Simulate the `number`-th photograph of a seed; the same on every machine that draws on the same kind of device.

    Args:
        photographs: Sharp photographs to paint with; the frame's layers take some of them.
        options: What is drawn; height and width are the frame's.
        seed: Of the whole set.
        number: Which one, from 0. Others of the set need not be made.
        bank: Measured kernel pairs on the device, or None.
        device: torch device.

    Raises:
        ReadError: A photograph cannot be decoded.
    """
    chosen = np.random.default_rng((seed, number)).choice(len(photographs), options.layers)
    generator = torch.Generator(device).manual_seed((seed << 32) + number)
    textures = _load_textures([photographs[index] for index in chosen], options, (seed, number)).to(device)
    sample = draw_sample(add_smoothed(textures), 1, options, generator, bank_size=0 if bank is None else len(bank))
    left, right = render_field(sample.scene, sample.lenses, options, bank)
    margin = options.half_size_px
    scene = sample.scene.crop(margin, margin, options.height, options.width)
    pair = Pair(*finish_pair(left, right, render_sharp(scene), sample.sensors, generator))
    radius = render_radius(scene)[0, 0].cpu().numpy()
    names = [photographs[index].name for index in chosen]
    return Frame(pair, radius, _describe(sample, options, bank) | {"photographs": sorted(set(names))})


def _load_textures(paths: Sequence[Path], options: SceneOptions, seed: tuple[int, int]) -> Tensor:
    """A square of each photograph, mirrored at its borders where it is too small: (N, 3, T, T) uint8."""
    side = int(_TEXTURE_SIZE * max(options.canvas))
    rng = np.random.default_rng((*seed, 1))
    squares = []
    for path in paths:
        photo = read_photograph(path)
        height, width = photo.shape[:2]
        top, left = (int(rng.integers(0, max(extent - side, 0) + 1)) for extent in (height, width))
        square = photo[top : top + side, left : left + side]
        missing = side - square.shape[0], side - square.shape[1]
        mirrored = cv2.copyMakeBorder(square, 0, missing[0], 0, missing[1], cv2.BORDER_REFLECT_101)
        squares.append(torch.from_numpy(mirrored).permute(2, 0, 1))
    return torch.stack(squares)


def render_field(
    scene: Scene, lenses: Lenses, options: SceneOptions, bank: Tensor | None = None, tile_px: int = TILE_PX
) -> tuple[Tensor, Tensor]:
    """What the photodiodes see of a whole frame, with the kernels of each place in the field.

    Args:
        scene: One scene with a margin of `options.half_size_px` around the frame.
        lenses: One lens; its field is that of the tiles.
        options: Height, width and margin.
        bank: Measured kernel pairs, or None.
        tile_px: About the side of a tile.

    Returns:
        left, right: (1, 3, height, width) linear.
    """
    margin, size = options.half_size_px, (options.height, options.width)
    side = find_fast_size(tile_px + 2 * margin) - 2 * margin
    views = torch.zeros(2, 3, *size, device=scene.texture.device)
    total = torch.zeros(size, device=views.device)
    height, width = (min(side, extent) for extent in size)
    for top in _place_tiles(size[0], height):
        for left in _place_tiles(size[1], width):
            centre = (left + width / 2) / (size[1] / 2) - 1, (top + height / 2 - size[0] / 2) / (size[1] / 2)
            there = dataclasses.replace(lenses, field=torch.tensor([centre], device=views.device))
            part = scene.crop(top, left, height + 2 * margin, width + 2 * margin)
            seen = torch.cat(render_views(part, there, margin, bank))[..., margin:-margin, margin:-margin]
            window = _taper(height, views.device)[:, None] * _taper(width, views.device)
            views[..., top : top + height, left : left + width] += seen * window
            total[top : top + height, left : left + width] += window
    views /= total
    return views[:1], views[1:]


def _place_tiles(extent: int, tile: int) -> list[int]:
    """Where tiles begin that overlap by at least half and cover the extent."""
    count = 1 + -(-(extent - tile) // max(tile // 2, 1))
    return [round(i * (extent - tile) / max(count - 1, 1)) for i in range(count)]


def _taper(length: int, device: torch.device) -> Tensor:
    """Weights that rise to the middle and fall again, nowhere zero."""
    place = (torch.arange(length, device=device) + 0.5) / length
    return torch.minimum(place, 1 - place)


def _describe(sample: Sample, options: SceneOptions, bank: Tensor | None) -> dict[str, Any]:
    """Camera, lens, sensor and layers as plain numbers."""

    def plain(value: object) -> dict[str, Any]:
        found = {}
        for field in dataclasses.fields(value):  # type: ignore[arg-type]  # always a dataclass
            numbers = getattr(value, field.name).flatten().tolist()
            rounded = [round(number, 6) if isinstance(number, float) else number for number in numbers]
            found[field.name] = rounded[0] if len(rounded) == 1 else rounded
        return found

    lens = plain(sample.lenses)
    lens["family"] = FAMILIES[lens["family"]] if lens.pop("bank_index") < 0 else "measured"
    del lens["field"]
    radius = options.largest_radius_px
    middle = dataclasses.replace(sample.lenses, field=torch.zeros_like(sample.lenses.field))
    pair = build_kernels(middle, torch.tensor([[radius]], device=sample.depth_m.device), options.half_size_px, bank)
    axis = torch.arange(pair.shape[-1], device=pair.device) - options.half_size_px
    centroids = (pair[0, 0].sum(-2) * axis).sum(-1)
    depth, blur = sample.depth_m[0], sample.scene.radius_px[0]
    is_present = sample.scene.opacity[0].amax((1, 2, 3)) > 0
    return {
        "camera": plain(sample.optics),
        "lens": lens,
        "sensor": plain(sample.sensors),
        "layers": [
            {"depth_m": [round(d, 4) for d in depths], "radius_px": [round(r, 4) for r in radii]}
            for depths, radii, shown in zip(depth.tolist(), blur.tolist(), is_present.tolist(), strict=True)
            if shown
        ],
        "disparity_per_radius": round(float(centroids[0] - centroids[1]) / radius, 4),
    }
