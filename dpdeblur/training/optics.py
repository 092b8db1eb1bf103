"""Cameras: from focal length, aperture, plane of focus and depth to the signed circle of confusion, in pixels.

A thin lens images a point at depth d, seen through an aperture of diameter f / N, as a disc whose radius on the sensor
is proportional to 1 - s / d, s being the plane of focus (any optics text; Abuolaim et al., ICCV 2021, Eq. 1). So the
radius is linear in inverse depth. A plane in space, however slanted, has an inverse depth that is linear in picture
coordinates: slanted layers are cut into slices of equal steps in radius, not in depth.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

#: Share of infinity's radius that is drawn at most: a layer stands somewhere.
_FARTHEST = 0.98
_INFINITY_M = 1e9


def circle_of_confusion(
    depth_m: Tensor,
    *,
    focus_m: Tensor | float,
    focal_length_mm: Tensor | float,
    f_number: Tensor | float,
    pixel_pitch_um: Tensor | float,
) -> Tensor:
    """Signed radius in pixels of the circle of confusion of a thin lens.

    r = f^2 / (2 N (s - f)) * (d - s) / d / pitch, from the thin-lens equation; positive behind the plane of focus.

    Args:
        depth_m: Distance of the scene from the lens, any shape, positive.
        focus_m: Distance s of the plane of focus; tensors must broadcast with `depth_m`.
        focal_length_mm: Focal length f.
        f_number: Aperture number N.
        pixel_pitch_um: Distance between neighbouring pixels at the scale the radius is wanted for.
    """
    focal_m = focal_length_mm * 1e-3
    radius_m = focal_m**2 / (2 * f_number * (focus_m - focal_m)) * (depth_m - focus_m) / depth_m
    return radius_m / (pixel_pitch_um * 1e-6)


@dataclasses.dataclass(frozen=True)
class Optics:
    """A batch of cameras; every field is a float tensor of shape (B,).

    Attributes:
        focal_length_mm: Focal length.
        f_number: Aperture number.
        focus_m: Distance of the plane of focus.
        pixel_pitch_um: Between the sensor's pixels.
        reduction: How many of the sensor's pixels a pixel of the picture is wide: photos are reduced until their blur
            fits the network.
    """

    focal_length_mm: Tensor
    f_number: Tensor
    focus_m: Tensor
    pixel_pitch_um: Tensor
    reduction: Tensor

    def measure_radius(self, depth_m: Tensor) -> Tensor:
        """Signed radius in pixels of the reduced picture at depths of shape (B, ...)."""
        focal, number, focus, pitch = (
            value.view(-1, *[1] * (depth_m.ndim - 1))
            for value in (self.focal_length_mm, self.f_number, self.focus_m, self.pixel_pitch_um * self.reduction)
        )
        return circle_of_confusion(depth_m, focus_m=focus, focal_length_mm=focal, f_number=number, pixel_pitch_um=pitch)

    def largest_radius(self) -> Tensor:
        """The largest radius that is drawn behind the plane of focus, (B,): a little less than infinity's."""
        return _FARTHEST * self.measure_radius(torch.full_like(self.focus_m, _INFINITY_M))

    def find_depth(self, radius_px: Tensor) -> Tensor:
        """Depth in metres where the circle of confusion has this signed radius, at most the largest: (B, ...)."""
        shape = (-1, *[1] * (radius_px.ndim - 1))
        infinity = self.largest_radius().view(shape) / _FARTHEST
        return self.focus_m.view(shape) / (1 - radius_px / infinity)


def draw_optics(strength_px: Tensor, generator: torch.Generator) -> Optics:
    """Draw cameras whose largest blur can be `strength_px`.

    Seven in ten are cameras with a sensor of 23 to 36 mm and lenses of 24 to 105 mm, f/1.4 to f/8, focused from 0.4 to
    10 m; the others are phones (4 to 7 mm, f/1.6 to f/2.4, pixels of 1 to 2 um, focused from 0.07 to 1 m). A photo is
    then reduced, by a factor between 1 and what brings the blur of infinity down to the wanted strength.

    Args:
        strength_px: (B,) wanted radius at the working scale, positive. A camera too slow for it blurs less.
        generator: Random source.
    """
    count, device = len(strength_px), generator.device

    def log_uniform(low: float, high: float) -> Tensor:
        return low * (high / low) ** torch.rand(count, generator=generator, device=device)

    is_phone = torch.rand(count, generator=generator, device=device) < 0.3
    focal = torch.where(is_phone, log_uniform(4.0, 7.0), log_uniform(24.0, 105.0))
    # a lens focuses down to about ten times its focal length
    nearest = torch.where(is_phone, torch.full_like(focal, 0.07), (0.01 * focal).clamp(min=0.4))
    farthest = torch.where(is_phone, torch.ones_like(focal), torch.full_like(focal, 10.0))
    optics = Optics(
        focal_length_mm=focal,
        f_number=torch.where(is_phone, log_uniform(1.6, 2.4), log_uniform(1.4, 8.0)),
        focus_m=nearest * (farthest / nearest) ** torch.rand(count, generator=generator, device=device),
        pixel_pitch_um=torch.where(is_phone, log_uniform(1.0, 2.0), log_uniform(3.0, 6.5)),
        reduction=torch.ones_like(focal),
    )
    excess = optics.largest_radius() / strength_px
    share = torch.rand(count, generator=generator, device=device)
    return dataclasses.replace(optics, reduction=excess.clamp(min=1) ** share)
