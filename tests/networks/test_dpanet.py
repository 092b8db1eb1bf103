"""DPANet against the authors' vector, at its smallest size, and in training."""

import numpy as np
import pytest
import torch
from released_states import VECTORS, fill_state, read_layout
from torch.nn import functional

from dpdeblur.networks.dpanet import DecoderStage, DPANet, ResidualBlock, correlate_views, released_keys


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the authors' vectors are not beside the checkout")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_released_form_gives_the_authors_pixels(dtype: torch.dtype, tolerance: float) -> None:
    state = fill_state(read_layout("dpanet"))
    table = released_keys()
    assert set(table) == set(state)
    network = DPANet(released=True)
    network.load_state_dict({table[key]: value for key, value in state.items()}, strict=True)
    network.to(dtype).eval()
    vectors = np.load(VECTORS / "dpanet.npz")
    with torch.no_grad():
        result = network(*(torch.from_numpy(vectors[side]).to(dtype) for side in ("left", "right")))
    assert np.abs(result.numpy() - vectors["output"]).max() < tolerance


@pytest.mark.parametrize("released", [False, True])
def test_key_table_reaches_every_entry_of_our_state_dict_once(released: bool) -> None:
    assert sorted(released_keys().values()) == sorted(DPANet(width=8, released=released).state_dict())


def test_network_of_width_64_has_63_98_million_parameters() -> None:
    with torch.device("meta"):
        network = DPANet(width=64, released=True)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2) == 63.98


def test_released_form_is_bgr_and_ours_is_rgb() -> None:
    assert DPANet(width=8, released=True).channel_order == "bgr"
    assert DPANet(width=8).channel_order == "rgb"


def test_volume_shows_the_shift_between_the_views() -> None:
    torch.manual_seed(1)
    left = torch.randn(1, 64, 20, 24)
    # right(x + d) = left(x) for d = 3 rows down and 2 columns to the left
    right = torch.roll(left, (3, -2), (2, 3))
    volume = correlate_views(left, right)[0, :, 4:-4, 4:-4]
    assert volume.shape[0] == 81
    assert torch.all(volume.argmax(0) == (3 + 4) * 9 + (-2 + 4))
    products = (left[0, :, 4:-4, 4:-4] * right[0, :, :-8, :-8]).mean(0)
    assert products.min() < 0
    assert (volume[0] - torch.where(products > 0, products, 0.1 * products)).abs().max() < 1e-6


def test_residual_block_adds_its_input() -> None:
    block = ResidualBlock(4)
    torch.nn.init.zeros_(block.second.weight)
    torch.nn.init.zeros_(block.second.bias)
    features = torch.randn(1, 4, 5, 6)
    assert torch.equal(block(features), features)


@pytest.mark.parametrize("left_first", [False, True])
def test_right_offsets_come_from_the_aligned_left_view_in_the_released_form_only(left_first: bool) -> None:
    torch.manual_seed(2)
    stage = DecoderStage(8, 4, upsample=True, left_first=left_first)
    skip, decoded = torch.rand(2, 4, 8, 8), torch.rand(1, 8, 4, 4)
    seen: list[torch.Tensor] = []
    # without gradients layers are fused, and hooks are not called
    stage.right_field.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    stage(skip, decoded)
    assert torch.equal(seen[0][:, :4], skip[:1]) is not left_first
    assert torch.equal(seen[0][:, 4:8], skip[1:])


def test_first_stage_of_the_released_decoder_keeps_the_middle_of_the_doubled_map() -> None:
    stage = DecoderStage(1, 1, upsample=True, left_first=True)
    torch.nn.init.zeros_(stage.reduce.bias)
    with torch.no_grad():
        # the tap at the top left only: the doubled map itself
        stage.reduce.weight.copy_(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]))
    seen: list[torch.Tensor] = []
    stage.left_field.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    decoded = torch.arange(24.0).view(1, 1, 4, 6)
    stage(torch.zeros(2, 1, 4, 6), decoded)
    expected = decoded.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, 2:6, 3:9]
    assert torch.equal(seen[0][:, 2:], expected)


@pytest.mark.parametrize("stem", [1, 2])
def test_untrained_network_gives_the_mean_of_the_views(stem: int) -> None:
    left, right = torch.rand(2, 1, 3, 32, 64)
    with torch.no_grad():
        assert torch.equal(DPANet(width=8, stem=stem).eval()(left, right), (left + right) / 2)


def test_stem_quarters_the_features_and_doubles_what_sizes_must_be_multiples_of() -> None:
    network = DPANet(width=8, stem=2).eval()
    seen: list[torch.Size] = []
    network.features.register_forward_hook(lambda module, inputs, features: seen.append(features.shape))
    with torch.no_grad():
        assert network(*torch.rand(2, 1, 3, 64, 96)).shape == (1, 3, 64, 96)
    assert seen == [(2, 8, 32, 48)]
    with pytest.raises(ValueError, match="multiples of 32, got 48x64"):
        network(*torch.rand(2, 1, 3, 48, 64))


@pytest.mark.parametrize("released", [False, True])
def test_smallest_pair_is_16_by_16(released: bool) -> None:
    with torch.no_grad():
        result = DPANet(width=8, released=released).eval()(*torch.rand(2, 2, 3, *DPANet.min_size))
    assert result.shape == (2, 3, 16, 16)


def test_sizes_that_do_not_fit_are_refused_by_name() -> None:
    network = DPANet(width=8)
    with pytest.raises(ValueError, match="multiples of 16, got 24x32"):
        network(*torch.rand(2, 1, 3, 24, 32))
    with pytest.raises(ValueError, match="views of one shape"):
        network(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 32))


@pytest.mark.parametrize("stem", [1, 2])
def test_training_on_one_batch_lowers_the_loss_and_moves_every_parameter(stem: int) -> None:
    torch.manual_seed(3)
    network = DPANet(width=8, stem=stem).train()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    sharp = torch.rand(2, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    soft = functional.avg_pool2d(sharp, 3, 1, 1)
    left, right = torch.roll(soft, 1, 3), torch.roll(soft, -1, 3)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        loss = functional.mse_loss(network(left, right), sharp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    still = [name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])]
    assert still == []


def test_bfloat16_autocast_stays_near_float32() -> None:
    torch.manual_seed(4)
    network = DPANet(width=8).eval()
    torch.nn.init.normal_(network.output[2].weight, std=0.3)
    left, right = torch.rand(2, 1, 3, 32, 32)
    mean = (left + right) / 2
    with torch.no_grad():
        change = network(left, right) - mean
        with torch.autocast("cpu", torch.bfloat16):
            result = network(left, right)
    assert result.dtype == torch.float32
    assert change.abs().max() > 0.05
    assert (result - mean - change).abs().max() < 0.05 * change.abs().max()
