"""Endless batches of simulated pairs, drawn and rendered on the training device; no work per sample on the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from dpdeblur.training.kernels import draw_lenses
from dpdeblur.training.simulator import Scene, decode_srgb, draw_sensors, finish_pair, render_sharp, render_views

#: Draws values between two bounds, one per layer and whatever further axes are given.
Uniform = Callable[..., Tensor]


@dataclasses.dataclass(frozen=True)
class SceneOptions:
    """What is drawn.

    Attributes:
        height: Of the crops, in pixels.
        width: Of the crops.
        largest_radius_px: Largest circle of confusion.
        layers: Most layers of a scene.
        slices: Depth slices of a layer.
        focus_share: Share of the scenes that are (nearly) in focus everywhere.
        measured_share: Share of the lenses taken from the measured bank, when there is one.
    """

    height: int = 288
    width: int = 224
    largest_radius_px: float = 9.0
    layers: int = 3
    slices: int = 4
    focus_share: float = 0.08
    measured_share: float = 0.35

    @property
    def half_size_px(self) -> int:
        """Half the kernels' size, and so the margin that is rendered and cropped away."""
        return int(1.5 * self.largest_radius_px + 2.5)


def draw_radii(count: int, options: SceneOptions, generator: torch.Generator) -> Tensor:
    """Signed radii of the slices: (count, layers, slices).

    A scene has a strength (up to the largest radius), a side of focus that most of its layers share, and slanted
    layers.
    """
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, device=device)

    strength = options.largest_radius_px * uniform(0.08, 1.0, 1)
    strength = torch.where(uniform(0, 1, 1) < options.focus_share, uniform(0, 0.6, 1), strength)
    side = torch.where(uniform(0, 1, 1) < 0.5, -1.0, 1.0)
    spread = uniform(0.0, 1.0, 1)
    middle = side * strength * (1 - 1.3 * spread * uniform(0, 1, options.layers))
    slant = uniform(0, 1, options.layers) ** 2 * 0.5 * strength
    steps = torch.linspace(-1, 1, options.slices, device=device)
    radii = middle[..., None] + slant[..., None] * steps
    return radii.clamp(-options.largest_radius_px, options.largest_radius_px)


def draw_scenes(bank: Tensor, count: int, options: SceneOptions, generator: torch.Generator) -> Scene:
    """Paint random layered scenes with textures of the bank.

    Args:
        bank: (N, 3, 512, 512) uint8 sRGB textures on the generator's device.
        count: Number of scenes B.
        options: What is drawn.
        generator: Random source.
    """
    device = generator.device
    margin = options.half_size_px
    height, width = options.height + 2 * margin, options.width + 2 * margin
    total = count * options.layers

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(total, *shape, generator=generator, device=device)

    texture = _sample_textures(bank, height, width, uniform, generator).view(count, options.layers, 3, height, width)
    opacity = _draw_opacity(height, width, uniform).view(count, options.layers, 1, height, width)
    present = torch.rand(count, options.layers, 1, 1, 1, generator=generator, device=device) < 0.55
    opacity = opacity * present
    opacity[:, 0] = 1
    axis_y = torch.linspace(-1, 1, height, device=device).view(1, -1, 1)
    axis_x = torch.linspace(-1, 1, width, device=device).view(1, 1, -1)
    angle = uniform(0, 2 * torch.pi, 1, 1)
    place = (axis_x * angle.cos() + axis_y * angle.sin()) / (angle.cos().abs() + angle.sin().abs())
    position = (place + 1) / 2 * (options.slices - 1)
    steps = torch.arange(options.slices, device=device).view(1, -1, 1, 1)
    shares = (1 - (position[:, None] - steps).abs()).clamp(min=0)
    return Scene(
        texture=texture,
        opacity=opacity,
        slices=shares.view(count, options.layers, options.slices, height, width),
        radius_px=draw_radii(count, options, generator),
    )


def _sample_textures(bank: Tensor, height: int, width: int, uniform: Uniform, generator: torch.Generator) -> Tensor:
    """Random crops of the bank, turned, scaled, flipped, recoloured: linear light."""
    total = len(uniform(0, 1))
    index = torch.randint(len(bank), (total,), generator=generator, device=generator.device)
    tiles = bank[index].to(torch.float32) / 255
    size = bank.shape[-1]
    # at most one texture pixel a picture pixel is magnified a little; shrinking up to 2.2 times keeps textures dense
    zoom = torch.exp(uniform(-0.1, 0.8))
    smooth = functional.avg_pool2d(functional.pad(tiles, (0, 1, 0, 1), mode="replicate"), 2, 1)
    tiles = torch.where((zoom > 1.5).view(-1, 1, 1, 1), smooth, tiles)
    angle = uniform(-0.35, 0.35) + torch.pi / 2 * torch.floor(uniform(0, 4))
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    theta = torch.zeros(total, 2, 3, device=tiles.device)
    scale_x, scale_y = zoom * width / size, zoom * height / size
    theta[:, 0, 0], theta[:, 0, 1] = flip * scale_x * angle.cos(), -scale_y * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = flip * scale_x * angle.sin(), scale_y * angle.cos()
    theta[:, :, 2] = uniform(-0.6, 0.6, 2)
    grid = functional.affine_grid(theta, [total, 3, height, width], align_corners=False)
    encoded = functional.grid_sample(tiles, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    linear = decode_srgb(encoded.clamp(0, 1))
    gain = torch.exp(uniform(-1.0, 0.6, 1, 1, 1))
    tint = torch.exp(uniform(-0.25, 0.25, 3, 1, 1))
    # lamps and glints are far brighter than the paper white that a photograph stores
    glint = 1 + (linear.mean(1, keepdim=True) > 0.9) * (uniform(0, 1, 1, 1, 1) < 0.25) * uniform(0, 4, 1, 1, 1)
    return linear * gain * tint * glint


def _draw_opacity(height: int, width: int, uniform: Uniform) -> Tensor:
    """Shapes of the nearer layers: half planes, bars, ellipses and blobs, with antialiased edges."""
    device = uniform(0, 1).device
    y = torch.arange(height, device=device).view(1, -1, 1) - height / 2
    x = torch.arange(width, device=device).view(1, 1, -1) - width / 2
    y, x = y - uniform(-0.4, 0.4, 1, 1) * height, x - uniform(-0.4, 0.4, 1, 1) * width
    angle = uniform(-torch.pi, torch.pi, 1, 1)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    extent = 0.5 * min(height, width)
    half_long, half_wide = extent * uniform(0.2, 1.2, 1, 1), extent * torch.exp(uniform(-3.5, 0, 1, 1))
    plane = along
    bar = torch.maximum(along.abs() - half_long * 2, across.abs() - half_wide)
    ellipse = (torch.sqrt((along / half_long) ** 2 + (across / half_wide) ** 2 + 1e-6) - 1) * torch.minimum(
        half_long, half_wide
    )
    coarse = uniform(-1, 1, 1, 8, 6)
    wavy = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[:, 0]
    blob = (wavy - uniform(-0.3, 0.3, 1, 1)) * extent / 3
    kind = uniform(0, 1, 1, 1)
    distance = torch.where(kind < 0.25, plane, torch.where(kind < 0.5, bar, torch.where(kind < 0.75, ellipse, blob)))
    return (0.5 - distance).clamp(0, 1)


def simulate_batches(
    textures: Tensor,
    count: int,
    options: SceneOptions,
    generator: torch.Generator,
    bank: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless batches (left, right, sharp), each (count, 3, height, width), sRGB-encoded in [0, 1].

    Args:
        textures: (N, 3, 512, 512) uint8 on the generator's device.
        count: Samples of a batch.
        options: What is drawn.
        generator: Random source; its state is all there is to resume.
        bank: (N, 2, h, w) measured kernel pairs, or None.
    """
    margin = options.half_size_px
    while True:
        scene = draw_scenes(textures, count, options, generator)
        lenses = draw_lenses(
            count, generator, bank_size=0 if bank is None else len(bank), measured_share=options.measured_share
        )
        left, right = render_views(scene, lenses, margin, bank)
        crop = (..., slice(margin, -margin), slice(margin, -margin))
        yield finish_pair(left[crop], right[crop], render_sharp(scene)[crop], draw_sensors(count, generator), generator)
