"""The networks, by name: how each is built and how many views it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dpdeblur.networks.both import Both
from dpdeblur.networks.dpanet import DPANet
from dpdeblur.networks.gkmnet import GKMNet
from dpdeblur.networks.k3dn import K3DN
from dpdeblur.networks.network import Network


@dataclass(frozen=True)
class NetworkSpec:
    """What the program knows about a network before it builds one.

    Attributes:
        name: The key in `NETWORKS` and on weights' cards.
        views: 1 for blurred -> sharp, 2 for (left, right) -> sharp.
        build: Creates the module from the keyword arguments of its form.
    """

    name: str
    views: Literal[1, 2]
    build: Callable[..., Network]


K3DN_SIZES: dict[str, dict[str, int]] = {
    "tiny": {"base": 20, "blocks": 4, "psf_blocks": 4, "srp_blocks": 1},
    "lightweight": {"base": 32, "blocks": 2, "psf_blocks": 4, "srp_blocks": 2},
    "large": {"base": 48, "blocks": 4, "psf_blocks": 8, "srp_blocks": 4},
}

NETWORKS: dict[str, NetworkSpec] = {
    "gkmnet": NetworkSpec("gkmnet", 1, GKMNet),
    "dpanet": NetworkSpec("dpanet", 2, DPANet),
    "k3dn": NetworkSpec("k3dn", 2, K3DN),
    "both": NetworkSpec("both", 2, Both),
}
