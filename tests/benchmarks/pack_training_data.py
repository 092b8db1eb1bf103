"""Pack textures, measured kernels and real scenes into one small folder that training can take along.

    python tests/benchmarks/pack_training_data.py SHARED OUT

SHARED holds data/textures, data/pixel4 and data/canon_r6, and tools/score_views.py, whose scenes are stored here:
the Pixel scenes at half size (their blur is 24 to 30 pixels across), the Canon plane as it is.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from scorer import load_scorer


def pack(shared: Path, out: Path) -> None:
    """Write OUT/textures/*.webp, OUT/kernels.npy and OUT/scenes.npz."""
    scorer = load_scorer(shared)
    (out / "textures").mkdir(parents=True, exist_ok=True)
    for path in sorted((shared / "data" / "textures").glob("*.webp")):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        cv2.imwrite(str(out / "textures" / path.name), image, [cv2.IMWRITE_WEBP_QUALITY, 80])
    sides = [
        np.load(shared / "data" / "pixel4" / "calibration" / f"blur_kernels_{side}.npy") for side in ("left", "right")
    ]
    np.save(out / "kernels.npy", np.stack(sides, 1).astype(np.float16))
    arrays = {}
    for name, left, right, reference in scorer.scenes():
        for part, image in (("left", left), ("right", right), ("reference", reference)):
            if name.startswith("pixel"):
                image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            if image.ndim == 3:
                image = image[..., ::-1]  # OpenCV's BGR
            bits = 4 if part != "reference" and name.startswith("pixel") else 8
            # the low bits of a reduced, noise-free-looking view are noise that does not pack: 12 bits are plenty
            arrays[f"{name}/{part}"] = (
                (np.rint(np.clip(image, 0, 1) * 65535 / 2**bits) * 2**bits).clip(0, 65535).astype(np.uint16)
            )
    np.savez_compressed(out / "scenes.npz", **arrays)


def main() -> None:
    """Pack what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    pack(options.shared, options.out)


if __name__ == "__main__":
    main()
