"""Writing simulated pairs as a training set in the DPDD layout, which `dpdeblur train --pairs` and `eval` read.

    train_l/source/00000.png   left view            train_c/target/00000.png   sharp picture
    train_r/source/00000.png   right view           train_c/defocus/00000.tif  signed radius in pixels, float32
    train_c/source/00000.png   mean of the views    train_c/lens/00000.json    camera, lens, sensor, layers

Pictures are sRGB-encoded with 16 bits. The disparity of the views, in pixels, is the radius times the JSON's
`disparity_per_radius`. The JSON is written first without and last with its scene: a pair that has one is ours, and
whole where the JSON tells the scene.
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
from dpdeblur.networks.light import blend_views
from dpdeblur.training.data import SceneOptions
from dpdeblur.training.frames import Frame, simulate_frame
from dpdeblur.training.textures import find_photographs
from dpdeblur.writers.atomic import open_atomic

#: The folders of a pair behind the set's name: left, right, mean of the views, sharp; and the map of defocus.
_PARTS = ("l/source", "r/source", "c/source", "c/target")
_DEFOCUS = "c/defocus"


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
        UsageError: The folder holds pairs that were made otherwise, or pictures that something else made.
        WriteError: A file cannot be written.
    """
    photographs = find_photographs(paths)
    bank = None if options.kernels is None else load_bank(options.kernels).to(options.device)
    made_with = {"seed": options.seed, **dataclasses.asdict(options.scene), "measured": bank is not None}
    made = 0
    for number in range(options.count):
        card = options.out / f"{options.split}_c/lens/{number:05d}.json"
        if options.overwrite or not _is_made(card, made_with):
            _check_pictures(card, number, options)
            frame = simulate_frame(photographs, options.scene, options.seed, number, bank=bank, device=options.device)
            # a card that tells no scene says that what lies beside it is ours, should this run be killed
            _write_card(card, {"made_with": made_with})
            _write_frame(frame, number, options)
            _write_card(card, {"made_with": made_with, **frame.description})
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
    told = json.loads(card.read_text(encoding="utf-8"))
    # through JSON, in which tuples are lists
    if told["made_with"] != json.loads(json.dumps(made_with)):
        raise UsageError("was made with other options", path=card, remedy="choose another folder, or --overwrite")
    return len(told) > 1


def _check_pictures(card: Path, number: int, options: PairOptions) -> None:
    """Refuse to replace pictures that no card says to be ours: those of a data set, perhaps."""
    for path in (_name_picture(options, part, number) for part in (*_PARTS, _DEFOCUS)):
        if path.exists() and not card.exists():
            raise UsageError("was not made by dpdeblur", path=path, remedy="choose another folder")


def _name_picture(options: PairOptions, part: str, number: int) -> Path:
    suffix = ".tif" if part == _DEFOCUS or options.format == "tiff" else ".png"
    return options.out / f"{options.split}_{part}" / f"{number:05d}{suffix}"


def _write_card(card: Path, content: dict[str, Any]) -> None:
    card.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(card) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def _write_frame(frame: Frame, number: int, options: PairOptions) -> None:
    left, right, sharp = frame.pair
    for part, picture in zip(_PARTS, (left, right, blend_views(left, right), sharp), strict=True):
        codes = np.rint(picture[0].permute(1, 2, 0).cpu().numpy() * 65535).astype(np.uint16)
        _write_array(_name_picture(options, part, number), codes[..., ::-1])
    _write_array(_name_picture(options, _DEFOCUS, number), frame.radius_px)


def _write_array(path: Path, values: npt.NDArray[Any]) -> None:
    """Write an array in the format of the path's suffix; three channels are BGR, as OpenCV has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(path.suffix, np.ascontiguousarray(values))
    with open_atomic(path) as file:
        file.write(encoded.tobytes())
