"""The weights with the best score for the camera are chosen, among those that the photo has views for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_networks import ship_weights, write_gkmnet, write_k3dn

from dpdeblur import weights
from dpdeblur.errors import NoSecondViewError, UsageError
from dpdeblur.restoration.choice import choose_weights


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights that holds none yet."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(weights, "WEIGHTS_FOLDER", folder)
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = ship_weights(tmp_path / "shipped")
    monkeypatch.setattr(weights, "WEIGHTS_FOLDER", folder)
    return folder


def test_two_views_get_the_network_that_measured_best(shipped: Path) -> None:
    assert choose_weights(2, "canon", "auto") == (
        shipped / "k3dn_tiny.safetensors",
        "k3dn: best measured for two views (+0.50 dB on real canon scenes)",
    )


def test_one_view_gets_a_network_that_needs_one(shipped: Path) -> None:
    assert choose_weights(1, "raw", "auto") == (
        shipped / "gkmnet.safetensors",
        "gkmnet: best measured for one view (+0.10 dB on real canon scenes)",
    )


def test_a_model_that_is_asked_for_is_taken_although_another_measured_better(shipped: Path) -> None:
    path, reason = choose_weights(2, "pixel", "gkmnet")
    assert path == shipped / "gkmnet.safetensors"
    assert reason == "gkmnet: asked for (+0.10 dB on real pixel scenes)"


@pytest.mark.parametrize(
    ("kind", "is_gray", "name"),
    [
        ("pixel", True, "b"),
        ("pair", True, "b"),
        ("pair", False, "a"),
        ("canon", False, "a"),
        ("dng", False, "a"),
        ("image", False, "a"),
        ("image", True, "a"),
        ("raw", False, "a"),
    ],
)
def test_pixel_captures_and_gray_pairs_go_by_the_pixel_score_and_all_others_by_the_canon_score(
    empty: Path, kind: str, is_gray: bool, name: str
) -> None:
    write_k3dn(empty / "a.safetensors", scores={"pixel": 0.2, "canon": 0.9})
    write_k3dn(empty / "b.safetensors", scores={"pixel": 0.7, "canon": 0.1})
    path, _ = choose_weights(2, kind, "auto", is_gray=is_gray)
    assert path.stem == name


def test_what_was_never_measured_comes_last_even_behind_a_loss(empty: Path) -> None:
    write_k3dn(empty / "a.safetensors")
    write_gkmnet(empty / "b.safetensors", scores={"canon": -0.2})
    assert choose_weights(2, "canon", "auto")[0].stem == "b"
    assert choose_weights(2, "pixel", "k3dn")[1] == "k3dn: asked for (not measured)"


def test_an_unknown_model_is_refused(shipped: Path) -> None:
    with pytest.raises(UsageError, match="unknown model 'unet'; use auto, both, dpanet, gkmnet, k3dn"):
        choose_weights(2, "canon", "unet")


def test_a_model_without_weights_is_refused(shipped: Path) -> None:
    with pytest.raises(UsageError, match="no weights for dpanet are shipped; name a file with --weights"):
        choose_weights(2, "canon", "dpanet")


def test_without_any_weights_it_says_so(empty: Path) -> None:
    with pytest.raises(UsageError, match="^no weights are shipped; name a file with --weights$"):
        choose_weights(2, "canon", "auto")


def test_a_dual_network_is_refused_for_one_view(shipped: Path) -> None:
    with pytest.raises(NoSecondViewError, match="k3dn needs a left and a right view; use --model auto or gkmnet"):
        choose_weights(1, "image", "k3dn")


def test_one_view_without_weights_for_it_is_refused(empty: Path) -> None:
    write_k3dn(empty / "a.safetensors")
    with pytest.raises(NoSecondViewError, match="all shipped weights need a left and a right view"):
        choose_weights(1, "image", "auto")


def test_a_device_that_is_not_there_is_refused_at_once(shipped: Path) -> None:
    with pytest.raises(UsageError, match="unknown device"):
        choose_weights(2, "canon", "auto", "abacus")
