"""Real scenes as a yardstick while training: how much sharper does a network make photographs nobody simulated?

A pack holds, for each scene, the two views and a registered reference, sRGB-encoded, and is made by
tests/benchmarks/pack_training_data.py. The score follows the protocols described there: mean of the views in linear
light, change predicted at a working scale, one affine fit per channel, PSNR. Figures to publish come from the
full-size scorer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dpdeblur.networks.light import blend_views

BORDER_PX = 12


@dataclasses.dataclass(frozen=True)
class RealScene:
    """One scene: (1, 3, H, W) sRGB-encoded tensors."""

    name: str
    left: Tensor
    right: Tensor
    reference: Tensor


def load_scenes(path: Path, device: torch.device | str) -> list[RealScene]:
    """Read a pack: uint16 arrays NAME/left, NAME/right and NAME/reference, (H, W) or (H, W, 3)."""
    with np.load(path) as pack:
        names = sorted({key.split("/")[0] for key in pack.files})

        def image(key: str) -> Tensor:
            array = torch.from_numpy(pack[key].astype(np.float32) / 65535)
            planes = array[None].expand(3, -1, -1) if array.ndim == 2 else array.permute(2, 0, 1)
            return planes[None].contiguous().to(device)

        return [
            RealScene(name, *(image(f"{name}/{part}") for part in ("left", "right", "reference"))) for name in names
        ]


def restore_at_scale(restore: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor, scale: float) -> Tensor:
    """The views' mean plus the change that `restore` predicts on views reduced by `scale`."""
    height, width = left.shape[-2:]
    if scale < 1:
        size = (round(height * scale), round(width * scale))
        small = [functional.interpolate(v, size, mode="bilinear", antialias=True) for v in (left, right)]
    else:
        small = [left, right]
    change = restore(*small) - blend_views(*small)
    if scale < 1:
        change = functional.interpolate(change, (height, width), mode="bicubic", align_corners=False)
    return (blend_views(left, right) + change).clamp(0, 1)


def measure_psnr(image: Tensor, reference: Tensor) -> float:
    """PSNR (peak 1) after one affine fit of the image's values per channel, border left out; (1, C, H, W)."""
    inner = (..., slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    x, y = image[inner].double().flatten(2), reference[inner].double().flatten(2)
    x_mean, y_mean = x.mean(2, keepdim=True), y.mean(2, keepdim=True)
    slope = ((x - x_mean) * (y - y_mean)).mean(2, keepdim=True) / (x - x_mean).pow(2).mean(2, keepdim=True)
    fitted = ((x - x_mean) * slope + y_mean).clamp(0, 1)
    return float(-10 * torch.log10((fitted - y).pow(2).mean()))


@torch.no_grad()
def score_scenes(
    restore: Callable[[Tensor, Tensor], Tensor], scenes: list[RealScene], scales: Mapping[str, tuple[float, ...]]
) -> dict[str, float]:
    """Mean gain in dB over the blurred input by kind of scene and working scale.

    Args:
        restore: (left, right) -> sharp, all (1, 3, H, W) encoded, any size.
        scenes: Real scenes.
        scales: Working scales to try for each kind; a scene's kind is its name up to the first underscore.

    Returns:
        {"pixel@0.5": +0.81, ...}
    """
    gains: dict[str, list[float]] = {}
    for scene in scenes:
        kind = scene.name.split("_")[0]
        before = measure_psnr(blend_views(scene.left, scene.right), scene.reference)
        for scale in scales.get(kind, (1.0,)):
            after = measure_psnr(restore_at_scale(restore, scene.left, scene.right, scale), scene.reference)
            gains.setdefault(f"{kind}@{scale:g}", []).append(after - before)
    return {key: sum(values) / len(values) for key, values in gains.items()}
