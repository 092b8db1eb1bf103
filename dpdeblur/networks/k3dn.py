"""K3DN: disparity-aware kernel estimation for dual-pixel defocus deblurring.

Yan Yang, Liyuan Pan, Liu Liu, Miaomiao Liu, CVPR 2023. Both views are encoded together to 1/8 of their size (features
F_B); a disparity estimator finds a vector per place; PSF blocks convolve each feature channel with a learned,
horizontally symmetric kernel kept as a spectrum and let the vector weigh the channels (Eq. 8 to 10 with a sparse kernel
set: one kernel per channel); SRP blocks compare features with their neighbourhood and keep what is sharp (Eq. 11 to
16); a decoder returns to full size. Reblurring (section 3.3) runs the PSF blocks backwards and only trains.

Differences from the paper, which the authors' released model shares: three SRP blocks, where the skips join the
decoder, instead of one around the PSF blocks; deblurring convolves with the kernel and reblurring with its inverse.

The released form (`released=True`) computes what the authors' checkpoints expect, in float64 to 1e-8 of the numbers
published of it. That includes a ring of constant cells around the context and cells of the volume that the authors
never clear (disparity.py). Our form differs in this:

- Context in the disparity estimator is the mean around each position (257 and 129 pixels wide), not a grid of pooled
  cells: it does not depend on where a tile begins, and any size works.
- Vectors exist at every 1/32 of the image and their channel weights are interpolated (`windows=False`), so there is no
  seam between windows of 144 x 112 pixels and no need to pad a photo to them. `windows=True` keeps hard windows.
- Channel weights are the softmax times the number of channels: the same functions, but W stays near 1 and learns as
  fast as the other layers.
- Local similarities are cosines. Products of raw features made the block cubic in its input, and training diverged
  within 250 steps at learning rates of 6e-4 and 8e-4.
- It starts as the mean of the two views, so training only has to learn the change.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpdeblur.networks.disparity import SLOPE, VECTOR_LENGTH, DisparityEstimator
from dpdeblur.networks.layers import convolve, convolve_precisely, lower
from dpdeblur.networks.network import Network
from dpdeblur.networks.psf import PsfBlock
from dpdeblur.networks.srp import Residual, SharpRegionPreservation, stack_residuals

_WINDOW = (18, 14)  # features; 144 x 112 pixels


class K3DN(Network):
    """K3DN on both views, sRGB-encoded RGB minus 0.5.

    Tiles of 128 pixels that overlap by `overlap_px` make our form differ from the whole by less than 0.018, and by less
    than 0.0008 on the mean (tested with Tiny). More overlap changes less, but by nothing that shows: with tiles of 384
    pixels the shipped weights differ by 0.0002 on the mean at 64 pixels and by 0.0001 at 96.

    Args:
        base: Channels at half size; 2 base and 4 base follow.
        blocks: Residual blocks of each encoder and decoder stage.
        psf_blocks: PSF blocks at 1/8 of the size.
        srp_blocks: Residual blocks in each SRP block's output.
        windows: One disparity vector per window of 144 x 112 pixels, instead of interpolated ones.
        released: The authors' form, which implies windows.
    """

    views = 2
    value_offset = -0.5
    channel_order = "rgb"
    overlap_px = 64

    def __init__(
        self,
        base: int = 48,
        blocks: int = 4,
        psf_blocks: int = 8,
        srp_blocks: int = 4,
        *,
        windows: bool = False,
        released: bool = False,
    ) -> None:
        """Create the network; in our form it starts as the mean of the views."""
        super().__init__()
        self.windows = windows or released
        self.released = released
        self.size_multiple = (288, 224) if released else (144, 112) if windows else (32, 32)
        # the authors' widest context needs 32 features in either direction
        self.min_size = (288, 448) if released else self.size_multiple
        # measured in the three sizes
        self.bytes_per_px = 200 + 25 * base
        self.half_bytes_per_px = 220 + 10 * base
        widths = (base, 2 * base, 4 * base)
        joined = (4 * base, 2 * base, base + 6)
        self.downs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            for inputs, outputs in zip((6, *widths), widths, strict=False)
        )
        self.encoders = nn.ModuleList(stack_residuals(width, blocks) for width in widths)
        self.disparity = DisparityEstimator(released)
        self.psf = nn.ModuleList(PsfBlock(4 * base, released) for _ in range(psf_blocks))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
            for inputs, outputs in ((4 * base, 2 * base), (4 * base, base), (2 * base, base))
        )
        self.srp = nn.ModuleList(SharpRegionPreservation(width, srp_blocks, released) for width in joined)
        self.decoders = nn.ModuleList(stack_residuals(width, blocks) for width in joined)
        self.output = nn.Conv2d(base + 6, 3, 3, padding=1, bias=False)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Keep the signal's size through the plain layers, start residuals small and the output as the views' mean."""
        for down in self.downs:
            nn.init.kaiming_normal_(down.weight, a=SLOPE)
        for up in self.ups:  # each output meets 2 x 2 taps of every input channel
            nn.init.normal_(up.weight, std=math.sqrt(2 / (1 + SLOPE**2) / (4 * up.in_channels)))
        for module in self.modules():
            if isinstance(module, Residual):
                nn.init.kaiming_normal_(module.first.weight, a=SLOPE)
                module.second.weight.mul_(0.1)
            elif isinstance(module, SharpRegionPreservation):
                nn.init.ones_(module.value.bias)
                module.leave.weight.mul_(0.1)
                nn.init.zeros_(module.leave.bias)
        for last in (*(block.second for block in self.decoders[-1]), self.srp[-1].leave):
            last.weight[:6].zero_()  # the image pair passes unchanged to the output
        self.output.weight.zero_()
        for colour in range(3):
            self.output.weight[colour, [colour, colour + 3], 1, 1] = 0.5

    def predict_disparity(self, left: Tensor, right: Tensor) -> Tensor:
        """Describe the disparity of each place.

        Args:
            left: (B, 3, H, W).
            right: (B, 3, H, W).

        Returns:
            (B, rows, columns, 256): one vector per window, or per 32 x 32 pixels.
        """
        height, width = left.shape[-2:]
        matched = self.disparity.match(left, right)
        if self.released:
            size = (matched.shape[-2] + height // 288, matched.shape[-1] + width // 224)
            matched = F.avg_pool2d(F.interpolate(matched, size=size, mode="nearest"), (5, 4))
        elif self.windows:
            matched = F.adaptive_avg_pool2d(matched, (height // 144, width // 112))
        return self.disparity(matched)

    def deblur_features(self, features: Tensor, vectors: Tensor, *, reblur: bool = False) -> Tensor:
        """Run the PSF blocks, or run them backwards to blur.

        Args:
            features: (B, C, H / 8, W / 8).
            vectors: (B, rows, columns, 256).
            reblur: Backwards.

        Returns:
            The features' shape.
        """
        batch, channels, height, width = features.shape
        rows, columns = _WINDOW
        if self.windows:  # each window is an image of its own with one vector
            vectors = vectors.reshape(-1, 1, 1, VECTOR_LENGTH)
            features = features.reshape(batch, channels, height // rows, rows, width // columns, columns)
            features = features.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, rows, columns)
        for block in reversed(self.psf) if reblur else self.psf:
            with torch.autocast(features.device.type, enabled=False):
                kernel = block.build_kernel()
            weights = block.weigh_channels(vectors, kernel).to(features.dtype)
            if not self.windows:
                weights = F.interpolate(weights, size=(height, width), mode="bilinear", align_corners=False)
            features = block.reblur(features, weights) if reblur else block(features, weights, kernel)
        if self.windows:
            features = features.reshape(batch, height // rows, width // columns, channels, rows, columns)
            features = features.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, height, width)
        return features

    def _restore(self, pair: Tensor, vectors: Tensor, *, reblur: bool) -> Tensor:
        skips = [pair]
        for down, stage in zip(self.downs, self.encoders, strict=True):
            reduce = convolve_precisely if down is self.downs[0] else convolve
            skips.append(stage(lower(reduce(skips[-1], down, slope=SLOPE))))
        x = self.deblur_features(skips.pop(), vectors, reblur=reblur)
        for up, srp, stage in zip(self.ups, self.srp, self.decoders, strict=True):
            # a name of its own for each step would keep its map until the next
            x = F.leaky_relu(up(x), SLOPE, inplace=True)
            skip = skips.pop()
            # in inference with half precision, the pair itself stays beside the features of the last stage
            beside = None if torch.is_grad_enabled() or skip.dtype == x.dtype else skip
            x = torch.cat([skip if beside is None else skip.to(x.dtype), x], dim=1)
            del skip
            x = srp(x, beside)
            for block in stage:
                x = block(x, beside)
        if beside is None:
            return convolve_precisely(x, self.output).clamp(-1, 1)
        return self._show(x, beside).clamp(-1, 1)

    def _show(self, x: Tensor, picture: Tensor) -> Tensor:
        """Convolve features to the result, and their first channels by the picture that they show."""
        count = picture.shape[1]
        weight = self.output.weight.clone()
        weight[:, :count] = 0
        change = F.conv2d(x, weight, padding=1)
        with torch.autocast(x.device.type, enabled=False):
            return change + F.conv2d(picture, self.output.weight[:, :count], padding=1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Restore the all-in-focus image.

        Args:
            left: (B, 3, H, W), sRGB-encoded RGB minus 0.5; H and W multiples of `size_multiple`.
            right: The same of the other view.

        Returns:
            (B, 3, H, W), same encoding, within [-1, 1].
        """
        return self._restore(torch.cat([left, right], dim=1), self.predict_disparity(left, right), reblur=False)

    def reblur(self, sharp: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """Blur a sharp image as the disparity of the blurred views says (section 3.3), for training.

        Args:
            sharp: (B, 3, H, W), the all-in-focus reference.
            left: (B, 3, H, W), blurred.
            right: (B, 3, H, W), blurred.

        Returns:
            (B, 3, H, W), to be compared with the mean of the blurred views.
        """
        return self._restore(torch.cat([sharp, sharp], dim=1), self.predict_disparity(left, right), reblur=True)


def released_keys(blocks: int, psf_blocks: int, srp_blocks: int) -> dict[str, str]:
    """Name every tensor of the authors' state dict in ours.

    Args:
        blocks: Residual blocks of each encoder and decoder stage.
        psf_blocks: PSF blocks.
        srp_blocks: Residual blocks in each SRP block's output.

    Returns:
        Released key -> attribute path in `K3DN`. Shapes agree but for axes of length 1.
    """
    keys = {"out.main.0.weight": "output.weight"}

    def add_residuals(released: str, ours: str, count: int) -> None:
        for block in range(count):
            for part, name in enumerate(("first", "second")):
                keys[f"{released}.layers.{block}.main.{part}.main.0.weight"] = f"{ours}.{block}.{name}.weight"

    def add_norm(released: str, ours: str) -> None:
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            keys[f"{released}.{name}"] = f"{ours}.{name}"

    def add_normed(released: str, ours: str) -> None:
        keys[f"{released}.conv.weight"] = f"{ours}.convolution.weight"
        add_norm(f"{released}.bn", f"{ours}.norm")

    for stage in range(3):
        keys[f"feat_extract.{stage}.main.0.weight"] = f"downs.{stage}.weight"
        keys[f"feat_extract.{stage + 3}.main.0.weight"] = f"ups.{stage}.weight"
        add_residuals(f"Encoder.{stage}", f"encoders.{stage}", blocks)
        add_residuals(f"Decoder.{stage}", f"decoders.{stage}", blocks)
        parts = {"conv_q": "query", "conv_k": "key", "conv_v": "value", "conv_o.0": "enter", "conv_o.2": "leave"}
        for released, ours in parts.items():
            for name in ("weight", "bias"):
                keys[f"srp.{stage}.{released}.{name}"] = f"srp.{stage}.{ours}.{name}"
        add_residuals(f"srp.{stage}.conv_o.1", f"srp.{stage}.residuals", srp_blocks)
    for number, part in enumerate(("start.0", "start.1", "layer1.0", "layer1.1")):
        add_normed(f"disp.feature.{part}", f"disparity.extractor.{number}")
    for released, ours in (("branch1", "wide"), ("branch3", "narrow")):
        keys[f"disp.feature.{released}.1.0.weight"] = f"disparity.{ours}.convolution.weight"
        add_norm(f"disp.feature.{released}.1.1", f"disparity.{ours}.norm")
    add_normed("disp.feature.end.0", "disparity.merge")
    keys["disp.feature.end.1.conv.weight"] = "disparity.reduce.weight"
    for number, part in enumerate(("start.0", "start.1", "start.2", "conv1a.0", "conv1a.1")):
        add_normed(f"disp.matching.{part}", f"disparity.matching.{number}")
    for name in ("weight", "bias"):
        keys[f"disp.fc.0.{name}"] = f"disparity.vector.{name}"
    parts = {
        "conv1.weight": "spectrum",
        "conv2.lower": "lower",
        "conv2.upper": "upper",
        "conv2.log_s": "log_scale",
        "conv2.sign_s": "sign",
        "conv2.p": "permutation",
        "inter.to_w": "kernel_weight",
        **{f"conv2.modulation.{name}": f"modulation.{name}" for name in ("weight", "bias")},
        **{f"inter.to_r.{name}": f"query.{name}" for name in ("weight", "bias")},
        **{f"inter.out.{name}": f"answer.{name}" for name in ("weight", "bias")},
    }
    for block in range(psf_blocks):
        keys |= {f"deblur.{block}.{released}": f"psf.{block}.{ours}" for released, ours in parts.items()}
    return keys
