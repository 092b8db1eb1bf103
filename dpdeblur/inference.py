"""From a decoded photo to a restored one: working scale, tiles, device, and the change put back at full size.

A network sees the views (or the picture) sRGB-encoded, reduced so that their blur fits what it was trained for. What it
returns minus what it saw is the *change*; brought back to full size it is added to the photo itself, which keeps all
the light and detail that the views, or the reduction, do not have.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dpdeblur.change import apply_change, mean_views, reduce_image, to_linear_srgb
from dpdeblur.colour import decode_srgb, encode_srgb
from dpdeblur.devices import DTYPES, choose_device, choose_precision, measure_free_bytes
from dpdeblur.errors import NoSecondViewError, OutOfMemoryError
from dpdeblur.networks import NETWORKS
from dpdeblur.networks.network import Network
from dpdeblur.photo import Image, Photo
from dpdeblur.scale import choose_scale
from dpdeblur.tiling import TilePlan, plan_tiles, process_tiles
from dpdeblur.weights import load_weights

#: Memory that automatic tiles may take on a CPU, so that the rest of the machine stays usable.
CPU_BUDGET_BYTES = 1_200_000_000
#: Largest automatic tile; larger ones gain nothing.
LARGEST_TILE_PX = 1024


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to restore.

    Attributes:
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        tile_px: Side of the tiles at the working scale, or None to fit the memory.
        overlap_px: Overlap of the tiles, or None for the network's own.
        strength: Share of the predicted change that is applied, 0 to 1.
        max_memory_bytes: Memory that inference may take beyond the photo, or None.
        working_scale: Scale at which the network works, or None to fit the blur.
    """

    device: str = "auto"
    precision: str = "auto"
    tile_px: int | None = None
    overlap_px: int | None = None
    strength: float = 1.0
    max_memory_bytes: int | None = None
    working_scale: float | None = None


@dataclasses.dataclass(frozen=True)
class Restored:
    """A restored photo.

    Attributes:
        image: (H, W, C) float32, linear light in the photo's primaries.
        working_scale: The scale at which the network worked.
        tile_px: The longer side of its tiles.
        precision: What it computed in.
        warnings: One plain sentence each.
    """

    image: Image
    working_scale: float
    tile_px: int
    precision: str
    warnings: tuple[str, ...] = ()


class Restorer:
    """A network with its weights on a device, ready for any number of photos.

    Attributes:
        card: The weights' card.
        settings: As given.
        device: The device in use.
        precision: The precision in use.
    """

    def __init__(self, weights: Path, settings: Settings) -> None:
        """Load the weights.

        Raises:
            WeightsError: The file is damaged or foreign.
            UsageError: The device or precision cannot be had.
        """
        self.settings = settings
        self._device = choose_device(settings.device)
        self.device = str(self._device)
        network, self.card = load_weights(weights)
        self.precision = choose_precision(settings.precision, self._device, is_released=self.card.released)
        self.views = NETWORKS[self.card.network].views
        self._network = network.to(self._device)

    def restore(self, photo: Photo, advance: Callable[[float], None] = lambda share: None) -> Restored:
        """Restore a photo.

        Args:
            photo: With both views if the network needs two; a single-image network takes their mean.
            advance: Told the share of the work done since the last call.

        Raises:
            NoSecondViewError: The network needs two views and the photo has one.
            OutOfMemoryError: Memory does not suffice for any tile.
        """
        views = self._collect_views(photo)
        if self.card.released:
            return self._restore_released(photo, views, advance)
        scale = self.settings.working_scale or choose_scale(mean_views(views), self.card.fitting_radius_px)
        height, width = photo.base.shape[:2]
        small = (max(1, round(height * scale)), max(1, round(width * scale)))
        reduced = tuple(reduce_image(view, small) for view in views)
        encoded = tuple(np.clip(encode_srgb(view), 0, 1) for view in reduced)
        predicted, tile_px, precision, warnings = self._predict(encoded, advance)
        change = predicted - np.clip(encode_srgb(mean_views(reduced)), 0, 1)
        image = apply_change(photo, change, self.settings.strength)
        return Restored(image, scale, tile_px, precision, warnings)

    def _collect_views(self, photo: Photo) -> tuple[Image, ...]:
        """The network's inputs: linear sRGB, (H, W, 3) each."""
        if photo.left is None or photo.right is None:
            if self.views == 2:
                raise NoSecondViewError(
                    f"{self.card.network} needs a left and a right view and this photo has one",
                    path=photo.paths[0],
                    remedy="use --model auto or gkmnet",
                )
            return (to_linear_srgb(photo, photo.base),)
        if self.views == 2:
            return (to_linear_srgb(photo, photo.left), to_linear_srgb(photo, photo.right))
        return (to_linear_srgb(photo, mean_views((photo.left, photo.right))),)

    def _restore_released(self, photo: Photo, views: tuple[Image, ...], advance: Callable[[float], None]) -> Restored:
        """The authors' picture itself, at native scale, whole where memory allows."""
        encoded = tuple(np.clip(encode_srgb(view), 0, 1) for view in views)
        picture, tile_px, precision, warnings = self._predict(encoded, advance)
        linear = decode_srgb(picture)
        if photo.base.shape[2] == 1:
            linear = linear.mean(axis=2, keepdims=True)
        else:
            linear = (linear @ np.linalg.inv(photo.colour.to_linear_srgb).T).astype(np.float32)
        return Restored(linear, 1.0, tile_px, precision, warnings)

    def _predict(
        self, views: tuple[Image, ...], advance: Callable[[float], None]
    ) -> tuple[Image, int, str, tuple[str, ...]]:
        """Run the network over tiles; on running out of memory halve them and start again."""
        network, size = self._network, (views[0].shape[0], views[0].shape[1])
        guard = _PrecisionGuard(network, self._device, self.precision)
        progress = _Progress(advance)
        warnings: list[str] = []
        plan = self._plan(size, self.settings.tile_px or self._fit_tile(size))
        if self.card.released and plan.count > 1:
            warnings.append(
                "the photo was restored in tiles: near their borders it may differ from the authors' picture"
            )
        planned = plan.tile
        while True:
            progress.restart()
            try:
                result = process_tiles(views, plan, guard, progress.advance)
                break
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if all(side <= smallest for side, smallest in zip(plan.tile, network.min_size, strict=True)):
                    raise OutOfMemoryError(
                        "not enough memory for the smallest tile", remedy="close other programs or use --device cpu"
                    ) from error
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            # the tiles that were tried may be smaller than asked, as the photo can be
            plan = self._plan(size, max(plan.tile) // 2)
        if plan.tile != planned:
            warnings.append(f"out of memory: went on with tiles of {max(plan.tile)} pixels")
        if guard.has_overflowed:
            warnings.append(f"{self.precision} overflowed in a tile: it was computed in fp32")
        return result, max(plan.tile), self.precision, tuple(warnings)

    def _plan(self, size: tuple[int, int], tile_px: int) -> TilePlan:
        network, overlap_px = self._network, self.settings.overlap_px
        return plan_tiles(
            size,
            tile_px=tile_px,
            overlap_px=network.overlap_px if overlap_px is None else overlap_px,
            multiple=network.size_multiple,
            smallest=network.min_size,
        )

    def _fit_tile(self, size: tuple[int, int]) -> int:
        """The largest tile whose memory, by the network's own measure, fits the budget; the smallest if none does."""
        free = measure_free_bytes(self._device) * 8 // 10
        # the authors run the whole picture, and tiles would change it
        is_careful = self._device.type != "cuda" and not self.card.released
        budget = min(free, self.settings.max_memory_bytes or (CPU_BUDGET_BYTES if is_careful else free))
        tile_px = max(size) if self.card.released else min(max(size), LARGEST_TILE_PX)
        step = min(self._network.size_multiple)
        while tile_px > step and math.prod(self._plan(size, tile_px).tile) * self._network.bytes_per_px > budget:
            tile_px = (tile_px - 1) // step * step
        return tile_px


class _Progress:
    """Passes on the share of work that is done, but what has to be done again only once."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self._done = self._told = 0.0

    def restart(self) -> None:
        """Begin again."""
        self._done = 0.0

    def advance(self, share: float) -> None:
        """Take note of work done."""
        self._done += share
        if self._done > self._told:
            self._advance(self._done - self._told)
            self._told = self._done


class _PrecisionGuard:
    """Runs one tile; where half precision overflows, runs it again in float32 and remembers it."""

    def __init__(self, network: Network, device: torch.device, precision: str) -> None:
        self._network = network
        self._device = device
        self._precision = precision
        self.has_overflowed = False

    def __call__(self, views: tuple[Image, ...]) -> Image:
        """Map encoded views (h, w, 3) to the network's picture, encoded, clipped to [0, 1]."""
        network = self._network
        order = [2, 1, 0] if network.channel_order == "bgr" else [0, 1, 2]
        inputs = [
            torch.from_numpy(np.ascontiguousarray(view[..., order].transpose(2, 0, 1)))[None].to(self._device)
            + network.value_offset
            for view in views
        ]
        result = self._run(inputs, self._precision)
        if self._precision != "fp32" and not bool(torch.isfinite(result).all()):
            self.has_overflowed = True
            result = self._run(inputs, "fp32")
        picture = (result[0] - network.value_offset).clamp(0, 1).cpu().numpy()[order]
        return np.ascontiguousarray(picture.transpose(1, 2, 0))

    def _run(self, inputs: list[torch.Tensor], precision: str) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(self._device.type, DTYPES[precision], enabled=precision != "fp32"):
            return self._network(*inputs).float()


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so: on a CPU and on MPS torch raises a bare RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(mark in str(error) for mark in ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED"))
