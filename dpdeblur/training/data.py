"""Endless batches of simulated pairs, drawn and rendered on the training device; no work per sample on the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from dpdeblur.networks.light import decode_srgb
from dpdeblur.training.kernels import USUAL_SHARES, Lenses, draw_lenses
from dpdeblur.training.optics import Optics, draw_optics
from dpdeblur.training.recipe import Pair
from dpdeblur.training.sensor import Sensor, draw_sensors, finish_pair
from dpdeblur.training.simulator import Scene, find_fast_size, render_sharp, render_views

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
        layer_share: Probability of each layer but the first.
        measured_share: Share of the lenses taken from the measured bank, when there is one.
        family_shares: Share of each of `kernels.FAMILIES` among the others.
    """

    height: int = 288
    width: int = 224
    largest_radius_px: float = 9.0
    layers: int = 3
    slices: int = 4
    focus_share: float = 0.08
    layer_share: float = 0.55
    measured_share: float = 0.3
    family_shares: tuple[float, ...] = USUAL_SHARES

    @property
    def half_size_px(self) -> int:
        """Half the kernels' size, and so the margin that is rendered and cropped away."""
        return int(1.5 * self.largest_radius_px + 2.5)

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width that are painted: the crop with its margins, and what makes the Fourier transforms fast."""
        margins = 2 * self.half_size_px
        return find_fast_size(self.height + margins), find_fast_size(self.width + margins)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Everything that was drawn for a batch of pairs, before any light is traced.

    Attributes:
        scene: What is photographed, with a margin around the picture.
        optics: The cameras' thin lenses.
        lenses: The shapes of their blur.
        sensors: Their electronics.
        depth_m: (B, K, S) depth of the scene's slices.
    """

    scene: Scene
    optics: Optics
    lenses: Lenses
    sensors: Sensor
    depth_m: Tensor


def draw_depths(count: int, options: SceneOptions, generator: torch.Generator) -> tuple[Tensor, Tensor, Optics]:
    """Draw cameras and where the layers stand before them.

    A scene has a strength (the wanted radius of its strongest blur), a side of focus that most of its layers share,
    and slanted layers, some of them missing. Layers are ordered by depth, the farthest first, and the missing ones
    come last.

    Returns:
        depth_m: (count, layers, slices).
        is_present: (count, layers) of bool, True in the first.
        optics: The cameras.
    """
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, device=device)

    strength = options.largest_radius_px * uniform(0.08, 1.0, 1)
    strength = torch.where(uniform(0, 1, 1) < options.focus_share, uniform(0.01, 0.6, 1), strength)
    optics = draw_optics(strength[:, 0], generator)
    strength = torch.minimum(strength, optics.largest_radius()[:, None])
    side = torch.where(uniform(0, 1, 1) < 0.5, -1.0, 1.0)
    middle = side * strength * (1 - 1.3 * uniform(0.0, 1.0, 1) * uniform(0, 1, options.layers))
    present = 1 + (uniform(0, 1, options.layers - 1) < options.layer_share).sum(1, keepdim=True)
    is_present = torch.arange(options.layers, device=device) < present
    # a larger radius, with its sign, is farther away: what is missing is sent to the end of the descending order
    ordered = torch.where(is_present, middle, -torch.inf).sort(1, descending=True).values
    middle = torch.where(is_present, ordered, torch.zeros_like(middle))
    # a slanted layer keeps its middle, and so its place in the order
    limit = optics.largest_radius().clamp(max=options.largest_radius_px)[:, None]
    slant = torch.minimum(uniform(0, 1, options.layers) ** 2 * 0.5 * strength, limit - middle.abs())
    radius = middle[..., None] + slant[..., None] * torch.linspace(-1, 1, options.slices, device=device)
    return optics.find_depth(radius), is_present, optics


def add_smoothed(textures: Tensor) -> Tensor:
    """Append to each texture its mean over 2 x 2 pixels, from which reduced textures are sampled without aliasing.

    Args:
        textures: (N, 3, T, T) uint8.

    Returns:
        (2 N, 3, T, T) uint8 on the same device.
    """
    bank = torch.cat([textures, textures])
    for index, texture in enumerate(textures):
        padded = functional.pad(texture[None].float(), (0, 1, 0, 1), mode="replicate")
        bank[len(textures) + index] = functional.avg_pool2d(padded, 2, 1)[0].round()
    return bank


def draw_scenes(
    bank: Tensor, depth: Tensor, is_present: Tensor, optics: Optics, options: SceneOptions, generator: torch.Generator
) -> Scene:
    """Paint random layered scenes with textures of the bank.

    Args:
        bank: (2 N, 3, T, T) uint8 sRGB textures of `add_smoothed`, on the generator's device.
        depth: (B, K, S) metres, see `draw_depths`.
        is_present: (B, K).
        optics: B cameras.
        options: What is drawn.
        generator: Random source.

    Returns:
        Scenes of `options.canvas` pixels.
    """
    device = generator.device
    height, width = options.canvas
    count = len(depth)
    total = count * options.layers

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(total, *shape, generator=generator, device=device)

    texture = _sample_textures(bank, height, width, uniform, generator).view(count, options.layers, 3, height, width)
    opacity = _draw_opacity(height, width, uniform).view(count, options.layers, 1, height, width)
    opacity = opacity * is_present.view(count, options.layers, 1, 1, 1)
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
        radius_px=optics.measure_radius(depth),
    )


def _sample_textures(bank: Tensor, height: int, width: int, uniform: Uniform, generator: torch.Generator) -> Tensor:
    """Random crops of the bank, turned, scaled, flipped, recoloured: linear light."""
    total = len(uniform(0, 1))
    # at most one texture pixel a picture pixel is magnified a little; shrinking up to 2.2 times keeps textures dense
    zoom = torch.exp(uniform(-0.1, 0.8))
    number = len(bank) // 2
    index = torch.randint(number, (total,), generator=generator, device=generator.device)
    tiles = bank[index + number * (zoom > 1.5)].to(torch.float32) / 255
    size = bank.shape[-1]
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
    gain = torch.exp(uniform(-0.7, 0.45, 1, 1, 1))
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


def draw_sample(
    textures: Tensor, count: int, options: SceneOptions, generator: torch.Generator, bank_size: int = 0
) -> Sample:
    """Draw scenes, cameras, lenses and sensors.

    Args:
        textures: (2 N, 3, T, T) uint8 of `add_smoothed`, on the generator's device.
        count: Samples of a batch.
        options: What is drawn.
        generator: Random source.
        bank_size: Number of measured kernel pairs, 0 for none.
    """
    depth, is_present, optics = draw_depths(count, options, generator)
    scene = draw_scenes(textures, depth, is_present, optics, options, generator)
    lenses = draw_lenses(
        count,
        generator,
        shares=options.family_shares,
        bank_size=bank_size,
        measured_share=options.measured_share,
    )
    return Sample(scene, optics, lenses, draw_sensors(optics, generator), depth)


def simulate_batches(
    textures: Tensor,
    count: int,
    options: SceneOptions,
    generator: torch.Generator,
    bank: Tensor | None = None,
) -> Iterator[Pair]:
    """Endless batches of pairs, sRGB-encoded in [0, 1].

    Args:
        textures: (N, 3, T, T) uint8 on the generator's device.
        count: Samples of a batch.
        options: What is drawn.
        generator: Random source; its state is all there is to resume.
        bank: (N, 2, h, w) measured kernel pairs, or None.
    """
    margin = options.half_size_px
    crop = (..., slice(margin, margin + options.height), slice(margin, margin + options.width))
    smoothed = add_smoothed(textures)
    while True:
        sample = draw_sample(smoothed, count, options, generator, bank_size=0 if bank is None else len(bank))
        left, right = render_views(sample.scene, sample.lenses, margin, bank)
        sharp = render_sharp(sample.scene)
        yield Pair(*finish_pair(left[crop], right[crop], sharp[crop], sample.sensors, generator))
