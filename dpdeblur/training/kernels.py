"""Blur kernels of the two half-pixels as functions of the signed circle of confusion.

A kernel pair belongs to one *lens*, one place in the picture (the field) and one signed radius in pixels: positive
behind the plane of focus, negative before it. Crossing the plane of focus turns the light cone over, so the kernel of
-r is the kernel of r rotated by 180 degrees; with a lens symmetric about its vertical axis that exchanges left and
right view. In units of the radius, a kernel is the product of

the *profile* of the light that a half-pixel takes from the pupil, one family each:
- `ramp`: a full disc whose intensity rises linearly across it, 1 + a x. Measured on a Canon EOS R6 Mark II at f/4,
  |a| about 0.4 (+0.39 left, -0.46 right); drawn from 0.2 to 1, one half of them below 0.4. The views are a r / 2 apart
  then: 0.16 to 0.2 radii for that Canon, where the Pixel 4's measured kernels are 0.5 apart.
- `translating`: the translating disc of Punnappurath et al., "Modeling defocus-disparity in dual-pixel sensors", ICCP
  2020: the sum of all intersections of a disc with itself as it moves sideways by its diameter. The sum is as long as
  the way on which the moving disc covers a point, sqrt(1 - y^2) + x.
- `butterworth`: the hollow disc of Abuolaim et al., "Learning to reduce defocus blur by realistically modeling
  dual-pixel data", ICCV 2021, Eq. 2 to 4: 1 / (1 + (alpha / rho)^(2 n)), rescaled to [beta, 1], smoothed by 0.14 radii,
  times a ramp. n is 3 to 9, alpha 0.4 to 1, beta 0.1 to 0.4, what they found to fit a Canon 5D Mark IV.
- `half`: the half disc of older simulations, for comparison: it fits the Canon views 1.8 to 3.3 dB worse than `ramp`.

the *aperture*: round, or a polygon of 5 to 9 blades, and cut to a cat's eye towards the corners of the field by the
barrel, a second circle that moves with the field (mechanical vignetting; Ray, "Applied Photographic Optics"). Towards
the sides the micro-lenses lean (chief-ray angle), and one view's ramp flattens while the other's does not.

small *aberrations* (Mahajan, "Optical Imaging and Aberrations"): spherical, which moves light between rim and middle
in proportion to rho^2; astigmatism, which makes the disc an ellipse in proportion to the field squared; and whatever
softens the edge. Their change of sign across the plane of focus is left out, so that the views stay mirrored.

Measured kernels (measured.py) replace all of that for the lenses that point into a bank.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from dpdeblur.training.measured import MEASURED_RADIUS_PX, sample_bank

#: The profiles, in the order of `Lenses.family`.
FAMILIES = ("ramp", "translating", "butterworth", "half")
RAMP, TRANSLATING, BUTTERWORTH, HALF = range(len(FAMILIES))
#: Share of each family among the lenses that are not measured.
USUAL_SHARES = (0.7, 0.15, 0.15, 0.0)
#: A logistic edge of this scale has the variance of a Gaussian edge of standard deviation 1.
_LOGISTIC = 3**0.5 / torch.pi


@dataclasses.dataclass(frozen=True)
class Lenses:
    """The optical character of a batch of lenses; every field is a float tensor of shape (B,) unless said otherwise.

    Attributes:
        family: Index into `FAMILIES` (int64).
        ramp: (B, 2) slope a of the intensity across the disc for left and right, usually of opposite sign.
        order: Order n of the Butterworth profile.
        hollow: (B, 2) its alpha and beta.
        softness_px: Standard deviation of the disc's edge in pixels.
        ring: Brightening (positive) or darkening of the rim.
        corners: Number of aperture blades, 0 for a circle.
        turn: Rotation of the blades in radians.
        tilt: Direction of the ramp in radians; 0 is horizontal.
        vignetting: How far, in radii, the barrel has moved at the end of the field's unit.
        lean: How much flatter the ramps get there.
        astigmatism: How much narrower the disc gets there along the field's direction.
        field: (B, 2) where in the picture, x and y; (0, 0) is the middle, |x| = 1 the left and right border.
        bank_index: Index into the measured bank, or -1 for the closed forms (int64).
    """

    family: Tensor
    ramp: Tensor
    order: Tensor
    hollow: Tensor
    softness_px: Tensor
    ring: Tensor
    corners: Tensor
    turn: Tensor
    tilt: Tensor
    vignetting: Tensor
    lean: Tensor
    astigmatism: Tensor
    field: Tensor
    bank_index: Tensor

    def __len__(self) -> int:
        """The number of lenses."""
        return len(self.family)


def ideal_lenses(
    count: int,
    *,
    family: int = RAMP,
    ramp: float = 0.4,
    softness_px: float = 0.2,
    device: torch.device | str = "cpu",
) -> Lenses:
    """Round, symmetric lenses of one family: +ramp for the left view and -ramp for the right."""
    zero = torch.zeros(count, device=device)
    return Lenses(
        family=torch.full((count,), family, device=device),
        ramp=torch.tensor([ramp, -ramp], device=device).repeat(count, 1),
        order=zero + 6,
        hollow=torch.tensor([0.7, 0.25], device=device).repeat(count, 1),
        softness_px=zero + softness_px,
        ring=zero,
        corners=zero,
        turn=zero,
        tilt=zero,
        vignetting=zero,
        lean=zero,
        astigmatism=zero,
        field=torch.zeros(count, 2, device=device),
        bank_index=torch.full((count,), -1, device=device),
    )


def draw_lenses(
    count: int,
    generator: torch.Generator,
    *,
    shares: tuple[float, ...] = USUAL_SHARES,
    bank_size: int = 0,
    measured_share: float = 0.3,
) -> Lenses:
    """Draw lenses, each at a random place of the field.

    Args:
        count: How many.
        generator: Random source; its device is the device of the result.
        shares: Share of each of `FAMILIES`.
        bank_size: Number of kernel pairs in the measured bank, 0 for none.
        measured_share: Share of the lenses taken from the bank when there is one.
    """
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, device=device)

    def sometimes(share: float, value: Tensor) -> Tensor:
        return torch.where(uniform(0.0, 1.0) < share, value, torch.zeros_like(value))

    weights = torch.tensor(shares, device=device)
    # flat ramps are the usual ones; left and right are never exact mirrors: measured +0.39 and -0.46
    slopes = ((0.2 + 0.8 * uniform(0.0, 1.0, 1) ** 2) * uniform(0.8, 1.25, 2)).clamp(0.2, 1.0)
    off_axis = sometimes(0.45, torch.ones(count, device=device))
    in_bank = torch.rand(count, generator=generator, device=device) < (measured_share if bank_size else 0.0)
    index = torch.randint(max(bank_size, 1), (count,), generator=generator, device=device)
    return Lenses(
        family=torch.multinomial(weights, count, replacement=True, generator=generator),
        ramp=slopes * torch.tensor([1.0, -1.0], device=device),
        order=uniform(3.0, 9.0),
        hollow=torch.stack([uniform(0.4, 1.0), uniform(0.1, 0.4)], 1),
        softness_px=uniform(0.18, 0.6),
        ring=torch.lerp(uniform(-0.15, 0.15), uniform(-0.5, 0.5), off_axis),
        corners=sometimes(0.3, uniform(5.0, 9.99).floor()),
        turn=uniform(0.0, torch.pi),
        tilt=torch.lerp(uniform(-0.1, 0.1), uniform(-0.9, 0.9), off_axis),
        vignetting=off_axis * uniform(0.1, 0.75),
        lean=off_axis * uniform(-1.0, 1.0),
        astigmatism=uniform(-0.08, 0.08),
        field=uniform(-1.0, 1.0, 2) * torch.tensor([1.0, 0.75], device=device),
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
    sign = torch.where(radius_px < 0, -1.0, 1.0)
    radius = radius_px.abs().clamp(min=1e-3)
    kernels = _shape_kernels(lenses, axis, sign[..., None, None, None], radius[..., None, None, None])
    if bank is not None:
        scale = MEASURED_RADIUS_PX / torch.maximum(radius, 0.7 * lenses.softness_px[:, None]) * sign
        sampled = sample_bank(bank, lenses.bank_index, scale, axis)
        kernels = torch.where(_per_lens(lenses.bank_index) >= 0, sampled, kernels)
    # below about a pixel the discs above are undersampled: they fade into the single pixel of perfect focus
    focus = torch.clamp((0.75 - radius) / 0.5, 0, 1)[..., None, None, None]
    point = (axis.view(-1, 1) == 0) & (axis.view(1, -1) == 0)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True).clamp(min=1e-12)
    return _centre_pair(torch.lerp(kernels, point.float().expand_as(kernels), focus), axis)


def _per_lens(value: Tensor) -> Tensor:
    return value.view(-1, 1, 1, 1, 1)


def _shape_kernels(lenses: Lenses, axis: Tensor, sign: Tensor, radius: Tensor) -> Tensor:
    """The closed forms, unnormalised: (B, K, 2, size, size) of sign and radius (B, K, 1, 1, 1)."""
    field_x, field_y = (_per_lens(lenses.field[:, i]) for i in (0, 1))
    x = axis.view(1, 1, 1, 1, -1) * sign / radius
    y = axis.view(1, 1, 1, -1, 1) * sign / radius
    narrowing = _per_lens(lenses.astigmatism) * (x * field_x + y * field_y)
    x, y = x + narrowing * field_x, y + narrowing * field_y
    rho = torch.sqrt(x**2 + y**2 + 1e-12)
    # the edge's scale in radii; the Butterworth profile is smoothed in proportion to the radius besides
    is_hollow = _per_lens((lenses.family == BUTTERWORTH).float())
    edge = _LOGISTIC * torch.sqrt((_per_lens(lenses.softness_px) / radius) ** 2 + is_hollow * 0.14**2)
    inside = torch.sigmoid((1 - _measure_extent(lenses, x, y, rho)) / edge)
    cut = _per_lens(lenses.vignetting)
    barrel = torch.sqrt((x - cut * field_x) ** 2 + (y - cut * field_y) ** 2 + 1e-12)
    is_cut = _per_lens((lenses.vignetting > 0).float())
    inside = inside * torch.lerp(torch.ones_like(barrel), torch.sigmoid((1.05 - barrel) / edge), is_cut)
    rim = 1 + _per_lens(lenses.ring) * (2 * rho.clamp(max=1.2) ** 2 - 1)
    return inside * rim.clamp(min=0.05) * _shape_profiles(lenses, x, y, rho, edge)


def _measure_extent(lenses: Lenses, x: Tensor, y: Tensor, rho: Tensor) -> Tensor:
    """Distance from the middle in units of the aperture's border: a circle's, or a polygon's of about its area."""
    corners = _per_lens(lenses.corners)
    sector = 2 * torch.pi / corners.clamp(min=3)
    turned = torch.atan2(y, x) - _per_lens(lenses.turn)
    to_side = torch.cos(torch.remainder(turned, sector) - sector / 2) / torch.cos(sector / 2)
    return torch.where(corners > 0, rho * to_side * torch.cos(sector / 2) ** 0.5, rho)


def _shape_profiles(lenses: Lenses, x: Tensor, y: Tensor, rho: Tensor, edge: Tensor) -> Tensor:
    """What each view takes from the pupil, by family: (B, K, 2, size, size)."""
    side = torch.tensor([1.0, -1.0], device=x.device).view(1, 1, 2, 1, 1)
    leaning = lenses.lean * lenses.field[:, 0]
    flatter = torch.stack([leaning, -leaning], 1).clamp(min=0)
    slopes = (lenses.ramp * (1 - flatter)).view(-1, 1, 2, 1, 1)
    along = x * _per_lens(lenses.tilt.cos()) + y * _per_lens(lenses.tilt.sin())
    ramp = (1 + slopes * along.clamp(-1.2, 1.2)).clamp(min=0)
    order, alpha, beta = (_per_lens(v) for v in (lenses.order, lenses.hollow[:, 0], lenses.hollow[:, 1]))
    brightest = 1 + alpha ** (2 * order)
    hollow = beta + (1 - beta) * brightest / (1 + (alpha / rho.clamp(max=1)) ** (2 * order))
    family = _per_lens(lenses.family)
    profile = torch.where(family == BUTTERWORTH, ramp * hollow, ramp)
    swept = (torch.sqrt((1 - y**2).clamp(min=0)) + side * x).clamp(min=0)
    profile = torch.where(family == TRANSLATING, swept, profile)
    return torch.where(family == HALF, torch.sigmoid(side * x / edge), profile)


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
    grid = functional.affine_grid(theta, [batch * depth, 2, len(axis), len(axis)], align_corners=True)
    moved = functional.grid_sample(kernels.flatten(0, 1), grid, mode="bilinear", align_corners=True)
    moved = moved.view_as(kernels)
    return moved / moved.sum((-2, -1), keepdim=True).clamp(min=1e-12)
