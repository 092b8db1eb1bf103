"""Weights for the tests of scoring."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_networks import write_k3dn


@pytest.fixture(scope="session")
def two_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that needs two views and returns their mean."""
    return write_k3dn(tmp_path_factory.mktemp("weights") / "two_views.safetensors")
