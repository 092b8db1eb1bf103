"""The ablation benchmark changes what it says, and its table compares what it should."""

import json
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from benchmark_scripts import load_script

from dpdeblur.training.kernels import build_kernels, ideal_lenses
from dpdeblur.training.textures import draw_textures


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_script("ablate")


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    (tmp_path / "textures").mkdir()
    cv2.imwrite(str(tmp_path / "textures/one.png"), draw_textures(1, seed=0)[0])
    np.save(tmp_path / "kernels.npy", build_kernels(ideal_lenses(2), torch.full((2, 1), 13.5), 30)[:, 0].numpy())
    image = np.rint(np.random.default_rng(0).random((64, 64)) * 65535).astype(np.uint16)
    np.savez(tmp_path / "scenes.npz", **{f"pixel_drawn/{part}": image for part in ("left", "right", "reference")})
    return tmp_path


def test_the_script_trains_arms_and_compares_those_of_a_question(
    benchmark: ModuleType, pack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = ["ablate.py", str(pack), "--out", str(pack / "out"), "--arms", "full", "unaligned", "--steps", "2"]
    words += ["--form", '{"width": 4}', "--batch", "1", "--crop", "32", "--largest-radius", "2", "--procedural", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--json", str(pack / "found.json")])
    benchmark.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["full", "unaligned", "full - unaligned"]
    found = json.loads((pack / "found.json").read_text())
    assert set(found) == {"full", "unaligned"} and set(found["full"]) == {"pixel"}
    states = [torch.load(pack / "out" / f"{arm}_1/state.pt", weights_only=True)["trainee"] for arm in found]
    fields = [[tensor.abs().sum() for name, tensor in state.items() if "_field." in name] for state in states]
    assert float(sum(fields[0])) > 0 == float(sum(fields[1]))


def test_the_table_has_means_spreads_and_differences(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]):
    benchmark.print_table({"full": {"pixel": [2.0, 4.0]}, "mean": {"pixel": [1.0, 1.5]}, "half": {"pixel": [0.0]}})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    # the standard deviation of 2 and 4 is the root of 2
    assert rows[2:] == [
        ["two views, or their mean", "full", "+3.00 +-1.41"],
        ["two views, or their mean", "mean", "+1.25 +-0.35"],
        ["", "full - mean", "+1.75"],
    ]


def test_gains_are_those_of_the_last_row_at_the_better_scale(benchmark: ModuleType, tmp_path: Path):
    (tmp_path / "log.csv").write_text("step,loss,pixel@1,pixel@0.5,canon@1\n1,0.1,9,9,9\n2,0.1,0.5,1.5,-0.25\n")
    assert benchmark.read_last_row(tmp_path / "log.csv") == {"pixel": 1.5, "canon": -0.25}
