"""GKMNet's mixture of Gaussian kernels: 22 blurs of two images, weighed per pixel and added up.

Quan, Wu and Ji, "Gaussian Kernel Mixture Network for Single Image Defocus Deblurring", NeurIPS 2021, Eq. 7; gkmnet.py
says where the kernels differ from the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from dpdeblur.networks.layers import works_in_bands

# (sigma, window) of the Gaussians after the delta: each is truncated to its window and normalised
GAUSSIANS = tuple((0.25 * step, max(3, 2 * (step // 2) + 1)) for step in range(1, 22))
KERNELS = 1 + len(GAUSSIANS)
COEFFICIENTS = 2 * KERNELS  # one set for the blurred image, one for the previous result
#: Gives rows of the coefficient maps, (B, 44, rows, W); the first and the last row are even numbers.
Maps = Callable[[slice], Tensor]
# in bands, the delta is by itself and Gaussians come in sevens of like width: 42 maps, which fill 16 lanes nearly three
# times
_GROUPS = (range(1), range(1, 8), range(8, 15), range(15, KERNELS))
_MARGIN_PX = max(window for _, window in GAUSSIANS) // 2
# values of the maps of a seven in a band: 4 MiB of float32, which stay in a processor's cache
_BAND_VALUES = 2**20


def sample_gaussian(sigma: float, window: int) -> Tensor:
    """Sample a one-dimensional Gaussian at the pixels of an odd window, summing to one, in float64.

    The outer product with itself is the normalised two-dimensional kernel: truncation to a square keeps it separable.
    """
    position = torch.arange(window, dtype=torch.float64) - window // 2
    profile = torch.exp(-0.5 * (position / sigma) ** 2)
    return profile / profile.sum()


def assign_kernels(released: bool) -> list[list[int]]:
    """List the kernel that makes each colour's map k, for k = 0..21, in the order red, green, blue.

    The released grouped convolution repeats every kernel three times and then gives each colour a run of 22.
    """
    if released:
        return [[(KERNELS * colour + number) // 3 for number in range(KERNELS)] for colour in range(3)]
    return [list(range(KERNELS))] * 3


class Mixture(nn.Module):
    """Blurs two images with the kernels, weighs the blurs, and joins the 132 maps by a 1x1 convolution.

    Two ways lead there. With gradients, or on an accelerator, kernels of one window are filtered together, separably,
    and their share of the result is added up at once: at most 18 maps are alive where 132 would be; products are kept
    off TF32, whose 10 bits the cancelling sums would show. On a CPU without gradients a band of rows is mixed at a
    time, 42 maps at once, channels last, while they fit the cache.
    """

    def __init__(self, *, released: bool) -> None:
        """Group the maps by window; `released` chooses the kernels of each colour (see assign_kernels)."""
        super().__init__()
        self.released = released
        self.output = nn.Conv2d(2 * 3 * KERNELS, 3, 1)
        windows = (1, *(window for _, window in GAUSSIANS))
        assignment = assign_kernels(released)
        self.windows = sorted(set(windows))
        for window in self.windows:
            # a map is (channel of [blurred, previous], kernel, coefficient map, input of the 1x1 convolution)
            maps = [
                (3 * image + colour, kernel, KERNELS * image + number, KERNELS * (3 * image + colour) + number)
                for image in range(2)
                for colour in range(3)
                for number, kernel in enumerate(assignment[colour])
                if windows[kernel] == window
            ]
            blurs = sorted({(channel, kernel) for channel, kernel, _, _ in maps})
            profiles = [sample_gaussian(*GAUSSIANS[kernel - 1]) for _, kernel in blurs if kernel > 0]
            tables = {
                "source": [channel for channel, _ in blurs],
                "blur": [blurs.index((channel, kernel)) for channel, kernel, _, _ in maps],
                "coefficient": [coefficient for _, _, coefficient, _ in maps],
                "column": [column for _, _, _, column in maps],
            }
            for name, table in tables.items():
                self.register_buffer(f"{name}_{window}", torch.tensor(table), persistent=False)
            if profiles:
                profile = torch.stack(profiles).float()
                self.register_buffer(f"profile_{window}", profile, persistent=False)
        # in bands, the maps of a group come colour by colour, each of both images
        for kernels in _GROUPS:
            places = [
                (colour, image, number)
                for colour in range(3)
                for image in range(2)
                for number, kernel in enumerate(assignment[colour])
                if kernel in kernels
            ]
            tables = {
                "blur": [
                    len(kernels) * (2 * colour + image) + assignment[colour][number] - kernels.start
                    for colour, image, number in places
                ],
                "coefficient": [KERNELS * image + number for _, image, number in places],
                "column": [KERNELS * (3 * image + colour) + number for colour, image, number in places],
            }
            for name, table in tables.items():
                self.register_buffer(f"band_{name}_{kernels.start}", torch.tensor(table), persistent=False)

    def forward(self, blurred: Tensor, previous: Tensor, coefficients: Maps) -> Tensor:
        """Mix (B, 3, H, W) twice by maps of as many rows to (B, 3, H, W), in float32 at least; zero padding."""
        with torch.autocast(blurred.device.type, enabled=False):
            images = torch.cat((blurred, previous), 1)
            images = images.to(torch.promote_types(images.dtype, torch.float32))
            return (self._mix_bands if works_in_bands(images) else self._mix_windows)(images, coefficients)

    def _mix_windows(self, images: Tensor, coefficients: Maps) -> Tensor:
        """Mix (B, 6, H, W), window by window."""
        dtype = images.dtype
        weights = coefficients(slice(0, images.shape[2]))
        weight = self.output.weight.to(dtype).flatten(1)
        mixed = self.output.get_parameter("bias").to(dtype).view(1, 3, 1)
        for window in self.windows:
            blurs = images.index_select(1, self.get_buffer(f"source_{window}"))
            if window > 1:
                profile = self.get_buffer(f"profile_{window}").to(dtype)
                count, margin = profile.shape[0], window // 2
                # one group per map: CUDA computes such convolutions in float32, others in TF32 by default
                blurs = functional.conv2d(blurs, profile.view(count, 1, -1, 1), padding=(margin, 0), groups=count)
                blurs = functional.conv2d(blurs, profile.view(count, 1, 1, -1), padding=(0, margin), groups=count)
            if self.released:  # several coefficient maps share a blur
                blurs = blurs.index_select(1, self.get_buffer(f"blur_{window}"))
            maps = blurs * weights.index_select(1, self.get_buffer(f"coefficient_{window}"))
            columns = weight.index_select(1, self.get_buffer(f"column_{window}"))
            mixed = mixed + columns @ maps.flatten(2)
        return mixed.unflatten(2, images.shape[2:])

    def _mix_bands(self, images: Tensor, coefficients: Maps) -> Tensor:
        """Mix (B, 6, H, W), band by band of rows."""
        dtype = images.dtype
        batch, _, height, width = images.shape
        weight = self.output.weight.to(dtype).flatten(1)
        columns = [weight.index_select(1, self.get_buffer(f"band_column_{kernels.start}")).T for kernels in _GROUPS]
        bias = self.output.get_parameter("bias").to(dtype)
        profiles = [_stack_profiles(kernels, dtype) for kernels in _GROUPS[1:]]
        # colour by colour, of both images
        pairs = images.unflatten(1, (2, 3)).permute(0, 3, 4, 2, 1).flatten(3)
        padded = functional.pad(pairs, (0, 0, 0, 0, _MARGIN_PX, _MARGIN_PX))
        mixed = images.new_empty(batch, height, width, 3)
        rows = max(1, _BAND_VALUES // (2 * 6 * len(_GROUPS[-1]) * batch * width)) * 2
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            weights = coefficients(slice(top, bottom)).permute(0, 2, 3, 1)
            part = bias.repeat(batch * (bottom - top) * width, 1)
            groups = zip(_GROUPS, _blur_rows(padded, slice(top, bottom), profiles), columns, strict=True)
            for kernels, blurs, column in groups:
                part.addmm_(self._weigh(blurs, weights, kernels).reshape(len(part), -1), column)
            mixed[:, top:bottom] = part.view(batch, bottom - top, width, 3)
        return mixed.permute(0, 3, 1, 2)

    def _weigh(self, blurs: Tensor, weights: Tensor, kernels: range) -> Tensor:
        """Weigh the blurs of a group, (B, rows, W, 6 kernels), by coefficients (B, rows, W, 44), where they stand."""
        chosen = self.get_buffer(f"band_coefficient_{kernels.start}")
        if self.released:  # several coefficient maps share a blur
            maps = blurs.index_select(3, self.get_buffer(f"band_blur_{kernels.start}"))
            return maps.mul_(weights.index_select(3, chosen))
        # the same for all colours
        return blurs.unflatten(3, (3, -1)).mul_(weights.index_select(3, chosen[: len(chosen) // 3]).unsqueeze(3))


def _blur_rows(padded: Tensor, rows: slice, profiles: list[Tensor]) -> Iterator[Tensor]:
    """Blur rows of six maps (B, _MARGIN_PX + H + _MARGIN_PX, W, 6) by each group of kernels: (B, rows, W, 6 kernels).

    The blurs of a map stand side by side.
    """
    source = padded[:, rows.start : rows.stop + 2 * _MARGIN_PX]
    yield source[:, _MARGIN_PX:-_MARGIN_PX].clone()
    copies = source.unsqueeze(4).expand(-1, -1, -1, -1, len(_GROUPS[-1])).flatten(3).permute(0, 3, 1, 2)
    for profile in profiles:
        count, margin = profile.shape[0], profile.shape[2] // 2
        blurs = copies[:, :, _MARGIN_PX - margin : copies.shape[2] - _MARGIN_PX + margin]
        blurs = functional.conv2d(blurs, profile, groups=count)
        blurs = functional.conv2d(blurs, profile.transpose(2, 3), padding=(0, margin), groups=count)
        yield blurs.permute(0, 2, 3, 1)


def _stack_profiles(kernels: range, dtype: torch.dtype) -> Tensor:
    """The profiles of seven Gaussians in the widest window of theirs, for each of six maps: (42, 1, window, 1)."""
    chosen = [GAUSSIANS[kernel - 1] for kernel in kernels]
    widest = chosen[-1][1]
    profiles = [functional.pad(sample_gaussian(*gaussian), ((widest - gaussian[1]) // 2,) * 2) for gaussian in chosen]
    return torch.stack(profiles).repeat(6, 1).view(-1, 1, widest, 1).to(dtype)
