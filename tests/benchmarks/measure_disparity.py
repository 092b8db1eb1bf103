"""Measure the map of disparity against disparities that are known, beside phase correlation as a baseline.

    python tests/benchmarks/measure_disparity.py [--textures FOLDER] [--json FILE]

The views are simulated: a plane out of focus by a known radius, seen through the two halves of a lens whose kernels are
discs with a ramp; the disparity is the distance of the kernels' centroids, computed from the kernels themselves. Shot
and read noise are added, and the right view is exposed 2 % more. Textures are dead leaves, text and lines of the
simulator, or with --textures the first photographs of a folder. The baseline correlates the phases of blocks of 64
pixels (OpenCV's phaseCorrelate with a Hann window). Prints the mean absolute error in pixels of each radius, by method,
and the share of the picture that the map trusts by half.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from dpdeblur.networks.light import decode_srgb
from dpdeblur.restoration.disparity_map import map_disparity
from dpdeblur.training.kernels import build_kernels, ideal_lenses
from dpdeblur.training.simulator import Scene, render_views
from dpdeblur.training.textures import draw_textures, load_textures

SIZE_PX, MARGIN_PX, BLOCK_PX = 448, 32, 64
RADII_PX = (-16.0, -8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0)


def find_disparity(radius_px: float, ramp: float) -> float:
    """The distance of the centroids of the left and the right kernel."""
    kernels = build_kernels(ideal_lenses(1, ramp=ramp), torch.tensor([[radius_px]]), MARGIN_PX)[0, 0].numpy()
    columns = np.arange(-MARGIN_PX, MARGIN_PX + 1)
    left, right = (float((kernel.sum(axis=0) * columns).sum() / kernel.sum()) for kernel in kernels)
    return left - right


def simulate(texture: np.ndarray, radius_px: float, ramp: float, seed: int) -> list[np.ndarray]:
    """A plane's views, (H, W, 3) linear with noise."""
    linear = decode_srgb(torch.from_numpy(texture.astype(np.float32) / 255)).permute(2, 0, 1)[None, None].contiguous()
    ones = torch.ones(1, 1, 1, *linear.shape[-2:])
    scene = Scene(linear, ones, ones.clone(), torch.tensor([[[radius_px]]]))
    rng = np.random.default_rng(seed)
    views = []
    for view, exposure in zip(render_views(scene, ideal_lenses(1, ramp=ramp), MARGIN_PX), (1.0, 1.02), strict=True):
        light = view[0].permute(1, 2, 0).numpy()[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
        noise = rng.normal(size=light.shape) * np.sqrt(2e-5 * light + 1e-6)
        views.append(((light + noise) * exposure).astype(np.float32))
    return views


def correlate_blocks(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The baseline: one disparity a block."""
    grays = [np.sqrt(np.clip(view.mean(axis=2), 0, None)) for view in (left, right)]
    window = cv2.createHanningWindow((BLOCK_PX, BLOCK_PX), cv2.CV_32F)
    found = []
    for y in range(0, grays[0].shape[0] - BLOCK_PX + 1, BLOCK_PX):
        for x in range(0, grays[0].shape[1] - BLOCK_PX + 1, BLOCK_PX):
            blocks = [np.ascontiguousarray(gray[y : y + BLOCK_PX, x : x + BLOCK_PX]) for gray in grays]
            (shift, _), _ = cv2.phaseCorrelate(blocks[1], blocks[0], window)
            found.append(shift)
    return np.array(found)


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textures", type=Path)
    parser.add_argument("--count", type=int, default=6, help="how many textures")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.textures is None:
        textures = draw_textures(arguments.count, seed=11)
    else:
        textures = load_textures(arguments.textures, limit=arguments.count)
    rows = []
    print("   ramp  radius  disparity     map  trusted   blocks")
    for ramp in (0.4, 1.0):
        for radius_px in RADII_PX:
            known = find_disparity(radius_px, ramp)
            errors, trusted, baseline = [], [], []
            for seed, texture in enumerate(textures[: arguments.count]):
                left, right = simulate(texture[:SIZE_PX, :SIZE_PX], radius_px, ramp, seed)
                found = map_disparity(left, right)
                errors.append(np.abs(found.disparity_px - known).mean())
                trusted.append((found.confidence > 0.5).mean())
                baseline.append(np.abs(correlate_blocks(left, right) - known).mean())
            row = [float(np.mean(values)) for values in (errors, trusted, baseline)]
            rows.append([ramp, radius_px, known, *row])
            print(f"{ramp:7.1f} {radius_px:7.1f} {known:10.2f} {row[0]:7.3f} {row[1]:8.0%} {row[2]:8.3f}")
    mean, _, blocks = np.array(rows)[:, 3:].mean(axis=0)
    print(f"mean error: map {mean:.3f} px, blocks {blocks:.3f} px ({mean / blocks:.2f} of it)")
    if arguments.json is not None:
        names = ("ramp", "radius_px", "disparity_px", "map_error_px", "trusted_share", "blocks_error_px")
        arguments.json.write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))


if __name__ == "__main__":
    main()
