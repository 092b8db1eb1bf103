"""The committed examples are what their script makes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dpdeblur.photo import Image
from dpdeblur.readers import group_captures, read_photo

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


#: What has noise.
RAW_SUFFIXES = {".cr2", ".dng"}
BLOCK_PX = 16


def _average_blocks(image: Image) -> Image:
    """The mean of each block of 16 x 16 pixels, over which noise averages out."""
    rows, columns = (size // BLOCK_PX for size in image.shape[:2])
    blocks = image[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX, -1)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _measure_grain(image: Image) -> float:
    """The mean difference of neighbours: detail, and the strength of the noise."""
    return float(np.abs(np.diff(image, axis=1)).mean())


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The captures, made anew."""
    spec = importlib.util.spec_from_file_location("make_examples", EXAMPLES / "make_examples.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = tmp_path_factory.mktemp("examples") / "captures"
    script.main(folder)
    return folder


def test_the_script_makes_the_committed_captures(rebuilt: Path):
    committed = sorted(path.name for path in (EXAMPLES / "captures").iterdir())
    assert sorted(path.name for path in rebuilt.iterdir()) == committed
    for one, other in zip(
        group_captures([rebuilt / name for name in committed]),
        group_captures([EXAMPLES / "captures" / name for name in committed]),
        strict=True,
    ):
        made, kept = read_photo(one).base, read_photo(other).base
        if one.paths[0].suffix in RAW_SUFFIXES:
            # one rounding of the light that comes out otherwise, and all noise drawn after it is other noise
            np.testing.assert_allclose(_average_blocks(made), _average_blocks(kept), atol=0.012)
            np.testing.assert_allclose(made.mean((0, 1)), kept.mean((0, 1)), atol=5e-4)
            np.testing.assert_allclose(_measure_grain(made), _measure_grain(kept), rtol=0.01)
        else:
            # Fourier transforms round differently from machine to machine: a code value here and there
            np.testing.assert_allclose(made, kept, atol=4e-3)


def test_the_dual_pixel_example_is_a_blurred_picture_of_the_sharp_one():
    sharp = tifffile.imread(EXAMPLES / "desk_sharp.tif")
    photo = read_photo(group_captures([EXAMPLES / "captures" / "desk_canon.cr2"])[0])
    assert photo.is_dual and photo.base.shape == sharp.shape
    detail = [np.abs(np.diff(image.astype(np.float64).mean(2), axis=1)).mean() for image in (sharp / 255, photo.base)]
    assert detail[0] > 1.5 * detail[1]
