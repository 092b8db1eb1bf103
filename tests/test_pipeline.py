"""The stages of `run`, one by one."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from tiny_networks import ADDED, ship_weights, write_gkmnet

from dpdeblur.colour.spaces import decode_srgb, encode_srgb
from dpdeblur.errors import NoSecondViewError, UsageError, WeightsError
from dpdeblur.framing import WHOLE, Crop, Framing
from dpdeblur.metadata.provenance import fingerprint_files, read_note
from dpdeblur.pipeline import Restoration, choose_network
from dpdeblur.readers import Capture, ReadOptions
from dpdeblur.restoration.inference import Settings
from dpdeblur.writers import WriteOptions


def make_restoration(
    announced: list[str],
    *,
    weights: Path | None = None,
    model: str = "auto",
    framing: Framing = WHOLE,
    keeps_photo: bool = True,
    working_scale: float | None = 1.0,
) -> Restoration:
    return Restoration(
        read_options=ReadOptions(),
        write_options=WriteOptions(),
        settings=Settings(device="cpu", precision="fp32", working_scale=working_scale),
        model=model,
        weights=weights,
        framing=framing,
        announce=announced.append,
        advance=lambda share: None,
        keeps_photo=keeps_photo,
    )


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights with both kinds of network."""
    folder = ship_weights(tmp_path / "shipped")
    monkeypatch.setattr("dpdeblur.weights.WEIGHTS_FOLDER", folder)
    return folder


def test_each_network_is_loaded_once_and_announced(shipped: Path, dual_cr2: Path, single_cr2: Path) -> None:
    announced: list[str] = []
    restoration = make_restoration(announced)
    networks = [
        restoration.process(restoration.read(Capture((path,)))).restorer.card.network
        for path in (dual_cr2, single_cr2, dual_cr2)
    ]
    assert networks == ["k3dn", "gkmnet", "k3dn"]
    assert announced == ["k3dn (k3dn_tiny.safetensors) on cpu in fp32", "gkmnet (gkmnet.safetensors) on cpu in fp32"]


def test_the_network_adds_its_change_to_the_developed_photo(tmp_path: Path, single_cr2: Path) -> None:
    restoration = make_restoration([], weights=write_gkmnet(tmp_path / "w.safetensors", added=ADDED))
    result = restoration.process(restoration.read(Capture((single_cr2,))))
    expected = decode_srgb(encode_srgb(result.photo.base) + np.float32(ADDED))
    np.testing.assert_allclose(result.restored.image, expected, rtol=0, atol=2e-6)


def test_only_the_part_is_restored(tmp_path: Path, single_cr2: Path) -> None:
    framing = Framing(Crop(10, 20, 30, 40))
    weights = write_gkmnet(tmp_path / "w.safetensors")
    whole, part = (
        restoration.process(restoration.read(Capture((single_cr2,))))
        for restoration in (make_restoration([], weights=weights, framing=chosen) for chosen in (WHOLE, framing))
    )
    assert part.restored.image.shape == part.photo.base.shape == (40, 30, 3)
    np.testing.assert_array_equal(part.restored.image, whole.restored.image[20:60, 10:40])


def test_a_part_is_worked_on_at_the_scale_of_the_whole(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    scene = np.zeros((640, 640), np.float32)
    for radius in generator.uniform(1 / 250**2, 1 / 1.5**2, 5000) ** -0.5:  # sizes as in photographs
        place = generator.integers(0, 640, 2).tolist()
        cv2.circle(scene, place, max(1, round(radius)), generator.uniform(5000, 60000), -1)
    disc = cv2.circle(np.zeros((25, 25), np.float32), (12, 12), 12, 1, -1)
    codes = cv2.filter2D(scene, -1, disc / disc.sum())
    codes[:160, :160] = scene[:160, :160]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, codes.astype(np.uint16), photometric="minisblack")
    weights = write_gkmnet(tmp_path / "w.safetensors")

    def find_scale(photo: Path, framing: Framing) -> float:
        restoration = make_restoration([], weights=weights, framing=framing, working_scale=None)
        return restoration.process(restoration.read(Capture((photo,)))).restored.working_scale

    whole = find_scale(path, WHOLE)
    assert find_scale(path, Framing(Crop(0, 0, 160, 160))) == whole < 0.5
    tifffile.imwrite(tmp_path / "alone.tif", tifffile.imread(path)[:160, :160], photometric="minisblack")
    assert find_scale(tmp_path / "alone.tif", WHOLE) == 1  # else this would test nothing


def test_what_was_written_says_how(tmp_path: Path, single_cr2: Path) -> None:
    restoration = make_restoration([], weights=write_gkmnet(tmp_path / "w.safetensors"))
    result = restoration.process(restoration.read(Capture((single_cr2,))))
    written = restoration.write(result, (tmp_path / "a.tif",))
    note = read_note(tmp_path / "a.tif")
    assert note is not None
    sha256 = result.restorer.card.sha256
    made = f"run scale=1; network gkmnet, weights {sha256[:12]}, strength 1, working scale 1"
    assert str(note) == f"{made}; input {fingerprint_files((single_cr2,))}"
    assert (written.width, written.height, written.details["weights"]) == (96, 64, sha256)


def test_a_model_for_two_views_fails_a_photo_with_one_but_not_the_batch(shipped: Path) -> None:
    with pytest.raises(NoSecondViewError, match="k3dn needs a left and a right view"):
        choose_network(False, "raw", is_gray=False, model="k3dn", weights=None, device="cpu")
    with pytest.raises(NoSecondViewError, match="k3dn needs a left and a right view"):
        choose_network(
            False, "raw", is_gray=False, model="auto", weights=shipped / "k3dn_tiny.safetensors", device="cpu"
        )
    chosen, _ = choose_network(True, "canon", is_gray=False, model="k3dn", weights=None, device="cpu")
    assert chosen == shipped / "k3dn_tiny.safetensors"


def test_a_model_without_shipped_weights_is_wrong_use(shipped: Path) -> None:
    with pytest.raises(UsageError, match="dpanet"):
        choose_network(True, "canon", is_gray=False, model="dpanet", weights=None, device="cpu")


def test_weights_that_are_none_are_found_before_any_photo(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        make_restoration([], weights=tmp_path / "w.safetensors")


def test_views_that_are_alike_are_restored_as_a_single_image_and_it_is_said(
    shipped: Path, tmp_path: Path, srgb_tiff: Path, png_pair: tuple[Path, Path]
) -> None:
    announced: list[str] = []
    restoration = make_restoration(announced)
    twins = tuple(shutil.copy(srgb_tiff, tmp_path / f"twin_{side}.tif") for side in ("left", "right"))
    result = restoration.process(restoration.read(Capture((Path(twins[0]), Path(twins[1])), "pair")))
    assert result.restorer.card.network == "gkmnet"
    assert result.photo.warnings == ("The views are alike: it was restored as a single image.",)
    result = restoration.process(restoration.read(Capture(png_pair, "pair")))
    assert result.restorer.card.network == "k3dn"


def test_a_network_that_was_asked_for_gets_views_that_are_alike(shipped: Path, tmp_path: Path, srgb_tiff: Path) -> None:
    restoration = make_restoration([], model="k3dn")
    twins = tuple(shutil.copy(srgb_tiff, tmp_path / f"twin_{side}.tif") for side in ("left", "right"))
    result = restoration.process(restoration.read(Capture((Path(twins[0]), Path(twins[1])), "pair")))
    assert (result.restorer.card.network, result.photo.warnings) == ("k3dn", ())


def test_the_map_of_defocus_is_written_beside_the_result(tmp_path: Path, dual_cr2: Path, single_cr2: Path) -> None:
    restoration = make_restoration([], weights=write_gkmnet(tmp_path / "w.safetensors"))
    for name, capture, warned in (("dual", dual_cr2, False), ("single", single_cr2, True)):
        outputs = tmp_path / f"{name}.tif", tmp_path / f"{name}_defocus.tif"
        written = restoration.write(restoration.process(restoration.read(Capture((capture,)))), outputs)
        assert tifffile.imread(outputs[1]).shape == tifffile.imread(outputs[0]).shape[:2] == (64, 96)
        assert read_note(outputs[1]) == read_note(outputs[0]) is not None
        assert any("radius of the blur, not disparity" in warning for warning in written.warnings) == warned


def test_a_photo_that_nobody_looks_at_again_makes_way_for_its_result(tmp_path: Path, dual_cr2: Path) -> None:
    weights = write_gkmnet(tmp_path / "w.safetensors", added=ADDED)
    keeping = make_restoration([], weights=weights)
    photo = keeping.read(Capture((dual_cr2,)))
    before = photo.base.copy()
    kept = keeping.process(photo)
    assert kept.photo is photo
    np.testing.assert_array_equal(photo.base, before)
    keeping.write(kept, (tmp_path / "b.tif",))
    lean = make_restoration([], weights=weights, keeps_photo=False)
    result = lean.process(photo)
    assert result.restored.image is result.photo.base is photo.base
    assert (result.photo.left, result.photo.right) == (None, None)
    lean.write(result, (tmp_path / "a.tif",))
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
