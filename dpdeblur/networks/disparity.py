"""K3DN's disparity estimator: one vector of 256 numbers that describes the disparity of a place.

Both views are compared at 1/8 of their size over four shifts by 3D convolutions (K3DN, section 3.2; the architecture is
a small stereo network's). Our form and the released one differ in the context and in the volume's border; k3dn.py says
why.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpdeblur.networks.layers import convolve

SLOPE = 0.2
VECTOR_LENGTH = 256
_SHIFTS = 4


def activate(x: Tensor) -> Tensor:
    """LeakyReLU with the slope of 0.2 that the whole network uses."""
    return F.leaky_relu(x, SLOPE)


class Normed(nn.Module):
    """Convolution without bias, batch norm, ReLU, in two or three dimensions."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1, dims: int = 2) -> None:
        """Create a 3-wide convolution whose padding keeps the size at stride 1."""
        super().__init__()
        convolution, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        self.convolution = convolution(
            inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.norm = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, [D,] H, W)."""
        return convolve(x, self.convolution, norm=self.norm, slope=0.0)


class Context(nn.Module):
    """Mean features of a wide neighbourhood, reduced to 32 channels."""

    def __init__(self, reach: int, released: bool) -> None:
        """Average over `reach` x `reach` features: cells of a grid (released), or around each position."""
        super().__init__()
        self.reach = reach
        self.released = released
        self.convolution = nn.Conv2d(128, 32, 1, bias=False)
        self.norm = nn.BatchNorm2d(32)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 128, H, W) to (B, 32, H, W)."""
        if self.released:
            # the authors' 1x1 convolution pads by 1, so a ring of constant cells surrounds the means
            cells = F.relu(self.norm(self.convolution(F.pad(F.avg_pool2d(x, self.reach), (1, 1, 1, 1)))))
            return F.interpolate(cells, size=x.shape[-2:], mode="bilinear", align_corners=True)
        # the mean commutes with the 1x1 convolution and separates; positions outside the map do not count
        half, side = self.reach // 2, self.reach // 2 * 2 + 1
        x = F.avg_pool2d(self.convolution(x), (side, 1), 1, (half, 0), count_include_pad=False)
        x = F.avg_pool2d(x, (1, side), 1, (0, half), count_include_pad=False)
        return F.relu(self.norm(x))


class DisparityEstimator(nn.Module):
    """Compare the views at 1/8 over four shifts and describe the disparity at 1/32 of the image."""

    def __init__(self, released: bool) -> None:
        """Create the shared extractor, the matching of the volume, and the vector layer."""
        super().__init__()
        self.released = released
        self.extractor = nn.Sequential(
            Normed(3, 32), Normed(32, 64), Normed(64, 128, dilation=4), Normed(128, 128, stride=2, dilation=8)
        )
        self.wide = Context(32, released)
        self.narrow = Context(16, released)
        self.merge = Normed(192, 96)
        self.reduce = nn.Conv2d(96, 32, 1, bias=False)
        self.matching = nn.Sequential(
            Normed(64, 32, dims=3),
            Normed(32, 48, stride=2, dims=3),
            Normed(48, 48, dims=3),
            Normed(48, 64, stride=2, dims=3),
            Normed(64, 64, dims=3),
        )
        self.vector = nn.Linear(64, VECTOR_LENGTH)

    def extract(self, view: Tensor) -> Tensor:
        """Map a view (B, 3, H, W) to features (B, 32, H / 8, W / 8)."""
        x = self.extractor(F.avg_pool2d(view, 4))
        return self.reduce(self.merge(torch.cat([self.wide(x), self.narrow(x), x], dim=1)))

    def match(self, left: Tensor, right: Tensor) -> Tensor:
        """Map both views (B, 3, H, W) to a map (B, 64, H / 32, W / 32), sizes rounded up."""
        left_features, right_features = self.extract(torch.cat([left, right])).chunk(2)
        width = left_features.shape[-1]
        pairs = [
            F.pad(torch.cat([left_features[..., shift:], right_features[..., : width - shift]], dim=1), (shift, 0))
            for shift in range(_SHIFTS)
        ]
        volume = torch.stack(pairs, dim=2).to(self.vector.weight.dtype)
        if self.released:
            lone = torch.arange(width, device=volume.device) < torch.arange(_SHIFTS, device=volume.device)[:, None]
            volume = torch.where(lone[:, None], self.recall_leftovers(right).to(volume.dtype), volume)
        # in bfloat16 the gradient of a 3D convolution over so thin a volume came back with garbage in it (torch 2.11
        # on CUDA, 2.13 on the CPU); the volume is small, so full precision costs nothing
        with torch.autocast(volume.device.type, enabled=False):
            return self.matching(volume).squeeze(2)

    def recall_leftovers(self, right: Tensor) -> Tensor:
        """Fill a volume as the authors' stands before it is written.

        They never clear it, so the cells whose partner lies outside keep what the memory held before: intermediate maps
        of the right view, whichever the allocator reuses. It differs between runs of their code; this is the outcome in
        their published numbers. It reaches three columns of features from the left border.

        Args:
            right: (B, 3, H, W).

        Returns:
            (B, 64, 4, H / 8, W / 8).
        """
        x = self.extractor[:-1](F.avg_pool2d(right, 4))
        raw, x = self.extractor[-1].convolution(x), self.extractor[-1](x)
        merged = self.merge.convolution(torch.cat([self.wide(x), self.narrow(x), x], dim=1))
        # the merged maps had been written over the first 96 of the raw ones; after them comes the block's 64-byte
        # header, which is 8 values of the numbers' float64, and the features
        halves = torch.cat([merged, raw[:, 96:]], dim=1), x.flatten(1).roll(8, dims=1)
        return torch.cat([half.reshape(len(x), 32, _SHIFTS, *x.shape[-2:]) for half in halves], dim=1)

    def forward(self, matched: Tensor) -> Tensor:
        """Turn a map (B, 64, h, w) into vectors (B, h, w, 256)."""
        return activate(self.vector(matched.permute(0, 2, 3, 1)))
