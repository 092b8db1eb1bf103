"""A tile goes through a network as it should, on the CPU and, where there is one, on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dpdeblur.networks import NETWORKS
from dpdeblur.networks.network import Network
from dpdeblur.photo import Image
from dpdeblur.restoration.runner import TileRunner, start_ensemble
from dpdeblur.weights import WEIGHTS_FOLDER, load_weights

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
]


class Told(Network):
    """A network of one view that does what it is told."""

    views = 1
    value_offset = -0.5
    channel_order = "bgr"

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        """Take what to do."""
        super().__init__()
        self.act = act
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        """Do it."""
        return self.act(picture)


def _draw(seed: int) -> Image:
    return np.random.default_rng(seed).random((32, 48, 3), np.float32)


@pytest.mark.parametrize("device", DEVICES)
def test_order_and_range_are_the_networks_inside_and_ours_outside(device: str) -> None:
    seen: list[Tensor] = []
    network = Told(lambda picture: seen.append(picture.cpu().clone()) or picture * 2)
    view = _draw(1)
    picture = TileRunner(network, torch.device(device), "fp32").start((view,))()
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0), view[..., ::-1] - 0.5, rtol=0, atol=1e-6)
    np.testing.assert_allclose(picture, np.clip((view - 0.5) * 2 + 0.5, 0, 1), rtol=0, atol=1e-6)
    assert picture.flags.c_contiguous and picture.dtype == np.float32


@pytest.mark.parametrize("device", DEVICES)
def test_networks_get_their_pictures_channels_last(device: str) -> None:
    layouts: list[bool] = []

    def act(picture: Tensor) -> Tensor:
        layouts.append(picture.is_contiguous(memory_format=torch.channels_last))
        return picture

    TileRunner(Told(act), torch.device(device), "fp32").start((_draw(1),))()
    assert layouts == [True]


@pytest.mark.parametrize("device", DEVICES)
def test_each_tile_comes_back_as_itself_when_the_next_is_started_first(device: str) -> None:
    runner = TileRunner(Told(lambda picture: picture), torch.device(device), "fp32")
    waiting = [runner.start((_draw(seed),)) for seed in range(6)]
    for seed, finish in enumerate(waiting):
        np.testing.assert_allclose(finish(), _draw(seed), rtol=0, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_only_the_tile_that_overflows_is_computed_again_in_full(device: str) -> None:
    computed: list[tuple[float, bool]] = []

    def act(picture: Tensor) -> Tensor:
        is_half = torch.is_autocast_enabled(device)
        computed.append((float(picture.mean()), is_half))
        return picture / 0 if is_half and picture.mean() > 0.3 else picture

    runner = TileRunner(Told(act), torch.device(device), "bf16")
    dark, light = np.full((16, 16, 3), 0.25, np.float32), np.full((16, 16, 3), 0.875, np.float32)
    first, second = runner.start((dark,)), runner.start((light,))
    np.testing.assert_array_equal(first(), dark)
    assert not runner.has_overflowed
    np.testing.assert_array_equal(second(), light)
    assert runner.has_overflowed
    assert computed == [(-0.25, True), (0.375, True), (0.375, False)]


@pytest.mark.parametrize("device", DEVICES)
def test_tiles_that_are_seen_together_come_back_each_as_itself(device: str) -> None:
    counts: list[int] = []

    def act(picture: Tensor) -> Tensor:
        assert picture.is_contiguous(memory_format=torch.channels_last)
        counts.append(len(picture))
        return picture

    runner = TileRunner(Told(act), torch.device(device), "fp32", together=3)
    waiting = [runner.start((_draw(seed),)) for seed in range(7)]
    assert counts == [3, 3] and runner.ahead == 5
    for seed, finish in enumerate(waiting):
        np.testing.assert_allclose(finish(), _draw(seed), rtol=0, atol=1e-6)
    assert counts == [3, 3, 1]


@pytest.mark.parametrize("device", DEVICES)
def test_of_tiles_seen_together_only_the_one_that_overflows_is_computed_again(device: str) -> None:
    computed: list[tuple[list[float], bool]] = []

    def act(picture: Tensor) -> Tensor:
        is_half = torch.is_autocast_enabled(device)
        means = picture.mean((1, 2, 3))
        computed.append((means.tolist(), is_half))
        return torch.where(means.view(-1, 1, 1, 1) > 0.3, torch.nan, picture) if is_half else picture

    tiles = [np.full((16, 16, 3), value, np.float32) for value in (0.25, 0.875, 0.5)]
    runner = TileRunner(Told(act), torch.device(device), "bf16", together=3)
    for finish, tile in zip([runner.start((tile,)) for tile in tiles], tiles, strict=True):
        np.testing.assert_array_equal(finish(), tile)
    assert runner.has_overflowed
    assert computed == [([-0.25, 0.375, 0.0], True), ([0.375], False)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("device", DEVICES)
def test_the_shipped_networks_take_nothing_of_one_tile_into_another(device: str, name: str) -> None:
    network, _ = load_weights(WEIGHTS_FOLDER / f"{name}.safetensors")
    size = np.maximum(network.min_size, 96)
    tiles = [
        tuple(np.random.default_rng(seed + 10 * view).random((*size, 3), np.float32) for view in range(network.views))
        for seed in range(3)
    ]
    network.to(device)
    alone = TileRunner(network, torch.device(device), "fp32")
    together = TileRunner(network, torch.device(device), "fp32", together=3)
    for tile, finish in zip(tiles, [together.start(tile) for tile in tiles], strict=True):
        np.testing.assert_allclose(finish(), alone.start(tile)(), rtol=0, atol=1e-5 if device == "cpu" else 2e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_computes_what_the_cpu_does() -> None:
    torch.manual_seed(0)
    network = Told(lambda picture: network.layer(picture))
    views = [_draw(seed) for seed in range(5)]
    cpu = TileRunner(network, torch.device("cpu"), "fp32")
    expected = [cpu.start((view,))() for view in views]
    gpu = TileRunner(network.cuda(), torch.device("cuda"), "fp32")
    waiting = [gpu.start((view,)) for view in views]
    for finish, picture in zip(waiting, expected, strict=True):
        np.testing.assert_allclose(finish(), picture, rtol=0, atol=2e-3)


class Averaging(Network):
    """A network of two views that does as it is told to the left and the right one."""

    views = 2
    value_offset = 0.0
    channel_order = "rgb"

    def __init__(self, act: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Take what to do."""
        super().__init__()
        self.act = act

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Do it."""
        return self.act(left, right)


@pytest.mark.parametrize("together", [1, 3, 4])
@pytest.mark.parametrize("device", DEVICES)
def test_an_ensemble_is_the_mean_over_mirror_images_whose_views_change_sides(device: str, together: int) -> None:
    left, right = _draw(1), _draw(2)
    seen: list[tuple[Tensor, Tensor]] = []

    def act(first: Tensor, second: Tensor) -> Tensor:
        seen.extend(zip(first.cpu().clone(), second.cpu().clone(), strict=True))
        return 0.5 * torch.roll(first, (1, 2), (2, 3)) + 0.25 * second

    runner = TileRunner(Averaging(act), torch.device(device), "fp32", together)
    picture = start_ensemble(runner.start, (left, right), ahead=together)()
    # each mirror image as it would be typed in
    expected = np.zeros_like(left)
    flips = (lambda image: image, np.flipud, np.fliplr, lambda image: np.flipud(np.fliplr(image)))
    for flip, (a, b) in zip(flips, ((left, right), (left, right), (right, left), (right, left)), strict=True):
        expected += flip(0.5 * np.roll(flip(a), (1, 2), (0, 1)) + 0.25 * flip(b)) / 4
    np.testing.assert_allclose(picture, expected, rtol=0, atol=1e-6)
    assert len(seen) == 4
    np.testing.assert_array_equal(seen[2][0].permute(1, 2, 0), right[:, ::-1])


def test_an_ensemble_of_one_view_that_is_even_all_over_changes_nothing() -> None:
    runner = TileRunner(Told(lambda picture: picture), torch.device("cpu"), "fp32")
    np.testing.assert_allclose(start_ensemble(runner.start, (_draw(1),))(), _draw(1), rtol=0, atol=1e-6)
