"""sRGB on tensors, for networks and their training; `dpdeblur.colour.spaces` has it for arrays."""

from __future__ import annotations

import torch
from torch import Tensor


def encode_srgb(linear: Tensor) -> Tensor:
    """The sRGB transfer curve (IEC 61966-2-1) of values in [0, 1]."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-6) ** (1 / 2.4) - 0.055)


def decode_srgb(encoded: Tensor) -> Tensor:
    """The inverse of `encode_srgb`."""
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded.clamp(min=1e-6) + 0.055) / 1.055) ** 2.4)


def blend_views(left: Tensor, right: Tensor) -> Tensor:
    """The mean of two encoded views, taken in linear light and encoded again."""
    return encode_srgb((decode_srgb(left) + decode_srgb(right)) / 2)
