"""What restoring a photo takes beyond the photo, by its size: memory and time of each shipped network.

    python tests/benchmarks/memory.py [--network gkmnet ...] [--megapixels 2 8 30] [--precision auto] [--runs 3]
        [--untuned] [--json FILE]

Each run is a process of its own, which takes the program's path (`Restorer`, with its default settings) on a synthetic
photo: sharp discs of all sizes, so that the network works at the photo's own size, the dearest case; `--blurred`
softens them, so that it works at about a third. A network of two views gets both. What the allocator loses between the
network's maps differs from run to run, so of `--runs` the one with the middle peak is shown, and all peaks. It runs
with glibc's settings that the program starts itself with; `--untuned` leaves them off, as in a program that uses
dpdeblur.

What is reported, in millions of bytes:

- `photo`: what the decoded photo holds, float32: the picture, and the left and the right view where they are used.
- `peak`: the highest resident memory while restoring, less that of the process when it had loaded the weights and held
  the decoded photo. It includes the network's maps, all bands and strips, and what torch loads or compiles the first
  time. The result takes the place of the photo, as in the program.
- `model`: what the program expected when it planned the tiles: their pixels times what the network declares for one,
  and what all tiles share.

Times are the least of the runs, by wall clock and by processor, which other programs disturb less; `/ 8` are ratios to
those with 8 megapixels. Linux only: resident memory is read from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

# as the program itself does before torch starts (dpdeblur/cli.py)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from dpdeblur.commands.restart import TUNABLES  # noqa: E402
from dpdeblur.networks import NETWORKS  # noqa: E402
from dpdeblur.photo import Image, Photo  # noqa: E402
from dpdeblur.restoration import inference, tiling  # noqa: E402
from dpdeblur.restoration.choice import choose_weights  # noqa: E402
from dpdeblur.restoration.inference import Restorer, Settings  # noqa: E402
from dpdeblur.restoration.tiling import TilePlan  # noqa: E402

#: The photo is made of copies of one picture of so many pixels a side, so that there is the same to see in all sizes.
BLOCK_PX = 600
REFERENCE_MEGAPIXELS = 8.0


def read_resident(field: str) -> int:
    """VmRSS, or VmHWM, the highest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def draw_block(is_blurred: bool) -> Image:
    """Discs of all sizes, (BLOCK_PX, BLOCK_PX, 3), linear."""
    rng = np.random.default_rng(4)
    block = np.full((BLOCK_PX, BLOCK_PX, 3), 0.3, np.float32)
    for radius in rng.uniform(1 / 150**2, 1 / 1.5**2, 6000) ** -0.5:
        x, y = (int(place) for place in rng.integers(0, BLOCK_PX, 2))
        cv2.circle(block, (x, y), max(1, round(radius)), rng.uniform(0.02, 0.9, 3).tolist(), -1)
    return cv2.GaussianBlur(block, (0, 0), 6.0) if is_blurred else block


def make_photo(megapixels: float, *, is_dual: bool, is_blurred: bool) -> Photo:
    """A photo of the shape 3:2, whose views are two pixels apart."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(height * 1.5)
    rows, columns = np.arange(height) % BLOCK_PX, np.arange(width) % BLOCK_PX
    block = draw_block(is_blurred)
    base = block[rows[:, None], columns]
    if not is_dual:
        return Photo((Path("synthetic"),), "image", base)
    left, right = (block[rows[:, None], (columns + shift) % BLOCK_PX] for shift in (-1, 1))
    return Photo((Path("synthetic"),), "pair", base, left, right)


@contextlib.contextmanager
def watch_plans() -> Iterator[list[TilePlan]]:
    """Collect the plans of the tiles that are worked on."""
    plans: list[TilePlan] = []

    def process_tiles(size: tuple[int, int], plan: TilePlan, *rest: Any) -> Iterator[Image]:
        plans.append(plan)
        return tiling.process_tiles(size, plan, *rest)

    with mock.patch.object(inference, "process_tiles", process_tiles):
        yield plans


def run_once(name: str, megapixels: float, precision: str, is_blurred: bool) -> dict[str, Any]:
    """Restore one photo in this process."""
    is_dual = NETWORKS[name].views == 2
    weights, _ = choose_weights(2 if is_dual else 1, "image", name)
    restorer = Restorer(weights, Settings(device="cpu", precision=precision))
    photo = make_photo(megapixels, is_dual=is_dual, is_blurred=is_blurred)
    photo_bytes = sum(image.nbytes for image in (photo.base, photo.left, photo.right) if image is not None)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = read_resident("VmRSS")
    wall, processor = time.perf_counter(), time.process_time()
    with watch_plans() as plans:
        restored = restorer.restore(photo, in_place=True)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    pixels = photo.base.shape[0] * photo.base.shape[1]
    return {
        "network": name,
        "precision": restored.precision,
        "megapixels": pixels / 1e6,
        "working_scale": restored.working_scale,
        "tile_px": restored.tile_px,
        "photo_bytes": photo_bytes,
        "peak_bytes": read_resident("VmHWM") - before,
        "model_bytes": restorer.estimate_bytes(plans[-1]),
        "seconds_per_megapixel": wall / pixels * 1e6,
        "cpu_seconds_per_megapixel": processor / pixels * 1e6,
    }


def run_apart(name: str, megapixels: float, precision: str, is_blurred: bool, is_tuned: bool) -> dict[str, Any]:
    """Restore one photo in a process of its own."""
    options = ["--blurred"] if is_blurred else []
    command = [sys.executable, __file__, "--once", "--network", name, "--megapixels", f"{megapixels:g}"]
    command += ["--precision", precision, *options]
    # as the program itself does before it starts (dpdeblur/commands/restart.py)
    environment = os.environ | {"GLIBC_TUNABLES": TUNABLES} if is_tuned else os.environ
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def run_several(runs: int, *arguments: Any) -> dict[str, Any]:
    """The run with the middle peak of several, with the least times of all: others only ever add to them."""
    rows = sorted((run_apart(*arguments) for _ in range(runs)), key=lambda row: row["peak_bytes"])
    times = ("seconds_per_megapixel", "cpu_seconds_per_megapixel")
    least = {key: min(row[key] for row in rows) for key in times}
    return rows[len(rows) // 2] | least | {"peaks_bytes": [row["peak_bytes"] for row in rows]}


def print_row(row: dict[str, Any], reference: dict[str, Any]) -> None:
    """Print one run beside that with 8 megapixels."""
    megabytes = {key: row[f"{key}_bytes"] / 1e6 for key in ("photo", "peak", "model")}
    print(
        f"{row['network']:7} {row['precision']} {row['megapixels']:6.2f} {row['working_scale']:6.3f}"
        f" {row['tile_px']:5} {megabytes['photo']:6.0f} {megabytes['peak']:6.0f}"
        f" {row['peak_bytes'] / reference['peak_bytes']:5.2f} {megabytes['model']:6.0f}"
        f" {row['seconds_per_megapixel']:6.2f} {row['seconds_per_megapixel'] / reference['seconds_per_megapixel']:5.2f}"
        f" {row['cpu_seconds_per_megapixel']:6.2f}"
        f" {row['cpu_seconds_per_megapixel'] / reference['cpu_seconds_per_megapixel']:5.2f}"
        f"  {' '.join(f'{peak / 1e6:.0f}' for peak in row['peaks_bytes'])}",
        flush=True,
    )


def main() -> None:
    """Run each network on each size, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=sorted(NETWORKS), choices=sorted(NETWORKS))
    parser.add_argument("--megapixels", type=float, nargs="+", default=[2.0, 8.0, 30.0])
    parser.add_argument("--precision", nargs="+", default=["auto"], choices=["auto", "fp32", "bf16"])
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured")
    parser.add_argument("--blurred", action="store_true", help="a photo that is worked on at a smaller scale")
    parser.add_argument("--untuned", action="store_true", help="leave glibc's settings as they are")
    parser.add_argument("--once", action="store_true", help="one run in this process, its figures as JSON")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(run_once(options.network[0], options.megapixels[0], options.precision[0], options.blurred)))
        return
    rows: list[dict[str, Any]] = []
    print("network prec  Mpx    scale  tile  photo   peak   / 8  model  s/Mpx   / 8  cpu s   / 8  all peaks")
    for name in options.network:
        for precision in options.precision:
            settings = precision, options.blurred, not options.untuned
            found = [run_several(options.runs, name, size, *settings) for size in options.megapixels]
            nearest = min(found, key=lambda row: abs(row["megapixels"] - REFERENCE_MEGAPIXELS))
            for row in found:
                print_row(row, nearest)
            rows += found
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
