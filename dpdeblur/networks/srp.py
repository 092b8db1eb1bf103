"""K3DN's residual blocks, and its SRP block: it keeps sharp what is sharp where skips join the decoder (Eq. 11 to 16).

Our form compares cosines, the released one raw features; k3dn.py says why.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpdeblur.networks.correlation import correlate
from dpdeblur.networks.disparity import SLOPE
from dpdeblur.networks.layers import convolve, lower


class Residual(nn.Module):
    """x + conv(LeakyReLU(conv x)), 3x3, without bias."""

    def __init__(self, channels: int) -> None:
        """Create both convolutions."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape; without gradients the result may stand where `x` stood."""
        return convolve(convolve(x, self.first, slope=SLOPE), self.second, plus=x, overwrite=True)


def stack_residuals(channels: int, blocks: int) -> nn.Sequential:
    """Chain residual blocks of one width."""
    return nn.Sequential(*(Residual(channels) for _ in range(blocks)))


def _normalise(features: Tensor) -> Tensor:
    """Scale (B, C, H, W) so that every position's mean square is 1, but leave what is nearly nothing small."""
    return features * torch.rsqrt(features.square().mean(dim=1, keepdim=True) + 1e-3)


class SharpRegionPreservation(nn.Module):
    """SRP block: weigh skip and upsampled features by their local similarities, then refine (Eq. 11 to 16)."""

    def __init__(self, channels: int, blocks: int, released: bool) -> None:
        """Create the block for `channels` = skip + upsampled, with `blocks` residual blocks in its output."""
        super().__init__()
        self.released = released
        self.query = nn.Conv2d(channels, channels, 3, padding=1)
        self.key = nn.Conv2d(channels, channels, 3, padding=1)
        self.value = nn.Conv2d(81, channels, 3, padding=1)
        self.enter = nn.Conv2d(channels, channels, 3, padding=1)
        self.residuals = stack_residuals(channels, blocks)
        self.leave = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, skip: Tensor, upsampled: Tensor) -> Tensor:
        """Join (B, S, H, W) and (B, U, H, W) into (B, S + U, H, W)."""
        joined = torch.cat([skip, upsampled], dim=1)
        x = lower(joined)
        entered = convolve(self._weigh(x) * x, self.enter)
        return convolve(self.residuals(entered), self.leave, plus=joined, overwrite=True)

    def _weigh(self, x: Tensor) -> Tensor:
        """Say what of (B, C, H, W) is to be kept, from the similarities of each position with its neighbours."""
        query, key = (convolve(x, layer) for layer in (self.query, self.key))
        if not self.released:
            query, key = _normalise(query), _normalise(key)
        return convolve(correlate(query, key, radius=4), self.value)
