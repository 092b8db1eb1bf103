"""GKMNet: single-image defocus deblurring by a mixture of Gaussian kernels.

Quan, Wu and Ji, "Gaussian Kernel Mixture Network for Single Image Defocus Deblurring", NeurIPS 2021. The fixed point
iteration x' = y + sum_k gamma_k * (g_k conv x) (Eq. 7) is unrolled over three scales, coarse to fine, with one set of
weights; a scale-recurrent attention module predicts the coefficient maps gamma (Fig. 2 and 3).

Deliberate differences from the paper, in both forms, because the authors' model has them: 22 kernels (sigma 0.25, 0.50
... 5.25) where the paper has 21; y itself is filtered as well, so that 132 maps meet in one 1x1 convolution; the
coefficients are tanh((p1 * p2 + p1) / 2) with one convolution in path two.

`released=True` builds the authors' model: each colour sees another third of the kernels, and there is no skip. Our form
gives every colour all kernels, as the paper says, and adds y to the result (the y of Eq. 7), which with an output
convolution of zeros makes the untrained network the identity. Zeros also train best: from Eq. 7's own weights (each
colour the plain sum of its weighted blurs) the first hundred steps at 1e-3 only recover from swings of brightness.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dpdeblur.networks.layers import convolve, works_in_bands
from dpdeblur.networks.mixture import COEFFICIENTS, Maps, Mixture
from dpdeblur.networks.network import Network
from dpdeblur.networks.triplet import Block, ConvUnit

SCALES = 3
State = tuple[Tensor, Tensor]
# of the LSTM, worked through at a time on a CPU
_BAND_ROWS = 32


def build_pyramid(blurred: Tensor) -> list[Tensor]:
    """Halve an image twice by antialiased bilinear reduction (Pillow's BILINEAR).

    Args:
        blurred: (B, C, H, W) float, any range; H and W are multiples of 4.

    Returns:
        Fine to coarse: the image itself, its half and its quarter.
    """
    levels = [blurred]
    for _ in range(SCALES - 1):
        half = (levels[-1].shape[-2] // 2, levels[-1].shape[-1] // 2)
        levels.append(functional.interpolate(levels[-1], size=half, mode="bilinear", antialias=True))
    return levels


def double_size(maps: Tensor) -> Tensor:
    """Upsample x2, bilinear, pixel centres aligned (align_corners False)."""
    return functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)


class AttentionFeatures(nn.Module):
    """The U-shaped feature extractor of the scale-recurrent attention module, on the blurred image only."""

    def __init__(self) -> None:
        """Set up 32, 64 and 128 channels at 1, 1/2 and 1/4."""
        super().__init__()
        self.entry = Block(nn.Conv2d(3, 32, 3, padding=1), 32)
        self.down_half = Block(ConvUnit(nn.Conv2d(32, 64, 3, stride=2, padding=1), 64), 64)
        self.down_quarter = Block(ConvUnit(nn.Conv2d(64, 128, 3, stride=2, padding=1), 128), 128)
        self.bottleneck = Block(ConvUnit(nn.Conv2d(128, 128, 3, padding=1), 128), 128)
        self.up_half = Block(ConvUnit(nn.ConvTranspose2d(128, 64, 2, stride=2), 64), 64)
        self.up_full = Block(ConvUnit(nn.ConvTranspose2d(64, 32, 2, stride=2), 32), 32)

    def forward(self, blurred: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, 32, H, W)."""
        half = self.down_half(self.entry(blurred))
        quarter = self.down_quarter(half)
        return self.up_full(self.up_half(self.bottleneck(quarter) + quarter) + half)


class Coefficients(nn.Module):
    """Path one (ConvLSTM at half size) times path two: the maps that weigh the Gaussian blurs."""

    def __init__(self) -> None:
        """Set up 44 hidden channels, one for each map."""
        super().__init__()
        self.gates = nn.Conv2d(32 + COEFFICIENTS, 4 * COEFFICIENTS, 5, padding=2)
        self.path = ConvUnit(nn.Conv2d(32, COEFFICIENTS, 3, padding=1), COEFFICIENTS)

    def advance(self, features: Tensor, state: State | None) -> State:
        """Take the LSTM a step on: (B, 32, H, W) and its state, hidden and cell, (B, 44, H/2, W/2) each.

        The recurrence is computed in float32 at least, whatever autocast says.
        """
        pooled = functional.avg_pool2d(features, 2)
        if state is None:
            zero = pooled.new_zeros((pooled.shape[0], COEFFICIENTS, *pooled.shape[2:]))
            state = (zero, zero)
        hidden, cell = state
        gates = convolve(torch.cat((pooled, hidden.to(pooled.dtype)), 1), self.gates)
        del pooled, hidden
        if not works_in_bands(gates):
            return _pass_gates(gates, cell)
        # whole, what is made on the way would take as much again as all that the network holds here
        precision = torch.promote_types(gates.dtype, torch.float32)
        shown, kept = (torch.empty_like(cell, dtype=precision) for _ in range(2))
        for top in range(0, cell.shape[2], _BAND_ROWS):
            rows = (..., slice(top, top + _BAND_ROWS), slice(None))
            shown[rows], kept[rows] = _pass_gates(gates[rows], cell[rows])
        return shown, kept

    def forward(self, features: Tensor, hidden: Tensor) -> Maps:
        """Predict maps in (-1, 1), (B, 44, H, W), in the precision of `hidden`, made row by row when asked for."""
        path = self.path(features)

        def make_rows(rows: slice) -> Tensor:
            halves = slice(rows.start // 2, rows.stop // 2)
            return _modulate(path[:, :, rows].to(hidden.dtype), hidden[:, :, halves])

        return make_rows


def _pass_gates(gates: Tensor, cell: Tensor) -> State:
    """What the LSTM's gates (B, 176, h, w) make of its cell (B, 44, h, w): hidden state and cell, float32 at least."""
    gates = gates.to(torch.promote_types(gates.dtype, torch.float32))
    write, keep, show, candidate = gates.chunk(4, 1)
    cell = torch.addcmul(torch.sigmoid(write) * torch.tanh(candidate), torch.sigmoid(keep), cell)
    return torch.sigmoid(show) * torch.tanh(cell), cell


def _modulate(path: Tensor, hidden: Tensor) -> Tensor:
    """Tanh of half of `hidden * path + hidden`, where `hidden` (B, 44, H/2, W/2) is doubled without being copied."""
    rows, columns = hidden.shape[2:]
    # each position of `hidden` meets 2 x 2 of `path`
    path = path.unflatten(3, (columns, 2)).unflatten(2, (rows, 2))
    doubled = hidden[:, :, :, None, :, None]
    if torch.is_grad_enabled():
        maps = torch.tanh(0.5 * (path * doubled + doubled))
    else:  # by the sigmoid, which a processor computes several times faster
        maps = torch.addcmul(doubled, path, doubled).sigmoid_().mul_(2).sub_(1)
    return maps.flatten(4, 5).flatten(2, 3)


class GKMNet(Network):
    """The network: sRGB-encoded RGB in [0, 1] to the same, sharp.

    Its attention pools over the whole height and width, so a tile's result depends on the tile: tiles of 128 pixels
    that overlap by `overlap_px` differ from the whole by less than 0.08, and by less than 0.004 on the mean (tested).
    Near the size of the crops that it was trained on it restores best: with tiles of up to 352 pixels the shipped
    weights gain 0.18 dB more on the Canon plane, and 0.02 on the Pixel scenes, than with the whole at once.
    """

    views = 1
    size_multiple = (16, 16)
    min_size = (16, 16)
    overlap_px = 48
    largest_tile_px = 368
    bytes_per_px = 800
    half_bytes_per_px = 700  # by AMX; by AVX-512 510. The mixture stays in float32
    value_offset = 0.0
    channel_order = "rgb"

    def __init__(self, *, released: bool = False) -> None:
        """Build our form (the identity until it is trained) or the authors' released form."""
        super().__init__()
        self.released = released
        self.features = AttentionFeatures()
        self.coefficients = Coefficients()
        self.mixture = Mixture(released=released)
        if not released:
            # start as the identity; the coefficients start at random, so the first step already moves these weights
            for parameter in self.mixture.output.parameters():
                nn.init.zeros_(parameter)

    def forward(self, blurred: Tensor) -> Tensor:
        """Deblur (B, 3, H, W), H and W multiples of 16.

        Raises:
            ValueError: The shape does not fit the network.
        """
        return self.forward_scales(build_pyramid(blurred))[0]

    def forward_scales(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Deblur every level of a pyramid, coarse to fine, for losses on all scales.

        Args:
            pyramid: Fine to coarse (build_pyramid): (B, 3, H, W), (B, 3, H/2, W/2), (B, 3, H/4, W/4).

        Returns:
            The results in the same order, fine to coarse, of the same shapes, not clipped.

        Raises:
            ValueError: The shapes do not fit the network.
        """
        self._check_pyramid(pyramid)
        state: State | None = None
        previous = pyramid[-1]
        results: list[Tensor] = []
        for level, blurred in enumerate(reversed(pyramid)):
            if level > 0:
                previous = double_size(previous)
            features = self.features(blurred)
            state = self.coefficients.advance(features, state)
            coefficients = self.coefficients(features, state[0])
            del features  # as large as all that the mixture needs
            mixed = self.mixture(blurred, previous, coefficients)
            del coefficients  # they hold maps
            previous = mixed if self.released else blurred + mixed
            results.insert(0, previous)
            if level < SCALES - 1:
                state = (double_size(state[0]), double_size(state[1]))
        return results

    def _check_pyramid(self, pyramid: Sequence[Tensor]) -> None:
        if len(pyramid) != SCALES:
            raise ValueError(f"GKMNet needs a pyramid of {SCALES} levels, got {len(pyramid)}")
        batch, _, height, width = pyramid[0].shape
        if height % self.size_multiple[0] or width % self.size_multiple[1] or min(height, width) < 16:
            raise ValueError(f"GKMNet needs a height and width that are multiples of 16, got {height}x{width}")
        for level, image in enumerate(pyramid):
            expected = (batch, 3, height >> level, width >> level)
            if tuple(image.shape) != expected:
                raise ValueError(f"level {level} of GKMNet's pyramid must be {expected}, got {tuple(image.shape)}")


_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def released_keys() -> dict[str, str]:
    """Map every key of the authors' state dict to ours (vectors/gkmnet_layout.json holds the same names)."""
    table: dict[str, str] = {}

    def add(theirs: str, ours: str, names: Sequence[str]) -> None:
        table.update({f"{theirs}.{name}": f"{ours}.{name}" for name in names})

    def add_unit(theirs: str, ours: str) -> None:
        add(f"{theirs}.0", f"{ours}.0", ("weight", "bias"))
        add(f"{theirs}.1", f"{ours}.1", _NORM)

    blocks = {
        "in_block": "entry",
        "conv_block1_1": "down_half",
        "conv_block2_1": "down_quarter",
        "bottle_neck_1": "bottleneck",
        "conv_block3_1": "up_half",
        "conv_block4_1": "up_full",
    }
    # named by the axes that remain: hw is pooled over channels, cw over height, hc over width
    gates = {"hw": "over_channels", "cw": "over_height", "hc": "over_width"}
    for theirs, name in blocks.items():
        ours = f"features.{name}"
        if name == "entry":
            add(f"{theirs}.conv.0", f"{ours}.head", ("weight", "bias"))
        else:
            add_unit(f"{theirs}.conv", f"{ours}.head")
        add_unit(f"{theirs}.res_block.conv", f"{ours}.first")
        add_unit(f"{theirs}.res_block.conv1", f"{ours}.second")
        for gate, place in gates.items():
            add(f"{theirs}.ta.{gate}.conv.conv", f"{ours}.attention.{place}.conv", ("weight",))
            add(f"{theirs}.ta.{gate}.conv.bn", f"{ours}.attention.{place}.norm", _NORM)
    add("APU.conv_atten.conv", "coefficients.gates", ("weight", "bias"))
    add_unit("APU.conv.conv", "coefficients.path")
    add("SumLayer.conv", "mixture.output", ("weight", "bias"))
    return table
