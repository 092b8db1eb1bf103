"""Tiles through a network on a device: upload, compute, guard against overflow, download."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dpdeblur.networks.network import Network
from dpdeblur.photo import Image
from dpdeblur.restoration.devices import DTYPES
from dpdeblur.restoration.tiling import run_ahead

#: Starts on encoded views, (h, w, 3) each, and returns what waits for the picture.
Start = Callable[[tuple[Image, ...]], Callable[[], Image]]

#: How a tile may be mirrored: top to bottom, left to right.
MIRRORS = ((False, False), (True, False), (False, True), (True, True))


@dataclasses.dataclass
class _Batch:
    """Tiles that go through the network together.

    Attributes:
        tiles: The views of each, (h, w, 3) on the device, until the network begins.
        collect: Waits for a tile's picture by its number, once the network has begun.
    """

    tiles: list[list[Tensor]] = dataclasses.field(default_factory=list)
    collect: Callable[[int], Image] | None = None


class TileRunner:
    """Runs tiles; where half precision overflows, it runs the tile again in float32 and remembers it.

    On a CUDA device `start` only queues the work: tiles go up and come back in streams of their own, through pinned
    memory, so that some are computed while the next ones are prepared and uploaded and the last ones are downloaded and
    blended. Whether all values are finite is found on the device too and comes back with the tiles.

    Attributes:
        has_overflowed: Whether any tile had to be computed again.
        ahead: How many tiles should be started before the first is waited for, so that the device is never idle.
    """

    def __init__(self, network: Network, device: torch.device, precision: str, together: int = 1) -> None:
        """Take a network that is on the device already.

        Args:
            network: Any.
            device: Where it is.
            precision: fp32, bf16 or fp16.
            together: How many tiles, all of one size, it sees at once: small ones do not fill a GPU one by one.
        """
        self.has_overflowed = False
        self.ahead = 2 * together - 1
        self._together = together
        self._network = network
        self._device = device
        self._precision = precision
        self._gathered = _Batch()
        self._uploads, self._downloads = (
            (torch.cuda.Stream(device) if device.type == "cuda" else None)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )

    def start(self, views: tuple[Image, ...]) -> Callable[[], Image]:
        """Start on encoded views, (h, w, 3) each; returns what waits for the picture, encoded, clipped to [0, 1]."""
        batch = self._gathered
        number = len(batch.tiles)
        batch.tiles.append([self._upload(view) for view in views])
        if number + 1 == self._together:
            self._launch()

        def finish() -> Image:
            if batch is self._gathered:  # no more tiles will come before this one is wanted
                self._launch()
            assert batch.collect is not None
            return batch.collect(number)

        return finish

    def _launch(self) -> None:
        """Have the network begin with the tiles that were gathered."""
        batch, self._gathered = self._gathered, _Batch()
        count, is_pinned = len(batch.tiles), self._downloads is not None
        inputs = [self._join(views) for views in zip(*batch.tiles, strict=True)]
        # made before the network's maps, or they would lie among them and leave no room for as large ones again
        pictures = torch.empty((count, *batch.tiles[0][0].shape), pin_memory=is_pinned)
        are_finite = torch.empty(count, dtype=torch.bool, pin_memory=is_pinned)
        batch.tiles.clear()
        result = self._compute(inputs, self._precision)
        wait = self._download(
            (self._make_pictures(result), pictures), (torch.isfinite(result).all(3).all(2).all(1), are_finite)
        )

        def collect(number: int) -> Image:
            wait()
            if self._precision != "fp32" and not bool(are_finite[number]):
                self.has_overflowed = True
                alone = [view[number : number + 1] for view in inputs]
                pictures[number].copy_(self._make_pictures(self._compute(alone, "fp32"))[0])
            return pictures[number].numpy()

        batch.collect = collect

    def _compute(self, inputs: list[Tensor], precision: str) -> Tensor:
        with torch.inference_mode(), torch.autocast(self._device.type, DTYPES[precision], enabled=precision != "fp32"):
            return self._network(*inputs).float()

    def _upload(self, view: Image) -> Tensor:
        """Bring a view to the device."""
        host = torch.from_numpy(view)
        if self._uploads is None:
            return host.to(self._device)
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._uploads):
            there = host.pin_memory().to(self._device, non_blocking=True)
        computing.wait_stream(self._uploads)
        there.record_stream(computing)
        return there

    def _join(self, views: tuple[Tensor, ...]) -> Tensor:
        """(h, w, 3) each -> (B, 3, h, w), channels last in memory, as the network takes them."""
        joined = torch.stack(views)
        if self._network.channel_order == "bgr":
            joined = joined.flip(3)
        return joined.permute(0, 3, 1, 2).add_(self._network.value_offset)

    def _make_pictures(self, result: Tensor) -> Tensor:
        """(B, 3, h, w) from the network -> (B, h, w, 3), RGB in [0, 1]."""
        pictures = (result - self._network.value_offset).clamp(0, 1).permute(0, 2, 3, 1)
        return (pictures.flip(3) if self._network.channel_order == "bgr" else pictures).contiguous()

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


def start_ensemble(start: Start, views: tuple[Image, ...], ahead: int = 1) -> Callable[[], Image]:
    """Start on a tile and its mirror images; returns what waits for the mean of the pictures, mirrored back.

    Geometric self-ensemble (Timofte, Rothe and Van Gool, "Seven ways to improve example-based single image super
    resolution", CVPR 2016), without the quarter turns: views of a dual-pixel sensor differ along rows. Mirrored left to
    right, the left view is a right one.

    Args:
        start: Starts on a tile.
        views: One view, or left and right.
        ahead: How many of the four are started before the first is waited for.
    """
    results = run_ahead(lambda *mirror: start(_mirror_views(views, mirror)), MIRRORS, ahead)

    def finish() -> Image:
        total = np.zeros_like(views[0])
        for mirror in MIRRORS:
            total += _mirror(next(results), mirror)
        return total / np.float32(len(MIRRORS))

    return finish


def _mirror_views(views: tuple[Image, ...], mirror: tuple[bool, bool]) -> tuple[Image, ...]:
    mirrored = tuple(np.ascontiguousarray(_mirror(view, mirror)) for view in views)
    return mirrored[::-1] if mirror[1] else mirrored


def _mirror(image: Image, mirror: tuple[bool, bool]) -> Image:
    rows, columns = (slice(None, None, -1 if is_mirrored else None) for is_mirrored in mirror)
    return image[rows, columns]
