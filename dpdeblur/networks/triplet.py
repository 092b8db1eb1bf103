"""The blocks of GKMNet's attention module: batch-normed convolutions under triplet attention.

Misra, Nalamada, Arasanipalai and Hou, "Rotate to Attend: Convolutional Triplet Attention Module", WACV 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dpdeblur.networks.layers import convolve, convolve_precisely, lower


class Gate(nn.Module):
    """One gate of the triplet attention: what is pooled over one axis says what passes (sigmoid)."""

    def __init__(self) -> None:
        """Set up the 7x7 convolution of (max, mean) to one map, and its norm."""
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, features: Tensor, axis: int) -> Tensor:
        """Pool (B, C, H, W) over `axis` to one plane: (B, H, W), (B, C, W), or for the last axis (B, H, C)."""
        pooled = _pool_axis(features, axis)
        if axis == 3:
            pooled = pooled.transpose(2, 3)
        return torch.sigmoid(self.norm(self.conv(pooled))).squeeze(1)


def _pool_axis(features: Tensor, axis: int) -> Tensor:
    """Maximum and mean of (B, C, H, W) over an axis: (B, 2, ...) of the two others, in the order in which they come."""
    if features.device.type != "cpu" or torch.is_grad_enabled():
        return torch.stack((features.amax(axis), features.mean(axis)), 1)
    # on a CPU, torch pools maps many times faster than it reduces an axis, and reduces halves slowly
    if axis == 1:
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        return torch.stack((features.amax(1), features.mean(1)), 1)
    window = (features.shape[2], 1) if axis == 2 else (1, features.shape[3])
    pools = functional.max_pool2d(features, window), functional.avg_pool2d(features, window)
    return torch.stack([pool.squeeze(axis) for pool in pools], 1)


class TripletAttention(nn.Module):
    """The mean of three gatings, over channels, height and width."""

    def __init__(self) -> None:
        """Set up one gate per pooled axis."""
        super().__init__()
        self.over_channels = Gate()
        self.over_height = Gate()
        self.over_width = Gate()

    def forward(self, features: Tensor) -> Tensor:
        """Gate (B, A, H, W); height and width are pooled over their whole extent."""
        over_channels = self.over_channels(features, 1).unsqueeze(1)
        over_height = self.over_height(features, 2).unsqueeze(2)
        # the plane of the last gate has rows of the image as its rows and channels as its columns
        over_width = self.over_width(features, 3).transpose(1, 2).unsqueeze(3)
        # one map of the features' size and layout, where the sum of the gates would be another; gates of another layout
        # would take seven times as long
        first, *others = (
            (gate / 3).to(features.dtype, memory_format=torch.channels_last)
            for gate in (over_channels, over_height, over_width)
        )
        gated = features * first
        for gate in others:
            gated.addcmul_(features, gate)
        return gated


class ConvUnit(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, conv: nn.Module, channels: int) -> None:
        """Put norm and ReLU behind a convolution of `channels` outputs."""
        super().__init__(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))

    def forward(self, features: Tensor, plus: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W), and add `plus` where it is given."""
        if isinstance(self[0], nn.Conv2d):
            return convolve(features, self[0], norm=self[1], slope=0.0, plus=plus)
        return super().forward(features)


class Block(nn.Module):
    """A head, two residual units in sequence, triplet attention."""

    def __init__(self, head: nn.Module, channels: int) -> None:
        """Put the units behind a head of `channels` outputs."""
        super().__init__()
        self.head = head
        self.first = ConvUnit(nn.Conv2d(channels, channels, 3, padding=1), channels)
        self.second = ConvUnit(nn.Conv2d(channels, channels, 3, padding=1), channels)
        self.attention = TripletAttention()

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the head's channels and size."""
        # a bare convolution is the network's first layer
        features = (
            lower(convolve_precisely(features, self.head)) if isinstance(self.head, nn.Conv2d) else self.head(features)
        )
        features = self.first(features, plus=features)
        features = self.second(features, plus=features)
        return self.attention(features)
