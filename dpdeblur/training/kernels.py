"""Blur kernels of the two half-pixels as functions of the signed circle of confusion.

A kernel pair belongs to one *lens* (a draw of aperture shape and pixel response) and one signed radius in pixels:
positive behind the plane of focus, negative before it. Crossing the plane of focus turns the light cone over, so the
kernel of -r is the kernel of r rotated by 180 degrees; with a lens symmetric about its vertical axis that exchanges
left and right view.

Families, with their sources:
- `ramp`: a full disc whose intensity rises linearly across it, disc * (1 + a x / r). Measured on a Canon EOS R6 Mark
  II at f/4, |a| about 0.4; a half disc, the usual simulation, fits those views 1.8 to 3.3 dB worse.
- `shifted`: translating disc of Punnappurath et al., "Modeling defocus-disparity in dual-pixel sensors", ICCP 2020:
  both views see a disc, moved apart.
- `butterworth`: soft-edged and hollow pupils as in Abuolaim et al., "Learning to reduce defocus blur by realistically
  modeling dual-pixel data", ICCV 2021.
- `cat_eye`: the aperture cut by the barrel off the axis, and shaded obliquely, as in the Pixel 4's measured kernels.
- `measured`: any bank of calibrated kernel pairs, scaled to the radius and centred together.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

#: Radius in pixels, at the bank's own scale, of the kernels in a measured bank (the Pixel 4's are 24 to 30 px across).
MEASURED_RADIUS_PX = 13.5


@dataclasses.dataclass(frozen=True)
class Lenses:
    """The optical character of a batch of lenses; every field is a float tensor of shape (B,) unless said otherwise.

    Attributes:
        ramp: (B, 2) slope a of the intensity across the disc for left and right, usually of opposite sign.
        shift: Half the distance between the views' discs, in radii.
        softness_px: Width of the disc's edge and of the lens's remaining aberrations, in pixels.
        ring: Brightening (positive) or darkening of the rim, -0.6 to 0.6.
        cut: (B, 2) centre, in radii, of the second circle that cuts a cat's eye; zero for a round pupil.
        tilt: Direction of the ramp in radians; 0 is horizontal.
        corners: Number of aperture blades, 0 for a circle.
        turn: Rotation of the blades in radians.
        bank_index: Index into the measured bank, or -1 for the closed forms (int64).
    """

    ramp: Tensor
    shift: Tensor
    softness_px: Tensor
    ring: Tensor
    cut: Tensor
    tilt: Tensor
    corners: Tensor
    turn: Tensor
    bank_index: Tensor

    def __len__(self) -> int:
        """The number of lenses."""
        return len(self.shift)


def ideal_lenses(
    count: int, *, ramp: float = 0.4, softness_px: float = 0.3, device: torch.device | str = "cpu"
) -> Lenses:
    """Round, symmetric lenses with the given ramp: +ramp for the left view and -ramp for the right."""
    zero = torch.zeros(count, device=device)
    return Lenses(
        ramp=torch.tensor([ramp, -ramp], device=device).repeat(count, 1),
        shift=zero,
        softness_px=zero + softness_px,
        ring=zero,
        cut=torch.zeros(count, 2, device=device),
        tilt=zero,
        corners=zero,
        turn=zero,
        bank_index=torch.full((count,), -1, device=device),
    )


def draw_lenses(count: int, generator: torch.Generator, *, bank_size: int = 0, measured_share: float = 0.35) -> Lenses:
    """Draw lenses of all families at random.

    Args:
        count: How many.
        generator: Random source; its device is the device of the result.
        bank_size: Number of kernel pairs in the measured bank, 0 for none.
        measured_share: Share of the lenses taken from the bank when there is one.
    """
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, device=device)

    kind = torch.rand(count, generator=generator, device=device)
    is_shifted = kind < 0.2
    is_hollow = (kind >= 0.2) & (kind < 0.4)
    is_cat_eye = (kind >= 0.4) & (kind < 0.75)
    strength = uniform(0.2, 1.0)
    # left and right are never exact mirrors: measured +0.39 and -0.46
    slopes = torch.stack([strength * uniform(0.7, 1.3), -strength * uniform(0.7, 1.3)], 1).clamp(-1.2, 1.2)
    ramp = torch.where(is_shifted[:, None], 0.2 * slopes, slopes)
    # off the axis one view keeps a nearly flat disc while the other's slope is steep
    lopsided = uniform(0.0, 1.0)
    skew = torch.stack([lopsided.clamp(max=0.5) * 2, (1 - lopsided).clamp(max=0.5) * 2], 1)
    ramp = torch.where(is_cat_eye[:, None], ramp * skew, ramp)
    angle = uniform(-torch.pi, torch.pi)
    distance = torch.where(is_cat_eye, uniform(0.0, 0.7), torch.zeros_like(angle))
    in_bank = torch.rand(count, generator=generator, device=device) < (measured_share if bank_size else 0.0)
    index = torch.randint(max(bank_size, 1), (count,), generator=generator, device=device)
    return Lenses(
        ramp=ramp,
        shift=torch.where(is_shifted, uniform(0.15, 0.5), torch.zeros_like(angle)),
        softness_px=uniform(0.25, 0.8) + torch.where(is_hollow, uniform(0.0, 0.8), torch.zeros_like(angle)),
        ring=torch.where(is_hollow | is_cat_eye, uniform(-0.6, 0.6), uniform(-0.15, 0.15)),
        cut=torch.stack([distance * angle.cos(), distance * angle.sin()], 1),
        tilt=torch.where(is_cat_eye, uniform(-0.9, 0.9), uniform(-0.1, 0.1)),
        corners=torch.where(uniform(0.0, 1.0) < 0.3, uniform(5.0, 9.99).floor(), torch.zeros_like(angle)),
        turn=uniform(0.0, torch.pi),
        bank_index=torch.where(in_bank, index, torch.full_like(index, -1)),
    )


def build_kernels(lenses: Lenses, radius_px: Tensor, half_size_px: int, bank: Tensor | None = None) -> Tensor:
    """Kernel pairs of the lenses at the given signed radii.

    Args:
        lenses: B lenses.
        radius_px: (B, K) signed radius of the circle of confusion, positive behind focus.
        half_size_px: h; kernels are 2h + 1 wide. Must be at least the largest radius times about 1.5.
        bank: (N, 2, h', w') measured kernel pairs of radius `MEASURED_RADIUS_PX`, needed when a lens points into it.

    Returns:
        (B, K, 2, 2h + 1, 2h + 1), non-negative; each kernel sums to 1 and each pair's mean centroid is at the middle.
        A radius of zero gives a single bright pixel whatever the lens.
    """
    size = 2 * half_size_px + 1
    axis = torch.arange(size, device=radius_px.device, dtype=torch.float32) - half_size_px
    sign = torch.where(radius_px < 0, -1.0, 1.0)[..., None, None, None]
    radius = radius_px.abs().clamp(min=1e-3)[..., None, None, None]
    y = axis.view(1, 1, 1, -1, 1) * sign
    x = axis.view(1, 1, 1, 1, -1) * sign

    def per_lens(value: Tensor) -> Tensor:
        return value.view(-1, 1, 1, 1, 1)

    def per_view(value: Tensor) -> Tensor:
        return value.view(-1, 1, 2, 1, 1)

    side = torch.tensor([1.0, -1.0], device=radius_px.device).view(1, 1, 2, 1, 1)
    # the brighter side of the ramp is the side towards which a translating disc moves
    x_view = x - side * per_lens(lenses.shift) * radius
    soft = per_lens(lenses.softness_px)
    distance = torch.sqrt(x_view**2 + y**2 + 1e-12)
    turned = torch.atan2(y, x_view) - per_lens(lenses.turn)
    corners = per_lens(lenses.corners)
    sector = 2 * torch.pi / corners.clamp(min=3)
    to_side = torch.cos(torch.remainder(turned, sector) - sector / 2) / torch.cos(sector / 2)
    extent = torch.where(corners > 0, distance * to_side * torch.cos(sector / 2) ** 0.5, distance)
    inside = torch.sigmoid((radius - extent) / (0.4 * soft))
    cut_x, cut_y = (per_lens(lenses.cut[:, i]) * radius for i in (0, 1))
    is_cut = per_lens((lenses.cut.abs().sum(1) > 0).float())
    barrel = torch.sqrt((x_view - cut_x) ** 2 + (y - cut_y) ** 2 + 1e-12)
    inside = inside * torch.lerp(
        torch.ones_like(barrel), torch.sigmoid((1.05 * radius - barrel) / (0.4 * soft)), is_cut
    )
    along = (x_view * per_lens(lenses.tilt.cos()) + y * per_lens(lenses.tilt.sin())) / radius
    slope = (1 + per_view(lenses.ramp) * along.clamp(-1.2, 1.2)).clamp(min=0)
    rim = 1 + per_lens(lenses.ring) * (2 * (distance / radius).clamp(max=1.2) ** 2 - 1)
    kernels = inside * slope * rim.clamp(min=0.05)
    if bank is not None:
        kernels = torch.where(
            per_lens(lenses.bank_index) >= 0, _sample_bank(bank, lenses.bank_index, sign, radius, axis, soft), kernels
        )
    # below about a pixel the discs above are undersampled: they fade into the single pixel of perfect focus
    focus = torch.clamp((0.75 - radius) / 0.5, 0, 1)
    point = (axis.view(-1, 1) == 0) & (axis.view(1, -1) == 0)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True).clamp(min=1e-12)
    return _centre_pair(torch.lerp(kernels, point.float().expand_as(kernels), focus), axis)


def _sample_bank(bank: Tensor, index: Tensor, sign: Tensor, radius: Tensor, axis: Tensor, soft: Tensor) -> Tensor:
    """The bank's pairs, rescaled so that their radius is `radius`: (B, K, 2, size, size)."""
    batch, depth = radius.shape[:2]
    scale = MEASURED_RADIUS_PX / torch.maximum(radius, 0.5 * soft) * sign
    half = (bank.shape[-1] - 1) / 2
    grid_axis = axis / half
    gx = (grid_axis.view(1, 1, 1, 1, -1) * scale).expand(batch, depth, 1, len(axis), len(axis))
    gy = (grid_axis.view(1, 1, 1, -1, 1) * scale).expand(batch, depth, 1, len(axis), len(axis))
    grid = torch.stack([gx, gy], -1).flatten(0, 1).flatten(1, 2).reshape(batch * depth, len(axis), len(axis), 2)
    # point samples of a kernel shrunk by s alias unless it is first averaged over s pixels: four levels are enough
    pairs = bank[index.clamp(min=0)][:, None].expand(-1, depth, -1, -1, -1).flatten(0, 1)
    factor = (scale.abs().flatten(0, 1) / 1.0).view(-1, 1, 1, 1)
    out = torch.zeros(batch * depth, 2, len(axis), len(axis), device=bank.device)
    for level in (1, 3, 5, 9):
        smooth = torch.nn.functional.avg_pool2d(pairs, level, 1, level // 2) if level > 1 else pairs
        sampled = torch.nn.functional.grid_sample(smooth, grid, mode="bilinear", align_corners=True)
        wanted = (
            (factor < 2)
            if level == 1
            else (factor < 4)
            if level == 3
            else (factor < 7)
            if level == 5
            else (factor >= 7)
        )
        lower = {1: 0.0, 3: 2.0, 5: 4.0, 9: 7.0}[level]
        out = torch.where(wanted & (factor >= lower), sampled, out)
    return out.view(batch, depth, 2, len(axis), len(axis)).clamp(min=0)


def _centre_pair(kernels: Tensor, axis: Tensor) -> Tensor:
    """Move each pair, by one bilinear shift for both views, so that the mean of their centroids is the middle pixel."""
    total = kernels.sum((-2, -1))
    mean_x = ((kernels.sum(-2) * axis).sum(-1) / total).mean(-1)
    mean_y = ((kernels.sum(-1) * axis).sum(-1) / total).mean(-1)
    half = (len(axis) - 1) / 2
    batch, depth = kernels.shape[:2]
    theta = torch.zeros(batch * depth, 2, 3, device=kernels.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, 0, 2] = (mean_x / half).flatten()
    theta[:, 1, 2] = (mean_y / half).flatten()
    grid = torch.nn.functional.affine_grid(theta, [batch * depth, 2, len(axis), len(axis)], align_corners=True)
    moved = torch.nn.functional.grid_sample(kernels.flatten(0, 1), grid, mode="bilinear", align_corners=True)
    moved = moved.view_as(kernels)
    return moved / moved.sum((-2, -1), keepdim=True).clamp(min=1e-12)
