"""Small data sets of every layout, drawn here; each function returns what it wrote, as codes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint16]

HEIGHT_PX, WIDTH_PX = 64, 96


def draw_scene(seed: int = 0, channels: int = 3, size: tuple[int, int] = (HEIGHT_PX, WIDTH_PX)) -> tuple[Codes, Codes]:
    """A sharp picture of soft blobs and a blurred one, 16-bit codes, (H, W, C)."""
    noise = np.random.default_rng(seed).random((*size, channels))
    sharp = cv2.GaussianBlur(noise, (0, 0), 2.0).reshape(*size, channels)
    sharp = 0.1 + 0.8 * (sharp - sharp.min()) / (sharp.max() - sharp.min())
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2.5).reshape(*size, channels)
    return to_codes(sharp), to_codes(blurred)


def to_codes(values: npt.NDArray[np.float64]) -> Codes:
    """Values in [0, 1] as 16-bit codes."""
    return np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)


def write_codes(path: Path, codes: Codes) -> Path:
    """Write RGB or gray codes as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", codes[..., ::-1] if codes.shape[2] == 3 else codes)[1].tobytes())
    return path


def write_dpdd(root: Path, names: dict[str, str], *, blurred: bool = True) -> dict[str, tuple[Codes, Codes]]:
    """A set as DPDD's authors hand it out: views NAME_L and NAME_R, references with numbers of their own.

    Args:
        root: Its folder.
        names: Photos' names and their references'.
        blurred: Whether there are photos with all their light.
    """
    drawn = {}
    for seed, (name, reference) in enumerate(names.items()):
        sharp, soft = drawn[name] = draw_scene(seed)
        write_codes(root / "test_c/target" / f"{reference}.png", sharp)
        if blurred:
            write_codes(root / "test_c/source" / f"{name}.png", soft)
        write_codes(root / "test_l/source" / f"{name}_L.png", np.roll(soft, 1, axis=1))
        write_codes(root / "test_r/source" / f"{name}_R.png", np.roll(soft, -1, axis=1))
    return drawn


def write_twofold(
    root: Path, sharp_folder: str, blurred_folder: str, names: list[str]
) -> dict[str, tuple[Codes, Codes]]:
    """A set of two folders with files of the same names: RealDOF's and SDD's form."""
    drawn = {}
    for seed, name in enumerate(names):
        sharp, soft = drawn[name] = draw_scene(seed)
        write_codes(root / sharp_folder / f"{name}.png", sharp)
        write_codes(root / blurred_folder / f"{name}.png", soft)
    return drawn


def write_pixel4(
    root: Path, name: str, *, shift_px: int = 2, size: tuple[int, int] = (128, 160)
) -> npt.NDArray[np.float64]:
    """A Pixel scene without blur or disparity, and its reference: three times as bright, `shift_px` to the right.

    The right view and the right white sheet have 0.8 of the left's light. The views reach beyond the reference by 16
    pixels at each side.

    Returns:
        The scene in linear light, 0 to 1, of the views' size.
    """
    height, width = size[0] + 32, size[1] + 32
    noise = np.random.default_rng(int(name)).random((height, width))
    scene = cv2.GaussianBlur(noise, (0, 0), 8.0)
    scene = 0.05 + 0.25 * (scene - scene.min()) / (scene.max() - scene.min())

    def expose(values: npt.NDArray[np.float64]) -> Codes:
        return np.rint(1024 + values * (16383 - 1024)).astype(np.uint16)[..., None]

    for side, light in (("left", 1.0), ("right", 0.8)):
        write_codes(root / f"{name}_{side}.png", expose(scene * light))
        write_codes(root / "calibration" / f"white_sheet_{side}.png", expose(np.full_like(scene, 0.9 * light)))
    moved = np.roll(scene, shift_px, axis=1)[16:-16, 16:-16]
    write_codes(root / f"{name}_gt.png", to_codes(3 * moved)[..., None])
    return scene
