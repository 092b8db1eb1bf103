"""One tile through a network on a device: upload, compute, guard against overflow, download."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dpdeblur.networks.network import Network
from dpdeblur.photo import Image
from dpdeblur.restoration.devices import DTYPES

#: Starts on encoded views, (h, w, 3) each, and returns what waits for the picture.
Start = Callable[[tuple[Image, ...]], Callable[[], Image]]

#: How a tile may be mirrored: top to bottom, left to right.
_MIRRORS = ((False, False), (True, False), (False, True), (True, True))


class TileRunner:
    """Runs tiles; where half precision overflows, it runs the tile again in float32 and remembers it.

    On a CUDA device `start` only queues the work: tiles go up and come back in streams of their own, through pinned
    memory, so that a tile is computed while the next one is prepared and uploaded and the last one is downloaded and
    blended. Whether all values are finite is found on the device too and comes back with the tile.

    Attributes:
        has_overflowed: Whether any tile had to be computed again.
    """

    def __init__(self, network: Network, device: torch.device, precision: str) -> None:
        """Take a network that is on the device already."""
        self.has_overflowed = False
        self._network = network
        self._device = device
        self._precision = precision
        self._uploads, self._downloads = (
            (torch.cuda.Stream(device) if device.type == "cuda" else None)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )

    def start(self, views: tuple[Image, ...]) -> Callable[[], Image]:
        """Start on encoded views, (h, w, 3) each; returns what waits for the picture, encoded, clipped to [0, 1]."""
        inputs = [self._upload(view) for view in views]
        # made before the network's maps, or it would lie among them and leave no room for as large ones again
        picture = torch.empty(views[0].shape, pin_memory=self._downloads is not None)
        is_finite = torch.empty((), dtype=torch.bool, pin_memory=self._downloads is not None)
        result = self._compute(inputs, self._precision)
        wait = self._download((self._make_picture(result), picture), (torch.isfinite(result).all(), is_finite))

        def finish() -> Image:
            wait()
            if self._precision != "fp32" and not bool(is_finite):
                self.has_overflowed = True
                picture.copy_(self._make_picture(self._compute(inputs, "fp32")))
            return picture.numpy()

        return finish

    def _compute(self, inputs: list[Tensor], precision: str) -> Tensor:
        with torch.inference_mode(), torch.autocast(self._device.type, DTYPES[precision], enabled=precision != "fp32"):
            return self._network(*inputs).float()

    def _upload(self, view: Image) -> Tensor:
        """(h, w, 3) on the host -> (1, 3, h, w), channels last in memory, as the network takes it."""
        host = torch.from_numpy(view)
        if self._uploads is None:
            there = host.to(self._device)
        else:
            computing = torch.cuda.current_stream(self._device)
            with torch.cuda.stream(self._uploads):
                there = host.pin_memory().to(self._device, non_blocking=True)
            computing.wait_stream(self._uploads)
            there.record_stream(computing)
        if self._network.channel_order == "bgr":
            there = there.flip(2)
        return there[None].permute(0, 3, 1, 2) + self._network.value_offset

    def _make_picture(self, result: Tensor) -> Tensor:
        """(1, 3, h, w) from the network -> (h, w, 3), RGB in [0, 1]."""
        picture = (result[0] - self._network.value_offset).clamp(0, 1).permute(1, 2, 0)
        return (picture.flip(2) if self._network.channel_order == "bgr" else picture).contiguous()

    def _download(self, *pairs: tuple[Tensor, Tensor]) -> Callable[[], None]:
        """Start to copy tensors to others on the host; returns what waits for them."""
        if self._downloads is None:
            for there, host in pairs:
                host.copy_(there)
            return lambda: None
        self._downloads.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._downloads):
            for there, host in pairs:
                host.copy_(there, non_blocking=True)
                there.record_stream(self._downloads)
            arrival = self._downloads.record_event()
        return lambda: arrival.synchronize()


def start_ensemble(start: Start, views: tuple[Image, ...]) -> Callable[[], Image]:
    """Start on a tile and its mirror images; returns what waits for the mean of the pictures, mirrored back.

    Geometric self-ensemble (Timofte, Rothe and Van Gool, "Seven ways to improve example-based single image super
    resolution", CVPR 2016), without the quarter turns: views of a dual-pixel sensor differ along rows. Mirrored left to
    right, the left view is a right one.

    Args:
        start: Starts on a tile.
        views: One view, or left and right.
    """
    first = start(views)

    def finish() -> Image:
        wait, total = first, np.zeros_like(views[0])
        for mirror, following in zip(_MIRRORS, (*_MIRRORS[1:], None), strict=True):
            # the device works on the next one meanwhile
            later = None if following is None else start(_mirror_views(views, following))
            total += _mirror(wait(), mirror)
            wait = later or wait
        return total / np.float32(len(_MIRRORS))

    return finish


def _mirror_views(views: tuple[Image, ...], mirror: tuple[bool, bool]) -> tuple[Image, ...]:
    mirrored = tuple(np.ascontiguousarray(_mirror(view, mirror)) for view in views)
    return mirrored[::-1] if mirror[1] else mirrored


def _mirror(image: Image, mirror: tuple[bool, bool]) -> Image:
    rows, columns = (slice(None, None, -1 if is_mirrored else None) for is_mirrored in mirror)
    return image[rows, columns]
