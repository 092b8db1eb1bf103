"""Flow, warp and masks against motions that are known in closed form."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from dpdeblur.training.textures import draw_textures
from dpdeblur.training.warping import (
    estimate_flow,
    fit_motion,
    mask_by_length,
    mask_by_motion,
    measure_length,
    place_pixels,
    warp,
)

SIZE = 96


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Two drawn pictures with detail everywhere, (2, 3, 128, 128): leaves and printed text."""
    drawn = draw_textures(2, seed=5)[:, 100:228, 100:228]
    return torch.from_numpy(drawn.copy()).permute(0, 3, 1, 2).float() / 255


def constant_flow(x: float, y: float, *, height: int = SIZE, width: int = SIZE) -> Tensor:
    return torch.tensor([x, y]).view(1, 2, 1, 1).expand(1, 2, height, width)


def zoom_flow(zoom: float, *, height: int = SIZE, width: int = SIZE) -> Tensor:
    """The flow of a zoom about the middle: (zoom - 1) times the place from the middle."""
    middle = torch.tensor([width - 1, height - 1]).view(1, 2, 1, 1) / 2
    return (zoom - 1) * (place_pixels(height, width, torch.device("cpu")) - middle)


def test_a_whole_shift_moves_pixels_exactly(pictures: Tensor):
    warped, inside = warp(pictures, constant_flow(3, -2, height=128, width=128).expand(2, -1, -1, -1))
    torch.testing.assert_close(warped[..., 2:, :-3], pictures[..., :-2, 3:], atol=2e-5, rtol=0)
    assert inside[..., 2:, :-3].all()
    assert not inside[..., :2, :].any() and not inside[..., -3:].any()


def test_a_broken_shift_interpolates_a_ramp_exactly():
    ramp = place_pixels(SIZE, SIZE, torch.device("cpu"))  # linear in both axes, so bilinear sampling is exact
    warped, inside = warp(ramp, constant_flow(1.25, -2.5))
    expected = ramp + torch.tensor([1.25, -2.5]).view(1, 2, 1, 1)
    assert float(inside.mean()) == pytest.approx((SIZE - 2) * (SIZE - 3) / SIZE**2)
    torch.testing.assert_close(warped * inside, expected * inside, atol=1e-4, rtol=0)


def test_warping_agrees_with_opencv(pictures: Tensor):
    rng = np.random.default_rng(1)
    flow = cv2.GaussianBlur(rng.normal(0, 25, (128, 128, 2)), (0, 0), 8).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(128), np.arange(128)), 2).astype(np.float32) + flow
    image = pictures[0].permute(1, 2, 0).numpy()
    expected = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    warped, _ = warp(pictures[:1], torch.from_numpy(flow).permute(2, 0, 1)[None])
    # OpenCV rounds places to 1/32 pixel
    assert np.abs(warped[0].permute(1, 2, 0).numpy() - expected).max() < 1 / 32
    assert np.abs(warped[0].permute(1, 2, 0).numpy() - expected).mean() < 2e-3


def test_the_flow_of_a_shifted_picture_is_the_shift(pictures: Tensor):
    moved, _ = warp(pictures, constant_flow(-4, 3, height=128, width=128).expand(2, -1, -1, -1))
    # moved(x) = picture(x + (-4, 3)), so picture(x) = moved(x + (4, -3))
    flow = estimate_flow(pictures, moved)
    assert flow.shape == (2, 2, 128, 128) and flow.dtype == torch.float32
    error = (flow - torch.tensor([4.0, -3.0]).view(1, 2, 1, 1))[..., 12:-12, 12:-12]
    assert float(error.abs().median()) < 0.1
    restored, _ = warp(moved, flow)
    inner = (..., slice(12, -12), slice(12, -12))
    assert float((restored - pictures)[inner].abs().mean()) < 0.25 * float((moved - pictures)[inner].abs().mean())


def test_a_shift_forth_and_back_is_where_it_was():
    forth, back = zoom_flow(1.03), zoom_flow(1 / 1.03)
    # the flow back, read where the flow forth points, undoes it: x -> 1.03 x -> x about the middle
    back_there, inside = warp(back, forth)
    assert float(inside.mean()) < 0.97
    torch.testing.assert_close((forth + back_there) * inside, torch.zeros_like(forth), atol=1e-4, rtol=0)
    smooth = torch.sin(place_pixels(SIZE, SIZE, torch.device("cpu")) / 9)
    there, _ = warp(smooth, forth)
    again, _ = warp(there, back)
    inner = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(again[inner], smooth[inner], atol=5e-3, rtol=0)


def test_gradients_pass_through_the_warp_and_not_through_the_flow(pictures: Tensor):
    picture = pictures.clone().requires_grad_()
    flow = constant_flow(0.5, 0.0, height=128, width=128).expand(2, -1, -1, -1).clone().requires_grad_()
    assert not estimate_flow(picture, pictures).requires_grad
    warp(picture, flow)[0].sum().backward()
    assert flow.grad is None
    # of a half-pixel shift every inner pixel gives half to each neighbour: the sum of the gradient stays one
    torch.testing.assert_close(picture.grad[..., 1:-2], torch.ones(2, 3, 128, 125), atol=1e-4, rtol=0)


def test_the_fit_finds_an_affine_motion_beneath_wrong_flow():
    matrix = torch.tensor([[0.01, -0.004], [0.005, 0.012]])
    place = place_pixels(SIZE, SIZE, torch.device("cpu"))
    motion = torch.einsum("ij,bjhw->bihw", matrix, place - 40) + torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(fit_motion(motion), motion, atol=1e-4, rtol=0)
    wrong = motion.clone()
    wrong[..., :30, :40] += 6
    assert float(measure_length(fit_motion(wrong) - motion).max()) < 0.1


def test_both_masks_keep_a_shift_and_drop_what_strays_from_it():
    flow = constant_flow(3, 4).clone()  # five pixels long
    flow[..., 10:20, 10:30] = torch.tensor([0.0, 0.0]).view(1, 2, 1, 1)
    stray = torch.zeros(1, 1, SIZE, SIZE)
    stray[..., 10:20, 10:30] = 1
    for mask in (mask_by_length(flow, 0.35), mask_by_motion(flow, 0.35)):
        torch.testing.assert_close(mask, 1 - stray, atol=0, rtol=0)


def test_only_the_comparison_with_the_motion_notices_a_wrong_direction():
    flow = constant_flow(3, 4).clone()
    flow[..., 10:20, 10:30] = torch.tensor([4.0, -3.0]).view(1, 2, 1, 1)
    assert mask_by_length(flow, 0.35).all()
    assert float(mask_by_motion(flow, 0.35).mean()) == pytest.approx(1 - 200 / SIZE**2)


def test_a_centred_zoom_leaves_a_ring_of_the_papers_mask_and_all_of_the_other():
    flow = zoom_flow(1.05, height=400, width=400)
    # |flow| is proportional to the radius; its mean over a square of side 2 is (sqrt 2 + asinh 1) / 3 = 0.7652, and the
    # ring from 0.65 to 1.35 of that, partly outside the square, is found by counting on a finer grid
    axis = (np.arange(2000) + 0.5) / 1000 - 1
    ratio = np.hypot(axis[:, None], axis) / ((2**0.5 + np.arcsinh(1)) / 3)
    expected = np.mean((ratio > 0.65) & (ratio < 1.35))
    assert 0.6 < expected < 0.65
    assert float(mask_by_length(flow, 0.35).mean()) == pytest.approx(expected, abs=0.004)
    assert mask_by_motion(flow, 0.35).all()


def test_almost_aligned_pairs_are_not_masked_by_the_noise_of_their_flow():
    noise = 0.05 * torch.randn(1, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    flow = constant_flow(0.05, 0.0) + noise
    assert float(mask_by_length(flow, 0.35).mean()) < 0.5
    assert mask_by_motion(flow, 0.35).all()
