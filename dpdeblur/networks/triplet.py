"""The blocks of GKMNet's attention module: batch-normed convolutions under triplet attention.

Misra, Nalamada, Arasanipalai and Hou, "Rotate to Attend: Convolutional Triplet Attention Module", WACV 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """One gate of the triplet attention: what is pooled over one axis says what passes (sigmoid)."""

    def __init__(self) -> None:
        """Set up the 7x7 convolution of (max, mean) to one map, and its norm."""
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, features: Tensor, axis: int) -> Tensor:
        """Pool (B, A, H, W) over `axis` to one plane of the two other axes, in the order in which they come."""
        pooled = torch.stack((features.amax(axis), features.mean(axis)), 1)
        return torch.sigmoid(self.norm(self.conv(pooled))).squeeze(1)


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
        gates = self.over_channels(features, 1).unsqueeze(1)
        gates = gates + self.over_height(features, 2).unsqueeze(2)
        # the plane of the last gate has rows of the image as its rows and channels as its columns
        plane = self.over_width(features.transpose(1, 2), 3).transpose(1, 2)
        return features * ((gates + plane.unsqueeze(3)) / 3)


class ConvUnit(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, conv: nn.Module, channels: int) -> None:
        """Put norm and ReLU behind a convolution of `channels` outputs."""
        super().__init__(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


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
        features = self.head(features)
        features = features + self.first(features)
        features = features + self.second(features)
        return self.attention(features)
