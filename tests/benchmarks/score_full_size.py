"""Does a photo of full size gain as a reduced one does? Restore whole Pixel frames, and simulated 24-megapixel pairs.

    python tests/benchmarks/score_full_size.py SHARED [--model k3dn gkmnet] [--radius 16 32] [--json FILE]

SHARED holds data/pixel4, data/textures and tools/score_views.py. Two tables, by the program as a user runs it:

whole frames: the 1512 x 2016 frame of each Pixel scene is restored, and its centre scored against the reference, beside
    the centre restored alone.
simulated: a 6000 x 4000 pair (layers with slanted depth, textures at their own size, noise), whose blur is up to
    RADIUS pixels wide either side, is restored at full size, and reduced to a quarter and restored there. Three gains
    in PSNR, over the middle: of the full result at full size, of the full result reduced to a quarter, and of the
    reduced photo. The last two answer the question; the first counts detail too that no blur leaves.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scorer import load_scorer

from dpdeblur.networks import NETWORKS
from dpdeblur.networks.light import decode_srgb, encode_srgb
from dpdeblur.training.data import SceneOptions, add_smoothed, draw_sample
from dpdeblur.training.sensor import finish_pair
from dpdeblur.training.simulator import render_sharp, render_views
from dpdeblur.training.textures import load_textures

Picture = npt.NDArray[np.float64]
SIMULATED_SIZE = (4000, 6000)
REDUCTION = 4
_BLOCK_PX = 1000
_BORDER_PX = 96


def write_png(path: Path, image: Picture) -> None:
    """Write an sRGB-encoded picture in [0, 1], (H, W) or (H, W, 3) RGB, at 16 bits."""
    values = np.rint(np.clip(image, 0, 1) * 65535).astype(np.uint16)
    cv2.imwrite(str(path), values if values.ndim == 2 else values[..., ::-1])


def read_result(path: Path) -> Picture:
    """Read a 16-bit TIFF as (H, W) or (H, W, 3) RGB in [0, 1]."""
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return (values if values.ndim == 2 else values[..., ::-1]).astype(np.float64) / 65535


def restore(folder: Path, out: Path, model: str) -> dict[str, Path]:
    """Run the program over pairs; the results by name."""
    command = [sys.executable, "-m", "dpdeblur.cli", "run", str(folder), "-o", str(out), "--model", model]
    subprocess.run(command, check=True)
    return {path.stem: path for path in out.glob("*.tif")}


def prepare_frame(scorer: ModuleType, shared: Path, name: str) -> tuple[Picture, Picture]:
    """The whole frame of a Pixel scene by the scorer's protocol: its views, sRGB-encoded, at the scene's exposure."""
    folder = shared / "data" / "pixel4"

    def view(path: Path) -> Picture:
        return np.clip(scorer.read(path) - 1024, 0, None) / (16383 - 1024)

    sheets = [view(folder / "calibration" / f"white_sheet_{side}.png") for side in ("left", "right")]
    left = view(folder / f"{name}_left.png")
    right = view(folder / f"{name}_right.png") * cv2.blur(sheets[0] / sheets[1], (101, 101))
    reference = scorer.read(folder / f"{name}_gt.png")
    centre = cut_centre((left + right) / 2)
    gain = 0.9 / np.percentile(reference * centre.mean() / reference.mean(), 99.5)
    return np.clip(scorer.encode(left * gain), 0, 1), np.clip(scorer.encode(right * gain), 0, 1)


def cut_centre(image: Picture) -> Picture:
    """The middle 1008 x 1344 pixels."""
    top, side = (image.shape[0] - 1008) // 2, (image.shape[1] - 1344) // 2
    return image[top : top + 1008, side : side + 1344]


def score_frames(shared: Path, model: str, folder: Path) -> dict[str, dict[str, float]]:
    """Gains of the centre of each restored frame, and of the centre restored alone."""
    scorer = load_scorer(shared)
    frames, centres = folder / "frames", folder / "centres"
    frames.mkdir()
    centres.mkdir()
    references = {}
    for name in scorer.PIXEL:
        for side, view in zip(("left", "right"), prepare_frame(scorer, shared, name), strict=True):
            write_png(frames / f"{name}_{side}.png", view)
        left, right, references[name] = scorer.pixel_scene(name)
        write_png(centres / f"{name}_left.png", left)
        write_png(centres / f"{name}_right.png", right)
    whole, alone = restore(frames, folder / "whole", model), restore(centres, folder / "alone", model)
    rows = {}
    for name, reference in references.items():
        left, right, _ = scorer.pixel_scene(name)
        before = scorer.psnr(scorer.encode((scorer.decode(left) + scorer.decode(right)) / 2), reference)
        rows[name] = {
            "whole frame": scorer.psnr(cut_centre(read_result(whole[name])), reference) - before,
            "centre alone": scorer.psnr(read_result(alone[name]), reference) - before,
        }
    rows["mean"] = {key: float(np.mean([row[key] for row in rows.values()])) for key in rows["002"]}
    return rows


def simulate(textures: Path, radius_px: float, seed: int) -> tuple[Picture, Picture, Picture]:
    """Left, right and sharp picture, (4000, 6000, 3) sRGB-encoded; rendered in blocks, to keep within memory."""
    generator = torch.Generator().manual_seed(seed)
    options = SceneOptions(*SIMULATED_SIZE, largest_radius_px=radius_px, layers=2, focus_share=0, measured_share=0)
    bank = add_smoothed(torch.from_numpy(load_textures(textures, limit=48)).permute(0, 3, 1, 2).contiguous())
    sample = draw_sample(bank, 1, options, generator)
    margin = options.half_size_px
    height, width = SIMULATED_SIZE
    linear = torch.empty(3, 1, 3, height, width)
    for top in range(0, height, _BLOCK_PX):
        for left in range(0, width, _BLOCK_PX):
            block = sample.scene.crop(top, left, _BLOCK_PX + 2 * margin, _BLOCK_PX + 2 * margin)
            inside = (..., slice(margin, -margin), slice(margin, -margin))
            views = (*render_views(block, sample.lenses, margin), render_sharp(block))
            for index, view in enumerate(views):
                linear[index, ..., top : top + _BLOCK_PX, left : left + _BLOCK_PX] = view[inside]
    pictures = finish_pair(linear[0], linear[1], linear[2], sample.sensors, generator)
    encoded = [picture[0].permute(1, 2, 0).double().numpy() for picture in pictures]
    return encoded[0], encoded[1], encoded[2]


def reduce_picture(encoded: Picture) -> Picture:
    """The picture at a quarter of its size, averaged in linear light."""
    linear = decode_srgb(torch.from_numpy(encoded)).numpy()
    size = (encoded.shape[1] // REDUCTION, encoded.shape[0] // REDUCTION)
    return np.asarray(encode_srgb(torch.from_numpy(cv2.resize(linear, size, interpolation=cv2.INTER_AREA))).numpy())


def measure_psnr(image: Picture, reference: Picture, border_px: int) -> float:
    """PSNR inside a border, peak 1."""
    inside = (slice(border_px, -border_px), slice(border_px, -border_px))
    return float(-10 * np.log10(np.mean((image[inside] - reference[inside]) ** 2)))


def score_simulated(textures: Path, model: str, radius_px: float, seed: int, folder: Path) -> dict[str, float]:
    """The three gains of one simulated pair."""
    left, right, sharp = simulate(textures, radius_px, seed)
    for name, reduce in (("full", lambda x: x), ("quarter", reduce_picture)):
        (folder / name).mkdir(parents=True)
        write_png(folder / name / f"{name}_left.png", reduce(left))
        write_png(folder / name / f"{name}_right.png", reduce(right))
    mean = encode_srgb((decode_srgb(torch.from_numpy(left)) + decode_srgb(torch.from_numpy(right))) / 2).numpy()
    del left, right
    full = read_result(restore(folder / "full", folder / "full_out", model)["full"])
    quarter = read_result(restore(folder / "quarter", folder / "quarter_out", model)["quarter"])
    small_sharp, small_mean, border = reduce_picture(sharp), reduce_picture(mean), _BORDER_PX // REDUCTION
    before_small = measure_psnr(small_mean, small_sharp, border)
    return {
        "blurred": measure_psnr(mean, sharp, _BORDER_PX),
        "full": measure_psnr(full, sharp, _BORDER_PX) - measure_psnr(mean, sharp, _BORDER_PX),
        "blurred quarter": before_small,
        "full, seen at a quarter": measure_psnr(reduce_picture(full), small_sharp, border) - before_small,
        "quarter": measure_psnr(quarter, small_sharp, border) - before_small,
    }


def main() -> None:
    """Score, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--model", nargs="+", default=["k3dn", "gkmnet"], choices=sorted(NETWORKS))
    parser.add_argument("--radius", nargs="*", type=float, default=[16.0, 32.0], help="of the simulated photos' blur")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for model in options.model:
        with tempfile.TemporaryDirectory() as name:
            rows = score_frames(options.shared, model, Path(name))
        for radius in options.radius:
            with tempfile.TemporaryDirectory() as name:
                textures = options.shared / "data" / "textures"
                rows[f"24 MP, {radius:g} px"] = score_simulated(textures, model, radius, options.seed, Path(name))
        found[model] = rows
        print(model)
        for label, row in rows.items():
            print(f"  {label:14s}", "  ".join(f"{key} {value:+.2f}" for key, value in row.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
