"""Writing simulated pairs as a training set in the DPDD layout, which `dpdeblur train --pairs` and `eval` read.

    train_l/source/00000.png   left view            train_c/target/00000.png   sharp picture
    train_r/source/00000.png   right view           train_c/defocus/00000.tif  signed radius in pixels, float32
    train_c/source/00000.png   mean of the views    train_c/lens/00000.json    camera, lens, sensor, layers

Pictures are sRGB-encoded with 16 bits. The disparity of the views, in pixels, is the radius times the JSON's
`disparity_per_radius`. The JSON is written last: a pair that has one is whole.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpdeblur.errors import ReadError, UsageError
from dpdeblur.training.data import SceneOptions
from dpdeblur.training.frames import Frame, simulate_frame
from dpdeblur.training.scenes import blend_views
from dpdeblur.training.textures import find_photographs
from dpdeblur.writers.atomic import open_atomic


@dataclasses.dataclass(frozen=True)
class PairOptions:
    """What `dpdeblur simulate` writes.

    Attributes:
        out: The folder.
        count: Number of pairs.
        seed: The same seed, options and photographs give the same pairs.
        scene: What is drawn; height and width are the pictures'.
        kernels: (N, 2, h, w) measured kernel pairs as .npy, or None.
        split: Which set of the layout.
        format: Of the pictures.
        overwrite: Whether to make again what is there.
        device: torch device that renders.
    """

    out: Path
    count: int
    seed: int = 0
    scene: SceneOptions = dataclasses.field(default_factory=SceneOptions)
    kernels: Path | None = None
    split: Literal["train", "val", "test"] = "train"
    format: Literal["png", "tiff"] = "png"
    overwrite: bool = False
    device: str = "cpu"


def write_pairs(paths: Sequence[Path], options: PairOptions, advance: Callable[[], None]) -> int:
    """Simulate and write pairs; what a killed run left unfinished is made again, what is whole is kept.

    Args:
        paths: Sharp photographs and folders of them.
        options: What to write.
        advance: Called after each pair.

    Returns:
        The number of pairs made; the others were there.

    Raises:
        ReadError: A photograph or the kernels cannot be read.
        UsageError: The folder holds pairs that were made otherwise.
        WriteError: A file cannot be written.
    """
    photographs = find_photographs(paths)
    bank = None if options.kernels is None else load_bank(options.kernels).to(options.device)
    made_with = {"seed": options.seed, **dataclasses.asdict(options.scene), "measured": bank is not None}
    made = 0
    for number in range(options.count):
        card = options.out / f"{options.split}_c/lens/{number:05d}.json"
        if options.overwrite or not _is_made(card, made_with):
            frame = simulate_frame(photographs, options.scene, options.seed, number, bank=bank, device=options.device)
            _write_frame(frame, number, options)
            card.parent.mkdir(parents=True, exist_ok=True)
            with open_atomic(card) as file:
                file.write((json.dumps({"made_with": made_with, **frame.description}, indent=1) + "\n").encode())
            made += 1
        advance()
    return made


def load_bank(path: Path) -> Tensor:
    """Measured kernel pairs from a .npy file, (N, 2, h, w) float32.

    Raises:
        ReadError: It holds something else.
    """
    try:
        bank = np.load(path)
    except (OSError, ValueError) as error:
        raise ReadError("is no .npy file of kernels", path=path, remedy="see pack_training_data.py") from error
    if bank.ndim != 4 or bank.shape[1] != 2 or bank.shape[2] % 2 == 0 or bank.shape[3] != bank.shape[2]:
        raise ReadError(f"holds an array of {bank.shape}, not (N, 2, odd, odd)", path=path)
    return torch.from_numpy(bank.astype(np.float32))


def _is_made(card: Path, made_with: dict[str, Any]) -> bool:
    if not card.exists():
        return False
    # through JSON, in which tuples are lists
    if json.loads(card.read_text(encoding="utf-8"))["made_with"] != json.loads(json.dumps(made_with)):
        raise UsageError("was made with other options", path=card, remedy="choose another folder, or --overwrite")
    return True


def _write_frame(frame: Frame, number: int, options: PairOptions) -> None:
    left, right, sharp = frame.pair
    pictures = {"l/source": left, "r/source": right, "c/source": blend_views(left, right), "c/target": sharp}
    suffix = {"png": ".png", "tiff": ".tif"}[options.format]
    for part, picture in pictures.items():
        codes = np.rint(picture[0].permute(1, 2, 0).cpu().numpy() * 65535).astype(np.uint16)
        _write_array(options.out / f"{options.split}_{part}" / f"{number:05d}{suffix}", codes[..., ::-1])
    _write_array(options.out / f"{options.split}_c/defocus" / f"{number:05d}.tif", frame.radius_px)


def _write_array(path: Path, values: npt.NDArray[Any]) -> None:
    """Write an array in the format of the path's suffix; three channels are BGR, as OpenCV has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(path.suffix, np.ascontiguousarray(values))
    with open_atomic(path) as file:
        file.write(encoded.tobytes())
