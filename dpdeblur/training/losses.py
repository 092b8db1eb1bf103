"""What training minimises; every function takes and returns sRGB-encoded (B, 3, H, W) tensors' mean as a scalar."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def charbonnier(image: Tensor, reference: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(difference^2 + epsilon^2) (Charbonnier et al., ICIP 1994; epsilon as in DPANet and JDRL)."""
    return torch.sqrt((image - reference) ** 2 + epsilon**2).mean()


def gradient_difference(image: Tensor, reference: Tensor) -> Tensor:
    """Mean absolute difference of the forward differences along both axes."""
    difference = image - reference
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


def structural_dissimilarity(image: Tensor, reference: Tensor) -> Tensor:
    """1 - SSIM (Wang et al., IEEE TIP 2004) with a Gaussian window of sigma 1.5 and 11 pixels, peak 1, no padding."""
    axis = torch.arange(11, device=image.device, dtype=image.dtype) - 5
    window = torch.exp(-(axis**2) / (2 * 1.5**2))
    window = (window / window.sum()).view(1, 1, 1, -1)
    channels = image.shape[1]

    def smooth(x: Tensor) -> Tensor:
        x = functional.conv2d(x, window.expand(channels, 1, 1, -1), groups=channels)
        return functional.conv2d(x, window.mT.expand(channels, 1, -1, 1), groups=channels)

    mean_x, mean_y = smooth(image), smooth(reference)
    var_x, var_y = smooth(image**2) - mean_x**2, smooth(reference**2) - mean_y**2
    cov = smooth(image * reference) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return 1 - ssim.mean()
