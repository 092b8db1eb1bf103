"""LPIPS: left out with a reason, never downloaded, called as its authors have it called."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dpdeblur.evaluation.perceptual import load_perceptual_metric


class FakeNetwork:
    """Stands for `lpips.LPIPS`: remembers what it gets."""

    made: list[dict[str, Any]] = []
    calls: list[tuple[torch.Tensor, torch.Tensor, bool]] = []

    def __init__(self, **options: Any) -> None:
        """Remember the options."""
        self.made.append(options)

    def eval(self) -> FakeNetwork:
        """Nothing to do."""
        return self

    def __call__(self, reference: torch.Tensor, result: torch.Tensor, normalize: bool) -> torch.Tensor:
        """Remember the pictures."""
        self.calls.append((reference, result, normalize))
        return torch.full((1, 1, 1, 1), 0.25)


@pytest.fixture
def fake_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Packages that look like lpips and torchvision; returns where the backbone would have to be."""
    lpips = types.ModuleType("lpips")
    lpips.__spec__ = importlib.machinery.ModuleSpec("lpips", None)
    lpips.LPIPS = FakeNetwork  # type: ignore[attr-defined]
    models = types.ModuleType("torchvision.models")
    one = types.SimpleNamespace(url="https://example.org/models/alexnet-owt-7be5be79.pth")
    models.AlexNet_Weights = types.SimpleNamespace(IMAGENET1K_V1=one)  # type: ignore[attr-defined]
    torchvision = types.ModuleType("torchvision")
    torchvision.models = models  # type: ignore[attr-defined]
    for name, module in (("lpips", lpips), ("torchvision", torchvision), ("torchvision.models", models)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    FakeNetwork.made.clear()
    FakeNetwork.calls.clear()
    return tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    metric, reason = load_perceptual_metric()
    assert metric is None
    assert "pip install 'dpdeblur[lpips]'" in reason


def test_without_its_backbone_nothing_is_made_or_downloaded(fake_package: Path) -> None:
    metric, reason = load_perceptual_metric()
    assert metric is None
    assert str(fake_package) in reason
    assert FakeNetwork.made == []


def test_a_torchvision_for_another_torch_is_a_reason_too(fake_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)  # importing it raises ImportError
    metric, reason = load_perceptual_metric()
    assert metric is None
    assert "torchvision cannot be loaded" in reason


def test_it_gets_both_pictures_as_its_authors_have_it_called(fake_package: Path) -> None:
    fake_package.parent.mkdir(parents=True)
    fake_package.touch()
    metric, reason = load_perceptual_metric()
    assert metric is not None and reason == ""
    result, reference = np.random.default_rng(0).random((2, 5, 7, 3))
    assert metric(result, reference) == 0.25
    assert FakeNetwork.made == [{"net": "alex", "version": "0.1", "verbose": False}]
    ((first, second, normalised),) = FakeNetwork.calls
    assert normalised  # pictures in [0, 1], which it takes to [-1, 1] itself
    np.testing.assert_array_equal(first[0].permute(1, 2, 0).numpy(), reference.astype(np.float32))
    np.testing.assert_array_equal(second[0].permute(1, 2, 0).numpy(), result.astype(np.float32))


def test_gray_pictures_are_shown_to_it_in_three_channels(fake_package: Path) -> None:
    fake_package.parent.mkdir(parents=True)
    fake_package.touch()
    metric, _ = load_perceptual_metric()
    assert metric is not None
    gray = np.random.default_rng(0).random((5, 7, 1))
    metric(gray, gray)
    assert FakeNetwork.calls[0][0].shape == (1, 3, 5, 7)
    assert torch.equal(FakeNetwork.calls[0][0][0, 0], FakeNetwork.calls[0][0][0, 2])
