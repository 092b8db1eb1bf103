"""What is scored: networks by name or file, and results in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_sets import draw_scene, write_codes, write_dpdd, write_twofold
from tiny_networks import ADDED

from dpdeblur.colour.spaces import encode_srgb
from dpdeblur.errors import NoSecondViewError, ReadError, UsageError
from dpdeblur.evaluation.datasets import Scene, find_scenes
from dpdeblur.evaluation.methods import Method, find_result, make_methods
from dpdeblur.evaluation.metrics import Floats
from dpdeblur.evaluation.scenes import open_scene
from dpdeblur.restoration.inference import Settings


def make(
    models: list[str] | None = None,
    weights: list[Path] | None = None,
    results: list[Path] | None = None,
    *,
    has_views: bool = True,
    said: list[str] | None = None,
) -> list[Method]:
    said = [] if said is None else said
    settings = Settings(device="cpu", precision="fp32", working_scale=1.0)
    lists = models or [], weights or [], results or []
    return make_methods(*lists, settings=settings, has_views=has_views, announce=said.append)


def restore(data: Path, method: Method) -> tuple[Floats, list[float]]:
    told: list[float] = []
    return method.restore(open_scene(find_scenes(data, "dpdd").found[0], "dpdd"), told.append), told


def test_a_network_for_one_picture_gets_the_photo_with_all_its_light(tmp_path: Path, brighter: Path) -> None:
    _, blurred = write_dpdd(tmp_path, {"a": "a"})["a"]
    (method,) = make(weights=[brighter])
    picture, told = restore(tmp_path, method)
    np.testing.assert_allclose(picture, np.clip(blurred / 65535 + ADDED, 0, 1), atol=2e-5)
    assert sum(told) == pytest.approx(1)


def test_a_network_for_two_views_gets_the_views(tmp_path: Path, two_views: Path) -> None:
    write_dpdd(tmp_path, {"a": "a"})
    # the photo with all its light must not matter
    write_codes(tmp_path / "test_c/source/a.png", np.zeros((64, 96, 3), np.uint16))
    (method,) = make(weights=[two_views])
    picture, _ = restore(tmp_path, method)
    scene = open_scene(find_scenes(tmp_path, "dpdd").found[0], "dpdd")
    assert scene.blurred.max() == 0
    assert scene.dual is not None
    # this network's mean is one of encoded values, the photo's one of light
    np.testing.assert_allclose(picture, encode_srgb(scene.dual.base), atol=0.04)


def test_auto_is_scored_where_nothing_is_named(shipped: Path) -> None:
    assert [method.name for method in make()] == ["auto"]


def test_methods_of_one_name_are_told_apart(tmp_path: Path, brighter: Path, shipped: Path) -> None:
    (tmp_path / "gkmnet_brighter").mkdir()
    methods = make(["gkmnet", "gkmnet"], [brighter], [tmp_path / "gkmnet_brighter"])
    assert [method.name for method in methods] == ["gkmnet", "gkmnet (2)", "gkmnet_brighter", "gkmnet_brighter (2)"]


def test_one_network_is_loaded_once(tmp_path: Path, brighter: Path) -> None:
    write_dpdd(tmp_path, {"a": "a"})
    said: list[str] = []
    for method in make(weights=[brighter, brighter], said=said):
        restore(tmp_path, method)
    assert said == ["gkmnet (gkmnet_brighter.safetensors) on cpu in fp32"]


def test_two_view_networks_are_refused_for_sets_with_one_view(two_views: Path, shipped: Path) -> None:
    for models, weights in ((["k3dn"], []), ([], [two_views])):
        with pytest.raises(UsageError, match="the set has none"):
            make(models, weights, has_views=False)
    with pytest.raises(UsageError, match="unknown model 'k2dn'"):
        make(["k2dn"])


def test_a_scene_without_views_fails_alone_with_a_two_view_network(tmp_path: Path, two_views: Path) -> None:
    write_twofold(tmp_path, "target", "source", ["a"])
    (method,) = make(weights=[two_views])
    with pytest.raises(NoSecondViewError):
        method.restore(open_scene(find_scenes(tmp_path, "realdof").found[0], "realdof"), lambda share: None)


def test_a_result_is_found_by_its_name_whatever_surrounds_it(tmp_path: Path) -> None:
    scene = Scene("IMG_7", tmp_path / "1P0A12.png", None, None)

    def find(*names: str) -> str:
        return find_result([tmp_path / name for name in names], scene, tmp_path).name

    assert find("IMG_7.tif", "IMG_7_old.tif") == "IMG_7.tif"  # the very name goes first
    assert find("IMG_71.png", "pixel_IMG_7_out.png") == "pixel_IMG_7_out.png"
    assert find("1P0A12_p.png", "other.png") == "1P0A12_p.png"  # the reference's name will do
    assert find("IMG_7.cr2.tif") == "IMG_7.cr2.tif"
    with pytest.raises(ReadError, match="holds no result for IMG_7"):
        find("IMG_71.png", "xIMG_7.png")
    with pytest.raises(ReadError, match=r"2 results for IMG_7: IMG_7_a\.png, IMG_7_b\.png"):
        find("IMG_7_a.png", "IMG_7_b.png")


def test_results_must_have_the_references_size(tmp_path: Path) -> None:
    write_dpdd(tmp_path / "set", {"a": "a"})
    write_codes(tmp_path / "out" / "a.png", draw_scene(size=(32, 32))[0])
    (method,) = make(results=[tmp_path / "out"])
    with pytest.raises(ReadError, match=r"out/a\.png: is 32x32 pixels"):
        restore(tmp_path / "set", method)


def test_a_colour_result_of_a_gray_scene_counts_by_its_mean(tmp_path: Path) -> None:
    for role in ("sharp", "blurred"):
        write_codes(tmp_path / "set" / role / "a.png", draw_scene(channels=1)[0])
    codes = draw_scene(3)[0]
    write_codes(tmp_path / "out" / "a.png", codes)
    (method,) = make(results=[tmp_path / "out"], has_views=False)
    scene = open_scene(find_scenes(tmp_path / "set", "pairs").found[0], "pairs")
    picture = method.restore(scene, lambda share: None)
    np.testing.assert_allclose(picture[..., 0], (codes / 65535).mean(axis=2), atol=1e-6)


def test_a_folder_of_results_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        make(results=[tmp_path / "missing"])
