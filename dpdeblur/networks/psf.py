"""K3DN's PSF block: deblurs features channel by channel with learned kernels, and blurs them by the same ones.

Kernels are kept as spectra, so that their inverses are a division (K3DN, Eq. 7 and 10); the weight of each kernel at a
place comes from the disparity vector there (Eq. 8 and 9 with one kernel per channel).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpdeblur.networks.disparity import VECTOR_LENGTH, activate

_SPECTRUM = 10  # side of the periodic kernel
_CENTRE = 4
_INVERSE_FLOOR = 1e-4


class PsfBlock(nn.Module):
    """PSF block: a kernel per channel, channel weights from the disparity vector, and an invertible mixing matrix."""

    def __init__(self, channels: int, released: bool) -> None:
        """Create the spectrum, the query of the kernel by the vector, and W = P L U."""
        super().__init__()
        self.gain = 1.0 if released else float(channels)
        self.spectrum = nn.Parameter(torch.empty(channels, _SPECTRUM, _SPECTRUM // 2 + 1, 2))
        self.kernel_weight = nn.Parameter(torch.ones(channels, 9, 5))
        self.query = nn.Linear(VECTOR_LENGTH, channels)
        self.answer = nn.Linear(channels, VECTOR_LENGTH)
        self.modulation = nn.Linear(VECTOR_LENGTH, channels)
        self.lower = nn.Parameter(torch.empty(channels, channels))
        self.upper = nn.Parameter(torch.empty(channels, channels))
        self.log_scale = nn.Parameter(torch.empty(channels))
        self.register_buffer("sign", torch.empty(channels))
        self.register_buffer("permutation", torch.empty(channels, channels))
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Start with near-delta kernels, a random rotation for W, and nearly even channel weights."""
        channels = self.lower.shape[0]
        delta = torch.zeros(channels, _SPECTRUM, _SPECTRUM)
        delta[:, _CENTRE, _CENTRE] = 1
        delta += 0.02 * torch.randn_like(delta)
        self.spectrum.copy_(torch.view_as_real(torch.fft.rfft2(delta)))
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels))
        permutation, lower, upper = torch.linalg.lu(rotation)
        self.permutation.copy_(permutation)
        self.lower.copy_(lower.tril(-1))
        self.upper.copy_(upper.triu(1))
        self.sign.copy_(upper.diagonal().sign())
        self.log_scale.copy_(upper.diagonal().abs().log())
        self.modulation.weight.normal_(std=0.1)
        self.modulation.bias.zero_()

    def build_kernel(self, *, inverse: bool = False) -> Tensor:
        """Build the symmetric kernels of unit norm, (C, 9, 9), in the parameters' precision.

        Rows 0 to 8 and columns 0 to 4 of the periodic kernel are its left half, mirrored about column 4. The inverse
        divides by the spectrum (away from its zeros) with the kernel's centre kept at row and column 4.
        """
        spectrum = torch.view_as_complex(self.spectrum)
        if inverse:
            power = self.spectrum.square().sum(dim=-1)
            floor = _INVERSE_FLOOR * power.mean(dim=(1, 2), keepdim=True)
            spectrum = spectrum.conj() / (power + floor)
        kernel = torch.fft.irfft2(spectrum, s=(_SPECTRUM, _SPECTRUM))
        if inverse:  # 1 / spectrum is centred at minus the centre
            kernel = kernel.roll((2 * _CENTRE, 2 * _CENTRE), dims=(1, 2))
        half = kernel[:, :9, : _CENTRE + 1]
        kernel = torch.cat([half, half[:, :, :_CENTRE].flip(2)], dim=2)
        return kernel / torch.linalg.vector_norm(kernel, dim=(1, 2), keepdim=True)

    def _factors(self) -> tuple[Tensor, Tensor]:
        lower = self.lower.tril(-1) + torch.eye(self.lower.shape[0], dtype=self.lower.dtype, device=self.lower.device)
        return lower, self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())

    def build_mixing(self, *, inverse: bool = False) -> Tensor:
        """Build W = P L U or its inverse, (C, C)."""
        lower, upper = self._factors()
        if not inverse:
            return self.permutation @ lower @ upper
        half = torch.linalg.solve_triangular(lower, self.permutation.mT, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, half, upper=True)

    def weigh_channels(self, vectors: Tensor, kernel: Tensor) -> Tensor:
        """Ask the kernels with the vectors (Eq. 8).

        Args:
            vectors: (B, h, w, 256).
            kernel: (C, 9, 9) by `build_kernel`.

        Returns:
            The channel weights (B, C, h, w).
        """
        summary = (self.kernel_weight * kernel[:, :, : _CENTRE + 1]).sum(dim=(1, 2))
        vectors = vectors + activate(self.answer(self.query(vectors) * summary))
        # an equalised linear layer: the weight is scaled at run time, the bias is not
        logits = F.linear(vectors, self.modulation.weight / math.sqrt(VECTOR_LENGTH), self.modulation.bias)
        return self.gain * logits.softmax(dim=-1).permute(0, 3, 1, 2)

    def forward(self, x: Tensor, weights: Tensor, kernel: Tensor) -> Tensor:
        """Deblur features (B, C, H, W) by the kernel with channel weights of that size or (B, C, 1, 1)."""
        with torch.autocast(x.device.type, enabled=False):
            mixing = self.build_mixing()
        blurred = activate(F.conv2d(x, kernel[:, None], padding=_CENTRE, groups=x.shape[1]))
        return x + activate(F.conv2d(blurred * weights, mixing[:, :, None, None]))

    def reblur(self, x: Tensor, weights: Tensor) -> Tensor:
        """Run the block backwards: W's inverse, the weights divided out, then the inverse kernel."""
        with torch.autocast(x.device.type, enabled=False):
            kernel, mixing = self.build_kernel(inverse=True), self.build_mixing(inverse=True)
        mixed = activate(F.conv2d(x, mixing[:, :, None, None]))
        # a channel that the softmax has all but closed must not explode when it is opened again
        mixed = mixed / weights.clamp(min=0.05 * self.gain / x.shape[1])
        return x + activate(F.conv2d(mixed, kernel[:, None], padding=_CENTRE, groups=x.shape[1]))
