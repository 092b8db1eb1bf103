"""K3DN's residual blocks, and its SRP block: it keeps sharp what is sharp where skips join the decoder (Eq. 11 to 16).

Our form compares cosines, the released one raw features; k3dn.py says why.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpdeblur.networks.correlation import correlate
from dpdeblur.networks.disparity import SLOPE
from dpdeblur.networks.layers import convolve, lower, works_in_bands

_RADIUS = 4
#: How far a weight sees: two convolutions, and the shifts between them.
_REACH_PX = _RADIUS + 2
#: Similarities of a band: 16 MiB in half precision.
_BAND_VALUES = 2**22


class Residual(nn.Module):
    """x + conv(LeakyReLU(conv x)), 3x3, without bias."""

    def __init__(self, channels: int) -> None:
        """Create both convolutions."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor, picture: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W) to the same shape; without gradients the result may stand where `x` stood.

        With a `picture`, which `add_beside` explains, both are changed where they stand.
        """
        inner = convolve(x, self.first, slope=SLOPE)
        if picture is not None:
            return add_beside(x, picture, convolve(inner, self.second))
        return convolve(inner, self.second, plus=x, overwrite=True)


def add_beside(x: Tensor, picture: Tensor, change: Tensor) -> Tensor:
    """Add a change to features whose first channels show a picture, and to that picture, where they stand.

    Features of half precision would round a picture at each sum; beside it, they are told anew what it has become.

    Args:
        x: (B, C, H, W), in half precision.
        picture: (B, c, H, W) in a higher one, the first channels of `x` before they were rounded.
        change: (B, C, H, W).

    Returns:
        `x`.
    """
    count = picture.shape[1]
    picture.add_(change[:, :count])
    x.add_(change)
    x[:, :count] = picture
    return x


def stack_residuals(channels: int, blocks: int) -> nn.Sequential:
    """Chain residual blocks of one width."""
    return nn.Sequential(*(Residual(channels) for _ in range(blocks)))


def _normalise(features: Tensor) -> Tensor:
    """Scale (B, C, H, W) so that every position's mean square is 1, but leave what is nearly nothing small."""
    with torch.autocast(features.device.type, enabled=False):
        precision = torch.promote_types(features.dtype, torch.float32)
        length = torch.linalg.vector_norm(features, dim=1, keepdim=True, dtype=precision)
        scale = torch.rsqrt(length.square() / features.shape[1] + 1e-3)
        return features * scale.to(features.dtype)


class SharpRegionPreservation(nn.Module):
    """SRP block: weigh skip and upsampled features by their local similarities, then refine (Eq. 11 to 16)."""

    def __init__(self, channels: int, blocks: int, released: bool) -> None:
        """Create the block for `channels` = skip + upsampled, with `blocks` residual blocks in its output."""
        super().__init__()
        self.released = released
        self.query = nn.Conv2d(channels, channels, 3, padding=1)
        self.key = nn.Conv2d(channels, channels, 3, padding=1)
        self.value = nn.Conv2d((2 * _RADIUS + 1) ** 2, channels, 3, padding=1)
        self.enter = nn.Conv2d(channels, channels, 3, padding=1)
        self.residuals = stack_residuals(channels, blocks)
        self.leave = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, joined: Tensor, picture: Tensor | None = None) -> Tensor:
        """Map skip and upsampled features, one after the other, (B, C, H, W), to the same shape.

        With a `picture`, which `add_beside` explains, both are changed where they stand.
        """
        x = lower(joined)
        kept = self._keep_by_bands(x) if works_in_bands(x) else self._weigh(x) * x
        del x
        entered = convolve(kept, self.enter)
        del kept
        refined = self.residuals(entered)
        if picture is not None:
            return add_beside(joined, picture, convolve(refined, self.leave))
        return convolve(refined, self.leave, plus=joined, overwrite=True)

    def _weigh(self, x: Tensor) -> Tensor:
        """Say what of (B, C, H, W) is to be kept, from the similarities of each position with its neighbours."""
        query, key = (convolve(x, layer) for layer in (self.query, self.key))
        if not self.released:
            query, key = _normalise(query), _normalise(key)
        return convolve(correlate(query, key, radius=_RADIUS), self.value)

    def _keep_by_bands(self, x: Tensor) -> Tensor:
        """What is kept of (B, C, H, W), a band of rows at a time: whole, the similarities are three times the features.

        What a band needs of its neighbours is computed with it and dropped.
        """
        batch, _, height, width = x.shape
        rows = max(1, _BAND_VALUES // (batch * self.value.in_channels * width))
        if rows >= height:
            return self._weigh(x) * x
        kept = torch.empty_like(x, memory_format=torch.channels_last)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first, last = max(top - _REACH_PX, 0), min(bottom + _REACH_PX, height)
            weights = self._weigh(x[:, :, first:last])[:, :, top - first : bottom - first]
            torch.mul(weights, x[:, :, top:bottom], out=kept[:, :, top:bottom])
        return kept
