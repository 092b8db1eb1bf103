"""Score weights on the real scenes, with the program as a user runs it, and write the scores into their cards.

    python tests/benchmarks/score_real_scenes.py SHARED [--model k3dn gkmnet] [--write-cards] [--json FILE]

SHARED holds data/pixel4, data/canon_r6 and tools/score_views.py, which defines the protocols (black levels, white
sheets, registration of the references, affine fit). Prints one table a model: PSNR of the blurred input and of the
result, the gain, the best unsharp mask chosen with the reference in hand, SSIM, MAE, and the change in pixels that
were in focus already.
"""

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dpdeblur.choice import choose_weights
from dpdeblur.networks import NETWORKS
from dpdeblur.weights import load_weights, save_weights

ROW = re.compile(r"^(\w+)\s+([\d.]+)\s+([\d.]+)\s+([+-][\d.]+)\s.*?([\d.]+)%\s+([\d.]+|nan)$")


def score(shared: Path, model: str) -> tuple[str, dict[str, float]]:
    """Prepare the scenes, run the program, score; returns the table and {"pixel": dB, "canon": dB, scene: dB, ...}."""
    tool = [sys.executable, str(shared / "tools" / "score_views.py")]
    with tempfile.TemporaryDirectory() as name:
        scenes, results = Path(name) / "scenes", Path(name) / "results"
        subprocess.run([*tool, "prepare", str(scenes)], check=True)
        started = time.monotonic()
        command = [sys.executable, "-m", "dpdeblur.cli", "run", str(scenes), "-o", str(results), "--model", model]
        subprocess.run(command, check=True)
        seconds = time.monotonic() - started
        table = subprocess.run(
            [*tool, "score", str(scenes), str(results)], check=True, capture_output=True, text=True
        ).stdout
    rows = [match for line in table.splitlines() if (match := ROW.match(line.strip()))]
    gains = {match[1]: float(match[4]) for match in rows}
    pixel = [gain for name, gain in gains.items() if name.startswith("pixel")]
    canon = [gain for name, gain in gains.items() if name.startswith("canon")]
    # a scene without a pixel in focus has no such figure
    changes = [float(match[6]) for match in rows if match[6] != "nan"]
    summary = {
        "pixel": sum(pixel) / len(pixel),
        "canon": sum(canon) / len(canon),
        "in_focus_change": sum(changes) / len(changes),
        **gains,
    }
    return f"{table}seconds for all scenes: {seconds:.0f}", {key: round(value, 4) for key, value in summary.items()}


def main() -> None:
    """Score each model, print, and store what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--model", nargs="+", default=["k3dn", "gkmnet"], choices=sorted(NETWORKS))
    parser.add_argument("--write-cards", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    for model in options.model:
        table, scores = score(options.shared, model)
        print(f"{model}\n{table}\n{json.dumps(scores)}\n", flush=True)
        found[model] = scores
        if options.write_cards:
            path, _ = choose_weights(2, "pair", model)
            network, card = load_weights(path)
            save_weights(path, model, network, dataclasses.replace(card, scores=scores), half=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
