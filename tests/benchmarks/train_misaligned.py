"""Train one network on misaligned pairs three times: pixel by pixel, by JDRL, and on the aligned references.

    python tests/benchmarks/train_misaligned.py TEXTURES [--network gkmnet] [--steps 60] [--initial WEIGHTS]
        [--json FILE] [--sheet FILE.png]

TEXTURES is a folder of sharp photographs of at least 512x512 pixels. The last eighth of their tiles is kept for the
test. Pairs are simulated once, and those that are as good as in focus are left out: the weakest methods of the paper's
Table 1 score 24 dB on SDD, so its pictures are far from sharp. Each reference is then shifted, zoomed and turned by an
amount of its own, drawn for the pair and kept. The paper publishes no sizes for SDD ("shift" and "zoom", "much
intenser" than DPDD's): the defaults are several pixels of shift, 1 % of zoom, a quarter of a degree. All arms see the
same batches in the same order, start from the same weights, and take as many steps with the same learning rates.

Printed for each arm, as means over the test pairs and leaving out 16 pixels at the border:
- `deformed`: PSNR against the misaligned reference, warped onto the arm's own result by optical flow (the paper's
  protocol; pixels whose place in the reference lies outside are left out);
- `aligned`: PSNR against the true reference, which only a simulation has;
- `drift`: mean length in pixels of the affine motion from the true reference to the result;
- `kept`: share of the pixels that JDRL's masks kept, mean over the steps after the first stage.

Before that, what JDRL's masks keep of all the flow from the blurred test pictures to their references, of the flow that
is right to half a pixel, and of the flow that is wrong by more than one. `--arms` without names stops there.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from dpdeblur.networks import NETWORKS
from dpdeblur.networks.light import blend_views
from dpdeblur.networks.network import Network
from dpdeblur.training.data import SceneOptions, simulate_batches
from dpdeblur.training.jdrl import MASKS, JdrlObjective, JdrlOptions, compare_scales
from dpdeblur.training.recipe import Objective, Outcome, Pair, Progress
from dpdeblur.training.restore import restore_scales
from dpdeblur.training.textures import load_textures
from dpdeblur.training.warping import estimate_flow, fit_motion, mask_by_motion, measure_length, place_pixels, warp
from dpdeblur.weights import load_weights

BORDER_PX = 16
EPOCHS = 100  # the paper's length, which the steps are spread over


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Simulated pairs, (N, 3, H, W) encoded float16; `moved` is the reference moved by `motions`, (N, 2, H, W) px."""

    left: Tensor
    right: Tensor
    sharp: Tensor
    moved: Tensor
    motions: Tensor


class PixelObjective(Objective):
    """The same Charbonnier distance as JDRL's first term, pixel by pixel."""

    def forward(self, network: Network, batch: Pair, progress: Progress) -> Outcome:
        """Compare the results with the references where they stand."""
        results = restore_scales(network, batch)
        loss = compare_scales(results, batch.sharp, torch.ones_like(batch.sharp[:, :1]))
        return Outcome(loss, results[0])


def draw_motions(count: int, size: int, options: argparse.Namespace, generator: torch.Generator) -> Tensor:
    """Draw the motion of each reference about the middle of a square picture, (count, 2, size, size) in pixels."""
    device = generator.device

    def uniform(largest: float) -> Tensor:
        return largest * (2 * torch.rand(count, 1, 1, generator=generator, device=device) - 1)

    zoom, turn = 1 + uniform(options.zoom), uniform(math.radians(options.turn_degrees))
    shift_x, shift_y = uniform(options.shift_px), uniform(options.shift_px)
    x, y = (place_pixels(size, size, device) - (size - 1) / 2).unbind(1)
    flow_x = zoom * (x * turn.cos() - y * turn.sin()) - x + shift_x
    flow_y = zoom * (x * turn.sin() + y * turn.cos()) - y + shift_y
    return torch.stack([flow_x, flow_y], 1)


def move_references(sharp: Tensor, motions: Tensor) -> Tensor:
    """Take each pixel from where its motion points; cubic, so that it stays as sharp as another exposure would be."""
    largest = sharp.shape[-1] - 1
    grid = 2 * (place_pixels(*sharp.shape[-2:], sharp.device) + motions) / largest - 1
    moved = functional.grid_sample(
        sharp, grid.permute(0, 2, 3, 1), mode="bicubic", padding_mode="border", align_corners=True
    )
    return moved.clamp(0, 1)


def simulate_pairs(tiles: Tensor, count: int, crop: int, options: argparse.Namespace, seed: int) -> Pairs:
    """Simulate pairs of square crops, all of them out of focus, with references moved at random."""
    generator = torch.Generator(options.device).manual_seed(seed)
    margin = math.ceil(options.shift_px + (options.zoom + math.radians(options.turn_degrees)) * crop) + 2
    size = crop + 2 * margin
    scenes = SceneOptions(height=size, width=size, largest_radius_px=options.largest_radius_px, focus_share=0)
    batches = simulate_batches(tiles, 4, scenes, generator)
    parts: list[list[Tensor]] = [[], [], [], [], []]
    while len(parts[0]) < count:
        left, right, sharp = next(batches)
        motions = draw_motions(4, size, options, generator)
        error = (blend_views(left, right) - sharp)[..., margin:-margin, margin:-margin].square().mean((1, 2, 3))
        is_blurred = error > 10 ** (-options.sharpest_db / 10)
        for part, picture in zip(parts, (left, right, sharp, move_references(sharp, motions), motions), strict=True):
            part.extend(picture[is_blurred, :, margin:-margin, margin:-margin].half())
    return Pairs(*(torch.stack(part[:count]) for part in parts))


def draw_batches(pairs: Pairs, batch: int, seed: int) -> Iterator[Tensor]:
    """Endless indices of batches, every pair once an epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(pairs.left), generator=generator)
        yield from order[: len(order) // batch * batch].view(-1, batch)


def train_arm(
    network: Network, pairs: Pairs, references: Tensor, objective: Objective, options: argparse.Namespace
) -> dict[str, float]:
    """Train a network in place; returns seconds a step and the share of pixels that the masks kept."""
    network.train()
    trained = [*network.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(trained, lr=options.learning_rate)
    kept: list[float] = []
    started = time.monotonic()
    for step, index in zip(
        tqdm(range(options.steps), disable=None), draw_batches(pairs, options.batch, options.seed), strict=False
    ):
        done = step / options.steps
        rate = options.learning_rate * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = Pair(*(part[index].float() for part in (pairs.left, pairs.right, references)))
        progress = Progress(step, done, EPOCHS)
        with torch.autocast(options.device.split(":")[0], torch.bfloat16):
            outcome = objective(network, batch, progress)
        optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        torch.nn.utils.clip_grad_norm_(trained, 0.5)
        optimizer.step()
        if "kept" in outcome.figures and progress.epoch >= JdrlOptions.initial_epochs:
            kept.append(float(outcome.figures["kept"]))
    figures = {"s/step": (time.monotonic() - started) / options.steps}
    return figures | ({"kept": sum(kept) / len(kept)} if kept else {})


def measure_psnr(image: Tensor, reference: Tensor, mask: Tensor) -> float:
    """PSNR in dB, peak 1, of one pair where the mask is 1, without the border."""
    inner = (..., slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    square = ((image - reference) ** 2 * mask)[inner].sum() / (3 * mask[inner].sum())
    return float(-10 * torch.log10(square.double()))


def score_result(result: Tensor, sharp: Tensor, moved: Tensor) -> dict[str, float]:
    """Score one (1, 3, H, W) result as the module's docstring says."""
    deformed, inside = warp(moved, estimate_flow(result, moved))
    return {
        "deformed": measure_psnr(result, deformed, inside),
        "aligned": measure_psnr(result, sharp, torch.ones_like(inside)),
        "drift": float(measure_length(fit_motion(estimate_flow(sharp, result))).mean()),
    }


@torch.no_grad()
def score_arm(network: Network | None, pairs: Pairs) -> tuple[dict[str, float], list[Tensor]]:
    """Mean scores over the test pairs, and the results; without a network, of the blurred pictures themselves."""
    results, rows = [], []
    for left, right, sharp, moved in zip(pairs.left, pairs.right, pairs.sharp, pairs.moved, strict=True):
        views = (left[None].float(), right[None].float())
        if network is None:
            result = blend_views(*views)
        else:
            result = restore_scales(network.eval(), Pair(*views, views[0]))[0].clamp(0, 1)
        results.append(result[0])
        rows.append(score_result(result, sharp[None].float(), moved[None].float()))
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}, results


def judge_masks(pairs: Pairs) -> dict[str, dict[str, float]]:
    """What JDRL's two masks keep of the flow between the blurred pictures and the references, in its first stage's way.

    Returns:
        For each mask the share kept of all pixels, of those whose flow is right to half a pixel, and of those whose
        flow is wrong by more than one; the true flow is the motion's inverse to first order.
    """
    flow = estimate_flow(blend_views(pairs.left.float(), pairs.right.float()), pairs.moved.float())
    error = measure_length(flow + pairs.motions.float())
    groups = {"all": error >= 0, "right": error < 0.5, "wrong": error > 1}
    masks = {name: mask(flow, JdrlOptions.threshold) for name, mask in MASKS.items()}
    return {name: {key: float(mask[group].mean()) for key, group in groups.items()} for name, mask in masks.items()}


def draw_mask(result: Tensor, moved: Tensor) -> Tensor:
    """JDRL's mask of a result and its reference, (3, H, W): white where the reference, warped, is learned from."""
    flow = estimate_flow(result[None], moved[None].float())
    kept = warp(moved[None].float(), flow)[1] * mask_by_motion(flow, JdrlOptions.threshold)
    return kept[0].expand(3, -1, -1)


def draw_sheet(path: Path, columns: dict[str, list[Tensor]], rows: int) -> None:
    """Write the first test pairs side by side, a column each."""
    strips = [torch.cat([column[i].float().cpu() for column in columns.values()], 2) for i in range(rows)]
    sheet = torch.cat(strips, 1).clamp(0, 1).permute(1, 2, 0).numpy()[..., ::-1]
    cv2.imwrite(str(path), np.rint(sheet * 255).astype(np.uint8))


def build_network(options: argparse.Namespace) -> Network:
    """The network that every arm starts from."""
    if options.initial is not None:
        network, card = load_weights(options.initial)
        if card.network != options.network:
            raise SystemExit(f"{options.initial} holds {card.network}, not {options.network}")
        return network.to(options.device)
    torch.manual_seed(options.seed)
    return NETWORKS[options.network].build(**options.form).to(options.device)


ARMS: dict[str, JdrlOptions | None] = {
    "pixelwise": None,
    "jdrl": JdrlOptions(),
    "jdrl-length-mask": JdrlOptions(mask="length"),
    "jdrl-no-reblurring": JdrlOptions(reblur_weight=0.0),
    "aligned": None,
}


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("textures", type=Path)
    parser.add_argument("--network", default="gkmnet", choices=sorted(NETWORKS))
    parser.add_argument("--form", type=json.loads, default={}, help="JSON: keyword arguments of the network")
    parser.add_argument("--initial", type=Path, help="weights that all arms start from (default: untrained)")
    parser.add_argument("--arms", nargs="*", default=["pixelwise", "jdrl", "aligned"], choices=list(ARMS))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=96, help="pixels, of training pairs")
    parser.add_argument("--pairs", type=int, default=120, help="training pairs")
    parser.add_argument("--test-pairs", type=int, default=24)
    parser.add_argument("--test-crop", type=int, default=160)
    parser.add_argument("--largest-radius-px", type=float, default=6.0)
    parser.add_argument("--sharpest-db", type=float, default=32.0, help="PSNR above which a pair counts as in focus")
    parser.add_argument("--shift-px", type=float, default=5.0, help="largest, along each axis")
    parser.add_argument("--zoom", type=float, default=0.01, help="largest, as a share")
    parser.add_argument("--turn-degrees", type=float, default=0.25, help="largest")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--reblur-width", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, help="picture of the first test pairs")
    return parser.parse_args()


def main() -> None:
    """Train and score every arm."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    tiles = torch.from_numpy(load_textures(options.textures)).permute(0, 3, 1, 2).contiguous().to(options.device)
    split = len(tiles) - len(tiles) // 8
    started = time.monotonic()
    pairs = simulate_pairs(tiles[:split], options.pairs, options.crop, options, options.seed)
    tests = simulate_pairs(tiles[split:], options.test_pairs, options.test_crop, options, options.seed + 1)
    print(f"simulated {options.pairs} + {options.test_pairs} pairs in {time.monotonic() - started:.0f} s", flush=True)
    start = build_network(options)
    figures: dict[str, dict[str, float]] = {}
    columns: dict[str, list[Tensor]] = {}

    def report(name: str, network: Network | None, training: dict[str, float]) -> None:
        """Score, print a row, and write what there is so far: a run that is cut short leaves its first arms."""
        scores, columns[name] = score_arm(network, tests)
        figures[name] = row = scores | training
        kept, seconds = (
            f"{row[key]:{form}}" if key in row else "" for key, form in (("kept", ".1%"), ("s/step", ".2f"))
        )
        print(
            f"{name:20}{row['deformed']:>10.2f}{row['aligned']:>10.2f}{row['drift']:>8.2f}{kept:>8}{seconds:>8}",
            flush=True,
        )
        if {"pixelwise", "jdrl"} <= figures.keys():
            gains = {key: figures["jdrl"][key] - figures["pixelwise"][key] for key in ("deformed", "aligned")}
            figures["jdrl_over_pixelwise"] = gains
        if options.json is not None:
            used = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
            options.json.write_text(json.dumps({"options": used, "masks": masks, "figures": figures}, indent=1))
        if name == "jdrl":
            columns["its mask"] = [draw_mask(r, m) for r, m in zip(columns[name], tests.moved, strict=True)]
        if options.sheet is not None:
            references = {"misaligned reference": list(tests.moved), "true reference": list(tests.sharp)}
            draw_sheet(options.sheet, columns | references, min(6, options.test_pairs))

    masks = judge_masks(tests)
    for name, kept in masks.items():
        print(f"mask '{name}' keeps " + ", ".join(f"{share:.1%} of {group}" for group, share in kept.items()) + " flow")
    print(f"{'':20}{'deformed':>10}{'aligned':>10}{'drift':>8}{'kept':>8}{'s/step':>8}")
    report("input", None, {})
    if options.initial is not None:
        report("start", start, {})
    for name in options.arms:
        settings = ARMS[name]
        network = copy.deepcopy(start)
        torch.manual_seed(options.seed)
        objective: Objective = PixelObjective()
        if settings is not None:
            objective = JdrlObjective(dataclasses.replace(settings, reblur_width=options.reblur_width))
        references = pairs.sharp if name == "aligned" else pairs.moved
        report(name, network, train_arm(network, pairs, references, objective.to(options.device), options))
    if "jdrl_over_pixelwise" in figures:
        gains = figures["jdrl_over_pixelwise"]
        print(f"jdrl over pixelwise: {gains['deformed']:+.2f} dB deformed, {gains['aligned']:+.2f} dB aligned")
    if options.sheet is not None:
        print(f"{options.sheet}: {', '.join(columns)}, misaligned reference, true reference")


if __name__ == "__main__":
    main()
