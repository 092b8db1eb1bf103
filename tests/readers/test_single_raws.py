"""Ordinary raws of other makes: sensors without colours, pictures that the camera demosaicked, saturation."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from captures import mosaic_from_linear, write_single_cr2, write_single_dng

from dpdeblur.photo import Photo
from dpdeblur.readers import Capture, Probe, probe_photo, read_photo


def write_linear_dng(path: Path, values: npt.NDArray[np.uint16]) -> Path:
    """Write values that are no mosaic as a DNG (PhotometricInterpretation LinearRaw, DNG 1.4)."""
    tags: list[Any] = [(50706, 1, 4, (1, 4, 0, 0), True), (50707, 1, 4, (1, 1, 0, 0), True)]
    tags += [(tag, 2, None, "Nobody's", True) for tag in (271, 272, 50708)]
    tags.append((50717, 3, 1, 65535, True))
    tifffile.imwrite(path, values, photometric="rgb" if values.ndim == 3 else "minisblack", extratags=tags)
    content = bytearray(path.read_bytes())
    (place,) = (content.find(struct.pack("<HHI", 262, 3, 1)),)
    struct.pack_into("<H", content, place + 8, 34892)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_no_mosaic_keeps_its_values_and_channels(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(0).integers(500, 60000, (64, 96, channels), dtype=np.uint16)
    path = write_linear_dng(tmp_path / "a.dng", values.squeeze())
    photo = read_photo(Capture((path,)))
    assert (photo.kind, photo.base.shape) == ("raw", (64, 96, channels))
    fit = np.corrcoef(photo.base.ravel(), values.ravel())[0, 1]
    assert fit > 0.999
    assert probe_photo(Capture((path,))) == Probe("raw", 96, 64, False, "Nobody's")


def read_lamp(path: Path) -> Photo:
    """A warm lamp on gray, twice as bright as the sensor can record."""
    scene = np.full((64, 96, 3), 0.2)
    scene[16:48, 32:64] = (2.0, 1.6, 1.2)
    frame = mosaic_from_linear(scene)
    (write_single_cr2 if path.suffix == ".cr2" else write_single_dng)(path, frame)
    return read_photo(Capture((path,)))


@pytest.mark.parametrize("name", ["a.cr2", "a.dng"])
def test_saturated_light_is_white_and_gray_is_gray_at_its_own_brightness(tmp_path: Path, name: str) -> None:
    photo = read_lamp(tmp_path / name)
    # a CR2's container reaches to 16383, but the sensor to 15000: taken for white, that leaves highlights at 0.91
    np.testing.assert_allclose(photo.base[24:40, 40:56], 1, atol=1e-3)
    np.testing.assert_allclose(photo.base[2:10, 4:90], 0.2, atol=1e-3)
