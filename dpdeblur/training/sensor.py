"""What a dual-pixel sensor makes of the light: noise, clipping, quantisation, a colour mosaic, and the stored file.

Light of 1 fills a pixel at the chosen ISO. A pixel of pitch p holds about 2000 electrons per square micrometre at ISO
100 (57,000 at 5.4 um, 4000 at 1.4 um), and 100 / ISO of them fill its range; each of its two photodiodes gets half, so
the photon noise of a view, Poisson's, has twice the variance of the picture's. Read noise is 1.5 to 4 electrons a view.
(Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", IEEE TIP 2008;
Janesick, "Photon Transfer", 2007.) Codes have 14 bits, of which black takes 512. Where a picture was reduced m times,
each of its pixels is the mean of m x m such values. Red and blue are amplified after that by the white balance.

A share of the colour captures goes through a Bayer mosaic and is interpolated by the five-by-five filters of Malvar, He
and Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color images", ICASSP 2004. Gray
captures are one colour of the mosaic alone, as the green views of a Pixel are. A share is stored in 8 bits.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from dpdeblur.networks.light import encode_srgb
from dpdeblur.training.optics import Optics

_CODES = 2**14 - 1 - 512
_ELECTRONS_PER_UM2 = 2000.0

# the filters times 8 (Malvar et al., figure 2): green at red or blue; red at a green of its row; red at blue
_GREEN = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
_IN_ROW = [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
_OPPOSITE = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]


@dataclasses.dataclass(frozen=True)
class Sensor:
    """The electronic character of a batch of captures; every field is a tensor of shape (B, 1, 1, 1) or as stated.

    Attributes:
        exposure: Factor on the scene's light.
        capacity: Electrons that fill a pixel's range at the chosen ISO, times the pixels averaged into one.
        read_noise: Electrons of read noise a view, in the same sum.
        step: Linear value of one code of a view, after averaging.
        balance: (B, 3, 1, 1) white balance: factors on red, green and blue, at least 1.
        gain_error: Relative difference of exposure left between the views.
        shading: Relative difference between the views at the left and right border (vignetting).
        is_gray: 1 where the capture has one channel.
        is_mosaic: 1 where it was interpolated from a mosaic.
        levels: Number of code values of the stored views, 0 for none (float).
    """

    exposure: Tensor
    capacity: Tensor
    read_noise: Tensor
    step: Tensor
    balance: Tensor
    gain_error: Tensor
    shading: Tensor
    is_gray: Tensor
    is_mosaic: Tensor
    levels: Tensor


def draw_sensors(optics: Optics, generator: torch.Generator) -> Sensor:
    """Draw captures from ISO 50 to 3200 (100 with pixels of a micrometre), gray and colour, in 8 bits or more.

    Args:
        optics: B cameras, whose pixels and reductions decide how many electrons there are.
        generator: Random source.
    """
    count, device = len(optics.focus_m), generator.device

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(count, channels, 1, 1, generator=generator, device=device)

    pitch, reduction = optics.pixel_pitch_um.view(-1, 1, 1, 1), optics.reduction.view(-1, 1, 1, 1)
    # most photos are taken at low ISO; what is bearable grows with the pixel's area (phones add exposures up)
    highest = (110 * pitch**2).clamp(100, 3200)
    iso = 50 * (highest / 50) ** (uniform(0, 1) ** 2)
    averaged = reduction**2
    is_gray = (uniform(0, 1) < 0.4).float()
    # reduced photos no longer show the mosaic they came from
    is_mosaic = (uniform(0, 1) < 0.6) & (reduction < 2) & (is_gray == 0)
    factors = torch.cat([uniform(1.2, 2.4), torch.ones_like(iso), uniform(1.2, 2.2)], 1)
    return Sensor(
        exposure=torch.exp(uniform(-0.4, 0.2)),
        capacity=_ELECTRONS_PER_UM2 * pitch**2 * 100 / iso * averaged,
        read_noise=uniform(1.5, 4.0) * reduction,
        step=2 / _CODES / averaged,
        balance=torch.where(is_gray > 0, torch.ones_like(factors), factors),
        gain_error=uniform(-0.015, 0.015),
        shading=uniform(-0.06, 0.06) * (uniform(0, 1) < 0.6),
        is_gray=is_gray,
        is_mosaic=is_mosaic.float(),
        levels=torch.where(uniform(0, 1) < 0.35, 255.0, 0.0),
    )


def interpolate_mosaic(picture: Tensor) -> Tensor:
    """Sample an RGGB mosaic of a picture and interpolate it again (Malvar et al. 2004).

    Args:
        picture: (B, 3, H, W) linear light.

    Returns:
        (B, 3, H, W), not clipped. Borders are interpolated from a reflected mosaic.
    """
    height, width = picture.shape[-2:]
    odd_row = (torch.arange(height, device=picture.device) % 2 == 1).view(-1, 1)
    odd_column = (torch.arange(width, device=picture.device) % 2 == 1).view(1, -1)
    is_red, is_blue = ~odd_row & ~odd_column, odd_row & odd_column
    red, green, blue = picture.chunk(3, 1)
    mosaic = torch.where(is_red, red, torch.where(is_blue, blue, green))
    filters = torch.tensor([_GREEN, _IN_ROW, _OPPOSITE], device=picture.device) / 8
    filters = torch.cat([filters, filters[1:2].mT])[:, None]
    padded = functional.pad(mosaic, (2, 2, 2, 2), mode="reflect")
    cross, in_row, opposite, in_column = functional.conv2d(padded, filters).chunk(4, 1)
    # red's neighbours lie in the row of an even row's green, in the column of an odd row's; blue's the other way round
    new_red = torch.where(is_red, mosaic, torch.where(is_blue, opposite, torch.where(odd_row, in_column, in_row)))
    new_green = torch.where(is_red | is_blue, cross, mosaic)
    new_blue = torch.where(is_blue, mosaic, torch.where(is_red, opposite, torch.where(odd_row, in_row, in_column)))
    return torch.cat([new_red, new_green, new_blue], 1)


def _read_out(light: Tensor, sensor: Sensor, generator: torch.Generator) -> Tensor:
    """Electrons, read noise and codes of one view: linear (B, 3, H, W) to the same, within [0, 1]."""
    view_capacity = sensor.capacity / 2
    electrons = torch.poisson(light.clamp(min=0) / sensor.balance * view_capacity, generator=generator)
    noise = torch.randn(light.shape, generator=generator, device=light.device)
    # a gray capture has one value for its three equal channels
    electrons = torch.lerp(electrons, electrons[:, :1].expand_as(electrons), sensor.is_gray)
    noise = torch.lerp(noise, noise[:, :1].expand_as(noise), sensor.is_gray)
    values = (electrons + noise * sensor.read_noise) / view_capacity
    return (torch.round(values / sensor.step) * sensor.step).clamp(max=1) * sensor.balance


def finish_pair(
    left: Tensor, right: Tensor, sharp: Tensor, sensor: Sensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Expose, read out, interpolate and encode.

    Args:
        left: (B, 3, H, W) linear light.
        right: The same.
        sharp: The same.
        sensor: B sensors.
        generator: Random source of the noise.

    Returns:
        left, right, sharp: (B, 3, H, W) sRGB-encoded in [0, 1]; the sharp one is clipped but free of noise.
    """
    weights = torch.tensor([0.25, 0.5, 0.25], device=left.device).view(1, 3, 1, 1)

    def expose(image: Tensor) -> Tensor:
        image = image * sensor.exposure
        return torch.lerp(image, (image * weights).sum(1, keepdim=True).expand_as(image), sensor.is_gray)

    ramp = torch.linspace(-1, 1, left.shape[-1], device=left.device).view(1, 1, 1, -1)
    difference = sensor.gain_error + sensor.shading * ramp
    views = []
    for view, side in ((left, 1.0), (right, -1.0)):
        light = _read_out(expose(view) * (1 + side * difference), sensor, generator)
        light = torch.lerp(light, interpolate_mosaic(light), sensor.is_mosaic)
        encoded = encode_srgb(light.clamp(0, 1))
        stepped = torch.round(encoded * sensor.levels) / sensor.levels.clamp(min=1)
        views.append(torch.where(sensor.levels > 0, stepped, encoded))
    return views[0], views[1], encode_srgb(expose(sharp).clamp(0, 1))
