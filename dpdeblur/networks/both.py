"""Two networks that were trained apart and add up: K3DN, which sees both views, and GKMNet, which sees their mean.

They err in different ways: K3DN follows the disparity, and where that says little of the blur, as of a plane, GKMNet
judges by the texture. README.md says what the sum measures beside each alone.
"""

from __future__ import annotations

from torch import Tensor

from dpdeblur.networks.gkmnet import GKMNet
from dpdeblur.networks.k3dn import K3DN
from dpdeblur.networks.light import blend_views
from dpdeblur.networks.network import Network

#: How much of the change that each makes to the mean of the views is taken. Two estimates that err in different ways
#: agree on less than either's whole, so that their shares add up to more than 1: by least squares to 1.10 on simulated
#: scenes that no training saw, 0.68 and 0.42. GKMNet has a little more here, which real scenes of a plane want.
K3DN_SHARE, GKMNET_SHARE = 0.65, 0.45
#: What is kept while the second network works, and what the first one's maps leave between its own; measured in fp32.
_KEPT_BYTES_PER_PX = 120


class Both(Network):
    """K3DN and GKMNet on the same tiles; trained together, their sum is what a loss sees."""

    views = 2
    value_offset = 0.0
    channel_order = "rgb"

    def __init__(self, base: int = 48, blocks: int = 4, psf_blocks: int = 8, srp_blocks: int = 4) -> None:
        """Create both in our form; the arguments are K3DN's."""
        super().__init__()
        self.k3dn = K3DN(base, blocks, psf_blocks, srp_blocks)
        self.gkmnet = GKMNet()
        parts = self.k3dn, self.gkmnet
        self.size_multiple = self.k3dn.size_multiple  # also GKMNet's, whose are 16
        self.min_size = self.k3dn.min_size
        self.overlap_px = max(part.overlap_px for part in parts)
        self.largest_tile_px = 384  # GKMNet's 368, in steps that K3DN takes
        self.bytes_per_px = max(part.bytes_per_px for part in parts) + _KEPT_BYTES_PER_PX
        self.half_bytes_per_px = max(part.half_bytes_per_px for part in parts) + _KEPT_BYTES_PER_PX

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Restore encoded views, (B, 3, H, W) each, H and W multiples of 32.

        Raises:
            ValueError: The shape does not fit the networks.
        """
        offset = self.k3dn.value_offset
        by_views = self.k3dn(left + offset, right + offset).float() - offset
        mean = blend_views(left, right)
        by_mean = self.gkmnet(mean).float()
        return K3DN_SHARE * by_views + GKMNET_SHARE * by_mean + (1 - K3DN_SHARE - GKMNET_SHARE) * mean
