"""Pairs of views: named files, the DPDD layout, the Pixel app's files and bare sensor values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from mosaics import Scene, encode_srgb
from PIL import Image

from dpdeblur.errors import ReadError
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture, Probe, ReadOptions, group_captures, probe_photo, read_photo

Codes = npt.NDArray[np.uint16]


def read_files(*paths: Path, **options: Any) -> Photo:
    (capture,) = group_captures(paths)
    return read_photo(capture, ReadOptions(**options))


def views_of(photo: Photo) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    assert photo.left is not None and photo.right is not None
    return photo.left, photo.right


def write_png(path: Path, codes: Codes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", codes)[1].tobytes())
    return path


@pytest.fixture
def codes() -> tuple[Codes, Codes]:
    """Two gray views of 14 bits above a black of 1024, as in the Pixel 4 scenes' files."""
    left, right = np.random.default_rng(3).integers(1024, 16384, (2, 24, 32), dtype=np.uint16)
    return left, right


@pytest.fixture
def gray_pair(tmp_path: Path, codes: tuple[Codes, Codes]) -> tuple[Path, Path]:
    return write_png(tmp_path / "s_left.png", codes[0]), write_png(tmp_path / "s_right.png", codes[1])


def test_a_named_pair_is_decoded_and_its_base_is_the_mean_in_linear_light(
    png_pair: tuple[Path, Path], scene: Scene
) -> None:
    photo = read_files(*png_pair)
    left, right = views_of(photo)
    assert (photo.kind, photo.paths, photo.bits, photo.colour.name) == ("pair", png_pair, 16, "srgb")
    np.testing.assert_allclose(left, scene.left, atol=5e-5)
    np.testing.assert_allclose(right, scene.right, atol=5e-5)
    np.testing.assert_allclose(photo.base, (scene.left + scene.right) / 2, atol=5e-5)


def test_views_can_be_swapped(png_pair: tuple[Path, Path]) -> None:
    plain, swapped = read_files(*png_pair), read_files(*png_pair, swap_views=True)
    for mine, other in zip(views_of(swapped), reversed(views_of(plain)), strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(swapped.base, plain.base)


def test_a_gray_pair_stays_gray(gray_pair: tuple[Path, Path]) -> None:
    assert read_files(*gray_pair).base.shape == (24, 32, 1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("gray_sides", [(), ("left",), ("left", "right")])
def test_a_pair_is_known_to_be_gray_before_it_is_read(
    tmp_path: Path, codes: tuple[Codes, Codes], suffix: str, gray_sides: tuple[str, ...]
) -> None:
    paths = []
    for side, view in zip(("left", "right"), codes, strict=True):
        paths.append(tmp_path / f"a_{side}{suffix}")
        picture = (view >> 8).astype(np.uint8)
        cv2.imwrite(str(paths[-1]), picture if side in gray_sides else cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    assert probe_photo(Capture(tuple(paths), "pair")).is_gray == (len(gray_sides) == 2)


def test_linear_pairs_are_only_scaled(gray_pair: tuple[Path, Path], codes: tuple[Codes, Codes]) -> None:
    photo = read_files(*gray_pair, linear=True)
    assert photo.kind == "pair"
    np.testing.assert_allclose(views_of(photo)[0][..., 0], codes[0] / 65535, atol=1e-6)


def test_both_folders_of_the_dpdd_layout_are_one_pair(tmp_path: Path, scene: Scene) -> None:
    paths = []
    for side, view in (("l", scene.left), ("r", scene.right)):
        path = tmp_path / f"test_{side}" / "source" / "1P0A1.png"
        paths.append(write_png(path, encode_srgb(view, 65535)[..., ::-1]))
    photo = read_files(*paths)
    assert photo.kind == "pair"
    np.testing.assert_allclose(views_of(photo)[1], scene.right, atol=5e-5)


def test_levels_declare_bare_sensor_values(gray_pair: tuple[Path, Path], codes: tuple[Codes, Codes]) -> None:
    photo = read_files(*gray_pair, black_level=1024, white_level=16383, pixel_aspect=0.5)
    assert (photo.kind, photo.pixel_aspect, photo.warnings) == ("pixel", 0.5, ())
    for view, stored in zip(views_of(photo), codes, strict=True):
        np.testing.assert_allclose(view[..., 0], (stored - 1024.0) / (16383 - 1024), atol=1e-6)
    np.testing.assert_allclose(photo.base, (views_of(photo)[0] + views_of(photo)[1]) / 2, atol=1e-6)


def test_values_below_black_stay_negative(tmp_path: Path) -> None:
    paths = [write_png(tmp_path / f"s_{side}.png", np.full((4, 4), 1000, np.uint16)) for side in ("left", "right")]
    expected = (1000 - 1024) / (16383 - 1024)
    np.testing.assert_allclose(read_files(*paths, black_level=1024, white_level=16383).base, expected, rtol=1e-5)


def test_a_white_level_that_is_not_above_black_is_refused(gray_pair: tuple[Path, Path]) -> None:
    with pytest.raises(ReadError, match="black level of 2000 .* white level of 1000; check --black-level"):
        read_files(*gray_pair, black_level=2000, white_level=1000)


def test_white_sheets_even_out_the_right_view(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:120, 0:140]
    shading_left, shading_right = 0.9 - columns / 400, 0.4 + columns / 400 + rows / 1000
    texture = np.random.default_rng(5).uniform(0.2, 1, (120, 140))

    def store(name: str, linear: npt.NDArray[np.float64]) -> Path:
        return write_png(tmp_path / f"{name}.png", np.rint(1024 + linear * (16383 - 1024)).astype(np.uint16))

    pair = store("s_left", texture * shading_left), store("s_right", texture * shading_right)
    sheets = store("white_l", shading_left), store("white_r", shading_right)
    photo = read_files(*pair, black_level=1024, white_level=16383, white_sheet=sheets)
    right = views_of(photo)[1]
    assert photo.kind == "pixel"
    # against the window's mean in closed form: no border reaches these pixels
    ratio = shading_left / shading_right
    for row, column in ((60, 70), (55, 80)):
        mean = ratio[row - 50 : row + 51, column - 50 : column + 51].mean()
        expected = (texture * shading_right)[row, column] * mean
        assert float(right[row, column, 0]) == pytest.approx(float(expected), abs=2e-3)


def test_white_sheets_of_another_size_or_without_light_are_refused(
    tmp_path: Path, gray_pair: tuple[Path, Path]
) -> None:
    small = write_png(tmp_path / "small.png", np.full((12, 16), 9000, np.uint16))
    dark = write_png(tmp_path / "dark.png", np.full((24, 32), 1024, np.uint16))
    with pytest.raises(ReadError, match=r"small\.png: is 16x12 pixels, but s_left\.png is 32x24"):
        read_files(*gray_pair, black_level=1024, white_level=16383, white_sheet=(small, small))
    with pytest.raises(ReadError, match="100.0% of a white sheet"):
        read_files(*gray_pair, black_level=1024, white_level=16383, white_sheet=(dark, dark))


def test_the_pixel_apps_files_are_linear_with_high_pixels_above_an_assumed_black(
    pixel_pair: tuple[Path, Path], scene: Scene
) -> None:
    photo = read_files(*pixel_pair)
    assert (photo.kind, photo.pixel_aspect, photo.base.shape) == ("pixel", 2, (32, 96, 1))
    for view, original in zip(views_of(photo), (scene.left, scene.right), strict=True):
        expected = (original[0::2, :, 1] + original[1::2, :, 1]) / 2
        np.testing.assert_allclose(view[..., 0], expected, atol=2e-5)
    assert len(photo.warnings) == 1 and "4096 was assumed" in photo.warnings[0]


def test_what_the_user_says_goes_before_what_is_assumed(pixel_pair: tuple[Path, Path]) -> None:
    photo = read_files(*pixel_pair, black_level=0, white_level=65535, pixel_aspect=1)
    assert (photo.pixel_aspect, photo.warnings) == (1, ())
    assert photo.base.min() > 4096 / 65535


def test_a_lone_file_of_a_pair_is_an_ordinary_photo(
    png_pair: tuple[Path, Path], pixel_pair: tuple[Path, Path], scene: Scene
) -> None:
    lone = read_files(png_pair[0])
    assert (lone.kind, lone.is_dual) == ("image", False)
    np.testing.assert_allclose(lone.base, scene.left, atol=5e-5)
    app = read_files(pixel_pair[1])
    assert (app.kind, app.is_dual, app.pixel_aspect) == ("image", False, 2)
    np.testing.assert_array_equal(app.base, views_of(read_files(*pixel_pair))[1])


@pytest.mark.parametrize(("white", "bytes_per_value"), [(255, 1), (100, 1), (1023, 2), (65535, 2)])
def test_a_pgms_own_greatest_value_is_white(tmp_path: Path, white: int, bytes_per_value: int) -> None:
    values = np.array([[0, white // 2, white]])
    stored = values.astype("u1" if bytes_per_value == 1 else ">u2").tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5\n# a comment\n3 1\n%d\n" % white + stored)
    photo = read_files(tmp_path / "a.pgm", linear=True)
    np.testing.assert_allclose(photo.base[..., 0], values / white, atol=1e-6)
    assert photo.bits == 8 * bytes_per_value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (12, 16)}, "is 16x12 pixels, but s_left.tif is 32x24; export both at one size"),
        ({"channels": 3}, "its number of channels is not that of s_left.tif"),
        ({"iccprofile": b"other" * 40}, "its colour profile is not that of s_left.tif"),
        ({"orientation": 6}, "its orientation is not that of s_left.tif"),
    ],
)
def test_views_that_do_not_belong_together_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    tifffile.imwrite(tmp_path / "s_left.tif", np.zeros((24, 32), np.uint16), photometric="minisblack")
    shape = (*change.get("size", (24, 32)), *([change["channels"]] if "channels" in change else []))
    tifffile.imwrite(
        tmp_path / "s_right.tif",
        np.zeros(shape, np.uint16),
        photometric="rgb" if len(shape) == 3 else "minisblack",
        iccprofile=change.get("iccprofile"),
        extratags=[(274, 3, 1, change.get("orientation", 1), True)],
    )
    with pytest.raises(ReadError) as caught:
        read_files(tmp_path / "s_left.tif", tmp_path / "s_right.tif")
    assert f"s_right.tif: {message}" in str(caught.value)


def draw_scene(seed: int, gain: float = 1.0) -> Codes:
    """A scene of smooth patches, another one for each seed."""
    patches = np.random.default_rng(seed).uniform(2000, 30000, (6, 8))
    return np.kron(patches * gain, np.ones((16, 16))).astype(np.uint16)


@pytest.mark.parametrize(
    ("right", "is_doubted"),
    [
        (draw_scene(1, gain=0.8), False),  # a darker view
        (np.roll(draw_scene(1), 1, axis=1), False),  # disparity, more than any camera has
        (draw_scene(2), True),
        (draw_scene(1)[::-1], True),
        (np.full((96, 128), 9000, np.uint16), False),  # nothing to compare
    ],
)
def test_two_photos_that_share_a_name_are_warned_of(tmp_path: Path, right: Codes, is_doubted: bool) -> None:
    left = write_png(tmp_path / "s_left.png", draw_scene(1))
    warnings = read_files(left, write_png(tmp_path / "s_right.png", right)).warnings
    doubt = "The two files hardly look alike: are they the views of one photo?"
    assert warnings == ((doubt,) if is_doubted else ())


def test_a_view_that_vanished_is_named(tmp_path: Path) -> None:
    left, right = tmp_path / "s_left.png", tmp_path / "s_right.png"
    Image.new("L", (8, 8)).save(left)
    for act in (read_photo, probe_photo):
        with pytest.raises(ReadError, match=r"s_right\.png: no such file"):
            act(Capture((left, right), "pair"))


def test_probes_of_pairs_look_at_both_headers(
    tmp_path: Path, png_pair: tuple[Path, Path], pixel_pair: tuple[Path, Path]
) -> None:
    assert probe_photo(Capture(png_pair, "pair")) == Probe("pair", 96, 64, True, None)
    assert probe_photo(Capture(pixel_pair, "pixel")) == Probe("pixel", 96, 32, True, None, is_gray=True)
    bare = probe_photo(Capture(png_pair, "pair"), ReadOptions(black_level=1024))
    assert (bare.kind, bare.dual) == ("pixel", True)
    small = write_png(tmp_path / "x_right.png", np.zeros((4, 4), np.uint16))
    with pytest.raises(ReadError, match="is 4x4 pixels, but"):
        probe_photo(Capture((png_pair[0], small), "pair"))


def test_a_pixel_4_scene_reads_as_its_protocol_says(shared: Path) -> None:
    folder = shared / "data" / "pixel4"
    paths = folder / "005_left.png", folder / "005_right.png"
    sheets = folder / "calibration" / "white_sheet_left.png", folder / "calibration" / "white_sheet_right.png"
    photo = read_files(*paths, black_level=1024, white_level=16383, white_sheet=sheets)

    def view(path: Path) -> npt.NDArray[np.float64]:
        stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert stored is not None
        return np.asarray((stored.astype(np.float64) - 1024) / (16383 - 1024))

    balance = cv2.blur(np.clip(view(sheets[0]), 0, None) / np.clip(view(sheets[1]), 0, None), (101, 101))
    left, right = views_of(photo)
    np.testing.assert_allclose(left[..., 0], view(paths[0]), atol=1e-5)
    np.testing.assert_allclose(right[..., 0], view(paths[1]) * balance, atol=1e-4)
