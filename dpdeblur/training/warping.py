"""Optical flow between pictures of one scene, warping by it, and masks of where the flow can be trusted.

A flow lives on the pixels of its *target*: target(x) = source(x + flow(x)), so that warping the source by it gives a
picture that lies on the target (the backward warp of PWC-Net, which the JDRL paper uses). The first channel is
horizontal and positive to the right, the second vertical and positive downwards, both in pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: Motions shorter than this are not compared more strictly than this one, see `mask_by_motion`.
SHORTEST_MOTION_PX = 1.0
#: Rounds in which the fit of a motion forgets the pixels that do not follow it.
FIT_ROUNDS = 4


def estimate_flow(target: Tensor, source: Tensor) -> Tensor:
    """Find the flow that warps `source` onto `target` by dense inverse search; nothing passes a gradient.

    Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016, as OpenCV has it with its medium preset,
    on 8-bit gray pictures.

    Args:
        target: (B, 3, H, W) encoded in [0, 1], at least 16 pixels high and wide.
        source: The same.

    Returns:
        (B, 2, H, W) float32 on the target's device.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grays = [(p.detach().float().mean(1).clamp(0, 1) * 255).round().byte().cpu().numpy() for p in (target, source)]
    nothing = np.zeros((*grays[0].shape[1:], 2), np.float32)
    flows = [search.calc(one, other, nothing.copy()) for one, other in zip(*grays, strict=True)]
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).contiguous().to(target.device)


def place_pixels(height: int, width: int, device: torch.device) -> Tensor:
    """The column and the row of every pixel: (1, 2, H, W) float32."""
    rows = torch.arange(height, device=device, dtype=torch.float32)
    columns = torch.arange(width, device=device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]


def warp(source: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Take every pixel from where its flow points, bilinearly (JDRL, Eq. 3).

    Args:
        source: (B, C, H, W) float; gradients pass to it.
        flow: (B, 2, H, W) in pixels.

    Returns:
        The warped picture, (B, C, H, W) float32, and (B, 1, H, W) with 1 where the pixel came from inside the source
        and 0 elsewhere; pixels from outside repeat the border.
    """
    height, width = source.shape[-2:]
    largest = torch.tensor([width - 1, height - 1], device=flow.device, dtype=torch.float32).view(1, 2, 1, 1)
    place = place_pixels(height, width, flow.device) + flow.detach().float()
    grid = (2 * place / largest - 1).permute(0, 2, 3, 1)
    warped = functional.grid_sample(source.float(), grid, mode="bilinear", padding_mode="border", align_corners=True)
    inside = ((place >= 0) & (place <= largest)).all(1, keepdim=True)
    return warped, inside.float()


def measure_length(flow: Tensor) -> Tensor:
    """The length of every vector of a flow: (B, 2, H, W) to (B, 1, H, W)."""
    return flow.square().sum(1, keepdim=True).sqrt()


def fit_motion(flow: Tensor) -> Tensor:
    """Fit one affine motion to every flow of a batch, robustly, and sample it: (B, 2, H, W) like the flow.

    Least squares again and again, each time weighing a pixel by 1 / (1 + (e / s)^2), where e is how far its flow is
    from the last fit and s the median of that (at least a tenth of a pixel).
    """
    height, width = flow.shape[-2:]
    size = torch.tensor([width, height], device=flow.device, dtype=torch.float32).view(1, 2, 1, 1)
    place = place_pixels(height, width, flow.device) / size - 0.5
    terms = torch.cat([place, torch.ones_like(place[:, :1])], 1).flatten(2).mT  # (1, HW, 3)
    vectors = flow.detach().float().flatten(2).mT  # (B, HW, 2)
    weight = torch.ones_like(vectors[..., :1])
    for _ in range(FIT_ROUNDS):
        weighted = (terms * weight).mT
        fitted = terms @ torch.linalg.solve(weighted @ terms, weighted @ vectors)
        distance = (vectors - fitted).square().sum(2, keepdim=True).sqrt()
        spread = distance.median(1, keepdim=True).values.clamp(min=0.1)
        weight = 1 / (1 + (distance / spread) ** 2)
    motion: Tensor = fitted.mT.unflatten(2, (height, width))
    return motion


def mask_by_length(flow: Tensor, threshold: float) -> Tensor:
    """Keep the pixels whose flow is about as long as the mean flow is: the paper's calibration mask (Eq. 4).

        M = 1 where (1 - threshold) * mean < |flow| < (1 + threshold) * mean, with mean = mean of |flow|

    Under a shift every pixel passes; under a zoom about the middle only a ring does.

    Args:
        flow: (B, 2, H, W) in pixels.
        threshold: Lambda, 0.35 in the paper.

    Returns:
        (B, 1, H, W) of 0 and 1.
    """
    length = measure_length(flow.detach())
    mean = length.mean((2, 3), keepdim=True)
    return ((length > (1 - threshold) * mean) & (length < (1 + threshold) * mean)).float()


def mask_by_motion(flow: Tensor, threshold: float) -> Tensor:
    """Keep the pixels whose flow follows the picture's affine motion: Eq. 4 for shifts, zooms and turns alike.

        M = 1 where |flow - motion| < threshold * max(mean of |motion|, SHORTEST_MOTION_PX)

    The floor keeps pairs that are almost aligned: there a third of the motion is less than any flow's error.

    Args:
        flow: (B, 2, H, W) in pixels.
        threshold: As in `mask_by_length`.

    Returns:
        (B, 1, H, W) of 0 and 1.
    """
    motion = fit_motion(flow)
    scale = measure_length(motion).mean((2, 3), keepdim=True).clamp(min=SHORTEST_MOTION_PX)
    return (measure_length(flow.detach() - motion) < threshold * scale).float()
