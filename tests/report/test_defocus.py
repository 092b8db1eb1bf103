"""The map of defocus and its file: which quantity, its codes, its place, its note."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from captures import draw_views

from dpdeblur.metadata.provenance import read_note
from dpdeblur.photo import Photo
from dpdeblur.restoration.defocus import DefocusMap, enlarge_rows, map_defocus
from dpdeblur.writers.defocus import write_defocus_map

NOTE = "run; network k3dn, weights 0123456789ab"


def make_map(quantity: str = "disparity", low: float = -3.0, high: float = 5.0) -> DefocusMap:
    """A map that rises from left to right, trusted more from top to bottom."""
    values = np.repeat(np.linspace(low, high, 12, dtype=np.float32)[None], 8, axis=0)
    confidence = np.repeat(np.linspace(0, 1, 8, dtype=np.float32)[:, None], 12, axis=1)
    return DefocusMap(quantity, values, confidence)  # type: ignore[arg-type]  # the tests name real quantities only


def read_pages(path: Path) -> tuple[list[np.ndarray], list[str]]:
    with tifffile.TiffFile(path) as file:
        return [page.asarray() for page in file.pages], [page.tags[270].value for page in file.pages]


def test_a_photo_with_two_views_gives_disparity_and_one_with_one_its_blur() -> None:
    left, right = (view.astype(np.float32) for view in draw_views(96, 144))
    base = (left + right) / 2
    assert map_defocus(Photo((), "pair", base, left=left, right=right)).quantity == "disparity"
    assert map_defocus(Photo((), "image", base)).quantity == "blur radius"
    assert map_defocus(Photo((), "pair", left, left=left, right=left.copy())).quantity == "blur radius"


def test_the_blur_of_a_single_image_is_found_where_it_is() -> None:
    rng = np.random.default_rng(3)
    sharp = rng.uniform(0.1, 0.9, (20, 40, 1)).astype(np.float32)
    sharp = cv2.resize(sharp, (960, 480), interpolation=cv2.INTER_NEAREST)
    sharp += rng.uniform(-0.1, 0.1, sharp.shape).astype(np.float32)
    image = sharp.copy()
    image[:, 480:] = cv2.GaussianBlur(sharp, (0, 0), 4)[:, 480:]
    found = map_defocus(Photo((), "image", image[..., None]))
    assert found.values_px[:, :2].max() < 1.5
    assert found.values_px[:, -2:].min() > 3


@pytest.mark.parametrize(("quantity", "zero"), [("disparity", 32768), ("blur radius", 0)])
def test_the_codes_are_the_pixels_by_the_scale_in_the_description(tmp_path: Path, quantity: str, zero: int) -> None:
    defocus = make_map(quantity, low=0.0 if zero == 0 else -3.0)
    write_defocus_map(tmp_path / "m.tif", defocus, (8, 12), 1, provenance=NOTE)
    (codes, confidence), descriptions = read_pages(tmp_path / "m.tif")
    assert (codes.dtype, confidence.dtype) == (np.uint16, np.uint8)
    np.testing.assert_allclose((codes.astype(float) - zero) / 256, defocus.values_px, atol=0.5 / 256 + 1e-6)
    np.testing.assert_allclose(confidence / 255, defocus.confidence, atol=0.5 / 255 + 1e-6)
    scale = f"(value - {zero}) / 256" if zero else "value / 256"
    assert descriptions[0].startswith(f"{quantity} in pixels of the photo = {scale}; ")
    assert descriptions[1] == "confidence = value / 255"


def test_the_map_has_the_size_of_the_photo_and_lies_over_it(tmp_path: Path) -> None:
    write_defocus_map(tmp_path / "m.tif", make_map(), (800, 1200), 1, provenance=NOTE)
    codes = read_pages(tmp_path / "m.tif")[0][0]
    # pixel centres coincide: the grid's column c lies at (c + 0.5) * 100 - 0.5, where -3 + 8 c / 11 is exact
    at = (np.arange(12) + 0.5) * 100 - 0.5
    found = (codes[400, at.astype(int)].astype(float) + codes[400, at.astype(int) + 1] - 65536) / 512
    assert codes.shape == (800, 1200)
    np.testing.assert_allclose(found, -3 + 8 * np.arange(12) / 11, atol=1 / 256)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_map_is_upright_like_the_result(tmp_path: Path, orientation: int) -> None:
    """OpenCV turns JPEGs by their EXIF; a picture of the same map with the same orientation must agree."""
    defocus = make_map("blur radius", low=0.0, high=200.0)
    defocus = DefocusMap("blur radius", defocus.values_px + 40 * defocus.confidence, defocus.confidence)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + bytes(7)
    jpeg = cv2.imencode(".jpg", defocus.values_px.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    expected = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_GRAYSCALE)
    write_defocus_map(tmp_path / "m.tif", defocus, (8, 12), orientation, provenance=NOTE)
    np.testing.assert_allclose(read_pages(tmp_path / "m.tif")[0][0] / 256, expected, atol=4)


def test_the_file_says_that_dpdeblur_made_it_and_how(tmp_path: Path) -> None:
    write_defocus_map(tmp_path / "m.tif", make_map(), (8, 12), 1, provenance=NOTE)
    note = read_note(tmp_path / "m.tif")
    assert note is not None
    assert (note.marker, note.is_restored) == ("run", True)


def test_values_beyond_the_scale_are_held_at_its_ends(tmp_path: Path) -> None:
    write_defocus_map(tmp_path / "m.tif", make_map(low=-500, high=500), (8, 12), 1, provenance=NOTE)
    codes = read_pages(tmp_path / "m.tif")[0][0]
    assert (codes[0, 0], codes[0, -1]) == (0, 65535)


def test_the_map_is_written_without_imagecodecs_too(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "import numpy as np; from pathlib import Path; from dpdeblur.restoration.defocus import DefocusMap\n"
        "from dpdeblur.writers.defocus import write_defocus_map\n"
        "ramp = np.arange(40, dtype=np.float32).reshape(5, 8)\n"
        "defocus = DefocusMap('blur radius', ramp, ramp / 40)\n"
        f"write_defocus_map(Path(sys.argv[1]), defocus, (5, 8), 1, provenance='{NOTE}')"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "m.tif")], check=True)
    assert read_pages(tmp_path / "m.tif")[0][0].tolist() == (256 * np.arange(40).reshape(5, 8)).tolist()


@pytest.mark.parametrize("rows", [slice(0, 7), slice(3, 4), slice(6, 7)])
def test_a_part_of_the_enlarged_map_is_what_the_whole_has_there(rows: slice) -> None:
    values = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    whole = cv2.resize(values, (11, 7), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(enlarge_rows(values, (7, 11), rows), whole[rows], atol=1e-6)
