"""Drawn scenes and batches: order, range, and repetition by seed."""

import cv2
import numpy as np
import pytest
import torch

from dpdeblur.training.data import SceneOptions, add_smoothed, draw_depths, draw_sample, simulate_batches
from dpdeblur.training.textures import TILE_PX, draw_textures, load_textures


@pytest.fixture(scope="module")
def textures() -> torch.Tensor:
    return torch.from_numpy(draw_textures(4, seed=1)).permute(0, 3, 1, 2).contiguous()


def test_layers_stand_behind_each_other():
    options = SceneOptions(layers=4)
    depth, is_present, optics = draw_depths(500, options, torch.Generator().manual_seed(0))
    assert depth.shape == (500, 4, 4) and is_present[:, 0].all()
    middle = optics.measure_radius(depth).mean(2)
    for layer in range(3):
        both = is_present[:, layer] & is_present[:, layer + 1]
        assert float((middle[:, layer] - middle[:, layer + 1])[both].min()) > -1e-3
    assert is_present.sum(1).unique().tolist() == [1, 2, 3, 4]
    assert bool((is_present[:, :-1] | ~is_present[:, 1:]).all())


def test_blur_keeps_within_the_largest_radius_and_comes_from_both_sides():
    options = SceneOptions(largest_radius_px=7.0)
    depth, _, optics = draw_depths(1000, options, torch.Generator().manual_seed(1))
    radius = optics.measure_radius(depth)
    assert float(radius.abs().max()) <= 7.001
    assert float(radius.max()) > 6 and float(radius.min()) < -6
    in_focus = (radius.abs().amax((1, 2)) < 0.95).float().mean()
    assert 0.05 < float(in_focus) < 0.25


def test_slices_add_up_to_one_and_their_radii_rise_evenly(textures: torch.Tensor):
    options = SceneOptions(height=32, width=32, largest_radius_px=3)
    sample = draw_sample(add_smoothed(textures), 3, options, torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample.scene.slices.sum(2), torch.ones_like(sample.scene.slices[:, :, 0]))
    assert float(sample.scene.opacity[:, 0].min()) == 1
    # a slanted plane: inverse depth is linear across it
    second_difference = (1 / sample.depth_m).diff(n=2, dim=2) * sample.optics.focus_m.view(-1, 1, 1)
    assert float(second_difference.abs().max()) < 1e-4


def test_batches_have_the_promised_shape_and_range_and_repeat_with_the_seed(textures: torch.Tensor):
    options = SceneOptions(height=48, width=64, largest_radius_px=4)
    first, again = (next(simulate_batches(textures, 2, options, torch.Generator().manual_seed(7))) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.shape == (2, 3, 48, 64)
        assert 0 <= float(one.min()) and float(one.max()) <= 1
        torch.testing.assert_close(one, other)
    assert (first.left - first.sharp).abs().mean() > 1e-3


def test_the_views_of_batches_lie_on_their_sharp_picture(textures: torch.Tensor):
    """The mean of the views has no shift against the reference, whatever the lens."""
    options = SceneOptions(height=96, width=96, largest_radius_px=3, measured_share=0)
    batches = simulate_batches(textures, 4, options, torch.Generator().manual_seed(2))
    shifts = []
    for _ in range(3):
        pair = next(batches)
        for left, right, sharp in zip(*pair, strict=True):
            gray = [x.mean(0).numpy().astype(np.float64) for x in ((left + right) / 2, sharp)]
            shifts.append(cv2.phaseCorrelate(*gray)[0])
    assert np.abs(np.median(shifts, axis=0)).max() < 0.1


def test_smoothed_textures_follow_the_sharp_ones(textures: torch.Tensor):
    bank = add_smoothed(textures)
    assert bank.shape == (8, 3, TILE_PX, TILE_PX)
    torch.testing.assert_close(bank[:4], textures)
    block = textures[2, 1, 10:12, 20:22].float().mean()
    assert abs(float(bank[6, 1, 10, 20]) - float(block)) <= 0.5


def test_textures_are_cut_from_any_folder(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (TILE_PX + 100, 2 * TILE_PX, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    tiles = load_textures(tmp_path)
    np.testing.assert_array_equal(tiles, [image[:TILE_PX, :TILE_PX], image[:TILE_PX, TILE_PX:]])
