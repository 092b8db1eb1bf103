"""How training runs a network on pairs: padded, in its own range of values, at all of its scales."""

from __future__ import annotations

from torch import Tensor, nn

from dpdeblur.networks.gkmnet import GKMNet, build_pyramid
from dpdeblur.networks.light import blend_views
from dpdeblur.networks.network import Network
from dpdeblur.training.recipe import Pair


def restore_pair(network: Network, left: Tensor, right: Tensor) -> Tensor:
    """Run a network, padded to the size it needs, on a pair of encoded views; single-image networks see their mean."""
    vertical, horizontal = network.size_multiple
    height, width = left.shape[-2:]
    pad = (0, -width % horizontal, 0, -height % vertical)
    inputs = (left, right) if network.views == 2 else (blend_views(left, right),)
    padded = [nn.functional.pad(v + network.value_offset, pad, mode="replicate") for v in inputs]
    return (network(*padded)[..., :height, :width] - network.value_offset).float()


def restore_scales(network: Network, batch: Pair) -> list[Tensor]:
    """The network's results on a batch, encoded: at full size, and for GKMNet at half and quarter size as well."""
    if isinstance(network, GKMNet):
        results = network.forward_scales(build_pyramid(blend_views(batch.left, batch.right)))
        return [result.float() for result in results]
    return [restore_pair(network, batch.left, batch.right)]


def reduce_reference(reference: Tensor, scales: int) -> list[Tensor]:
    """The references of `restore_scales`: the picture, and its half and quarter where there are three scales."""
    return build_pyramid(reference)[:scales] if scales > 1 else [reference]
