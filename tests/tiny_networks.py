"""Weights files that do something known, for runs of the whole program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from dpdeblur.networks import NETWORKS
from dpdeblur.weights import Card, save_weights

# tiny pictures gain nothing from threads, and threads on busy cores wait for each other
torch.set_num_threads(1)

#: What `write_gkmnet` can add to every sRGB-encoded value.
ADDED = 0.0625


def write_gkmnet(path: Path, *, added: float = 0.0, scores: Mapping[str, float] = {}) -> Path:  # noqa: B006  never changed
    """Write a GKMNet in our form, which starts as the identity; its last bias is what it adds to each value."""
    network = NETWORKS["gkmnet"].build()
    torch.nn.init.constant_(network.mixture.output.bias, added)
    save_weights(path, "gkmnet", network, Card(network="gkmnet", form={}, scores=dict(scores)))
    return path


def write_k3dn(path: Path, *, scores: Mapping[str, float] = {}) -> Path:  # noqa: B006
    """Write a small K3DN in our form, which starts as the mean of the views."""
    form = {"base": 4, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1}
    save_weights(path, "k3dn", NETWORKS["k3dn"].build(**form), Card(network="k3dn", form=form, scores=dict(scores)))
    return path


def ship_weights(folder: Path) -> Path:
    """Make a folder like the program's own: both kinds of network, with scores to choose by."""
    folder.mkdir()
    write_gkmnet(folder / "gkmnet.safetensors", scores={"pixel": 0.1, "canon": 0.1})
    write_k3dn(folder / "k3dn_tiny.safetensors", scores={"pixel": 0.9, "canon": 0.5})
    return folder
