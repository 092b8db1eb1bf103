"""How a run is judged on the way: by real scenes where there are some, else by simulated ones it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from dpdeblur.networks.light import blend_views
from dpdeblur.networks.network import Network
from dpdeblur.training.data import SceneOptions, simulate_batches
from dpdeblur.training.restore import restore_pair
from dpdeblur.training.scenes import RealScene, restore_at_scale, score_scenes

#: Working scales tried on the scenes, by kind; the Pixel pack is stored at half size.
SCORED_SCALES = {"pixel": (1.0, 0.5), "canon": (1.0, 0.5)}
_SHOWN_PX = (320, 480)

Restore = Callable[[Tensor, Tensor], Tensor]


def simulate_scenes(textures: Tensor, options: SceneOptions, seed: int, count: int = 6) -> list[RealScene]:
    """Scenes of textures (N, 3, T, T) that training does not see; drawn on the CPU, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    batches = simulate_batches(textures.cpu(), 1, options, generator)
    return [
        RealScene(f"simulated_{number}", *(picture.to(textures.device) for picture in next(batches)))
        for number in range(count)
    ]


class Judge:
    """Scores a network and draws its contact sheet."""

    def __init__(self, scenes: list[RealScene], *, mean_views: bool) -> None:
        """Judge by these scenes, showing the mean of the views alone where the training does."""
        self.scenes = scenes
        self.mean_views = mean_views

    def _prepare(self, network: Network) -> Restore:
        def restore(left: Tensor, right: Tensor) -> Tensor:
            if self.mean_views:
                left = right = blend_views(left, right)
            with torch.autocast(left.device.type, torch.bfloat16, enabled=left.device.type == "cuda"):
                return restore_pair(network, left, right)

        return restore

    def score(self, network: Network) -> dict[str, float]:
        """Mean gain in dB by kind of scene and working scale, see `score_scenes`."""
        return score_scenes(self._prepare(network), self.scenes, SCORED_SCALES)

    @torch.no_grad()
    def draw_contact_sheet(self, network: Network, path: Path) -> None:
        """Input, result and reference of each scene side by side, the middle 320x480 pixels."""
        restore = self._prepare(network)
        height, width = (min(px, *(s.left.shape[-2 + i] for s in self.scenes)) for i, px in enumerate(_SHOWN_PX))
        rows = []
        for scene in self.scenes:
            result = restore_at_scale(restore, scene.left, scene.right, 1.0)
            top, side = (scene.left.shape[-2] - height) // 2, (scene.left.shape[-1] - width) // 2
            triple = (blend_views(scene.left, scene.right), result, scene.reference)
            rows.append(torch.cat([p[0, :, top : top + height, side : side + width] for p in triple], 2))
        sheet = torch.cat(rows, 1).permute(1, 2, 0).cpu().numpy()[..., ::-1]
        cv2.imwrite(str(path), np.asarray(sheet * 255, np.uint8))


def summarise(scores: dict[str, float]) -> float:
    """Best working scale of each kind, averaged: what the tool would reach with the scale chosen well."""
    kinds: dict[str, float] = {}
    for key, gain in scores.items():
        kind = key.split("@")[0]
        kinds[kind] = gain if math.isnan(gain) else max(kinds.get(kind, gain), gain)
    return sum(kinds.values()) / len(kinds)
