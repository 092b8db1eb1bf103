"""Dual-pixel image formation: layered scenes, seen through the two halves of a thin lens, as tensors on any device.

Everything is linear light until `finish_pair` encodes it. A scene is a stack of layers from back to front, each with
its own texture everywhere (so that what an edge hides is there when the blur uncovers it), an opacity, and a plane
of depth given as signed radius of the circle of confusion at each pixel. A view is

    view = sum over layers of  blur(opacity * texture) * product over nearer layers of (1 - blur(opacity)),

the usual back-to-front compositing (Kraus and Strengert, "Depth-of-field rendering by pyramidal image processing",
2007), with the layer's kernel of that view. A slanted layer is cut into slices of constant radius that add up.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from dpdeblur.training.kernels import Lenses, build_kernels


def circle_of_confusion(
    depth_m: Tensor, *, focus_m: float, focal_length_mm: float, f_number: float, pixel_pitch_um: float
) -> Tensor:
    """Signed radius in pixels of the circle of confusion of a thin lens.

    r = f^2 / (2 N (s - f)) * (d - s) / d / pitch, from the thin-lens equation; positive behind the plane of focus.

    Args:
        depth_m: Distance of the scene from the lens, any shape, positive.
        focus_m: Distance s of the plane of focus.
        focal_length_mm: Focal length f.
        f_number: Aperture number N.
        pixel_pitch_um: Distance between neighbouring pixels at the scale the radius is wanted for.
    """
    focal_m = focal_length_mm * 1e-3
    radius_m = focal_m**2 / (2 * f_number * (focus_m - focal_m)) * (depth_m - focus_m) / depth_m
    return radius_m / (pixel_pitch_um * 1e-6)


def encode_srgb(linear: Tensor) -> Tensor:
    """The sRGB transfer curve (IEC 61966-2-1) of values in [0, 1]."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-6) ** (1 / 2.4) - 0.055)


def decode_srgb(encoded: Tensor) -> Tensor:
    """The inverse of `encode_srgb`."""
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded.clamp(min=1e-6) + 0.055) / 1.055) ** 2.4)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A batch of layered scenes.

    Attributes:
        texture: (B, K, 3, H, W) linear light, back to front.
        opacity: (B, K, 1, H, W) in [0, 1]; the first layer's is 1 everywhere.
        slices: (B, K, S, H, W) shares of each layer's depth slices, which add up to 1.
        radius_px: (B, K, S) signed radius of the circle of confusion of each slice.
    """

    texture: Tensor
    opacity: Tensor
    slices: Tensor
    radius_px: Tensor


def render_sharp(scene: Scene) -> Tensor:
    """The all-in-focus picture, (B, 3, H, W) linear."""
    picture = scene.texture[:, 0]
    for layer in range(1, scene.texture.shape[1]):
        picture = torch.lerp(picture, scene.texture[:, layer], scene.opacity[:, layer])
    return picture


def render_views(scene: Scene, lenses: Lenses, half_size_px: int, bank: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What the left and right photodiodes see of a scene.

    Convolution is circular: pixels nearer to the border than `half_size_px` are wrong and are to be cropped away.

    Args:
        scene: B scenes.
        lenses: B lenses.
        half_size_px: Half the kernels' size, see `build_kernels`.
        bank: Measured kernel pairs, see `build_kernels`.

    Returns:
        left, right: (B, 3, H, W) linear; each view at the full picture's exposure.
    """
    batch, depth, _, height, width = scene.texture.shape
    kernels = build_kernels(lenses, scene.radius_px.flatten(1), half_size_px, bank)
    padded = torch.nn.functional.pad(kernels, (0, width - kernels.shape[-1], 0, height - kernels.shape[-2]))
    padded = padded.roll((-half_size_px, -half_size_px), (-2, -1))
    transfer = torch.fft.rfft2(padded).view(batch, depth, -1, 2, 1, height, width // 2 + 1)
    # premultiplied colour and the opacity itself go through the same kernels, slice by slice, and add up
    cover = torch.cat([scene.texture * scene.opacity, scene.opacity], 2)
    spectrum = torch.fft.rfft2(cover[:, :, None] * scene.slices[:, :, :, None])
    blurred = torch.fft.irfft2((spectrum[:, :, :, None] * transfer).sum(2), s=(height, width))
    blurred = blurred.clamp(min=0)
    # where slices meet their shares need not add up to one after blurring: the back layer has no holes
    picture = blurred[:, 0, :, :3] / blurred[:, 0, :, 3:].clamp(min=1e-3)
    for layer in range(1, depth):
        opacity = blurred[:, layer, :, 3:]
        excess = opacity.clamp(min=1.0)
        picture = picture * (1 - opacity / excess) + blurred[:, layer, :, :3] / excess
    return picture[:, 0], picture[:, 1]


@dataclasses.dataclass(frozen=True)
class Sensor:
    """The electronic character of a batch of captures; every field is a tensor of shape (B, 1, 1, 1).

    Attributes:
        shot_noise: Variance of the photon noise at a linear value of 1 (a view gets twice that: half the light).
        read_noise: Standard deviation of the read noise, linear.
        gain_error: Relative difference of exposure left between the views.
        shading: Relative difference between the views at the left and right border (vignetting).
        is_gray: 1 where the capture has one channel.
        levels: Number of code values of the stored views, 0 for none (float).
    """

    shot_noise: Tensor
    read_noise: Tensor
    gain_error: Tensor
    shading: Tensor
    is_gray: Tensor
    levels: Tensor


def draw_sensors(count: int, generator: torch.Generator) -> Sensor:
    """Draw sensors from base ISO at full size to high ISO, 8 to 16 bits, gray and colour."""
    device = generator.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator, device=device)

    levels = torch.where(uniform(0, 1) < 0.35, torch.full_like(uniform(0, 1), 255.0), torch.zeros(1, device=device))
    return Sensor(
        shot_noise=10 ** uniform(-6.5, -3.8),
        read_noise=10 ** uniform(-4.2, -2.9),
        gain_error=uniform(-0.015, 0.015),
        shading=uniform(-0.06, 0.06) * (uniform(0, 1) < 0.6),
        is_gray=(uniform(0, 1) < 0.4).float(),
        levels=levels,
    )


def finish_pair(
    left: Tensor, right: Tensor, sharp: Tensor, sensor: Sensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Expose, clip, add noise and encode.

    Args:
        left: (B, 3, H, W) linear.
        right: The same.
        sharp: The same.
        sensor: B sensors.
        generator: Random source of the noise.

    Returns:
        left, right, sharp: (B, 3, H, W) sRGB-encoded in [0, 1].
    """
    weights = torch.tensor([0.25, 0.5, 0.25], device=left.device).view(1, 3, 1, 1)

    def gray(image: Tensor) -> Tensor:
        return torch.lerp(image, (image * weights).sum(1, keepdim=True).expand_as(image), sensor.is_gray)

    ramp = torch.linspace(-1, 1, left.shape[-1], device=left.device).view(1, 1, 1, -1)
    balance = sensor.gain_error + sensor.shading * ramp

    def noise(like: Tensor) -> Tensor:
        drawn = torch.randn(like.shape, generator=generator, device=like.device)
        # a gray capture has one noise for its three equal channels
        return torch.lerp(drawn, drawn[:, :1].expand_as(drawn), sensor.is_gray)

    views = []
    for view, side in ((left, 1.0), (right, -1.0)):
        light = gray(view) * (1 + side * balance)
        light = light + noise(light) * torch.sqrt(2 * sensor.shot_noise * light.clamp(min=0) + sensor.read_noise**2)
        encoded = encode_srgb(light.clamp(0, 1))
        stepped = torch.round(encoded * sensor.levels) / sensor.levels.clamp(min=1)
        views.append(torch.where(sensor.levels > 0, stepped, encoded))
    return views[0], views[1], encode_srgb(gray(sharp).clamp(0, 1))
