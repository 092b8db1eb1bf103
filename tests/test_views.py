"""Exported views: what they hold, where they lie, and that they are the sensor's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from captures import write_dual_cr2
from cli_runs import call
from mosaics import BLACK, WHITE, Scene

Codes = npt.NDArray[np.uint16]


def decode_srgb(codes: Codes) -> npt.NDArray[np.float64]:
    encoded = codes / 65535
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def split(*arguments: str | Path, names: tuple[str, ...]) -> list[Codes]:
    """Split a capture into a folder of its own and read the outputs."""
    assert call("split", *arguments).code == 0
    output = Path(arguments[arguments.index("-o") + 1])
    assert sorted(path.name for path in output.iterdir()) == sorted(names)
    return [tifffile.imread(output / name) for name in names]


def measure_error(codes: Codes, linear: npt.NDArray[np.floating]) -> float:
    """Mean absolute difference of developed codes from a linear picture, without the edges of the mosaic."""
    return float(np.abs(decode_srgb(codes) - linear)[4:-4, 4:-4].mean())


@pytest.mark.parametrize("fixture", ["dual_cr2", "dual_dng"])
def test_each_view_is_its_own_photodiodes(
    fixture: str, request: pytest.FixtureRequest, scene: Scene, tmp_path: Path
) -> None:
    path: Path = request.getfixturevalue(fixture)
    left, right = split(path, "-o", tmp_path / "o", names=(f"{path.stem}_left.tif", f"{path.stem}_right.tif"))
    assert left.dtype == np.uint16
    assert left.shape == scene.left.shape
    assert measure_error(left, scene.left) < 0.5 * measure_error(left, scene.right)
    assert measure_error(right, scene.right) < 0.5 * measure_error(right, scene.left)


def test_swapping_exchanges_the_views_and_nothing_else(dual_cr2: Path, tmp_path: Path) -> None:
    names = ("dual_left.tif", "dual_right.tif")
    left, right = split(dual_cr2, "-o", tmp_path / "a", names=names)
    swapped_left, swapped_right = split(dual_cr2, "--swap-views", "-o", tmp_path / "b", names=names)
    np.testing.assert_array_equal(swapped_left, right)
    np.testing.assert_array_equal(swapped_right, left)


@pytest.mark.parametrize("swap", [False, True])
def test_the_mosaic_is_the_bare_values_to_the_last_bit(
    dual_cr2: Path, scene: Scene, tmp_path: Path, swap: bool
) -> None:
    options = ["--swap-views"] if swap else []
    names = ("dual_left.tif", "dual_right.tif")
    views = split(dual_cr2, "--mosaic", *options, "-o", tmp_path / "o", names=names)
    left, right = reversed(views) if swap else views
    black = BLACK[0]
    frame0, frame1 = scene.frame0.astype(np.int64), scene.frame1.astype(np.int64)
    np.testing.assert_array_equal(left, frame1)
    np.testing.assert_array_equal(right, np.clip((frame0 - black) - (frame1 - black) + black, 0, None))


def test_every_recorded_value_survives_in_a_mosaic(tmp_path: Path) -> None:
    # frame 1 runs through the values that a photodiode records; frame 0 is what makes the right view equal to it
    side = 128
    values = np.linspace(BLACK[0], (WHITE + BLACK[0]) // 2, side * side).astype(np.uint16).reshape(side, side)
    write_dual_cr2(tmp_path / "a.cr2", (2 * values.astype(int) - BLACK[0]).astype(np.uint16), values)
    left, right = split(tmp_path / "a.cr2", "--mosaic", "-o", tmp_path / "o", names=("a_left.tif", "a_right.tif"))
    np.testing.assert_array_equal(left, values)
    np.testing.assert_array_equal(right, values)


def test_linear_views_are_the_same_light(dual_cr2: Path, tmp_path: Path) -> None:
    names = ("dual_left.tif", "dual_right.tif")
    encoded = split(dual_cr2, "-o", tmp_path / "a", names=names)[0]
    linear = split(dual_cr2, "--linear", "-o", tmp_path / "b", names=names)[0]
    np.testing.assert_allclose(linear / 65535, decode_srgb(encoded), rtol=0, atol=2.5 / 65535)


def test_combined_is_the_whole_photo(dual_cr2: Path, scene: Scene, tmp_path: Path) -> None:
    names = ("dual_left.tif", "dual_right.tif", "dual_combined.tif")
    combined = split(dual_cr2, "--combined", "-o", tmp_path / "o", names=names)[2]
    whole = (scene.left + scene.right) / 2
    assert measure_error(combined, whole) < 0.5 * min(
        measure_error(combined, view) for view in (scene.left, scene.right)
    )


def test_a_pair_comes_out_as_it_went_in(png_pair: tuple[Path, Path], tmp_path: Path) -> None:
    views = split(*png_pair, "-o", tmp_path / "o", names=("scene_left.tif", "scene_right.tif"))
    for view, path in zip(views, png_pair, strict=True):
        original = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert np.abs(view.astype(int) - original).max() <= 1


def test_a_pixel_capture_comes_out_square_unless_its_aspect_is_kept(
    pixel_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    names = ("20240305_112233_042_left.tif", "20240305_112233_042_right.tif")
    assert split(*pixel_pair, "-o", tmp_path / "a", names=names)[0].shape == (64, 96)
    assert split(*pixel_pair, "--keep-aspect", "-o", tmp_path / "b", names=names)[0].shape == (32, 96)


def test_a_rotated_capture_comes_out_upright(rotated_cr2: Path, dual_cr2: Path, tmp_path: Path) -> None:
    rotated = split(rotated_cr2, "-o", tmp_path / "a", names=("rotated_left.tif", "rotated_right.tif"))[0]
    plain = split(dual_cr2, "-o", tmp_path / "b", names=("dual_left.tif", "dual_right.tif"))[0]
    assert np.abs(rotated.astype(int) - np.rot90(plain, -1)).mean() < 65535 * 0.002


def test_the_data_set_layout_is_read_back_as_one_photo(dual_cr2: Path, tmp_path: Path) -> None:
    output = tmp_path / "o"
    assert call("split", dual_cr2, "--dpdd-layout", "--combined", "-o", output).code == 0
    files = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.png"))
    assert files == ["test_c/source/dual.png", "test_l/source/dual.png", "test_r/source/dual.png"]
    assert cv2.imread(str(output / files[1]), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    (output / files[0]).unlink()
    assert call("split", output, "-o", tmp_path / "again").code == 0
    again = tifffile.imread(tmp_path / "again" / "test" / "dual_right.tif")
    original = cv2.imread(str(output / files[2]), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert np.abs(again.astype(int) - original).max() <= 1


def test_the_clipped_share_is_reported(scene: Scene, tmp_path: Path) -> None:
    frame0, frame1 = scene.frame0.copy(), scene.frame1.copy()
    frame0[:, :24], frame1[:, :24] = WHITE, (WHITE + BLACK[0]) // 2  # 24 of 96 columns
    write_dual_cr2(tmp_path / "a.cr2", frame0, frame1)
    for form in ("--linear", "--mosaic"):
        result = call("split", tmp_path / "a.cr2", form, "-o", tmp_path / form)
        assert "a.cr2: 25.0" in result.stderr
        assert "of the photosites are clipped" in result.stderr


def test_a_photo_with_one_view_is_passed_by_with_a_line(single_cr2: Path, dual_cr2: Path, tmp_path: Path) -> None:
    alone = call("split", single_cr2, "-o", tmp_path / "a")
    assert alone.code == 3
    assert f"{single_cr2}: has no second view" in alone.stderr
    assert not (tmp_path / "a").exists()
    assert call("split", single_cr2, dual_cr2, "-o", tmp_path / "b").code == 0


def test_developed_views_are_not_mistaken_for_a_mosaic(dual_cr2: Path, tmp_path: Path) -> None:
    assert call("split", dual_cr2, "-o", tmp_path / "o").code == 0
    refused = call("split", dual_cr2, "--mosaic", "-o", tmp_path / "o")
    assert refused.code == 1
    assert "holds another result (split srgb)" in refused.stderr
    assert call("split", dual_cr2, "--mosaic", "--overwrite", "-o", tmp_path / "o").code == 0


def test_a_mosaic_is_not_developed_as_well(dual_cr2: Path, tmp_path: Path) -> None:
    assert call("split", dual_cr2, "--mosaic", "--combined", "-o", tmp_path / "o").code == 2


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("form", ["--linear", "--mosaic"])
def test_the_views_keep_the_captures_exif(dual_cr2: Path, tmp_path: Path, form: str) -> None:
    assert call("split", dual_cr2, form, "-o", tmp_path / "o").code == 0

    def read_tags(path: Path) -> str:
        tags = ["-Model", "-DateTimeOriginal", "-ExposureTime", "-FNumber", "-GPSLatitude"]
        return subprocess.run(["exiftool", "-s3", *tags, path], capture_output=True, text=True, check=True).stdout

    assert len(read_tags(dual_cr2).splitlines()) == 5
    assert read_tags(tmp_path / "o" / "dual_left.tif") == read_tags(dual_cr2)
