"""Score weights on the real scenes, with the program as a user runs it, and write the scores into their cards.

    python tests/benchmarks/score_real_scenes.py SHARED [--model k3dn gkmnet] [--write-cards] [--json FILE]
        [--pictures FOLDER]

SHARED holds data/pixel4, data/canon_r6 and tools/score_views.py, which defines the protocols (black levels, white
sheets, registration of the references, affine fit). Prints one table a model: PSNR of the blurred input and of the
result, the gain, the best unsharp mask chosen with the reference in hand, SSIM, MAE, and the change in pixels that
were in focus already. With --pictures, each scene becomes a strip at 100 %: the blurred input, each model's result, the
reference.
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

import cv2
import numpy as np
from scorer import load_scorer

from dpdeblur.networks import NETWORKS
from dpdeblur.restoration.choice import choose_weights
from dpdeblur.weights import load_weights, save_weights

#: Side of what a strip shows of each picture.
STRIP_PX = 480

ROW = re.compile(r"^(\w+)\s+([\d.]+)\s+([\d.]+)\s+([+-][\d.]+)\s.*?([\d.]+)%\s+([\d.]+|nan)$")


def score(shared: Path, model: str, folder: Path) -> tuple[str, dict[str, float]]:
    """Prepare the scenes, run the program, score; returns the table and {"pixel": dB, "canon": dB, scene: dB, ...}.

    The scenes lie in `folder`/scenes then, and the results in `folder`/`model`.
    """
    tool = [sys.executable, str(shared / "tools" / "score_views.py")]
    scenes, results = folder / "scenes", folder / model
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


def draw_strips(shared: Path, folder: Path, models: list[str], out: Path) -> None:
    """Draw the middle of each scene at 100 %: blurred, each model's result, reference, with their names above."""
    scorer = load_scorer(shared)
    out.mkdir(parents=True, exist_ok=True)
    for name, left, right, reference in scorer.scenes():
        blurred = scorer.encode((scorer.decode(left) + scorer.decode(right)) / 2)
        results = [cv2.imread(str(folder / model / f"{name}.tif"), cv2.IMREAD_UNCHANGED) / 65535 for model in models]
        top, side = ((size - STRIP_PX) // 2 for size in reference.shape[:2])
        panels = []
        for label, picture in zip(
            ("blurred", *models, "reference"), (blurred, *results, np.clip(reference, 0, 1)), strict=True
        ):
            part = np.rint(255 * picture[top : top + STRIP_PX, side : side + STRIP_PX]).astype(np.uint8)
            part = part if part.ndim == 3 else cv2.cvtColor(part, cv2.COLOR_GRAY2BGR)
            title = np.full((24, STRIP_PX, 3), 255, np.uint8)
            cv2.putText(title, label, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
            panels.append(np.concatenate([title, part]))
        cv2.imwrite(str(out / f"{name}.png"), np.concatenate(panels, axis=1))


def main() -> None:
    """Score each model, print, and store what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--model", nargs="+", default=["k3dn", "gkmnet", "both"], choices=sorted(NETWORKS))
    parser.add_argument("--write-cards", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in options.model:
            table, scores = score(options.shared, model, folder)
            print(f"{model}\n{table}\n{json.dumps(scores)}\n", flush=True)
            found[model] = scores
            if options.write_cards:
                path, _ = choose_weights(2, "pair", model)
                network, card = load_weights(path)
                save_weights(path, model, network, dataclasses.replace(card, scores=scores), half=True)
        if options.pictures:
            draw_strips(options.shared, folder, options.model, options.pictures)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
