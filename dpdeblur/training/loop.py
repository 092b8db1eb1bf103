"""The training loop: simulated batches in, a checkpoint that is the best *by the real scenes* out.

The learning rate follows the time budget, not a number of steps, so that a run fits the minutes at hand on any machine:
a short warm-up, then a cosine down to a hundredth. The state is written often enough that a kill costs a minute, and a
run given the same folder goes on from it.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from dpdeblur.networks import NETWORKS
from dpdeblur.networks.gkmnet import GKMNet, build_pyramid
from dpdeblur.networks.network import Network
from dpdeblur.training.data import SceneOptions, simulate_batches
from dpdeblur.training.losses import charbonnier, gradient_difference
from dpdeblur.training.scenes import RealScene, blend_views, load_scenes, restore_at_scale, score_scenes
from dpdeblur.training.textures import draw_textures, load_textures

#: Working scales tried on the real scenes, by kind; the Pixel pack is stored at half size.
SCORED_SCALES = {"pixel": (1.0, 0.5), "canon": (1.0, 0.5)}


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """One training run.

    Attributes:
        network: Key of `NETWORKS`.
        form: Keyword arguments of the network's builder.
        textures: Folder of sharp photographs.
        out: Folder of the checkpoint, log and contact sheet; a state found there is resumed.
        minutes: Time budget of the whole run, earlier parts included.
        steps: Budget in steps instead of minutes, or None.
        stop_after: Minutes after which this process stops and saves, to be resumed; None for the budget's end.
        kernels: (N, 2, h, w) measured kernel pairs as .npy, or None.
        scenes: Pack of real scenes, or None; without it the last weights are kept.
        initial: state_dict to start from (.pt of this loop), or None.
        batch: Samples of a step.
        height: Of the crops in pixels.
        width: Of the crops in pixels.
        largest_radius_px: Of the simulated blur.
        measured_share: Share of lenses with measured kernels.
        learning_rate: Peak, for AdamW.
        decay: Weight decay.
        gradient_weight: Weight of the gradient term beside Charbonnier's.
        average: Decay of the moving average of the weights a step.
        procedural: Number of procedural textures beside the photographs.
        device: torch device.
        compile: Whether to compile the network.
        seed: Of everything random.
        score_every: Seconds between scores on the real scenes.
    """

    network: str = "k3dn"
    form: dict[str, Any] = dataclasses.field(default_factory=dict)
    textures: Path = Path("textures")
    out: Path = Path("training")
    minutes: float = 60.0
    steps: int | None = None
    stop_after: float | None = None
    kernels: Path | None = None
    scenes: Path | None = None
    initial: Path | None = None
    batch: int = 16
    height: int = 288
    width: int = 224
    largest_radius_px: float = 9.0
    measured_share: float = 0.35
    learning_rate: float = 5e-4
    decay: float = 1e-4
    gradient_weight: float = 0.5
    average: float = 0.999
    procedural: int = 96
    device: str = "cpu"
    compile: bool = False
    seed: int = 1
    score_every: float = 60.0


def restore_pair(network: Network, views: int, left: Tensor, right: Tensor) -> Tensor:
    """Run a network, padded to the size it needs, on a pair of encoded views; single-image networks see their mean."""
    vertical, horizontal = network.size_multiple
    height, width = left.shape[-2:]
    pad = (0, -width % horizontal, 0, -height % vertical)
    inputs = (left, right) if views == 2 else (blend_views(left, right),)
    padded = [nn.functional.pad(v + network.value_offset, pad, mode="replicate") for v in inputs]
    return (network(*padded)[..., :height, :width] - network.value_offset).float()


def compute_loss(
    network: Network, views: int, batch: tuple[Tensor, Tensor, Tensor], gradient_weight: float
) -> tuple[Tensor, Tensor]:
    """Loss and result of one batch; GKMNet is supervised at all of its scales, as its paper has it."""
    left, right, sharp = batch

    def distance(image: Tensor, reference: Tensor) -> Tensor:
        return charbonnier(image.float(), reference) + gradient_weight * gradient_difference(image.float(), reference)

    if isinstance(network, GKMNet):
        results = network.forward_scales(build_pyramid(blend_views(left, right)))
        terms = [distance(result, level) for result, level in zip(results, build_pyramid(sharp), strict=True)]
        return torch.stack(terms).sum(), results[0]
    result = restore_pair(network, views, left, right)
    return distance(result, sharp), result


class _Averaged:
    """An exponential moving average of a network's floating-point state, buffers included."""

    def __init__(self, network: Network, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Move towards the network's present state; early on faster, so that the start is forgotten."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        current = network.state_dict()
        floats = [k for k, v in current.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.state[k] for k in floats], [current[k] for k in floats], weight)
        for key in current.keys() - set(floats):
            self.state[key].copy_(current[key])


def _load_inputs(options: TrainOptions) -> tuple[Tensor, Tensor | None, list[RealScene]]:
    tiles = np.concatenate([load_textures(options.textures), draw_textures(options.procedural, options.seed)])
    textures = torch.from_numpy(tiles).permute(0, 3, 1, 2).contiguous().to(options.device)
    bank = None if options.kernels is None else torch.from_numpy(np.load(options.kernels)).float().to(options.device)
    scenes = [] if options.scenes is None else load_scenes(options.scenes, options.device)
    return textures, bank, scenes


def train(options: TrainOptions) -> dict[str, float]:
    """Train, and leave `best.pt` (averaged weights), `state.pt`, `log.csv` and `contact.jpg` in `options.out`.

    Returns:
        The best scores on the real scenes, empty without scenes.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.backends.cudnn.benchmark = True
    spec = NETWORKS[options.network]
    on_gpu = options.device.startswith("cuda")
    network = spec.build(**options.form).to(options.device)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    if options.initial is not None:
        network.load_state_dict(torch.load(options.initial, map_location=options.device, weights_only=True))
    textures, bank, scenes = _load_inputs(options)
    generator = torch.Generator(options.device).manual_seed(options.seed)
    scene_options = SceneOptions(
        height=options.height,
        width=options.width,
        largest_radius_px=options.largest_radius_px,
        measured_share=options.measured_share,
    )
    batches = simulate_batches(textures, options.batch, scene_options, generator, bank)
    averaged = _Averaged(network, options.average)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=options.learning_rate, betas=(0.9, 0.99), weight_decay=options.decay, fused=on_gpu
    )
    step, minutes_before, best = 0, 0.0, {"score": -math.inf}
    state_path = options.out / "state.pt"
    if state_path.exists():
        state = torch.load(state_path, map_location=options.device, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.state = state["averaged"]
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"].cpu())
        step, minutes_before, best = state["step"], state["minutes"], state["best"]
    if options.compile:
        method = "forward_scales" if isinstance(network, GKMNet) else "forward"
        setattr(network, method, torch.compile(getattr(network, method)))
    started = time.monotonic()
    last_scored = started
    evaluated = spec.build(**options.form).to(options.device).eval()
    bar = tqdm(total=round(options.minutes, 1), unit="min", desc=options.network, disable=None)
    sums = torch.zeros(3, device=options.device)
    counted = 0

    def save() -> None:
        partial = state_path.with_suffix(".part")
        torch.save(
            {
                "network": network.state_dict(),
                "averaged": averaged.state,
                "optimizer": optimizer.state_dict(),
                "generator": generator.get_state(),
                "step": step,
                "minutes": minutes_before + (time.monotonic() - started) / 60,
                "best": best,
            },
            partial,
        )
        partial.replace(state_path)

    while True:
        now = time.monotonic()
        minutes = minutes_before + (now - started) / 60
        here = (now - started) / 60
        done = minutes / options.minutes if options.steps is None else step / options.steps
        is_last = done >= 1 or (options.stop_after is not None and here >= options.stop_after)
        if is_last or now - last_scored > options.score_every:
            last_scored = now
            row = {"step": float(step), "minutes": round(minutes, 2), "rate": optimizer.param_groups[0]["lr"]}
            # before the first step there is no loss: a log's columns stay the same, so it reads "nan"
            means = (sums / counted).tolist() if counted else [math.nan] * 3
            row |= dict(zip(("loss", "psnr_in", "psnr_out"), means, strict=True))
            evaluated.load_state_dict(averaged.state)
            scores = _score(evaluated, spec.views, scenes, options, on_gpu)
            row |= scores
            _append_row(options.out / "log.csv", row)
            tqdm.write(json.dumps({k: round(v, 6) for k, v in row.items()}))
            total = _summarise(scores)
            if math.isnan(total):
                raise FloatingPointError(f"the network's results are not finite after {step} steps")
            if not scenes or total > best["score"]:
                best = {"score": total} | scores
                torch.save(averaged.state, options.out / "best.pt")
            save()
            sums.zero_()
            counted = 0
            if is_last:
                break
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * _schedule(done, step)
        batch = next(batches)
        network.train()
        with torch.autocast(options.device.split(":")[0], torch.bfloat16):
            loss_value, result = compute_loss(network, spec.views, batch, options.gradient_weight)
        optimizer.zero_grad(set_to_none=True)
        loss_value.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        # a batch whose gradient is not finite must not reach the weights; decided on the device, without waiting for it
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        optimizer.step()
        step += 1
        averaged.update(network, step)
        with torch.no_grad():
            errors = [
                -10 * torch.log10((x.float() - batch[2]).pow(2).mean((1, 2, 3)).clamp(min=1e-9)).mean()
                for x in (blend_views(*batch[:2]), result)
            ]
            sums += torch.stack([loss_value.detach().float(), *errors])
        counted += 1
        if step % 20 == 0:
            bar.n = round(min(minutes, options.minutes), 2)
            bar.set_postfix(
                step=step, steps_s=f"{counted / max(time.monotonic() - last_scored, 1e-3):.1f}", refresh=True
            )
    bar.close()
    evaluated.load_state_dict(torch.load(options.out / "best.pt", map_location=options.device, weights_only=True))
    if scenes:
        _draw_contact_sheet(evaluated, spec.views, scenes, options.out / "contact.jpg")
    return {k: v for k, v in best.items() if k != "score"}


def _schedule(done: float, step: int) -> float:
    """Factor on the learning rate: 200 steps of warm-up, then a cosine from 1 to 0.01 over the budget."""
    return min(1.0, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def _score(
    network: Network, views: int, scenes: list[RealScene], options: TrainOptions, on_gpu: bool
) -> dict[str, float]:
    with torch.autocast(options.device.split(":")[0], torch.bfloat16, enabled=on_gpu), torch.no_grad():
        return score_scenes(lambda left, right: restore_pair(network, views, left, right), scenes, SCORED_SCALES)


def _summarise(scores: dict[str, float]) -> float:
    """Best working scale of each kind, averaged: what the tool would reach with the scale chosen well."""
    kinds: dict[str, float] = {}
    for key, gain in scores.items():
        kind = key.split("@")[0]
        kinds[kind] = gain if math.isnan(gain) else max(kinds.get(kind, gain), gain)
    return sum(kinds.values()) / len(kinds) if kinds else 0.0


def _append_row(path: Path, row: dict[str, float]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(row)
        writer.writerow([f"{v:.6g}" for v in row.values()])


@torch.no_grad()
def _draw_contact_sheet(network: Network, views: int, scenes: list[RealScene], path: Path) -> None:
    """Input, result and reference of each scene side by side, the middle 320x480 pixels."""
    rows = []
    for scene in scenes:
        result = restore_at_scale(lambda a, b: restore_pair(network, views, a, b), scene.left, scene.right, 1.0)
        triple = torch.cat([blend_views(scene.left, scene.right), result, scene.reference], 3)[0]
        height, width = scene.left.shape[-2:]
        top, side = (height - 320) // 2, (width - 480) // 2
        columns = [triple[:, top : top + 320, i * width + side : i * width + side + 480] for i in range(3)]
        rows.append(torch.cat(columns, 2))
    sheet = torch.cat(rows, 1).permute(1, 2, 0).cpu().numpy()[..., ::-1]
    cv2.imwrite(str(path), np.asarray(sheet * 255, np.uint8))
