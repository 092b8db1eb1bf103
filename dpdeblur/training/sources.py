"""Where batches come from: the simulator, a folder of pairs, or both. Every source says where it is, and goes on there.

Several processes share one run: each draws its own part of every batch, told apart by its rank.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpdeblur.errors import ReadError
from dpdeblur.training.data import SceneOptions, simulate_batches
from dpdeblur.training.recipe import Pair

_PARTS = ("train_l/source", "train_r/source", "train_c/target")
_SUFFIXES = (".png", ".tif", ".tiff")


class Source(Protocol):
    """Endless batches with a place in them."""

    def draw(self) -> Pair:
        """The next batch, on the training device."""

    def describe(self) -> dict[str, Any]:
        """Where the source stands, to be saved."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved place."""


class SimulatedSource:
    """Pairs rendered on the training device."""

    def __init__(
        self, textures: Tensor, count: int, options: SceneOptions, bank: Tensor | None, *, seed: int, rank: int
    ) -> None:
        """Draw `count` samples a batch from textures (N, 3, T, T) uint8 that lie on the device."""
        # ranks are far apart, so that the processes of one seed are not those of the next
        self.generator = torch.Generator(textures.device).manual_seed(seed + rank * 1_000_003)
        self.batches = simulate_batches(textures, count, options, self.generator, bank)

    def draw(self) -> Pair:
        """The next batch."""
        return next(self.batches)

    def describe(self) -> dict[str, Any]:
        """The generator's state is all there is."""
        return {"generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved place."""
        self.generator.set_state(state["generator"].cpu())


def find_pairs(folder: Path) -> list[tuple[Path, Path, Path]]:
    """Left view, right view and sharp reference of every pair of a folder in the DPDD layout.

    Files of one name belong together; where names differ, as DPDD's own do, their order decides.

    Raises:
        ReadError: The folder holds no pairs, or not as many of each part.
    """
    parts = [sorted(path for path in (folder / part).glob("*") if path.suffix.lower() in _SUFFIXES) for part in _PARTS]
    if not parts[0] or len({len(part) for part in parts}) > 1:
        counts = ", ".join(f"{len(files)} in {part}" for files, part in zip(parts, _PARTS, strict=True))
        raise ReadError(f"is no training set in the DPDD layout: {counts}", path=folder, remedy="name another folder")
    return [(left, right, sharp) for left, right, sharp in zip(*parts, strict=True)]


class FolderSource:
    """Crops of the pairs of a folder; every pair once an epoch, in an order drawn anew for each.

    Each picture is decoded once and kept as an array on disk, from which crops are cut: that costs no decoding in the
    loop, whatever fits in memory.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        count: int,
        size: tuple[int, int],
        *,
        seed: int,
        rank: int,
        processes: int,
        device: str,
    ) -> None:
        """Cut `count` crops of `size` (height, width) a batch; decoded pictures are kept in `cache`.

        Raises:
            ReadError: A picture cannot be decoded, is smaller than a crop, or not as large as its partners.
        """
        self.pictures = [_open_pair(paths, cache / f"{paths[0].stem}.npy", size) for paths in find_pairs(folder)]
        self.count, self.size = count, size
        self.seed, self.rank, self.processes, self.device = seed, rank, processes, device
        self.position = 0
        self.order = (-1, torch.empty(0))

    def draw(self) -> Pair:
        """The next batch: this process's part of the samples that all of them draw."""
        numbers = [self.position + self.rank * self.count + i for i in range(self.count)]
        self.position += self.count * self.processes
        crops = torch.from_numpy(np.stack([self._cut(number) for number in numbers])).to(self.device)
        return Pair(*(crops.permute(1, 0, 4, 2, 3).to(torch.float32) / 65535))

    def _cut(self, number: int) -> npt.NDArray[np.int32]:
        """The crop of a sample, counted from the run's beginning: (3, height, width, 3)."""
        epoch, place = divmod(number, len(self.pictures))
        if self.order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self.order = (epoch, torch.randperm(len(self.pictures), generator=generator))
        picture = self.pictures[int(self.order[1][place])]
        generator = torch.Generator().manual_seed((self.seed << 32) + number)
        height, width = self.size
        top, left = (
            int(torch.randint(have - want + 1, (), generator=generator))
            for have, want in zip(picture.shape[1:3], self.size, strict=True)
        )
        return picture[:, top : top + height, left : left + width].astype(np.int32)

    def describe(self) -> dict[str, Any]:
        """The number of samples drawn so far by all processes."""
        return {"position": self.position}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved place."""
        self.position = state["position"]


def _open_pair(paths: tuple[Path, Path, Path], kept: Path, size: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """The three pictures as one array on disk, (3, H, W, 3) RGB of 16 bits."""
    if not kept.exists():
        pictures = [_read_picture(path) for path in paths]
        for path, picture in zip(paths[1:], pictures[1:], strict=True):
            if picture.shape != pictures[0].shape:
                raise ReadError(f"is not as large as {paths[0]}", path=path, remedy="remove both")
        kept.parent.mkdir(parents=True, exist_ok=True)
        # several processes may decode the same pair at once
        part = kept.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, np.stack(pictures))
        part.replace(kept)
    array: npt.NDArray[np.uint16] = np.load(kept, mmap_mode="r")
    if array.shape[1] < size[0] or array.shape[2] < size[1]:
        raise ReadError(
            f"has {array.shape[2]}x{array.shape[1]} pixels, fewer than a crop",
            path=paths[0],
            remedy=f"ask for crops smaller than {size[1]}x{size[0]}",
        )
    return array


def _read_picture(path: Path) -> npt.NDArray[np.uint16]:
    image = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise ReadError("is no picture of 8 or 16 bits", path=path, remedy="remove it and its partners")
    rgb = image[..., ::-1]
    return np.ascontiguousarray(rgb if rgb.dtype == np.uint16 else rgb.astype(np.uint16) * 257)


class MixedSource:
    """Batches of which each source makes a part."""

    def __init__(self, sources: list[Source]) -> None:
        """Join the sources' batches in this order."""
        self.sources = sources

    def draw(self) -> Pair:
        """The next batch."""
        batches = [source.draw() for source in self.sources]
        return Pair(*(torch.cat(parts) for parts in zip(*batches, strict=True)))

    def describe(self) -> dict[str, Any]:
        """Where every source stands."""
        return {str(number): source.describe() for number, source in enumerate(self.sources)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved place."""
        for number, source in enumerate(self.sources):
            source.restore(state[str(number)])
