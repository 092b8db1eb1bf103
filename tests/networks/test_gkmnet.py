"""GKMNet against the authors' vectors, against a naive mixture of full kernels, and in training."""

import numpy as np
import pytest
import torch
from PIL import Image
from released_states import VECTORS, fill_state, read_layout
from torch import Tensor
from torch.nn import functional

from dpdeblur.networks import gkmnet as gkmnet_module
from dpdeblur.networks import mixture as mixture_module
from dpdeblur.networks.gkmnet import GKMNet, build_pyramid, released_keys
from dpdeblur.networks.mixture import GAUSSIANS, Mixture, assign_kernels
from dpdeblur.networks.triplet import TripletAttention


def list_full_kernels() -> list[torch.Tensor]:
    """Build delta and Gaussians as 21x21 arrays from the description: sigma n/4 in windows 3, 3, 3, 5, 5 ... 21, 21."""
    windows = [3, 3, 3] + [window for window in range(5, 22, 2) for _ in range(2)]
    rows, columns = np.mgrid[-10:11, -10:11]
    kernels = [(rows == 0) & (columns == 0)]
    for number, window in enumerate(windows, start=1):
        inside = (abs(rows) <= window // 2) & (abs(columns) <= window // 2)
        kernels.append(np.exp(-(rows**2 + columns**2) / (2 * (number / 4) ** 2)) * inside)
    return [torch.from_numpy(kernel / kernel.sum()) for kernel in kernels]


def mix_naively(mixture: Mixture, blurred: torch.Tensor, previous: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Compute all 132 maps by full two-dimensional convolutions, weigh them, and join them by the 1x1 convolution."""
    kernels = list_full_kernels()
    stack = []
    for half, image in zip(maps.chunk(2, 1), (blurred, previous), strict=True):
        for colour in range(3):
            if mixture.released:
                # each kernel three times in a row, and then a third of the list of 66 for each colour
                chosen = [kernel for kernel in kernels for _ in range(3)][22 * colour : 22 * colour + 22]
            else:
                chosen = kernels
            weight = torch.stack(chosen).unsqueeze(1)
            stack.append(functional.conv2d(image[:, colour : colour + 1], weight, padding=10) * half)
    return functional.conv2d(torch.cat(stack, 1), mixture.output.weight, mixture.output.bias)


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the authors' vectors are not beside the checkout")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_released_form_gives_the_authors_pixels_on_every_scale(dtype: torch.dtype, tolerance: float) -> None:
    state = fill_state(read_layout("gkmnet"))
    table = released_keys()
    network = GKMNet(released=True)
    network.load_state_dict({table[key]: value for key, value in state.items()}, strict=True)
    network.to(dtype).eval()
    vectors = np.load(VECTORS / "gkmnet.npz")
    with torch.no_grad():
        results = network.forward_scales(
            [torch.from_numpy(vectors[name]).to(dtype) for name in ("input", "half", "quarter")]
        )
    for result, name in zip(results, ("output", "output_half", "output_quarter"), strict=True):
        assert np.abs(result.numpy() - vectors[name]).max() < tolerance


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the authors' vectors are not beside the checkout")
def test_key_table_names_every_released_key_and_no_other() -> None:
    assert set(released_keys()) == set(read_layout("gkmnet"))


@pytest.mark.parametrize("released", [False, True])
def test_key_table_reaches_every_entry_of_our_state_dict_once(released: bool) -> None:
    ours = list(released_keys().values())
    assert sorted(ours) == sorted(GKMNet(released=released).state_dict())


@pytest.mark.parametrize("released", [False, True])
def test_network_has_1_41_million_parameters(released: bool) -> None:
    count = sum(parameter.numel() for parameter in GKMNet(released=released).parameters())
    assert round(count / 1e6, 2) == 1.41


def test_red_sees_the_narrow_third_of_the_kernels_in_the_released_form_only() -> None:
    assert assign_kernels(released=True)[0] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7]
    assert assign_kernels(released=True)[2][-1] == 21
    assert assign_kernels(released=False) == [list(range(22))] * 3


def test_widest_gaussian_has_sigma_5_25_in_a_window_of_21() -> None:
    assert GAUSSIANS[0] == (0.25, 3)
    assert GAUSSIANS[3] == (1.0, 5)
    assert GAUSSIANS[-1] == (5.25, 21)


@pytest.mark.parametrize("released", [False, True])
def test_both_separable_mixtures_equal_full_two_dimensional_kernels(
    released: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    mixture = Mixture(released=released).double()
    blurred, previous = torch.rand(2, 2, 3, 17, 26, dtype=torch.float64)
    maps = torch.rand(2, 44, 17, 26, dtype=torch.float64) * 2 - 1

    def give_rows(rows: slice) -> Tensor:
        return maps[:, :, rows]

    with torch.no_grad():
        expected = mix_naively(mixture, blurred, previous, maps)
        assert (mixture(blurred, previous, give_rows) - expected).abs().max() < 1e-6
        # bands of two rows
        monkeypatch.setattr(mixture_module, "_BAND_VALUES", 1)
        assert (mixture(blurred, previous, give_rows) - expected).abs().max() < 1e-6
    # with gradients, window by window
    assert (mixture(blurred, previous, give_rows) - expected).abs().max() < 1e-6


def test_triplet_attention_averages_three_gates_made_by_permuting_axes() -> None:
    torch.manual_seed(4)
    attention = TripletAttention().double().eval()
    features = torch.rand(2, 5, 8, 11, dtype=torch.float64)
    orders = {"over_channels": (0, 1, 2, 3), "over_height": (0, 2, 1, 3), "over_width": (0, 3, 2, 1)}
    expected = torch.zeros_like(features)
    with torch.no_grad():
        for name, order in orders.items():
            gate = getattr(attention, name)
            turned = features.permute(order)
            pooled = torch.cat((turned.max(1, keepdim=True)[0], turned.mean(1, keepdim=True)), 1)
            expected += (turned * torch.sigmoid(gate.norm(gate.conv(pooled)))).permute(order) / 3
        assert (attention(features) - expected).abs().max() < 1e-12
    assert (attention(features) - expected).abs().max() < 1e-12


def test_pyramid_agrees_with_pillows_bilinear_reduction() -> None:
    plane = np.random.default_rng(5).random((48, 32)).astype(np.float32)
    half = Image.fromarray(plane).resize((16, 24), Image.Resampling.BILINEAR)
    quarter = half.resize((8, 12), Image.Resampling.BILINEAR)
    levels = build_pyramid(torch.from_numpy(plane)[None, None])
    assert np.abs(levels[1][0, 0].numpy() - np.asarray(half)).max() < 1e-6
    assert np.abs(levels[2][0, 0].numpy() - np.asarray(quarter)).max() < 1e-6


def test_untrained_network_is_the_identity() -> None:
    blurred = torch.rand(2, 3, 48, 32)
    with torch.no_grad():
        assert torch.equal(GKMNet().eval()(blurred), blurred)


def test_smallest_image_is_16_by_16() -> None:
    with torch.no_grad():
        assert GKMNet().eval()(torch.rand(1, 3, *GKMNet.min_size)).shape == (1, 3, 16, 16)


def test_size_that_is_no_multiple_of_16_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="multiples of 16, got 40x32"):
        GKMNet()(torch.rand(1, 3, 40, 32))


def test_pyramid_of_wrong_levels_is_refused() -> None:
    image = torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="pyramid of 3 levels, got 2"):
        GKMNet().forward_scales([image, image])
    with pytest.raises(ValueError, match="level 1 of GKMNet's pyramid"):
        GKMNet().forward_scales([image, image, image])


def test_training_on_one_batch_lowers_the_loss_and_moves_every_parameter() -> None:
    torch.manual_seed(6)
    network = GKMNet().train()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    sharp = torch.rand(2, 3, 32, 32)
    pyramid, target = build_pyramid(functional.avg_pool2d(sharp, 3, 1, 1)), build_pyramid(sharp)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        results = network.forward_scales(pyramid)
        loss = sum(functional.mse_loss(result, aim) for result, aim in zip(results, target, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    still = [name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])]
    assert still == []


def test_bfloat16_autocast_stays_finite_and_near_float32() -> None:
    torch.manual_seed(7)
    network = GKMNet().eval()
    torch.nn.init.normal_(network.mixture.output.weight, std=2.0)
    blurred = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = network(blurred)
        with torch.autocast("cpu", torch.bfloat16):
            result = network(blurred)
    assert result.dtype == torch.float32
    assert (expected - blurred).abs().max() > 0.01
    assert (result - expected).abs().max() < 0.05 * (expected - blurred).abs().max()


def test_the_lstm_in_bands_of_rows_equals_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(8)
    network = GKMNet().double().eval()
    torch.nn.init.normal_(network.mixture.output.weight)
    blurred = torch.rand(1, 3, 48, 64, dtype=torch.float64)
    whole = network(blurred).detach()  # with gradients nothing is cut
    monkeypatch.setattr(gkmnet_module, "_BAND_ROWS", 5)
    monkeypatch.setattr(mixture_module, "_BAND_VALUES", 12 * 22 * 64 * 3)
    with torch.no_grad():
        torch.testing.assert_close(network(blurred), whole, rtol=0, atol=1e-9)
