"""Convolution with what follows it, as the networks share it.

Plain torch on any device in any floating dtype; on a CPU, without gradients, oneDNN's fused kernels instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolve(
    x: Tensor,
    layer: nn.Conv2d | nn.Conv3d,
    *,
    norm: nn.BatchNorm2d | nn.BatchNorm3d | None = None,
    slope: float | None = None,
    plus: Tensor | None = None,
    overwrite: bool = False,
) -> Tensor:
    """Convolve, normalise, activate, add: `plus + LeakyReLU(norm(layer(x)))`, each part where it is asked for.

    On a CPU, without gradients, in float32 or bfloat16, one oneDNN kernel does it all: maps are written once instead of
    up to four times, which takes as long as the arithmetic of narrow layers. The norm is folded into the weights.

    Args:
        x: (B, C, H, W), or (B, C, D, H, W) for a volume.
        layer: A convolution with padding of zeros.
        norm: The batch norm behind it.
        slope: Of the LeakyReLU; 0 is ReLU, None is no activation.
        plus: Of the result's shape; it keeps its precision where that is higher than autocast's.
        overwrite: The sum may stand where `plus` stood, which nobody needs any more.

    Returns:
        (B, C', H', W'), channels last where it was fused.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if not _can_fuse(x, dtype, norm):
        y = layer(x)
        if norm is not None:
            y = norm(y)
        if slope is not None:
            y = F.leaky_relu(y, slope) if slope else F.relu(y)
        return y if plus is None else plus + y
    weight, bias = layer.weight, layer.bias
    if norm is not None:
        weight, bias = fold_norm(weight, bias, norm)
    bias = None if bias is None else bias.to(dtype)
    place = (layer.padding, layer.stride, layer.dilation, layer.groups)
    arguments = (weight.to(dtype), bias, *place)
    layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    x = x.to(dtype).contiguous(memory_format=layout)
    fused = torch.ops.mkldnn._convolution_pointwise
    if plus is not None and slope is None and plus.dtype == dtype:
        # the sum is taken before the result is rounded and written
        addition: tuple[Any, ...] = (*arguments, "add", 1.0, None, [], None)
        if overwrite:
            summed: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(plus, x, *addition)
            return summed
        return fused.binary(x, plus, *addition)
    activation = ("none", []) if slope is None else ("leaky_relu", [slope]) if slope else ("relu", [])
    y = fused(x, *arguments, *activation, "")
    if plus is None:
        return y
    if plus.dtype == y.dtype:
        return y.add_(plus)
    return plus.add_(y) if overwrite else plus + y


def convolve_precisely(x: Tensor, layer: nn.Conv2d, *, slope: float | None = None) -> Tensor:
    """Convolve in the parameters' own precision, whatever autocast says.

    The first layer and the last need it: a picture in bfloat16 has 256 steps between 0.5 and 1, which GKMNet's shipped
    weights turn into differences of 0.04.
    """
    with torch.autocast(x.device.type, enabled=False):
        return convolve(x.to(layer.weight.dtype), layer, slope=slope)


def lower(x: Tensor) -> Tensor:
    """Take autocast's precision, where that is on, once for several layers that would each do so."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def works_in_bands(x: Tensor) -> bool:
    """Whether maps are better made and used a band of rows at a time: on a CPU, without gradients or compiled code."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _can_fuse(x: Tensor, dtype: torch.dtype, norm: nn.Module | None) -> bool:
    """Whether oneDNN's fused convolution can do it; compiled code fuses by itself."""
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and (norm is None or not norm.training)
        and torch.backends.mkldnn.is_available()
        and (dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()))
    )


def fold_norm(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Scale a convolution's weight and shift its bias as the batch norm behind it does in evaluation mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    return weight * scale.view(-1, *(1,) * (weight.ndim - 1)), shift if bias is None else shift + bias * scale
