"""What is read of a scene, by other programs' reading and by closed forms."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_sets import draw_scene, write_codes, write_dpdd, write_pixel4, write_twofold

from dpdeblur.colour.spaces import decode_srgb, encode_srgb
from dpdeblur.errors import ReadError
from dpdeblur.evaluation.datasets import find_scenes
from dpdeblur.evaluation.pictures import quantise
from dpdeblur.evaluation.protocols import PROTOCOLS
from dpdeblur.evaluation.scenes import open_scene
from dpdeblur.evaluation.scoring import compare_pictures


def test_stored_codes_are_what_is_scored(tmp_path: Path) -> None:
    (sharp, blurred) = write_dpdd(tmp_path, {"a": "b"})["a"]
    scene = open_scene(find_scenes(tmp_path, "dpdd").found[0], "dpdd")
    np.testing.assert_array_equal(quantise(scene.reference, 16), sharp / 65535)
    np.testing.assert_array_equal(quantise(scene.blurred, 16), blurred / 65535)
    assert scene.dual is not None and scene.dual.is_dual
    assert not scene.single.is_dual


def test_without_a_whole_photo_the_views_mean_in_linear_light_is_the_input(tmp_path: Path) -> None:
    write_dpdd(tmp_path, {"a": "a"}, blurred=False)
    scene = open_scene(find_scenes(tmp_path, "dpdd").found[0], "dpdd")
    views = [
        cv2.imread(str(tmp_path / f"test_{side.lower()}/source/a_{side}.png"), cv2.IMREAD_UNCHANGED)[..., ::-1] / 65535
        for side in "LR"
    ]
    linear = sum(np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) for v in views) / 2
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(scene.blurred, expected, atol=1e-6)
    assert scene.single.is_dual


def test_a_reference_of_another_size_is_refused_by_name(tmp_path: Path) -> None:
    write_twofold(tmp_path, "target", "source", ["a"])
    write_codes(tmp_path / "target" / "a.png", draw_scene(size=(64, 80))[0])
    with pytest.raises(ReadError, match=r"source/a\.png: is 96x64 pixels .* a\.png is 80x64"):
        open_scene(find_scenes(tmp_path, "realdof").found[0], "realdof")


def test_a_pixel_scene_is_evened_out_cut_exposed_and_its_reference_laid_on_it(tmp_path: Path) -> None:
    whole = write_pixel4(tmp_path, "002", shift_px=5)
    linear, moved = whole[16:-16, 16:-16], np.roll(whole, 5, axis=1)[16:-16, 16:-16]
    scene = open_scene(find_scenes(tmp_path, "pixel4").found[0], "pixel4")
    # sheets of 0.9 and 0.72 bring the right view, of 0.8 of the light, back to the left one's
    assert scene.dual is not None and scene.dual.left is not None and scene.dual.right is not None
    np.testing.assert_allclose(scene.dual.left, scene.dual.right, atol=5e-4)
    # exposed so that 99.5 % of the reference, which shows the same scene 5 pixels aside, lies below 0.9
    seen = decode_srgb(scene.blurred.astype(np.float32))[..., 0]
    gain = np.median(seen / linear)
    assert gain == pytest.approx(0.9 / np.quantile(moved * linear.mean() / moved.mean(), 0.995), rel=0.01)
    np.testing.assert_allclose(seen, np.clip(linear * gain, 0, 1), atol=2e-3)
    inner = slice(8, -8)
    np.testing.assert_allclose(scene.reference[inner, inner], scene.blurred[inner, inner], atol=0.02)
    shifted = encode_srgb(np.clip(moved * gain, 0, 1).astype(np.float32))[..., None]
    assert np.abs(shifted - scene.blurred)[inner, inner].max() > 0.06  # what it would be without being laid on


def test_a_reference_larger_than_its_views_is_refused(tmp_path: Path) -> None:
    write_pixel4(tmp_path, "002")
    write_codes(tmp_path / "002_gt.png", draw_scene(size=(400, 400), channels=1)[0])
    with pytest.raises(ReadError, match="larger than"):
        open_scene(find_scenes(tmp_path, "pixel4").found[0], "pixel4")


def test_a_black_reference_is_refused(tmp_path: Path) -> None:
    write_pixel4(tmp_path, "002")
    write_codes(tmp_path / "002_gt.png", np.zeros((128, 160, 1), np.uint16))
    with pytest.raises(ReadError, match="is black"):
        open_scene(find_scenes(tmp_path, "pixel4").found[0], "pixel4")


def test_the_pixel_scores_are_those_of_the_tool_that_defines_them(shared: Path) -> None:
    spec = importlib.util.spec_from_file_location("score_views", shared / "tools" / "score_views.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    scenes = {scene.name: scene for scene in find_scenes(shared / "data" / "pixel4", "pixel4").found}
    scene = open_scene(scenes["014"], "pixel4")
    left, right, reference = tool.pixel_scene("014")
    sharpened = np.clip(1.8 * left - 0.8 * cv2.GaussianBlur(left, (0, 0), 4), 0, 1)
    for ours, theirs in ((scene.blurred, tool.encode((tool.decode(left) + tool.decode(right)) / 2)), (None, sharpened)):
        picture = theirs[..., None] if ours is None else ours
        scores = compare_pictures(picture, scene.reference, PROTOCOLS["pixel4"]).scores
        assert (scores.psnr, scores.ssim, scores.mae) == pytest.approx(tool.metrics(theirs, reference), abs=2e-5)
