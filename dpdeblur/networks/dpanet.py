"""DPANet: dual-pixel defocus deblurring by aligning the two views with deformable convolutions.

Li, Yi, Ren, Li and Zuo, "Learning Dual-Pixel Alignment for Defocus Deblurring". Pyramid features of both views; an
encoder whose stages (EAM) align the views by what a correlation volume says about their disparity; a decoder whose
stages (DAM) align the skips of both views once more before they join.

Deliberate differences from the paper, in both forms, because the authors' model has them: later volumes compare the
*aligned* outputs of the stage before (the paper's Eq. 7: each stage's own unaligned features) and are then max-pooled;
both views share the encoder's deformable convolution.

`released=True` builds the authors' model for BGR: its first decoder stage doubles a map that has the skip's size
already and crops the middle, its decoder finds the right view's offsets after the left view has been aligned, and a
sigmoid ends it. Our form, for RGB, does neither, because the crop makes a pixel depend on where its tile lies, and adds
the prediction to the mean of the views. It starts as that mean: the last convolution and all offsets begin at zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dpdeblur.networks.correlation import correlate
from dpdeblur.networks.deform import FIELD_CHANNELS, DeformableConv
from dpdeblur.networks.layers import convolve, convolve_precisely, lower
from dpdeblur.networks.network import Network

RADIUS = 4
SHIFTS = (2 * RADIUS + 1) ** 2
SLOPE = 0.1
STAGES = (1, 2, 4, 8)  # channels of the encoder's stages, in widths


def correlate_views(left: Tensor, right: Tensor) -> Tensor:
    """Make the correlation volume of two maps, (B, 81, H, W): row-major in the shift, then LeakyReLU."""
    return functional.leaky_relu(correlate(left, right, RADIUS), SLOPE)


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, channels: int) -> None:
        """Set up two 3x3 convolutions."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape; without gradients the result may stand where the features stood."""
        return convolve(convolve(features, self.first, slope=0.0), self.second, plus=features, overwrite=True)


class ConvBlock(nn.Sequential):
    """3x3 convolution, ReLU, two residual blocks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Set up the block from `inputs` to `outputs` channels."""
        entry = nn.Conv2d(inputs, outputs, 3, padding=1)
        super().__init__(entry, nn.ReLU(inplace=True), ResidualBlock(outputs), ResidualBlock(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return self[3](self[2](convolve(features, self[0], slope=0.0)))


class PyramidFeatures(nn.Module):
    """The feature extractor of EDVR: three scales, joined from coarse to fine."""

    def __init__(self, width: int, inputs: int = 3) -> None:
        """Set up `width` channels at every scale, from `inputs` channels."""
        super().__init__()
        self.entry = nn.Conv2d(inputs, width, 3, padding=1)
        self.to_half = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.to_quarter = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.at_quarter = ResidualBlock(width)
        self.at_half = ResidualBlock(width)
        self.joined_half = ResidualBlock(width)
        self.at_full = nn.Sequential(ResidualBlock(width), ResidualBlock(width))
        self.joined_full = nn.Sequential(ResidualBlock(width), ResidualBlock(width), ResidualBlock(width))

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, width, H, W)."""
        full = lower(convolve_precisely(image, self.entry, slope=SLOPE))
        half = convolve(full, self.to_half, slope=SLOPE)
        quarter = convolve(half, self.to_quarter, slope=SLOPE)
        half = self.joined_half(self.at_half(half) + _double_size(self.at_quarter(quarter), "bilinear"))
        return self.joined_full(self.at_full(full) + _double_size(half, "bilinear"))


class EncoderStage(nn.Module):
    """Features of both views, aligned by what the correlation volume says (the paper's EAM)."""

    def __init__(self, inputs: int, channels: int) -> None:
        """Set up the stage from `inputs` to `channels` channels."""
        super().__init__()
        self.block = ConvBlock(inputs, channels)
        self.volume = nn.Sequential(
            nn.Conv2d(SHIFTS, channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(inplace=True),
        )
        self.left_field = nn.Conv2d(3 * channels, FIELD_CHANNELS, 3, padding=1)
        self.right_field = nn.Conv2d(3 * channels, FIELD_CHANNELS, 3, padding=1)
        self.align = DeformableConv(channels)

    def forward(self, views: Tensor, volume: Tensor) -> Tensor:
        """Map (2B, inputs, H, W), left views first, and (B, 81, H, W) to aligned (2B, channels, H, W)."""
        views = self.block(views)
        volume = convolve(convolve(volume, self.volume[0], slope=0.0), self.volume[2], slope=0.0)
        joined = torch.cat((*views.chunk(2), volume), 1)
        return self.align(views, torch.cat((convolve(joined, self.left_field), convolve(joined, self.right_field))))


class DecoderStage(nn.Module):
    """The skips of both views, aligned to the decoder's features and joined with them (the paper's DAM)."""

    def __init__(self, inputs: int, channels: int, *, upsample: bool, left_first: bool) -> None:
        """Set up the stage; `left_first` takes the right view's offsets from the left view as aligned (released)."""
        super().__init__()
        self.upsample = upsample
        self.left_first = left_first
        self.reduce = nn.Conv2d(inputs, channels, 2)
        self.left_field = nn.Conv2d(3 * channels, FIELD_CHANNELS, 3, padding=1)
        self.right_field = nn.Conv2d(3 * channels, FIELD_CHANNELS, 3, padding=1)
        self.left_align = DeformableConv(channels)
        self.right_align = DeformableConv(channels)
        self.join = ConvBlock(3 * channels, channels)

    def forward(self, skip: Tensor, decoded: Tensor) -> Tensor:
        """Join (2B, channels, H, W), left views first, with the decoder's (B, inputs, ...) to (B, channels, H, W)."""
        left, right = skip.chunk(2)
        if self.upsample:
            decoded = _double_size(decoded, "nearest")
        decoded = _crop_centre(
            convolve(functional.pad(decoded, (0, 1, 0, 1)), self.reduce), left.shape[2], left.shape[3]
        )
        field = torch.cat((left, right, decoded), 1)
        aligned = self.left_align(left, convolve(field, self.left_field))
        if self.left_first:
            field = torch.cat((aligned, right, decoded), 1)
        return self.join(torch.cat((aligned, self.right_align(right, convolve(field, self.right_field)), decoded), 1))


class DPANet(Network):
    """The network: two sRGB-encoded views in [0, 1] to one sharp image.

    `released` takes and gives BGR (channel_order) and ends in a sigmoid; our form takes and gives RGB, and in tiles of
    128 pixels with an overlap of `overlap_px` differs from the whole by less than 0.012, on the mean 0.0009 (tested).
    """

    views = 2
    size_multiple = (16, 16)
    min_size = (16, 16)
    overlap_px = 64
    value_offset = 0.0

    def __init__(self, *, width: int = 64, stem: int = 1, released: bool = False) -> None:
        """Build the network with stages of (1, 2, 4, 8, 8) times `width` channels; the paper's width is 64.

        `stem` folds squares of so many pixels a side into channels before the first layer and unfolds them after the
        last (Shi et al., CVPR 2016, reversed): a quarter of the arithmetic at 2. The paper's network has 1.
        """
        super().__init__()
        self.released = released
        self.stem = stem
        self.size_multiple = (16 * stem, 16 * stem)
        self.min_size = self.size_multiple
        # measured at widths 64, 32 and 16, and at 16 with a stem of 2
        self.bytes_per_px = (2100 + 30 * width) // stem**2
        self.half_bytes_per_px = (1950 + 12 * width) // stem**2
        self.channel_order = "bgr" if released else "rgb"
        channels = [width * factor for factor in STAGES]
        self.features = PyramidFeatures(width, 3 * stem**2)
        self.encoder = nn.ModuleList(
            EncoderStage(inputs, outputs) for inputs, outputs in zip([width, *channels[:-1]], channels, strict=True)
        )
        self.bottleneck = ConvBlock(channels[-1], channels[-1])
        # the first stage has no larger map to reach: the bottleneck is at 1/8 already
        self.decoder = nn.ModuleList(
            DecoderStage(2 * outputs, outputs, upsample=released or outputs < channels[-1], left_first=released)
            for outputs in reversed(channels)
        )
        self.output = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, 3 * stem**2, 3, padding=1)
        )
        if not released:
            self._start_as_mean()

    def _start_as_mean(self) -> None:
        """Draw weights after He (residual branches a tenth of it), and set offsets and the last convolution to zero.

        Torch's own smaller weights let the features fade: sixty steps then change nothing.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | DeformableConv):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.get_parameter("bias"))
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, ResidualBlock):
                    module.second.weight.mul_(0.1)
                elif isinstance(module, EncoderStage | DecoderStage):
                    module.left_field.weight.zero_()
                    module.right_field.weight.zero_()
            self.output.get_parameter("2.weight").zero_()

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Deblur a pair of (B, 3, H, W), H and W multiples of 16; the result is not clipped.

        Raises:
            ValueError: The shapes do not fit the network or each other.
        """
        self._check_shapes(left, right)
        # both views go through shared layers as one batch, left views first
        views = self.features(functional.pixel_unshuffle(torch.cat((left, right)), self.stem))
        volume = correlate_views(*views.chunk(2))
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            if level > 0:
                volume = functional.max_pool2d(correlate_views(*views.chunk(2)), 2)
                views = functional.max_pool2d(views, 2)
            views = stage(views, volume)
            skips.append(views)
        decoded = torch.cat(self.bottleneck(views).chunk(2), 1)
        for stage in self.decoder:
            decoded = stage(skips.pop(), decoded)
        change = convolve_precisely(convolve(decoded, self.output[0], slope=0.0), self.output[2])
        change = functional.pixel_shuffle(change, self.stem)
        return torch.sigmoid(change) if self.released else (left + right) / 2 + change

    def _check_shapes(self, left: Tensor, right: Tensor) -> None:
        if left.shape != right.shape:
            raise ValueError(f"DPANet needs views of one shape, got {tuple(left.shape)} and {tuple(right.shape)}")
        height, width = left.shape[2:]
        multiple = self.size_multiple[0]
        if height % multiple or width % multiple or min(height, width) < multiple:
            raise ValueError(f"DPANet needs a height and width that are multiples of {multiple}, got {height}x{width}")


def _double_size(maps: Tensor, mode: str) -> Tensor:
    if mode == "nearest":
        return functional.interpolate(maps, scale_factor=2.0, mode="nearest")
    return functional.interpolate(maps, scale_factor=2.0, mode=mode, align_corners=False)


def _crop_centre(maps: Tensor, height: int, width: int) -> Tensor:
    """Cut (or pad) to a size around the centre as the released decoder does; does nothing where the size fits."""
    rows, columns = height - maps.shape[2], width - maps.shape[3]
    return functional.pad(maps, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def released_keys() -> dict[str, str]:
    """Map every key of the authors' state dict to ours (vectors/dpanet_layout.json holds the same names)."""
    table: dict[str, str] = {}

    def add(theirs: str, ours: str) -> None:
        table.update({f"{theirs}.{name}": f"{ours}.{name}" for name in ("weight", "bias")})

    def add_residual(theirs: str, ours: str) -> None:
        add(f"{theirs}.conv1", f"{ours}.first")
        add(f"{theirs}.conv2", f"{ours}.second")

    def add_block(theirs: str, ours: str) -> None:
        add(f"{theirs}.conv_block.0", f"{ours}.0")
        add_residual(f"{theirs}.RB_1", f"{ours}.2")
        add_residual(f"{theirs}.RB_2", f"{ours}.3")

    def add_all(pairs: Sequence[tuple[str, str]], theirs: str, ours: str) -> None:
        for name, place in pairs:
            add(f"{theirs}.{name}", f"{ours}.{place}")

    convs = (("conv_first", "entry"), ("deblur_L2_conv", "to_half"), ("deblur_L3_conv", "to_quarter"))
    add_all(convs, "predeblur", "features")
    places = ("at_full.0", "at_full.1", "joined_full.0", "joined_full.1", "joined_full.2")
    residuals = {f"L1_{number}": place for number, place in enumerate(places, start=1)}
    residuals |= {"L2_1": "at_half", "L2_2": "joined_half", "L3_1": "at_quarter"}
    for name, place in residuals.items():
        add_residual(f"predeblur.RB_{name}", f"features.{place}")
    for level in range(4):
        theirs, ours = f"encoder.encoder{level + 1}", f"encoder.{level}"
        add_block(f"{theirs}.block.block", f"{ours}.block")
        fields = (("offset_l.offset_conv", "left_field"), ("offset_r.offset_conv", "right_field"))
        add_all((*fields, ("flow_conv.0", "volume.0"), ("flow_conv.2", "volume.2"), ("deform", "align")), theirs, ours)
        # their up4 is the first stage of the decoder
        theirs, ours = f"up{4 - level}", f"decoder.{level}"
        fields = (("offset_l", "left_field"), ("offset_r", "right_field"))
        aligns = (("deform_l", "left_align"), ("deform_r", "right_align"))
        add_all((*fields, *aligns, ("upsample.up.1", "reduce")), theirs, ours)
        add_block(f"{theirs}.cv", f"{ours}.join")
    add_block("encoder_5.block", "bottleneck")
    add_all((("0", "0"), ("2", "2")), "out", "output")
    return table
