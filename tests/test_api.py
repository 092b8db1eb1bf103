"""The program as Python sees it: files to files, arrays to arrays, views, and types."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from cli_runs import call, draw_codes, write_tiff
from tiny_networks import ADDED, write_gkmnet, write_k3dn

import dpdeblur
from dpdeblur.errors import NoSecondViewError, ReadError, UsageError, WriteError
from dpdeblur.metadata.provenance import read_note
from dpdeblur.restoration.inference import Restorer


@pytest.fixture(scope="module")
def brighter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that add `ADDED` to every sRGB-encoded value."""
    return write_gkmnet(tmp_path_factory.mktemp("weights") / "brighter.safetensors", added=ADDED)


@pytest.fixture(scope="module")
def deblurrer(brighter: Path) -> dpdeblur.Deblurrer:
    """One that makes everything brighter, at the photos' own size."""
    return dpdeblur.Deblurrer(weights=brighter, device="cpu", scale=1)


def run_cli(weights: Path, source: Path, folder: Path, *options: str | Path) -> np.ndarray:
    """What the command line makes of a photo, as 16-bit codes."""
    result = call("run", "--device", "cpu", "--scale", "1", "--weights", weights, "-o", folder, *options, source)
    assert result.code == 0, result.stderr
    (path,) = folder.iterdir()
    return tifffile.imread(path)


def encode(linear: np.ndarray) -> np.ndarray:
    """The sRGB curve, from IEC 61966-2-1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


# files


def test_a_file_comes_out_as_from_the_command_line(
    deblurrer: dpdeblur.Deblurrer, brighter: Path, dual_cr2: Path, tmp_path: Path
):
    written = deblurrer.restore(dual_cr2, tmp_path / "api.tif")
    expected = run_cli(brighter, dual_cr2, tmp_path / "cli")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "api.tif"), expected)
    assert (written.height, written.width) == expected.shape[:2]
    assert written.details["network"] == "gkmnet"
    assert read_note(tmp_path / "api.tif") == read_note(tmp_path / "cli" / "dual.tif")


@pytest.mark.parametrize(
    ("suffix", "signature"), [(".png", b"\x89PNG"), (".jpg", b"\xff\xd8\xff"), (".TIFF", b"II*\0")]
)
def test_the_suffix_chooses_the_format(
    deblurrer: dpdeblur.Deblurrer, srgb_tiff: Path, tmp_path: Path, suffix: str, signature: bytes
):
    deblurrer.restore(str(srgb_tiff), str(tmp_path / f"out{suffix}"))
    assert (tmp_path / f"out{suffix}").read_bytes().startswith(signature)


def test_two_files_are_a_pair_whatever_their_names(
    deblurrer: dpdeblur.Deblurrer, brighter: Path, png_pair: tuple[Path, Path], tmp_path: Path
):
    left, right = (shutil.copy(path, tmp_path / name) for path, name in zip(png_pair, ("a.png", "b.png"), strict=True))
    deblurrer.restore((left, right), tmp_path / "api.tif")
    folder = tmp_path / "named"
    folder.mkdir()
    for path in png_pair:
        shutil.copy(path, folder)
    expected = run_cli(brighter, folder, tmp_path / "cli")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "api.tif"), expected)


def test_a_profile_can_be_asked_for(deblurrer: dpdeblur.Deblurrer, brighter: Path, srgb_tiff: Path, tmp_path: Path):
    deblurrer.restore(srgb_tiff, tmp_path / "api.tif", profile="display-p3")
    expected = run_cli(brighter, srgb_tiff, tmp_path / "cli", "--profile", "display-p3")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "api.tif"), expected)


def test_what_is_there_is_kept_and_only_our_own_is_replaced(
    deblurrer: dpdeblur.Deblurrer, srgb_tiff: Path, tmp_path: Path
):
    ours, theirs = tmp_path / "ours.tif", write_tiff(tmp_path / "theirs.tif", draw_codes())
    deblurrer.restore(srgb_tiff, ours)
    before = theirs.read_bytes()
    with pytest.raises(WriteError, match="is there already"):
        deblurrer.restore(srgb_tiff, ours)
    deblurrer.restore(srgb_tiff, ours, overwrite=True)
    with pytest.raises(WriteError, match="not written by dpdeblur"):
        deblurrer.restore(srgb_tiff, theirs, overwrite=True)
    with pytest.raises(WriteError):
        deblurrer.restore(theirs, theirs, overwrite=True)
    assert theirs.read_bytes() == before


def test_failures_are_the_programs_own_errors(deblurrer: dpdeblur.Deblurrer, srgb_tiff: Path, tmp_path: Path):
    assert issubclass(ReadError, dpdeblur.DpDeblurError)
    with pytest.raises(ReadError, match="no such file"):
        deblurrer.restore(tmp_path / "missing.cr2", tmp_path / "out.tif")
    with pytest.raises(UsageError, match="suffix"):
        deblurrer.restore(srgb_tiff, tmp_path / "out.webp")
    with pytest.raises(WriteError):
        deblurrer.restore(srgb_tiff, tmp_path / "no folder" / "out.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"strength": 1.5}, {"strength": -0.1}, {"scale": 0.0}, {"scale": 2.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(UsageError):
        dpdeblur.Deblurrer(**wrong)


def test_the_network_is_loaded_once_for_many_photos(
    brighter: Path, srgb_tiff: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[Path] = []
    load = Restorer.__init__

    def count(self: Restorer, weights: Path, *arguments: object) -> None:
        loaded.append(weights)
        load(self, weights, *arguments)

    monkeypatch.setattr(Restorer, "__init__", count)
    deblurrer = dpdeblur.Deblurrer(weights=brighter, device="cpu", scale=1)
    for number in range(3):
        deblurrer.restore(srgb_tiff, tmp_path / f"{number}.tif")
    assert loaded == [brighter]


# arrays


def test_16_bit_codes_come_out_as_from_a_file(deblurrer: dpdeblur.Deblurrer, brighter: Path, tmp_path: Path):
    codes = draw_codes(40, 56)
    expected = run_cli(brighter, write_tiff(tmp_path / "photo.tif", codes), tmp_path / "cli")
    restored = deblurrer.restore_array(codes)
    assert restored.dtype == np.uint16
    np.testing.assert_array_equal(restored, expected)


def test_encoded_values_grow_by_what_the_weights_add(deblurrer: dpdeblur.Deblurrer):
    encoded = draw_codes(32, 48) / np.float64(65535)
    restored = deblurrer.restore_array(encoded)
    assert restored.dtype == np.float64
    np.testing.assert_allclose(restored, encoded + ADDED, atol=2e-6)


def test_8_bit_codes_grow_by_what_the_weights_add_and_stop_at_white(deblurrer: dpdeblur.Deblurrer):
    codes = np.full((32, 32, 3), 100, np.uint8)
    codes[:, 16:] = 250
    restored = deblurrer.restore_array(codes)
    assert restored.dtype == np.uint8
    assert set(restored[:, 4].ravel()) == {round(100 + 255 * ADDED)}
    assert set(restored[:, -4].ravel()) == {255}


def test_linear_values_come_back_linear(deblurrer: dpdeblur.Deblurrer):
    linear = (draw_codes(32, 48) / 65535).astype(np.float32)
    restored = deblurrer.restore_array(linear, encoding="linear")
    assert restored.dtype == np.float32
    np.testing.assert_allclose(encode(restored.astype(np.float64)), encode(linear) + ADDED, atol=3e-6)


@pytest.mark.parametrize("shape", [(32, 48), (32, 48, 1)])
def test_gray_comes_back_gray_in_its_own_shape(deblurrer: dpdeblur.Deblurrer, shape: tuple[int, ...]):
    encoded = np.full(shape, 0.25, np.float32)
    restored = deblurrer.restore_array(encoded)
    assert restored.shape == shape
    np.testing.assert_allclose(restored, 0.25 + ADDED, atol=2e-6)


def test_views_and_the_whole_give_what_the_raw_gives(dual_cr2: Path, tmp_path: Path):
    weights = write_k3dn(tmp_path / "k3dn.safetensors")
    expected = run_cli(weights, dual_cr2, tmp_path / "cli").astype(int)
    deblurrer = dpdeblur.Deblurrer(weights=weights, device="cpu", scale=1)
    views = dpdeblur.read_views(dual_cr2)
    restored = deblurrer.restore_array(views.left, views.right, base=views.combined)
    codes = np.rint(np.clip(restored, 0, 1) * 65535).astype(int)
    assert np.abs(codes - expected).max() <= 1  # the arrays were encoded and decoded once more


def test_without_the_whole_the_views_mean_is_changed(deblurrer: dpdeblur.Deblurrer):
    left, right = np.full((32, 32, 3), 0.2, np.float32), np.full((32, 32, 3), 0.4, np.float32)
    restored = deblurrer.restore_array(left, right, encoding="linear")
    np.testing.assert_allclose(encode(restored), encode(np.array(0.3)) + ADDED, atol=3e-6)


def test_arrays_that_are_no_pictures_are_refused(deblurrer: dpdeblur.Deblurrer, tmp_path: Path):
    good = np.zeros((32, 32, 3), np.float32)
    for bad in (good[..., :2], good[:0], good[0, 0], good.astype(np.int32), good + np.nan):
        with pytest.raises(UsageError):
            deblurrer.restore_array(bad)
    with pytest.raises(UsageError, match="differ"):
        deblurrer.restore_array(good, good[:16])
    with pytest.raises(UsageError, match="differ"):
        deblurrer.restore_array(good, base=good[..., :1])
    with pytest.raises(UsageError, match="encoding"):
        deblurrer.restore_array(good, encoding="gamma")  # type: ignore[arg-type]
    two_views = dpdeblur.Deblurrer(weights=write_k3dn(tmp_path / "k3dn.safetensors"), device="cpu")
    with pytest.raises(NoSecondViewError):
        two_views.restore_array(good)


# views


def test_views_are_those_that_split_exports(dual_cr2: Path, tmp_path: Path):
    assert call("split", dual_cr2, "-o", tmp_path, "--combined").code == 0
    views = dpdeblur.read_views(dual_cr2)
    for name in ("left", "right", "combined"):
        codes = np.rint(np.clip(getattr(views, name), 0, 1) * 65535)
        np.testing.assert_array_equal(codes, tifffile.imread(tmp_path / f"dual_{name}.tif"))
    assert views.orientation == 1


def test_linear_views_are_the_encoded_ones_decoded(dual_cr2: Path):
    linear, encoded = (dpdeblur.read_views(dual_cr2, encoding=form) for form in ("linear", "srgb"))
    inside = linear.left > 0.001
    np.testing.assert_allclose(encode(linear.left.astype(np.float64))[inside], encoded.left[inside], atol=1e-5)


def test_views_lie_as_on_the_sensor_and_say_how_to_turn(rotated_cr2: Path, tmp_path: Path):
    views = dpdeblur.read_views(rotated_cr2)
    assert call("split", rotated_cr2, "-o", tmp_path).code == 0
    upright = tifffile.imread(tmp_path / "rotated_left.tif")
    assert views.orientation == 6  # row 0 is the right side: a quarter turn clockwise
    codes = np.rint(np.clip(views.left, 0, 1) * 65535)
    np.testing.assert_array_equal(np.rot90(codes, -1), upright)


def test_a_photo_of_one_view_has_no_views(srgb_tiff: Path):
    with pytest.raises(NoSecondViewError):
        dpdeblur.read_views(srgb_tiff)


# the face of the package


def test_the_functions_take_the_options_of_the_class(brighter: Path, srgb_tiff: Path, tmp_path: Path):
    dpdeblur.restore(srgb_tiff, tmp_path / "a.tif", weights=brighter, device="cpu", scale=1)
    dpdeblur.Deblurrer(weights=brighter, device="cpu", scale=1).restore(srgb_tiff, tmp_path / "b.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), tifffile.imread(tmp_path / "b.tif"))
    gray = np.full((32, 32), 0.5, np.float32)
    restored = dpdeblur.restore_array(gray, weights=brighter, device="cpu", strength=0.5, scale=1)
    np.testing.assert_allclose(restored, 0.5 + ADDED / 2, atol=2e-6)


def test_every_promised_name_is_there_and_no_other():
    for name in dpdeblur.__all__:
        assert getattr(dpdeblur, name) is not None
        assert name in dir(dpdeblur)
    with pytest.raises(AttributeError, match="no attribute 'deblur'"):
        _ = dpdeblur.deblur  # type: ignore[attr-defined]


#: As a caller's own: strict, and without reading what lies behind dpdeblur, which takes half a minute.
MYPY_SETTINGS = """
[mypy]
strict = True
follow_imports = silent
[mypy-torch.*,cv2.*,tifffile.*,safetensors.*]
follow_imports = skip
ignore_missing_imports = True
"""
GOOD_SNIPPET = """
from pathlib import Path
from typing import Any
import numpy as np
import numpy.typing as npt
import dpdeblur

written: dpdeblur.Written = dpdeblur.restore("a.cr2", Path("a.tif"), strength=0.5, overwrite=True)
warnings: tuple[str, ...] = written.warnings
deblurrer = dpdeblur.Deblurrer(model="k3dn", reading=dpdeblur.ReadOptions(swap_views=True))
views: dpdeblur.Views = dpdeblur.read_views(("l.png", "r.png"), encoding="linear")
sharp: npt.NDArray[np.float32] = deblurrer.restore_array(views.left, views.right, encoding="linear")
codes: npt.NDArray[np.uint16] = dpdeblur.restore_array(np.zeros((8, 8), np.uint16), device="cpu")
try:
    deblurrer.restore("a.cr2", "b.tif", profile="display-p3")
except dpdeblur.DpDeblurError as error:
    print(error.cause, error.path, error.remedy)
"""
BAD_LINES = (
    'dpdeblur.restore("a.cr2")',
    'dpdeblur.restore("a.cr2", "a.tif", strenght=0.5)',
    'dpdeblur.restore("a.cr2", "a.tif", strength="much")',
    'deblurrer.restore_array(views.left, encoding="gamma")',
    "wrong: str = views.left",
    "dpdeblur.deblur",
)


def test_callers_are_checked_by_mypy_and_their_mistakes_are_found(tmp_path: Path):
    snippet = tmp_path / "snippet.py"
    snippet.write_text(GOOD_SNIPPET + "\n".join(BAD_LINES) + "\n")
    (tmp_path / "mypy.ini").write_text(MYPY_SETTINGS)
    command = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.ini"), str(snippet)]
    checked = subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache")], capture_output=True, text=True, cwd=tmp_path
    )
    first = len(GOOD_SNIPPET.splitlines()) + 1
    found = {
        int(line.split(":")[1]) for line in checked.stdout.splitlines() if "snippet.py:" in line and "error" in line
    }
    assert found == set(range(first, first + len(BAD_LINES))), checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"model": "unet"}, "there is no network 'unet'; give auto, gkmnet, dpanet, k3dn, both"),
        ({"tile_px": 0}, "tile_px=0 is out of range; give 1 or more"),
        ({"overlap_px": -1}, "overlap_px=-1 is out of range; give 0 or more"),
        ({"max_memory_bytes": -5}, "max_memory_bytes=-5 is out of range; give 1 or more"),
        ({"strength": 1.5}, "a strength of 1.5 is none; give 0 to 1"),
        ({"scale": 0}, "a scale of 0 is none; give 0.01 to 1"),
    ],
)
def test_settings_out_of_their_range_are_refused_at_once(options: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        dpdeblur.Deblurrer(**options)
    assert str(caught.value) == line
