"""How fast pairs are simulated, beside another checkout of the program.

    python tests/benchmarks/simulator_rate.py [--other FOLDER] [--device cuda] [--json FILE]

FOLDER is a checkout to compare with, such as `git worktree add FOLDER REVISION` makes. Both take turns in processes of
their own, with procedural textures and one thread. Printed is the ratio of their CPU time a batch (of the wall clock on
a GPU), each the fastest of the turns, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, time, torch
torch.set_num_threads(1)
from dpdeblur.training.data import SceneOptions, simulate_batches
from dpdeblur.training.textures import draw_textures
device, batch, crop, radius, batches = sys.argv[1], *(int(word) for word in sys.argv[2:6])
textures = torch.from_numpy(draw_textures(8, seed=1)).permute(0, 3, 1, 2).contiguous().to(device)
options = SceneOptions(height=crop, width=crop, largest_radius_px=radius)
source = simulate_batches(textures, batch, options, torch.Generator(device).manual_seed(1))
on_gpu = device.startswith("cuda")
clock = time.perf_counter if on_gpu else time.process_time
next(source)
fastest = float("inf")
for _ in range(batches):
    start = clock()
    next(source)
    if on_gpu:
        torch.cuda.synchronize()
    fastest = min(fastest, clock() - start)
print(fastest)
"""


def measure(root: Path, options: argparse.Namespace) -> float:
    """Seconds a batch of the program in a checkout."""
    numbers = [options.batch, options.crop, options.largest_radius, options.batches]
    words = [sys.executable, "-c", PROGRAM, options.device, *map(str, numbers)]
    return float(subprocess.run(words, cwd=root, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Take turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="another checkout")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128, help="pixels")
    parser.add_argument("--largest-radius", type=int, default=5, help="pixels")
    parser.add_argument("--batches", type=int, default=4, help="of a turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    roots = {"this": ROOT} | ({"other": options.other} if options.other else {})
    seconds = {name: float("inf") for name in roots}
    for _ in range(options.turns):
        for name, root in roots.items():
            seconds[name] = min(seconds[name], measure(root, options))
    rates = {name: 1 / value for name, value in seconds.items()}
    if options.other:
        rates["ratio"] = rates["this"] / rates["other"]
        print(f"batches a second, this checkout over the other: {rates['ratio']:.2f}")
    print(f"pairs a second here: {options.batch * rates['this']:.1f}")
    if options.json:
        options.json.write_text(json.dumps(rates, indent=1) + "\n")


if __name__ == "__main__":
    main()
