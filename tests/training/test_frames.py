"""Whole simulated photographs, and the training sets that `simulate` writes."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dpdeblur.cli import app
from dpdeblur.errors import ReadError, UsageError
from dpdeblur.training.data import SceneOptions
from dpdeblur.training.frames import render_field, simulate_frame
from dpdeblur.training.kernels import build_kernels, ideal_lenses
from dpdeblur.training.pairs import PairOptions, load_bank, write_pairs
from dpdeblur.training.simulator import Scene, render_sharp, render_views
from dpdeblur.training.sources import find_pairs
from dpdeblur.training.textures import draw_textures

SCENE = SceneOptions(height=64, width=96, largest_radius_px=3, layers=2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, picture in enumerate(draw_textures(3, seed=2)):
        cv2.imwrite(str(folder / f"{number}.png"), picture[:300, :400, ::-1])
    return folder


def _plane(radius: float, options: SceneOptions, light: torch.Tensor | None = None) -> Scene:
    height, width = options.height + 2 * options.half_size_px, options.width + 2 * options.half_size_px
    if light is None:
        light = torch.rand(1, 1, 3, height, width, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(1, 1, 1, height, width)
    return Scene(light, ones, ones.clone(), torch.tensor([[[radius]]]))


def test_a_frame_in_tiles_is_the_frame_at_once_where_the_lens_is_the_same_everywhere():
    options = SceneOptions(height=100, width=140, largest_radius_px=4)
    scene, margin = _plane(4.0, options), options.half_size_px
    whole = render_views(scene, ideal_lenses(1), margin)
    for tiled, view in zip(render_field(scene, ideal_lenses(1), options, tile_px=40), whole, strict=True):
        torch.testing.assert_close(tiled, view[..., margin:-margin, margin:-margin], atol=2e-5, rtol=0)


def test_a_frame_in_focus_is_seen_as_it_is():
    options = SceneOptions(height=100, width=140, largest_radius_px=4)
    scene, margin = _plane(0.0, options), options.half_size_px
    for view in render_field(scene, ideal_lenses(1), options, tile_px=40):
        sharp = render_sharp(scene)[..., margin:-margin, margin:-margin]
        torch.testing.assert_close(view, sharp, atol=1e-5, rtol=0)


def test_points_of_light_become_cats_eyes_towards_the_sides():
    options = SceneOptions(height=64, width=448, largest_radius_px=9)
    margin = options.half_size_px
    light = torch.zeros(1, 1, 3, 64 + 2 * margin, 448 + 2 * margin)
    columns = (24, 224, 424)
    for column in columns:
        light[..., margin + 32, margin + column] = 1
    lenses = dataclasses.replace(ideal_lenses(1, ramp=0.0), vignetting=torch.tensor([0.7]))
    left, _ = render_field(_plane(9.0, options, light), lenses, options, tile_px=64)
    axis = torch.arange(-15.0, 16)
    widths = []
    for column in columns:
        spot = left[0, 0, 17:48, column - 15 : column + 16]
        spread = ((spot / spot.sum()).sum(0) * axis**2).sum() - ((spot / spot.sum()).sum(0) * axis).sum() ** 2
        widths.append(float(spread.sqrt()))
    # a disc of radius 9 has a standard deviation of 4.5 along each axis
    assert widths[1] == pytest.approx(4.5, rel=0.03)
    assert widths[0] == pytest.approx(widths[2], rel=0.03) and widths[0] < 0.85 * widths[1]
    assert float(left.sum()) == pytest.approx(9, rel=0.02)


def test_a_frame_repeats_with_its_seed_and_number(photos: Path):
    paths = sorted(photos.iterdir())
    one, again = (simulate_frame(paths, SCENE, 3, 1) for _ in range(2))
    for picture, other in zip(one.pair, again.pair, strict=True):
        assert torch.equal(picture, other)
    assert one.description == again.description
    for seed, number in ((3, 2), (4, 1)):
        other = simulate_frame(paths, SCENE, seed, number)
        assert float((one.pair.sharp - other.pair.sharp).abs().mean()) > 0.01


def test_a_written_set_holds_what_was_simulated(photos: Path, tmp_path: Path):
    options = PairOptions(tmp_path, count=2, seed=5, scene=SCENE)
    calls: list[None] = []
    assert write_pairs([photos], options, lambda: calls.append(None)) == 2
    assert len(calls) == 2 and len(find_pairs(tmp_path)) == 2
    frame = simulate_frame(sorted(photos.iterdir()), SCENE, 5, 1)
    parts = {"train_l/source": frame.pair.left, "train_r/source": frame.pair.right, "train_c/target": frame.pair.sharp}
    for part, picture in parts.items():
        stored = cv2.imread(str(tmp_path / part / "00001.png"), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == np.uint16 and stored.shape == (64, 96, 3)
        np.testing.assert_allclose(stored[..., ::-1] / 65535, picture[0].permute(1, 2, 0).numpy(), atol=1e-5)
    defocus = cv2.imread(str(tmp_path / "train_c/defocus/00001.tif"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(defocus, frame.radius_px)
    card = json.loads((tmp_path / "train_c/lens/00001.json").read_text())
    radii = [radius for layer in card["layers"] for radius in layer["radius_px"]]
    assert min(radii) - 1e-3 <= defocus.min() and defocus.max() <= max(radii) + 1e-3
    camera, layer = card["camera"], card["layers"][0]
    # the thin lens, by hand, from the numbers in the file
    focal = camera["focal_length_mm"] / 1000
    scale = focal**2 / (2 * camera["f_number"] * (camera["focus_m"] - focal))
    pixel = camera["pixel_pitch_um"] * 1e-6 * camera["reduction"]
    for depth, radius in zip(layer["depth_m"], layer["radius_px"], strict=True):
        assert scale * (1 - camera["focus_m"] / depth) / pixel == pytest.approx(radius, abs=0.02, rel=0.02)
    mean = cv2.imread(str(tmp_path / "train_c/source/00001.png"), cv2.IMREAD_UNCHANGED) / 65535

    def decode(values: np.ndarray) -> np.ndarray:
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)

    views = [cv2.imread(str(tmp_path / f"train_{v}/source/00001.png"), cv2.IMREAD_UNCHANGED) / 65535 for v in "lr"]
    np.testing.assert_allclose(decode(mean), (decode(views[0]) + decode(views[1])) / 2, atol=1e-4)


def test_the_disparity_of_the_card_is_the_distance_of_the_kernels_centroids(photos: Path):
    # a ramp a shifts the centroid of a disc by a r / 4
    paths = sorted(photos.iterdir())
    options = dataclasses.replace(SCENE, family_shares=(1.0, 0.0, 0.0, 0.0), largest_radius_px=8)
    for number in range(8):
        description = simulate_frame(paths, options, 0, number).description
        lens = description["lens"]
        if lens["tilt"] == 0 or abs(lens["tilt"]) > 0.1 or lens["corners"] or lens["ring"] ** 2 > 0.01:
            continue
        expected = (lens["ramp"][0] - lens["ramp"][1]) / 4
        assert description["disparity_per_radius"] == pytest.approx(expected, rel=0.1)
        break
    else:
        pytest.fail("no plain lens among the eight")


def test_what_is_whole_is_kept_and_what_is_missing_made(photos: Path, tmp_path: Path):
    options = PairOptions(tmp_path, count=2, scene=SCENE)
    write_pairs([photos], options, lambda: None)
    before = (tmp_path / "train_l/source/00001.png").read_bytes()
    kept = (tmp_path / "train_l/source/00000.png").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "train_c" / "target")
    card = tmp_path / "train_c/lens/00001.json"
    card.write_text(json.dumps({"made_with": json.loads(card.read_text())["made_with"]}))  # as a killed run leaves it
    assert write_pairs([photos], options, lambda: None) == 1
    assert (tmp_path / "train_l/source/00001.png").read_bytes() == before
    assert (tmp_path / "train_l/source/00000.png").stat().st_mtime_ns == kept
    with pytest.raises(UsageError, match="other options"):
        write_pairs([photos], dataclasses.replace(options, seed=1), lambda: None)


def test_a_run_that_is_killed_leaves_a_pair_that_the_next_one_makes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = PairOptions(tmp_path, count=1, scene=SCENE)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        written: list[Path] = []

        def write_two(path: Path, values: np.ndarray) -> None:
            if len(written) == 2:
                raise KeyboardInterrupt
            written.append(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"a picture")

        patch.setattr("dpdeblur.training.pairs._write_array", write_two)
        write_pairs([photos], options, lambda: None)
    assert written[0].exists()
    assert write_pairs([photos], options, lambda: None) == 1
    assert cv2.imread(str(written[0])) is not None


@pytest.mark.parametrize("overwrite", [False, True])
def test_pictures_of_a_data_set_are_never_replaced(photos: Path, tmp_path: Path, overwrite: bool):
    theirs = tmp_path / "train_r/source/00000.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"of a camera")
    with pytest.raises(UsageError, match=r"train_r/source/00000\.png: was not made by dpdeblur"):
        write_pairs([photos], PairOptions(tmp_path, count=1, scene=SCENE, overwrite=overwrite), lambda: None)
    assert theirs.read_bytes() == b"of a camera"


def test_what_cannot_be_used_is_said_in_one_line(photos: Path, tmp_path: Path):
    with pytest.raises(ReadError, match="is not there"):
        write_pairs([tmp_path / "none"], PairOptions(tmp_path, count=1), lambda: None)
    with pytest.raises(ReadError, match="no WebP"):
        write_pairs([tmp_path], PairOptions(tmp_path / "out", count=1), lambda: None)
    (tmp_path / "kernels.npy").write_bytes(b"nothing")
    with pytest.raises(ReadError, match="no .npy file"):
        load_bank(tmp_path / "kernels.npy")
    np.save(tmp_path / "kernels.npy", np.zeros((3, 2, 4, 4)))
    with pytest.raises(ReadError, match=r"\(3, 2, 4, 4\)"):
        load_bank(tmp_path / "kernels.npy")


def test_the_command_writes_tiffs_with_measured_kernels_into_the_set_that_is_asked_for(photos: Path, tmp_path: Path):
    kernels = build_kernels(ideal_lenses(3), torch.full((3, 1), 13.5), 30)[:, 0]
    np.save(tmp_path / "kernels.npy", kernels.numpy())
    words = [
        "simulate",
        str(photos),
        "-o",
        str(tmp_path / "set"),
        "-n",
        "3",
        "--size",
        "48x32",
        "--largest-radius",
        "2",
    ]
    words += ["--split", "test", "--format", "tiff", "--kernels", str(tmp_path / "kernels.npy")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0 and "3 pairs made" in result.stderr
    files = sorted(str(path.relative_to(tmp_path / "set")) for path in (tmp_path / "set").rglob("*.tif"))
    parts = ("c/defocus", "c/source", "c/target", "l/source", "r/source")
    assert files == [f"test_{part}/0000{number}.tif" for part in parts for number in range(3)]
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0 and "0 pairs made, 3 there already" in again.stderr
    refused = CliRunner().invoke(app, [*words, "--size", "8"])
    assert refused.exit_code == 2


def test_what_simulate_writes_train_reads(photos: Path, tmp_path: Path):
    pairs, out = tmp_path / "pairs", tmp_path / "trained"
    words = ["simulate", str(photos), "-o", str(pairs), "-n", "2", "--size", "64x64", "--largest-radius", "2"]
    assert CliRunner().invoke(app, words).exit_code == 0
    words = ["train", "--pairs", str(pairs), "--network", "dpanet", "--form", '{"width": 4}', "-o", str(out)]
    words += ["--steps", "2", "--batch", "2", "--height", "32", "--width", "32", "--largest-radius", "2"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    from dpdeblur.weights import load_weights

    network, card = load_weights(out / "dpanet.safetensors")
    assert card.network == "dpanet" and card.training["steps"] == 2 and set(card.scores) == {"simulated@1"}
    best = torch.load(out / "best.pt", weights_only=True)
    assert all(torch.equal(tensor, best[name]) for name, tensor in network.state_dict().items())
    refused = CliRunner().invoke(app, [*words, "--form", "width"])
    assert refused.exit_code == 2 and "no JSON" in refused.stderr
