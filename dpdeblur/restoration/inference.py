"""From a decoded photo to a restored one: working scale, tiles, device, and the change put back at full size.

A network sees the views (or the picture) sRGB-encoded, reduced so that their blur fits what it was trained for. What it
returns minus what it saw is the *change*; brought back to full size it is added to the photo itself, which keeps all
the light and detail that the views, or the reduction, do not have.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from dpdeblur.colour.spaces import decode_srgb
from dpdeblur.errors import NoSecondViewError, OutOfMemoryError
from dpdeblur.framing import Crop, crop_photo
from dpdeblur.networks import NETWORKS
from dpdeblur.photo import Image, Photo
from dpdeblur.restoration.change import GrayMix, Sight, apply_change, encode_picture, from_linear_srgb, mean_views
from dpdeblur.restoration.devices import choose_device, choose_precision, measure_free_bytes
from dpdeblur.restoration.memory import return_freed_memory, tune_allocator
from dpdeblur.restoration.runner import MIRRORS, Start, TileRunner, start_ensemble
from dpdeblur.restoration.scale import choose_scale
from dpdeblur.restoration.tiling import TilePlan, count_kept_px, fit_tiles, plan_tiles, process_tiles
from dpdeblur.weights import load_weights

#: Memory that automatic tiles may take on a CPU, so that the rest of the machine stays usable.
CPU_BUDGET_BYTES = 520_000_000
#: Of it, what torch loads and compiles the first time, and strips; measured.
OVERHEAD_BYTES = 45_000_000
#: Of it, what a pixel of a row of tiles takes while they are blended; measured.
ROW_BYTES_PER_PX = 15
#: Pixels of automatic tiles on a CPU, their row included by its weight: with about so many, photos of 2 megapixels
#: have a division that computes little twice, as larger ones have at any number, so that all take the same memory.
USUAL_TILE_PX = 655_000
#: Pixels that a GPU computes at once, in as many tiles as it takes: a few hundred thousand leave a large one idle while
#: the next layer is launched.
BUSY_PX = 2**21


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
        ensemble: Whether to average over the photo's four mirror images, see `start_ensemble`.
    """

    device: str = "auto"
    precision: str = "auto"
    tile_px: int | None = None
    overlap_px: int | None = None
    strength: float = 1.0
    max_memory_bytes: int | None = None
    working_scale: float | None = None
    ensemble: bool = False


@dataclasses.dataclass(frozen=True)
class Restored:
    """A restored photo.

    Attributes:
        image: (H, W, C) float32, linear light in the photo's primaries; the photo's own array if it was restored in
            place.
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
        if self._device.type == "cpu":
            tune_allocator()
        network, self.card = load_weights(weights)
        self.precision = choose_precision(settings.precision, self._device, is_released=self.card.released)
        self.views = NETWORKS[self.card.network].views
        self._network = network.to(self._device)
        overlap_px = network.overlap_px if settings.overlap_px is None else settings.overlap_px
        self._needs = _Needs(overlap_px=overlap_px, multiple=network.size_multiple, smallest=network.min_size)

    def restore(
        self,
        photo: Photo,
        advance: Callable[[float], None] = lambda share: None,
        part: Crop | None = None,
        *,
        in_place: bool = False,
    ) -> Restored:
        """Restore a photo or a part of it.

        Args:
            photo: With both views if the network needs two; a single-image network takes their mean.
            advance: Told the share of the work done since the last call.
            part: What of it, or None for the whole. The part is worked on at the whole photo's scale.
            in_place: Put the result into the array `photo.base` where it can be written to, which spares the memory of
                another picture. Where memory runs out half way, a network that restores `base` itself sees, above the
                row reached, what is restored already.

        Raises:
            NoSecondViewError: The network needs two views and the photo has one.
            OutOfMemoryError: Memory does not suffice for any tile.
            ReadError: The part lies outside the photo.
        """
        images = self._collect_images(photo)
        scale = 1.0
        if not self.card.released:
            scale = self.settings.working_scale or self._fit_scale(photo, images)
        if part is not None:
            photo = crop_photo(photo, part)
            images = self._collect_images(photo)
        is_mixed = self.views < len(images)
        size = (photo.base.shape[0], photo.base.shape[1])
        if self.card.released:
            sight = Sight(photo, images, size, is_mixed)
            return self._restore_released(sight, advance, in_place)
        sight = Sight(photo, images, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), is_mixed)

        def start(views: tuple[Image, ...], run: Start) -> Callable[[], Image]:
            encoded = tuple(encode_picture(view) for view in views)
            seen = encoded[0] if len(views) == 1 else encode_picture(mean_views(views))
            finish = run(encoded)
            return lambda: finish() - seen

        def apply(changes: Iterator[Image]) -> Iterator[tuple[slice, Image]]:
            return apply_change(photo, sight.size, changes, self.settings.strength)

        return self._run(sight, start, apply, scale, advance, in_place)

    def _fit_scale(self, photo: Photo, images: tuple[Image, ...]) -> float:
        """The working scale that fits a photo's blur."""
        scale = choose_scale(GrayMix(photo, images), self.card.fitting_radius_px)
        # what that took lies between the network's maps otherwise: 50 MB of a photo of 30 megapixels
        return_freed_memory()
        return scale

    def _collect_images(self, photo: Photo) -> tuple[Image, ...]:
        """What of a photo the network sees, in the photo's primaries."""
        if photo.left is not None and photo.right is not None:
            return (photo.left, photo.right)
        if self.views == 2:
            raise NoSecondViewError(
                f"{self.card.network} needs a left and a right view and this photo has one",
                path=photo.paths[0],
                remedy="use --model auto or gkmnet",
            )
        return (photo.base,)

    def _restore_released(self, sight: Sight, advance: Callable[[float], None], in_place: bool) -> Restored:
        """The authors' picture itself, at native scale, whole where memory allows."""
        photo = sight.photo

        def start(views: tuple[Image, ...], run: Start) -> Callable[[], Image]:
            return run(tuple(encode_picture(view) for view in views))

        def apply(pictures: Iterator[Image]) -> Iterator[tuple[slice, Image]]:
            top = 0
            for picture in pictures:
                yield slice(top, top + len(picture)), from_linear_srgb(photo, decode_srgb(picture))
                top += len(picture)

        return self._run(sight, start, apply, 1.0, advance, in_place)

    def _run(
        self,
        sight: Sight,
        start: Callable[[tuple[Image, ...], Start], Callable[[], Image]],
        apply: Callable[[Iterator[Image]], Iterator[tuple[slice, Image]]],
        scale: float,
        advance: Callable[[float], None],
        in_place: bool,
    ) -> Restored:
        """Run the network over tiles; out of memory, take fewer together, then halve them; finished rows are kept."""
        progress = _Progress(advance)
        warnings: list[str] = []
        plan = self._fit(sight.size) if self.settings.tile_px is None else self._plan(sight.size, self.settings.tile_px)
        if self.card.released and plan.count > 1:
            warnings.append(
                "the photo was restored in tiles: near their borders it may differ from the authors' picture"
            )
        most_bytes = self.settings.max_memory_bytes
        if self.settings.tile_px is None and most_bytes is not None and self.estimate_bytes(plan) > most_bytes:
            warnings.append(
                f"even small tiles take about {self.estimate_bytes(plan) // 10**6} MB, more than was allowed"
            )
        planned, together = plan.tile, self._count_together(plan)
        has_overflowed = False
        base = sight.photo.base
        image, done = base if in_place and base.flags.writeable else np.empty_like(base), 0
        while True:
            progress.restart()
            runner = TileRunner(self._network, self._device, self.precision, together)
            start_tile, ahead = self._start_with(runner, sight, plan.tile, start)
            try:
                for rows, part in apply(process_tiles(sight.size, plan, start_tile, progress.advance, ahead)):
                    # of rows that are done, in place, `part` was made from their result
                    image[max(rows.start, done) : rows.stop] = part[max(0, done - rows.start) :]
                    done = max(done, rows.stop)
                break
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                smallest = self._needs["smallest"]
                if together == 1 and all(side <= least for side, least in zip(plan.tile, smallest, strict=True)):
                    raise OutOfMemoryError(
                        "not enough memory for the smallest tile", remedy="close other programs or use --device cpu"
                    ) from error
            finally:
                has_overflowed |= runner.has_overflowed
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            if together > 1:
                together //= 2
            else:  # the tiles that were tried may be smaller than asked, as the photo can be
                plan = self._plan(sight.size, max(plan.tile) // 2)
        if plan.tile != planned:
            warnings.append(f"out of memory: went on with tiles of {max(plan.tile)} pixels")
        if has_overflowed:
            warnings.append(f"{self.precision} overflowed in a tile: it was computed in fp32")
        return Restored(image, scale, max(plan.tile), self.precision, tuple(warnings))

    def _start_with(
        self,
        runner: TileRunner,
        sight: Sight,
        tile: tuple[int, int],
        start: Callable[[tuple[Image, ...], Start], Callable[[], Image]],
    ) -> tuple[Callable[[int, int], Callable[[], Image]], int]:
        """What starts on a tile by its place, and how many tiles ahead keep the device busy."""
        run, ahead = runner.start, runner.ahead
        if self.settings.ensemble:
            run = functools.partial(start_ensemble, run, ahead=min(ahead, len(MIRRORS)))
            ahead = max(1, ahead // len(MIRRORS))
        return lambda top, left: start(sight.cut(top, left, tile), run), ahead

    def _plan(self, size: tuple[int, int], tile_px: int) -> TilePlan:
        """Tiles of about a side."""
        return plan_tiles(size, tile_px=tile_px, **self._needs)

    def _fit(self, size: tuple[int, int]) -> TilePlan:
        """Tiles whose memory, by the network's own measure, fits the budget; the smallest if none does."""
        budget = self._budget_bytes
        largest_px = max(size) if self.card.released else self._network.largest_tile_px
        # where there is hardly any, the smallest tiles would take for ever: they may have half of it
        area_px = max(budget - OVERHEAD_BYTES, budget // 2) // self._bytes_per_px
        if not self.card.released:  # with its row, so that a wider photo takes no more
            area_px = min(area_px, largest_px**2)
        if self._is_careful:
            area_px = min(area_px, USUAL_TILE_PX)
        largest_px = min(max(size), largest_px)
        row_weight = ROW_BYTES_PER_PX / self._bytes_per_px
        return fit_tiles(size, area_px=area_px, largest_px=largest_px, row_weight=row_weight, **self._needs)

    def _count_together(self, plan: TilePlan) -> int:
        """How many tiles the network sees at once: on a GPU as many as keep it busy, within its memory."""
        if self._device.type != "cuda":
            return 1
        tile_px = math.prod(plan.tile)
        fitting = self._budget_bytes // (tile_px * self._bytes_per_px)
        wanted = plan.count * (len(MIRRORS) if self.settings.ensemble else 1)
        return max(1, min(BUSY_PX // tile_px, fitting, wanted))

    @property
    def _is_careful(self) -> bool:
        """Whether it takes a part of the memory only; the authors run the whole picture, and tiles would change it."""
        return self.settings.max_memory_bytes is None and self._device.type != "cuda" and not self.card.released

    @property
    def _budget_bytes(self) -> int:
        free = measure_free_bytes(self._device) * 8 // 10
        return min(free, CPU_BUDGET_BYTES if self._is_careful else self.settings.max_memory_bytes or free)

    def estimate_bytes(self, plan: TilePlan) -> int:
        """What restoring in place by a plan takes beyond the photo, by the network's own measure."""
        row_weight = ROW_BYTES_PER_PX / self._bytes_per_px
        return OVERHEAD_BYTES + round(count_kept_px(plan.tile, plan.canvas[1], row_weight) * self._bytes_per_px)

    @property
    def _bytes_per_px(self) -> int:
        if self._device.type != "cpu":
            # not measured: nothing is cut into bands there, and libraries take memory to work in
            return 2 * self._network.bytes_per_px
        return self._network.bytes_per_px if self.precision == "fp32" else self._network.half_bytes_per_px


class _Needs(TypedDict):
    """What the network asks of tiles."""

    overlap_px: int
    multiple: tuple[int, int]
    smallest: tuple[int, int]


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


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so: on a CPU and on MPS torch raises a bare RuntimeError.

    oneDNN says no more than that it could not make or run what it was to compute: its code was made for these very
    layers before, so it is memory that it lacks.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    marks = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED", "could not create a", "could not execute a")
    return any(mark in str(error) for mark in marks)
