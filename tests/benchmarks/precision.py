"""What half precision changes and saves, for each shipped network: what `--precision auto` goes by.

    python tests/benchmarks/precision.py SHARED [--network k3dn gkmnet] [--half fp16] [--tile 512] [--json FILE]

SHARED holds data/pixel4, data/canon_r6 and tools/score_views.py. Every real scene goes through the program's own path
(`Restorer`, at the working scale that it chooses) in float32 and in bfloat16, or float16, which the program leaves to
GPUs but a slow CPU rounds alike. `psnr` compares the two encoded results; `gain` is what half precision adds to the
score against the sharp reference. `speed` is float32's time over its time for one tile of a smooth random picture, in
turns, the least of each; `by cpu` the same in processor time; `--rounds 0` leaves the timing out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from scorer import load_scorer

from dpdeblur.colour.spaces import decode_srgb, encode_srgb
from dpdeblur.networks import NETWORKS
from dpdeblur.photo import Image, Photo
from dpdeblur.restoration.choice import choose_weights
from dpdeblur.restoration.inference import Restorer, Settings


def make_photo(left: Image, right: Image) -> Photo:
    """A photo from encoded views, (H, W) or (H, W, 3) in OpenCV's order."""
    views = [decode_srgb(np.ascontiguousarray(np.atleast_3d(view)[..., ::-1], np.float32)) for view in (left, right)]
    return Photo((Path("scene"),), "pair", (views[0] + views[1]) / 2, *views)


def compare_results(shared: Path, restorers: dict[str, Restorer]) -> dict[str, dict[str, float]]:
    """PSNR between the precisions and the difference in gain, for each scene."""
    scorer = load_scorer(shared)
    rows = {}
    _, half = restorers
    for name, left, right, reference in scorer.scenes():
        photo = make_photo(left, right)
        results = {}
        for precision, restorer in restorers.items():
            restored = restorer.restore(photo)
            for warning in restored.warnings:
                print(f"{name}: {warning}")
            encoded = np.clip(encode_srgb(restored.image), 0, 1)[..., ::-1].astype(np.float64)
            results[precision] = encoded[..., 0] if reference.ndim == 2 else encoded
        error = np.mean((results["fp32"] - results[half]) ** 2)
        scores = {precision: float(scorer.psnr(result, reference)) for precision, result in results.items()}
        rows[name] = {"psnr_db": float(-10 * np.log10(error)), "gain_db": scores[half] - scores["fp32"]}
    return rows


def compare_speed(restorers: dict[str, Restorer], tile_px: int, rounds: int) -> dict[str, float]:
    """Seconds in float32 over those in half precision for a photo of one tile."""
    coarse = np.random.default_rng(1).random((tile_px // 16, tile_px // 16, 3), np.float32)
    base = np.kron(coarse, np.ones((16, 16, 1), np.float32))
    photo = Photo((Path("noise"),), "pair", base, base, np.roll(base, 3, axis=1))
    wall, processor = dict.fromkeys(restorers, float("inf")), dict.fromkeys(restorers, float("inf"))
    _, half = restorers
    for _ in range(rounds):
        for name, restorer in restorers.items():
            starts = time.perf_counter(), time.process_time()
            restorer.restore(photo)
            wall[name] = min(wall[name], time.perf_counter() - starts[0])
            processor[name] = min(processor[name], time.process_time() - starts[1])
    return {
        "fp32_s": wall["fp32"],
        f"{half}_s": wall[half],
        "speed": wall["fp32"] / wall[half],
        "speed_by_cpu": processor["fp32"] / processor[half],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--network", nargs="+", default=sorted(NETWORKS), choices=sorted(NETWORKS))
    parser.add_argument("--half", default="bf16", choices=["bf16", "fp16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tile", type=int, default=512, help="side of the timed tile")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for name in options.network:
        weights, _ = choose_weights(2, "pair", name)

        def make(scale: float | None, weights: Path = weights) -> dict[str, Restorer]:
            restorers = {}
            for precision in ("fp32", options.half):
                restorer = Restorer(weights, Settings(options.device, "fp32", working_scale=scale))
                restorer.precision = precision  # not by the settings, which refuse fp16 on a CPU
                restorers[precision] = restorer
            return restorers

        found[name] = {"scenes": compare_results(options.shared, make(None))}
        for scene, row in found[name]["scenes"].items():
            print(
                f"{name:7} {scene:16} psnr {row['psnr_db']:6.2f} dB  gain {row['gain_db']:+.4f} dB",
                flush=True,
            )
        if options.rounds:
            speed = compare_speed(make(1.0), options.tile, options.rounds)
            found[name] |= speed
            times = ", ".join(f"{speed[f'{precision}_s']:.2f} s in {precision}" for precision in ("fp32", options.half))
            print(
                f"{name:7} tile of {options.tile}: {times}:"
                f" speed {speed['speed']:.2f}, by cpu {speed['speed_by_cpu']:.2f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
