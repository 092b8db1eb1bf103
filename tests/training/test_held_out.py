"""The held-out set of the benchmark is what it says, and the benchmark runs."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from benchmark_scripts import load_script

from dpdeblur.networks import NETWORKS
from dpdeblur.training.data import SceneOptions
from dpdeblur.training.kernels import build_kernels, draw_lenses
from dpdeblur.training.measured import MEASURED_RADIUS_PX
from dpdeblur.weights import Card, save_weights


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_script("score_simulated")


def test_held_out_kernels_share_the_pupils_light_out_to_the_views(benchmark: ModuleType):
    kernels = benchmark.trace_kernels(12, seed=0)
    assert kernels.shape == (12, 2, 61, 61) and kernels.min() >= 0
    np.testing.assert_allclose(kernels.sum((2, 3)), 1, rtol=1e-5)
    axis = np.arange(61) - 30
    centroid = (kernels.sum(2) * axis).sum(-1)
    # the left photodiode takes the pupil's right side
    assert (centroid[:, 0] > centroid[:, 1] + 0.5).all()


def test_a_pupil_without_aberrations_is_a_disc(benchmark: ModuleType):
    grid = np.linspace(-1, 1, 241)
    u, v = (part.ravel() for part in np.meshgrid(grid, grid))
    kernel = np.zeros((61, 61))
    benchmark._splat(kernel, u, v, (u**2 + v**2 <= 1).astype(float))
    axis = np.arange(61) - 30
    spread = (kernel / kernel.sum()).sum(0) @ axis**2
    assert spread == pytest.approx(MEASURED_RADIUS_PX**2 / 4, rel=0.02)


def test_held_out_kernels_are_farther_from_trainings_than_its_own_are_from_each_other(benchmark: ModuleType):
    def draw(count: int, seed: int) -> torch.Tensor:
        lenses = draw_lenses(count, torch.Generator().manual_seed(seed))
        return build_kernels(lenses, torch.full((count, 1), 10.0), 17).flatten(1)

    pointing = draw_lenses(24, torch.Generator().manual_seed(0), bank_size=24, measured_share=1.0)
    traced = torch.from_numpy(benchmark.trace_kernels(24, seed=20231))
    held_out = build_kernels(pointing, torch.full((24, 1), 10.0), 17, traced).flatten(1)
    trained = draw(400, 1)
    # the part of its light that a kernel would have to move to become the nearest of training's
    nearest = [torch.cdist(kernels, trained, p=1).min(1).values.median() / 4 for kernels in (held_out, draw(24, 2))]
    assert float(nearest[0]) > 2 * float(nearest[1]) > 0


def test_scenes_repeat_with_the_seed_and_show_no_texture_of_training(benchmark: ModuleType):
    textures = benchmark.load_held_out_textures(None)
    assert textures.shape == (11, 3, 512, 512)
    options = SceneOptions(height=48, width=48, largest_radius_px=3, measured_share=1.0)
    one, again = (benchmark.simulate_held_out(textures, 2, options, 3) for _ in range(2))
    for scene, other in zip(one, again, strict=True):
        assert torch.equal(scene.pair.left, other.pair.left) and torch.equal(scene.radius_px, other.radius_px)
    assert scene.radius_px.shape == (1, 1, 48, 48)


def test_the_benchmark_scores_a_network_that_does_nothing_at_zero(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    # untrained, GKMNet is the identity
    save_weights(tmp_path / "idle.safetensors", "gkmnet", NETWORKS["gkmnet"].build(), Card("gkmnet"))
    words = ["score_simulated.py", "--weights", str(tmp_path / "idle.safetensors"), "--json", str(tmp_path / "j")]
    monkeypatch.setattr(sys, "argv", [*words, "--count", "6", "--size", "64", "--largest-radius", "4"])
    benchmark.main()
    scores = json.loads((tmp_path / "j").read_text())["idle"]
    assert scores["gain"] == pytest.approx(0, abs=1e-3) == scores["all, pooled"]
    printed = capsys.readouterr().out
    assert "idle: " in printed and "missed" in printed
