"""Score weights on simulated scenes whose textures and kernels no training has seen.

    python tests/benchmarks/score_simulated.py [--weights FILE ...] [--textures FOLDER] [--json FILE]

Held out are
- the textures: eleven pictures that scikit-image brings along (or those of FOLDER), none of which is in the training
  sets (CID22 and CLIC), and no procedural ones, because other drawings by the same hand are hardly others;
- the kernels: training uses closed forms in picture coordinates, and a Pixel 4's measured kernels. Here rays are traced
  from a pupil through defocus, spherical aberration, coma and astigmatism, and each ray is shared out to the two
  photodiodes by a smooth step across the pupil, so that the views add up to the whole pupil. Neither the shapes nor the
  code are those of training;
- the random numbers of depth, layers and noise, whose ranges are training's: the question is what a network learned,
  not whether it survives a camera nobody drew.

The gain is PSNR of the result minus PSNR of the blurred input (the mean of the views in linear light), without any fit,
16 pixels cropped, at the scenes' own scale. The mean is over the scenes whose blur has a mean radius of at least a
pixel: below, an input of 50 dB leaves nothing to gain, and a change of a thousandth costs many decibels; what a network
does there is told by "in focus", the mean absolute change of pixels whose blur is below half a pixel. "all, pooled" is
the gain of the mean squared error over all scenes, sharp ones included. Every network sees the same scenes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpdeblur.networks.light import blend_views
from dpdeblur.training.data import SceneOptions, add_smoothed, draw_sample
from dpdeblur.training.measured import MEASURED_RADIUS_PX
from dpdeblur.training.recipe import Pair
from dpdeblur.training.restore import restore_pair
from dpdeblur.training.sensor import finish_pair
from dpdeblur.training.simulator import render_radius, render_sharp, render_views
from dpdeblur.training.textures import TILE_PX, find_photographs, read_photograph
from dpdeblur.weights import list_weights, load_weights

BUNDLED = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "motorcycle_left", "page")
BUNDLED_JPEG = ("rocket",)
BLURRED_PX = 1.0
BANDS = ((1.0, 2.0), (2.0, 3.5), (3.5, 99.0))
BORDER_PX = 16


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """One scene: (1, 3, H, W) encoded pictures and (1, 1, H, W) signed radius in pixels."""

    pair: Pair
    radius_px: Tensor


def trace_kernels(count: int, seed: int, size: int = 61) -> npt.NDArray[np.float32]:
    """Spot diagrams of pupils with aberrations, shared out to two photodiodes: (count, 2, size, size)."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(-1, 1, 241)
    u, v = (part.ravel() for part in np.meshgrid(axis, axis))
    kernels = np.zeros((count, 2, size, size))
    for number in range(count):
        turn, place = rng.uniform(-np.pi, np.pi, 2)
        barrel = rng.uniform(0, 0.6) * np.array([np.cos(turn), np.sin(turn)])
        inside = (u**2 + v**2 <= 1) & ((u - barrel[0]) ** 2 + (v - barrel[1]) ** 2 <= 1.05)
        spherical, coma, astigmatism = rng.uniform(-0.25, 0.25), rng.uniform(0, 0.12), rng.uniform(-0.12, 0.12)
        # coma and astigmatism point away from the middle of the field
        along, across = u * np.cos(place) + v * np.sin(place), v * np.cos(place) - u * np.sin(place)
        bent = 1 - spherical + 1.5 * spherical * (u**2 + v**2)
        moved_along = along * (bent + astigmatism) + coma * (3 * along**2 + across**2)
        moved_across = across * (bent - astigmatism) + 2 * coma * along * across
        x = moved_along * np.cos(place) - moved_across * np.sin(place)
        y = moved_along * np.sin(place) + moved_across * np.cos(place)
        # a photodiode takes a side of the pupil, but not all of it and some of the other side's
        step = 1 / (1 + np.exp(-(u - rng.uniform(-0.25, 0.25)) / rng.uniform(0.12, 0.6)))
        leak = rng.uniform(0, 0.3)
        shares = leak / 2 + (1 - leak) * step
        for view, share in enumerate((shares, 1 - shares)):
            _splat(kernels[number, view], x, y, inside * share)
    return (kernels / kernels.sum((2, 3), keepdims=True)).astype(np.float32)


def _splat(
    kernel: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
) -> None:
    """Add rays that arrive at x and y, in radii, to the four pixels around each."""
    middle = kernel.shape[0] // 2
    column, row = x * MEASURED_RADIUS_PX + middle, y * MEASURED_RADIUS_PX + middle
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            share = np.abs(1 - down - (row - top)) * np.abs(1 - right - (column - left)) * weight
            fits = (left + right >= 0) & (left + right < len(kernel)) & (top + down >= 0) & (top + down < len(kernel))
            np.add.at(kernel, ((top + down)[fits], (left + right)[fits]), share[fits])


def load_held_out_textures(folder: Path | None) -> Tensor:
    """One square of each picture, mirrored at its borders where it is too small: (N, 3, 512, 512) uint8."""
    if folder is not None:
        paths = find_photographs([folder])
    else:
        import skimage

        bundled = Path(skimage.__file__).parent / "data"
        paths = [bundled / f"{name}.png" for name in BUNDLED] + [bundled / f"{name}.jpg" for name in BUNDLED_JPEG]
    squares = []
    for path in paths:
        square = read_photograph(path)[:TILE_PX, :TILE_PX]
        missing = TILE_PX - square.shape[0], TILE_PX - square.shape[1]
        mirrored = cv2.copyMakeBorder(square, 0, missing[0], 0, missing[1], cv2.BORDER_REFLECT_101)
        squares.append(torch.from_numpy(mirrored).permute(2, 0, 1))
    return torch.stack(squares)


def simulate_held_out(textures: Tensor, count: int, options: SceneOptions, seed: int) -> list[HeldOut]:
    """Draw and render the scenes, one at a time."""
    generator = torch.Generator().manual_seed(seed)
    bank = torch.from_numpy(trace_kernels(64, seed))
    smoothed = add_smoothed(textures)
    margin = options.half_size_px
    crop = (..., slice(margin, margin + options.height), slice(margin, margin + options.width))
    scenes = []
    for _ in range(count):
        sample = draw_sample(smoothed, 1, options, generator, bank_size=len(bank))
        left, right = render_views(sample.scene, sample.lenses, margin, bank)
        sharp = render_sharp(sample.scene)
        pair = Pair(*finish_pair(left[crop], right[crop], sharp[crop], sample.sensors, generator))
        scenes.append(HeldOut(pair, render_radius(sample.scene)[crop]))
    return scenes


def measure_error(image: Tensor, reference: Tensor) -> float:
    """Mean squared error without the border."""
    inner = (..., slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    return float((image[inner].clamp(0, 1) - reference[inner]).pow(2).mean())


def score(weights: Path, scenes: list[HeldOut]) -> dict[str, float]:
    """Gains in dB over blurred scenes and over all, the mean's standard error, and the change in focus."""
    network, _ = load_weights(weights)
    network.eval()
    errors, changes = [], []
    for scene in scenes:
        blurred = blend_views(scene.pair.left, scene.pair.right)
        with torch.no_grad():
            result = restore_pair(network, scene.pair.left, scene.pair.right)
        errors.append([measure_error(image, scene.pair.sharp) for image in (blurred, result)])
        in_focus = (scene.radius_px.abs() < 0.5).expand_as(blurred)
        if in_focus.any():
            changes.append(float((result - blurred)[in_focus].abs().mean()))
    before, after = np.array(errors).T
    gains = 10 * np.log10(before / after)
    blur = np.array([float(scene.radius_px.abs().mean()) for scene in scenes])
    blurred_gains = gains[blur >= BLURRED_PX]
    found = {
        "gain": float(blurred_gains.mean()),
        "error": float(blurred_gains.std(ddof=1) / math.sqrt(len(blurred_gains))),
        "all, pooled": float(10 * np.log10(before.mean() / after.mean())),
        "in focus": float(np.mean(changes)) if changes else math.nan,
    }
    for low, high in BANDS:
        chosen = gains[(blur >= low) & (blur < high)]
        if len(chosen):
            found[f"blur from {low:g} px ({len(chosen)} scenes)"] = float(chosen.mean())
    return found | {"target": 2.5 if network.views == 2 else 1.5}


def main() -> None:
    """Simulate once, score every file, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, nargs="+", help="default: those that come with dpdeblur")
    parser.add_argument("--textures", type=Path, help="folder of photographs instead of scikit-image's")
    parser.add_argument("--count", type=int, default=48, help="scenes")
    parser.add_argument("--size", type=int, default=256, help="of a scene, in pixels")
    parser.add_argument("--largest-radius", type=float, default=5.5, help="of the blur, in pixels")
    parser.add_argument("--seed", type=int, default=20231)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scene_options = SceneOptions(
        height=options.size, width=options.size, largest_radius_px=options.largest_radius, measured_share=1.0
    )
    textures = load_held_out_textures(options.textures)
    scenes = simulate_held_out(textures, options.count, scene_options, options.seed)
    blur = [float(scene.radius_px.abs().mean()) for scene in scenes]
    print(f"{len(scenes)} scenes of {len(textures)} pictures, {sum(b >= BLURRED_PX for b in blur)} of them blurred")
    found = {}
    for path in options.weights or list_weights():
        found[path.stem] = scores = score(path, scenes)
        verdict = "reached" if scores["gain"] >= scores["target"] else "missed"
        print(f"{path.stem}: {scores['gain']:+.2f} dB (+-{scores['error']:.2f}), {scores['target']:g} {verdict}")
        for name, value in scores.items():
            if name.startswith(("blur", "all")):
                print(f"    {name:<32}{value:+.2f} dB")
        print(f"    {'change in focus':<32}{scores['in focus']:.4f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
