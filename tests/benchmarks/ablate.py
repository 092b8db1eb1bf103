"""Train the same network with one thing changed at a time, and compare on real scenes.

    python tests/benchmarks/pack_training_data.py SHARED PACK
    python tests/benchmarks/ablate.py PACK --out FOLDER [--steps 3000] [--device cuda] [--arms full mean] [--json FILE]

PACK holds textures/, kernels.npy and scenes.npz. Every arm has the same network, seed, data order and number of steps;
what is compared is the last averaged weights, not the best ones, so that no arm is chosen by the scenes. A killed run
goes on where it was. The questions and their arms:

    two views, or their mean        full against mean: the network is shown the mean of the views twice
    alignment                       full against unaligned: DPANet's offsets stay zero, its convolutions plain
    a ramped disc, or a half disc   ramp against half: only lenses of this family, no measured kernels
    measured kernels                full against unmeasured: closed forms only

The table has the mean gain in dB over the blurred input by kind of scene, at the better of two working scales, and the
difference within each question; with several seeds their mean, and the standard deviation of a gain over the seeds.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

from dpdeblur.training.kernels import FAMILIES
from dpdeblur.training.loop import train
from dpdeblur.training.options import TrainOptions

QUESTIONS = {
    "two views, or their mean": ("full", "mean"),
    "alignment": ("full", "unaligned"),
    "a ramped disc, or a half disc": ("ramp", "half"),
    "measured kernels": ("full", "unmeasured"),
}


def only(family: str) -> tuple[float, ...]:
    """The shares of lenses that are all of one family."""
    return tuple(float(name == family) for name in FAMILIES)


#: What each arm changes.
ARMS: dict[str, dict[str, Any]] = {
    "full": {},
    "mean": {"mean_views": True},
    "unaligned": {"freeze": "_field."},
    "ramp": {"family_shares": only("ramp"), "kernels": None},
    "half": {"family_shares": only("half"), "kernels": None},
    "unmeasured": {"kernels": None},
}


def read_last_row(log: Path) -> dict[str, float]:
    """The gains of the last averaged weights, at the better scale of each kind: {"pixel": dB, "canon": dB}."""
    with log.open(newline="", encoding="utf-8") as file:
        row = list(csv.DictReader(file))[-1]
    gains: dict[str, float] = {}
    for name, value in row.items():
        kind, _, scale = name.partition("@")
        if scale:
            gains[kind] = max(gains.get(kind, float(value)), float(value))
    return gains


def run_arm(arm: str, base: TrainOptions, seeds: list[int]) -> dict[str, list[float]]:
    """Train one arm for every seed: gains by kind of scene."""
    gains: dict[str, list[float]] = {}
    for seed in seeds:
        options = dataclasses.replace(base, seed=seed, out=base.out / f"{arm}_{seed}", **ARMS[arm])
        train(options)
        for kind, gain in read_last_row(options.out / "log.csv").items():
            gains.setdefault(kind, []).append(gain)
    return gains


def print_table(found: dict[str, dict[str, list[float]]]) -> None:
    """Arms side by side, question by question."""
    kinds = sorted({kind for gains in found.values() for kind in gains})
    print("| question | arm | " + " | ".join(f"{kind}, dB" for kind in kinds) + " |")
    print("|---|---|" + "---|" * len(kinds))

    def mean(arm: str, kind: str) -> float:
        return statistics.mean(found[arm][kind])

    def spread(values: list[float]) -> str:
        return f" +-{statistics.stdev(values):.2f}" if len(values) > 1 else ""

    for question, arms in QUESTIONS.items():
        if not all(arm in found for arm in arms):
            continue
        for arm in arms:
            cells = [f"{mean(arm, kind):+.2f}{spread(found[arm][kind])}" for kind in kinds]
            print(f"| {question} | {arm} | " + " | ".join(cells) + " |")
        first, second = arms
        cells = [f"{mean(first, kind) - mean(second, kind):+.2f}" for kind in kinds]
        print(f"| | {first} - {second} | " + " | ".join(cells) + " |")


def main() -> None:
    """Train the arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", choices=sorted(ARMS), default=list(ARMS))
    parser.add_argument("--steps", type=int, default=3000, help="of each arm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--network", choices=["dpanet", "k3dn"], default="dpanet")
    parser.add_argument("--form", type=json.loads, default={"width": 16, "stem": 2}, help="JSON")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128, help="pixels")
    parser.add_argument("--largest-radius", type=float, default=5.5, help="of the blur, in pixels")
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--procedural", type=int, default=96, help="drawn textures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.network != "dpanet" and "unaligned" in options.arms:
        parser.error("only DPANet has alignment modules: name the other --arms")
    base = TrainOptions(
        network=options.network,
        form=options.form,
        textures=options.pack / "textures",
        kernels=options.pack / "kernels.npy",
        scenes=options.pack / "scenes.npz",
        out=options.out,
        steps=options.steps,
        batch=options.batch,
        height=options.crop,
        width=options.crop,
        largest_radius_px=options.largest_radius,
        learning_rate=options.learning_rate,
        procedural=options.procedural,
        device=options.device,
        # the last weights are scored whatever happens on the way
        score_every=1e9,
    )
    found = {}
    for arm in options.arms:
        found[arm] = run_arm(arm, base, options.seeds)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")
    print_table(found)


if __name__ == "__main__":
    main()
