"""Weights for the tests of scoring."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_networks import ADDED, ship_weights, write_gkmnet, write_k3dn


@pytest.fixture(scope="session")
def unchanging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that change nothing."""
    return write_gkmnet(tmp_path_factory.mktemp("weights") / "unchanging.safetensors")


@pytest.fixture(scope="session")
def brighter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that add `ADDED` to every sRGB-encoded value."""
    return write_gkmnet(tmp_path_factory.mktemp("weights") / "brighter.safetensors", added=ADDED)


@pytest.fixture(scope="session")
def two_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that needs two views and returns their mean."""
    return write_k3dn(tmp_path_factory.mktemp("weights") / "two_views.safetensors")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights: both networks, neither of which changes anything but rounding."""
    folder = ship_weights(tmp_path / "shipped")
    monkeypatch.setattr("dpdeblur.weights.WEIGHTS_FOLDER", folder)
    return folder
