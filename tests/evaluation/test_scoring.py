"""One scene from files to scores; what fails alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from small_sets import draw_scene, write_dpdd, write_twofold

from dpdeblur.errors import DpDeblurError, ReadError
from dpdeblur.evaluation.datasets import find_scenes
from dpdeblur.evaluation.methods import Method
from dpdeblur.evaluation.metrics import Floats
from dpdeblur.evaluation.protocols import PROTOCOLS, Protocol
from dpdeblur.evaluation.scenes import OpenScene
from dpdeblur.evaluation.scoring import INPUT, SceneResult, compare_pictures, score_scenes


class Copy:
    """A method that returns the photo as it was, after telling half of its work."""

    name = "copy"

    def restore(self, scene: OpenScene, advance: Callable[[float], None]) -> Floats:
        """Copy."""
        advance(0.5)
        return scene.blurred


class Broken:
    """A method that fails on one scene."""

    name = "broken"

    def __init__(self, bad: str) -> None:
        """Name the scene."""
        self._bad = bad

    def restore(self, scene: OpenScene, advance: Callable[[float], None]) -> Floats:
        """Cheat, or fail."""
        if scene.scene.name == self._bad:
            raise ReadError("is unlucky", path=scene.scene.sharp)
        return scene.reference


def score(data: Path, methods: list[Method], told: list[float], bits: int = 16) -> list[SceneResult | DpDeblurError]:
    scenes = find_scenes(data, "dpdd").found
    results = score_scenes(scenes, "dpdd", methods, PROTOCOLS["dpdd"], bits=bits, perceptual=None, advance=told.append)
    return list(results)


def test_scores_are_those_of_scikit_image_on_the_stored_codes(tmp_path: Path) -> None:
    sharp, blurred = write_dpdd(tmp_path, {"a": "a"})["a"]
    (result,) = score(tmp_path, [Copy()], [])
    assert isinstance(result, SceneResult)
    scores = result.comparisons["copy"].scores
    assert scores.psnr == pytest.approx(peak_signal_noise_ratio(sharp, blurred, data_range=65535), abs=1e-6)
    assert scores.ssim == pytest.approx(
        structural_similarity(sharp / 65535, blurred / 65535, data_range=1, channel_axis=-1), abs=1e-6
    )
    assert scores.mae == pytest.approx(np.abs(sharp / 65535 - blurred / 65535).mean(), abs=1e-9)
    assert scores == result.comparisons[INPUT].scores


def test_at_8_bits_the_rounded_codes_are_compared(tmp_path: Path) -> None:
    sharp, blurred = write_dpdd(tmp_path, {"a": "a"})["a"]
    (result,) = score(tmp_path, [Copy()], [], bits=8)
    assert isinstance(result, SceneResult)
    codes = [np.rint(picture / 257).astype(np.uint8) for picture in (sharp, blurred)]
    expected = peak_signal_noise_ratio(*codes)
    assert result.comparisons["copy"].scores.psnr == pytest.approx(expected, abs=1e-6)
    assert abs(expected - peak_signal_noise_ratio(sharp, blurred)) > 1e-5


def test_a_method_that_fails_leaves_the_others_and_the_other_scenes_alone(tmp_path: Path) -> None:
    write_dpdd(tmp_path, {"a": "a", "b": "b"})
    told: list[float] = []
    first, second = score(tmp_path, [Broken("a"), Copy()], told)
    assert isinstance(first, SceneResult) and isinstance(second, SceneResult)
    assert set(first.comparisons) == {INPUT, "copy"}
    assert [str(failure) for failure in first.failures] == [f"{tmp_path}/test_c/target/a.png: broken: is unlucky"]
    assert second.comparisons["broken"].scores.psnr == math.inf
    assert second.failures == ()
    assert sum(told) == pytest.approx(2)  # every scene's share of the work is told, failed or not


def test_a_scene_that_cannot_be_read_comes_back_as_its_error(tmp_path: Path) -> None:
    write_dpdd(tmp_path, {"a": "a", "b": "b"})
    (tmp_path / "test_l/source/a_L.png").write_bytes(b"no picture")
    told: list[float] = []
    first, second = score(tmp_path, [Copy()], told)
    assert isinstance(first, ReadError) and "a_L.png" in str(first)
    assert isinstance(second, SceneResult)
    assert sum(told) == pytest.approx(2)


def test_borders_are_cut_before_values_are_fitted() -> None:
    reference = draw_scene()[0] / 65535
    result = 0.5 * reference + 0.2
    result[:5] = 0
    protocol = Protocol(crop_px=5, fits_values=True)
    assert compare_pictures(result, reference, protocol).scores.psnr > 200
    assert compare_pictures(result, reference, Protocol(fits_values=True)).scores.psnr < 30
    assert compare_pictures(result, reference, Protocol(crop_px=5)).scores.psnr < 30


def test_fitted_values_are_clipped_like_a_picture() -> None:
    reference = np.full((20, 20, 1), 1.0)
    reference[:10] = 0.0
    result = reference.copy()
    result[0, 0] = 1.0  # one wrong pixel tilts the fit
    comparison = compare_pictures(result, reference, Protocol(fits_values=True))
    assert 0 <= comparison.result.min() and comparison.result.max() <= 1


def test_the_deformed_reference_counts_only_where_there_is_one() -> None:
    reference = draw_scene(size=(96, 128))[0] / 65535
    result = np.roll(reference, 4, axis=1)
    plain, deformed = (compare_pictures(result, reference, Protocol(deforms_reference=one)) for one in (False, True))
    assert plain.kept_share == 1
    assert 0.9 < deformed.kept_share < 1
    assert deformed.scores.psnr > plain.scores.psnr + 6


def test_pictures_with_nothing_left_are_refused() -> None:
    picture = np.zeros((50, 50, 1))
    with pytest.raises(DpDeblurError, match="so small"):
        compare_pictures(picture, picture, Protocol(crop_px=24))


def test_a_misaligned_set_is_deformed_by_default(tmp_path: Path) -> None:
    write_twofold(tmp_path, "gt", "blur", ["a"])
    scenes = find_scenes(tmp_path, "sdd").found
    (result,) = score_scenes(
        scenes, "sdd", [Copy()], PROTOCOLS["sdd"], bits=16, perceptual=None, advance=lambda share: None
    )
    assert isinstance(result, SceneResult)
    assert result.comparisons["copy"].mask is not None
