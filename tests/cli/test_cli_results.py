"""What `run` makes of photos: compared with what the networks are known to do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from cli_runs import call, draw_codes, run, write_tiff
from tiny_networks import ADDED

from dpdeblur.networks import NETWORKS, dpanet


def test_a_network_that_changes_nothing_gives_the_photo_back(gkmnet: Path, tmp_path: Path) -> None:
    codes = draw_codes()
    result = run(gkmnet, write_tiff(tmp_path / "a.tif", codes), "-o", tmp_path / "o")
    assert (result.code, result.stdout) == (0, "")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "a.tif"), codes)


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0])
def test_the_change_is_added_with_the_strength_asked_for(brighter: Path, tmp_path: Path, strength: float) -> None:
    codes = draw_codes()
    run(brighter, write_tiff(tmp_path / "a.tif", codes), "-o", tmp_path / "o", "--strength", str(strength))
    added = tifffile.imread(tmp_path / "o" / "a.tif").astype(float) - codes
    np.testing.assert_allclose(added, 65535 * ADDED * strength, rtol=0, atol=1)


def test_a_single_image_network_restores_the_mean_of_a_pair(gkmnet: Path, tmp_path: Path) -> None:
    left, right = draw_codes(), draw_codes()[::-1].copy()
    named = [write_tiff(tmp_path / f"s_{side}.tif", codes) for side, codes in (("left", left), ("right", right))]
    assert run(gkmnet, *named, "-o", tmp_path / "o").code == 0

    def decode(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:  # all of these codes lie above the line
        return ((codes / 65535 + 0.055) / 1.055) ** 2.4

    mean = 1.055 * ((decode(left) + decode(right)) / 2) ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(tifffile.imread(tmp_path / "o" / "s.tif"), mean * 65535, rtol=0, atol=0.6)


def test_gray_stays_gray_and_alpha_is_kept(brighter: Path, tmp_path: Path) -> None:
    write_tiff(tmp_path / "gray.tif", draw_codes(channels=1)[..., 0])
    codes = np.concatenate([draw_codes(), np.arange(24 * 40, dtype=np.uint16).reshape(24, 40, 1) * 60], axis=2)
    cv2.imwrite(str(tmp_path / "alpha.png"), codes)
    assert run(brighter, tmp_path, "-o", tmp_path / "o").code == 0
    assert tifffile.imread(tmp_path / "o" / "gray.tif").shape == (24, 40)
    restored = tifffile.imread(tmp_path / "o" / "alpha.tif")
    np.testing.assert_array_equal(restored[..., 3], codes[..., 3])
    np.testing.assert_allclose(restored[..., 2::-1].astype(float) - codes[..., :3], 65535 * ADDED, rtol=0, atol=1)


@pytest.mark.parametrize(("name", "suffix", "magic"), [("png", ".png", b"\x89PNG"), ("jpeg", ".jpg", b"\xff\xd8\xff")])
def test_results_have_the_format_asked_for(gkmnet: Path, tmp_path: Path, name: str, suffix: str, magic: bytes) -> None:
    codes = draw_codes()
    assert run(gkmnet, write_tiff(tmp_path / "a.tif", codes), "-o", tmp_path / "o", "--format", name).code == 0
    path = tmp_path / "o" / f"a{suffix}"
    assert path.read_bytes().startswith(magic)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    if name == "png":
        np.testing.assert_array_equal(stored, codes)
    else:
        assert np.abs(stored.astype(int) - codes / 257).mean() < 2


def test_the_profile_asked_for_is_embedded(gkmnet: Path, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", draw_codes())
    assert run(gkmnet, path, "-o", tmp_path / "o", "--profile", "linear").code == 0
    with tifffile.TiffFile(tmp_path / "o" / "a.tif") as file:
        page = file.pages.first
        assert b"acsp" in page.iccprofile[:128]
        linear = ((draw_codes() / 65535 + 0.055) / 1.055) ** 2.4
        np.testing.assert_allclose(page.asarray(), linear * 65535, rtol=0, atol=0.6)


def test_a_dual_pixel_raw_comes_back_as_frame_zero_plus_the_change(
    brighter: Path, dual_cr2: Path, tmp_path: Path
) -> None:
    assert run(brighter, dual_cr2, "-o", tmp_path / "o").code == 0
    assert call("split", "--combined", dual_cr2, "-o", tmp_path / "s").code == 0
    frame_zero = tifffile.imread(tmp_path / "s" / "dual_combined.tif").astype(float)
    added = tifffile.imread(tmp_path / "o" / "dual.tif") - frame_zero
    np.testing.assert_allclose(added, 65535 * ADDED, rtol=0, atol=1)


def test_a_rotated_raw_comes_back_upright(gkmnet: Path, rotated_cr2: Path, tmp_path: Path) -> None:
    assert run(gkmnet, rotated_cr2, "-o", tmp_path / "o").code == 0
    assert tifffile.imread(tmp_path / "o" / "rotated.tif").shape == (96, 64, 3)


def test_a_pixel_capture_comes_back_square_unless_its_aspect_is_kept(
    gkmnet: Path, pixel_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    name = "20240305_112233_042.tif"
    assert run(gkmnet, *pixel_pair, "-o", tmp_path / "a").code == 0
    assert tifffile.imread(tmp_path / "a" / name).shape == (64, 96)
    assert run(gkmnet, *pixel_pair, "--keep-aspect", "-o", tmp_path / "b").code == 0
    assert tifffile.imread(tmp_path / "b" / name).shape == (32, 96)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_a_result_keeps_the_exif_and_says_how_it_was_made(brighter: Path, dual_cr2: Path, tmp_path: Path) -> None:
    run(brighter, dual_cr2, "-o", tmp_path / "o", "--strength", "0.5")

    def read_tags(path: Path, *tags: str) -> list[str]:
        output = subprocess.run(["exiftool", "-s3", *tags, path], capture_output=True, text=True, check=True).stdout
        return output.splitlines()

    kept = ["-Model", "-DateTimeOriginal", "-ExposureTime", "-FNumber", "-GPSLatitude", "-MakerNotes:all"]
    result = tmp_path / "o" / "dual.tif"
    assert len(read_tags(dual_cr2, *kept)) > 5
    assert read_tags(result, *kept) == read_tags(dual_cr2, *kept)
    (software,) = read_tags(result, "-Software")
    assert software.startswith("dpdeblur ")
    assert "(run strength=0.5 scale=1; network gkmnet, weights " in software
    assert "strength 0.5, working scale 1" in software


@pytest.mark.parametrize("wrapped", [False, True])
def test_imported_weights_give_their_networks_own_picture(tmp_path: Path, wrapped: bool) -> None:
    torch.manual_seed(0)
    network = NETWORKS["dpanet"].build(width=8, released=True).eval()
    ours = network.state_dict()
    state = {theirs: ours[name] for theirs, name in dpanet.released_keys().items()}
    checkpoint = {"G_state_dict": {f"module.{key}": value for key, value in state.items()}} if wrapped else state
    torch.save(checkpoint, tmp_path / "theirs.pth")
    weights = tmp_path / "w.safetensors"
    assert call("weights", "import", tmp_path / "theirs.pth", "-o", weights).code == 0

    left, right = draw_codes(32, 48), draw_codes(32, 48)[:, ::-1].copy()
    named = [write_tiff(tmp_path / f"s_{side}.tif", codes) for side, codes in (("left", left), ("right", right))]
    # strength and scale are ours: the authors' picture is the result whatever they are
    arguments = ["--weights", weights, "--device", "cpu", "--strength", "0.5", "--scale", "0.5"]
    result = call("run", *named, *arguments, "-o", tmp_path / "o")
    assert result.code == 0
    assert "imported weights give their own picture: --strength and --scale do not apply" in result.stderr
    with torch.inference_mode():
        blue_first = [
            torch.from_numpy(view[..., ::-1] / np.float32(65535)).permute(2, 0, 1)[None] for view in (left, right)
        ]
        picture = network(*blue_first)[0].permute(1, 2, 0).numpy()[..., ::-1]
    assert picture.std() > 0.005
    np.testing.assert_allclose(tifffile.imread(tmp_path / "o" / "s.tif"), picture.clip(0, 1) * 65535, rtol=0, atol=2)
