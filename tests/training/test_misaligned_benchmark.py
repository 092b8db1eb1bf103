"""The benchmark's own measure can tell sharp from blurred and in place from moved, and the whole of it runs."""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dpdeblur.training.textures import draw_textures

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "train_misaligned.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_misaligned", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_misaligned"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drawn() -> Tensor:
    return torch.from_numpy(draw_textures(1, seed=5)[:, 100:228, 100:228].copy()).permute(0, 3, 1, 2).float() / 255


def test_references_move_by_no_more_than_was_asked(benchmark: ModuleType):
    generator = torch.Generator().manual_seed(0)
    shifts = benchmark.draw_motions(200, 48, argparse.Namespace(shift_px=3.0, zoom=0.0, turn_degrees=0.0), generator)
    assert float((shifts - shifts[..., :1, :1]).abs().max()) < 1e-4  # the same everywhere
    assert 2.9 < float(shifts.abs().max()) < 3.001
    # uniform within +-3: mean 0, standard deviation 3 / sqrt 3
    assert float(shifts.mean()) == pytest.approx(0, abs=3 * 3 / 3**0.5 / 400**0.5)
    zooms = benchmark.draw_motions(200, 48, argparse.Namespace(shift_px=0.0, zoom=0.02, turn_degrees=1.0), generator)
    length = (zooms**2).sum(1).sqrt()
    corner = 23.5 * 2**0.5 * (0.02**2 + (torch.pi / 180) ** 2) ** 0.5
    assert 0.9 * corner < float(length.max()) < 1.02 * corner
    assert float(length[:, 23:25, 23:25].max()) < 0.1  # the middle stays


def test_a_reference_is_taken_from_where_its_motion_points(benchmark: ModuleType, drawn: Tensor):
    motion = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 128, 128)
    moved = benchmark.move_references(drawn, motion)
    torch.testing.assert_close(moved[..., 4:-4, 4:-4], drawn[..., 2:-6, 7:-1], atol=1e-4, rtol=0)


def test_masks_are_judged_by_the_true_motion(benchmark: ModuleType, drawn: Tensor):
    sharp, moved = drawn[..., 8:-8, 8:-8], drawn[..., 6:-10, 11:-5].clone()
    moved[..., 30:70, 30:70] = drawn[..., 80:120, 5:45]  # something else stands here, so its flow is wrong
    truth = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 112, 112)
    kept = benchmark.judge_masks(benchmark.Pairs(sharp, sharp, sharp, moved, truth))
    for shares in kept.values():
        assert shares["right"] > 0.97
        assert shares["wrong"] < 0.7
        assert shares["wrong"] < shares["all"] < shares["right"]


def test_the_score_tells_sharp_from_blurred_and_moved(benchmark: ModuleType, drawn: Tensor):
    sharp, moved = drawn[..., 8:-8, 8:-8], drawn[..., 10:-6, 11:-5]
    perfect = benchmark.score_result(sharp, sharp, moved)
    blurred = benchmark.score_result(functional.avg_pool2d(drawn[..., 6:-6, 6:-6], 5, 1), sharp, moved)
    displaced = benchmark.score_result(moved, sharp, moved)
    assert perfect["deformed"] > blurred["deformed"] + 3
    assert perfect["aligned"] == float("inf")
    assert perfect["drift"] < 0.1
    # flow forgives a displaced result, the true reference does not
    assert displaced["deformed"] > perfect["deformed"]
    assert displaced["aligned"] < perfect["deformed"] - 3
    assert displaced["drift"] == pytest.approx(13**0.5, abs=0.3)


def test_it_runs_and_writes_what_it_says(tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, texture in enumerate(draw_textures(8, seed=1)):
        cv2.imwrite(str(photos / f"{number}.png"), texture)
    few = ["--steps", "2", "--batch", "2", "--crop", "32", "--pairs", "4", "--test-pairs", "2", "--test-crop", "64"]
    form = ["--network", "k3dn", "--form", '{"base": 4, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1}']
    files = ["--json", str(tmp_path / "figures.json"), "--sheet", str(tmp_path / "sheet.png")]
    run = [sys.executable, str(SCRIPT), str(photos), *few, *form, *files, "--largest-radius-px", "2", "--shift-px", "2"]
    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert set(figures) == {"input", "pixelwise", "jdrl", "aligned", "jdrl_over_pixelwise"}
    gain = figures["jdrl"]["deformed"] - figures["pixelwise"]["deformed"]
    assert f"jdrl over pixelwise: {gain:+.2f} dB deformed" in printed
    assert 0 < figures["jdrl"]["kept"] <= 1
    # input, three arms, a mask and two references, 64 pixels each; two rows
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (2 * 64, 7 * 64, 3)
