"""Tiny captures for all tests, made once a session by `captures.py`. Nobody may change the files."""

from __future__ import annotations

import os
import signal
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # each is one of as many as there are cores, and torch reads it once
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest
import tifffile
from captures import (
    draw_views,
    dual_frames,
    mosaic_from_linear,
    record_pixel_view,
    truncate_file,
    write_burst_dng,
    write_dual_cr2,
    write_dual_dng,
    write_pixel_pair,
    write_single_cr2,
    write_single_dng,
)
from mosaics import Scene, encode_srgb

# a suite that a shell starts in the background inherits an ignored Ctrl-C, and would pass that on to the programs that
# it interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)

HEIGHT_PX, WIDTH_PX = 64, 96
SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of material beside the checkout; tests that use it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ is not beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def scene() -> Scene:
    """The views and frames that every capture below was made from."""
    left, right = draw_views(HEIGHT_PX, WIDTH_PX)
    return Scene(left, right, *dual_frames(left, right))


@pytest.fixture(scope="session")
def captures_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the captures lie, each in its own folder or under its own name."""
    return tmp_path_factory.mktemp("captures")


@pytest.fixture(scope="session")
def dual_cr2(captures_folder: Path, scene: Scene) -> Path:
    """A dual-pixel CR2 of `scene`."""
    path = captures_folder / "dual.cr2"
    write_dual_cr2(path, scene.frame0, scene.frame1)
    return path


@pytest.fixture(scope="session")
def rotated_cr2(captures_folder: Path, scene: Scene) -> Path:
    """The same, to be turned clockwise (Orientation 6), with masked borders."""
    path = captures_folder / "rotated.cr2"
    write_dual_cr2(path, scene.frame0, scene.frame1, orientation=6, masked=(4, 8))
    return path


@pytest.fixture(scope="session")
def single_cr2(captures_folder: Path, scene: Scene) -> Path:
    """A CR2 with frame 0 alone."""
    path = captures_folder / "single.cr2"
    write_single_cr2(path, scene.frame0)
    return path


@pytest.fixture(scope="session")
def burst_cr2(captures_folder: Path, scene: Scene) -> Path:
    """A CR2 whose two frames are different shots of full exposure."""
    path = captures_folder / "burst.cr2"
    write_dual_cr2(path, scene.frame0, mosaic_from_linear(scene.left[::-1]))
    return path


@pytest.fixture(scope="session")
def truncated_cr2(captures_folder: Path, dual_cr2: Path) -> Path:
    """A dual-pixel CR2 of which the last third is missing."""
    path = captures_folder / "truncated.cr2"
    truncate_file(dual_cr2, path, 2 / 3)
    return path


@pytest.fixture(scope="session")
def dual_dng(captures_folder: Path, scene: Scene) -> Path:
    """A DNG of `scene` with two samples a pixel."""
    path = captures_folder / "dual.dng"
    write_dual_dng(path, scene.frame0, scene.frame1)
    return path


@pytest.fixture(scope="session")
def single_dng(captures_folder: Path, scene: Scene) -> Path:
    """A DNG with frame 0 alone."""
    path = captures_folder / "single.dng"
    write_single_dng(path, scene.frame0)
    return path


@pytest.fixture(scope="session")
def burst_dng(captures_folder: Path, scene: Scene) -> Path:
    """A DNG with two raw IFDs, different shots of full exposure."""
    path = captures_folder / "burst.dng"
    write_burst_dng(path, scene.frame0, mosaic_from_linear(scene.left[::-1]))
    return path


@pytest.fixture(scope="session")
def pixel_pair(captures_folder: Path, scene: Scene) -> tuple[Path, Path]:
    """Left and right PGM of the Pixel app's form: green, 32 rows of 96 pixels twice as high as wide, black 4096."""
    left, right = (record_pixel_view(view[..., 1]) for view in (scene.left, scene.right))
    return write_pixel_pair(captures_folder, "20240305_112233_042", left, right)


@pytest.fixture(scope="session")
def srgb_tiff(captures_folder: Path, scene: Scene) -> Path:
    """A 16-bit RGB TIFF of the left view, sRGB-encoded, without a profile."""
    path = captures_folder / "photo.tif"
    tifffile.imwrite(path, encode_srgb(scene.left, 65535), photometric="rgb")
    return path


@pytest.fixture(scope="session")
def png_pair(captures_folder: Path, scene: Scene) -> tuple[Path, Path]:
    """16-bit sRGB PNG files scene_left.png and scene_right.png."""
    paths = captures_folder / "scene_left.png", captures_folder / "scene_right.png"
    for path, view in zip(paths, (scene.left, scene.right), strict=True):
        path.write_bytes(cv2.imencode(".png", encode_srgb(view, 65535)[..., ::-1])[1].tobytes())
    return paths


@pytest.fixture(scope="session")
def jpeg_photo(captures_folder: Path, scene: Scene) -> Path:
    """An 8-bit sRGB JPEG of the left view, quality 95."""
    path = captures_folder / "photo.jpg"
    encoded = encode_srgb(scene.left, 255).astype(np.uint8)[..., ::-1]
    path.write_bytes(cv2.imencode(".jpg", encoded, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    return path


@pytest.fixture(scope="session")
def gkmnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that change nothing."""
    from tiny_networks import write_gkmnet  # loads torch, which most tests do without

    return write_gkmnet(tmp_path_factory.mktemp("weights") / "gkmnet_same.safetensors")


@pytest.fixture(scope="session")
def brighter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that add `tiny_networks.ADDED` to every sRGB-encoded value."""
    from tiny_networks import ADDED, write_gkmnet

    return write_gkmnet(tmp_path_factory.mktemp("weights") / "gkmnet_brighter.safetensors", added=ADDED)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights: both networks, neither of which changes anything but rounding."""
    from tiny_networks import ship_weights

    folder = ship_weights(tmp_path / "shipped")
    monkeypatch.setattr("dpdeblur.weights.WEIGHTS_FOLDER", folder)
    return folder
