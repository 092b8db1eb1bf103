"""K3DN against the authors' numbers, published sizes and closed forms."""

import copy
import json
import zlib

import numpy as np
import pytest
import torch
from released_states import VECTORS
from torch.nn import functional

from dpdeblur.networks import K3DN_SIZES, srp
from dpdeblur.networks.k3dn import K3DN, released_keys
from dpdeblur.networks.psf import PsfBlock
from dpdeblur.networks.srp import SharpRegionPreservation


@pytest.mark.parametrize(("size", "millions"), [("tiny", 3.03), ("lightweight", 4.97), ("large", 16.1)])
def test_the_sizes_have_the_published_numbers_of_parameters(size: str, millions: float):
    network = K3DN(**K3DN_SIZES[size])
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.08)


def test_it_starts_as_the_mean_of_the_views():
    network = K3DN(base=4, blocks=1, psf_blocks=1, srp_blocks=1).eval()
    left, right = (torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(i)) - 0.5 for i in (0, 1))
    torch.testing.assert_close(network(left, right), (left + right) / 2, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_pair_passes_unrounded(dtype: torch.dtype):
    network = K3DN(base=4, blocks=2, psf_blocks=1, srp_blocks=1).eval()
    left, right = (torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(i)) - 0.5 for i in (0, 1))
    with torch.no_grad(), torch.autocast("cpu", dtype):
        result = network(left, right)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, (left + right) / 2, atol=1e-6, rtol=0)


def test_in_half_precision_the_change_is_kept_too():
    torch.manual_seed(5)
    network = K3DN(base=4, blocks=2, psf_blocks=1, srp_blocks=1).eval()
    for block in (*network.decoders[-1], network.srp[-1]):
        last = block.leave if isinstance(block, SharpRegionPreservation) else block.second
        torch.nn.init.normal_(last.weight, std=0.02)
    left, right = torch.rand(2, 1, 3, 64, 96) - 0.5
    mean = (left + right) / 2
    with torch.no_grad():
        change = network(left, right) - mean
        with torch.autocast("cpu", torch.bfloat16):
            result = network(left, right)
    assert change.abs().mean() > 0.02
    assert (result - mean - change).abs().mean() < 0.02 * change.abs().mean()


@pytest.mark.parametrize("rows", [1, 5, 16])
@pytest.mark.parametrize("released", [False, True])
def test_sharp_regions_found_in_bands_of_rows_are_those_of_the_whole(
    rows: int, released: bool, monkeypatch: pytest.MonkeyPatch
):
    torch.manual_seed(1)
    block = SharpRegionPreservation(6, 1, released).double()
    joined = torch.rand(2, 6, 23, 12, dtype=torch.float64) - 0.5
    whole = block(joined).detach()  # with gradients nothing is cut
    monkeypatch.setattr(srp, "_BAND_VALUES", rows * 2 * 81 * 12)
    with torch.no_grad():
        torch.testing.assert_close(block(joined), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("windows", [False, True])
def test_training_reaches_every_parameter(windows: bool):
    torch.manual_seed(0)
    network = K3DN(base=4, blocks=1, psf_blocks=1, srp_blocks=1, windows=windows)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    height, width = network.size_multiple if windows else (64, 64)
    left, right, sharp = (torch.rand(2, 3, height, width) - 0.5 for _ in range(3))
    # the output starts deaf to everything but the pair: after two steps all layers are heard
    for _ in range(3):
        optimizer.zero_grad()
        (network(left, right) - sharp).abs().mean().backward()
        optimizer.step()
    deaf = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert deaf == []


def test_the_kernel_is_symmetric_and_of_unit_norm():
    kernel = PsfBlock(6, released=False).build_kernel()
    torch.testing.assert_close(kernel, kernel.flip(2))
    torch.testing.assert_close(kernel.square().sum((1, 2)), torch.ones(6))


def test_the_inverse_mixing_undoes_the_mixing():
    block = PsfBlock(8, released=False).double()
    product = block.build_mixing() @ block.build_mixing(inverse=True)
    torch.testing.assert_close(product, torch.eye(8, dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_inverse_kernel_undoes_the_kernel():
    # horizontally symmetric, and mild enough that its inverse has died away within the 9x9 that is kept
    kernel = torch.zeros(2, 10, 10, dtype=torch.float64)
    kernel[:, 4, 4] = torch.tensor([1, 3])
    kernel[0, 4, [3, 5]] = 0.06
    kernel[1, 3, 4] = -0.12
    block = PsfBlock(2, released=False).double()
    block.spectrum.data = torch.view_as_real(torch.fft.rfft2(kernel))
    block.requires_grad_(False)
    both = functional.conv2d(
        functional.pad(block.build_kernel()[None], (8, 8, 8, 8)),
        block.build_kernel(inverse=True).flip(1, 2)[:, None],
        groups=2,
    )[0]
    assert both.shape == (2, 17, 17)
    gain = both[:, 8, 8].clone()
    assert bool((gain > 0.9).all())
    both[:, 8, 8] = 0
    assert float((both.abs().amax((1, 2)) / gain).max()) < 1e-4


def test_reblurring_undoes_a_deblurring_block_that_can_be_undone():
    torch.manual_seed(3)
    block = PsfBlock(4, released=False).double()
    delta = torch.zeros(4, 10, 10, dtype=torch.float64)
    delta[:, 4, 4] = 1
    block.spectrum.data = torch.view_as_real(torch.fft.rfft2(delta))
    # without mixing of signs nothing is negative, so that no activation bends
    for parameter in (block.lower, block.upper):
        parameter.data.zero_()
    block.sign.fill_(1)
    block.requires_grad_(False)
    features = torch.rand(1, 4, 12, 9, dtype=torch.float64)
    weights = torch.rand(1, 4, 12, 9, dtype=torch.float64) + 0.5
    blurred = block(features, weights, block.build_kernel()) - features
    assert float((blurred - features).abs().max()) > 0.1
    torch.testing.assert_close(block.reblur(blurred, weights) - blurred, features, atol=1e-9, rtol=0)


def test_reblurring_trains_the_same_kernels():
    torch.manual_seed(4)
    network = K3DN(base=4, blocks=1, psf_blocks=2, srp_blocks=1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    sharp, left, right = (torch.rand(2, 3, 64, 64) - 0.5 for _ in range(3))
    torch.testing.assert_close(network.reblur(sharp, left, right), sharp, atol=1e-5, rtol=0)
    for _ in range(3):
        optimizer.zero_grad()
        (network.reblur(sharp, left, right) - (left + right) / 2).abs().mean().backward()
        optimizer.step()
    deaf = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert deaf == []


def test_bfloat16_gives_finite_gradients():
    torch.manual_seed(5)
    network = K3DN(base=4, blocks=1, psf_blocks=2, srp_blocks=1)
    left, right = (torch.rand(2, 3, 64, 64) - 0.5 for _ in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        picture = network(left, right)
    (picture.float() - left).abs().mean().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("shape", [(32, 32), (160, 96)])
def test_our_form_takes_every_multiple_of_32(shape: tuple[int, int]):
    network = K3DN(base=4, blocks=1, psf_blocks=1, srp_blocks=1).eval()
    view = torch.rand(1, 3, *shape) - 0.5
    assert network(view, view).shape == view.shape
    assert network.predict_disparity(view, view).shape == (1, shape[0] // 32, shape[1] // 32, 256)


@pytest.mark.parametrize("shape", [(144, 112), (288, 336)])
def test_hard_windows_give_each_window_its_own_vector(shape: tuple[int, int]):
    network = K3DN(base=4, blocks=1, psf_blocks=1, srp_blocks=1, windows=True).eval()
    view = torch.rand(1, 3, *shape) - 0.5
    assert network.predict_disparity(view, view).shape == (1, shape[0] // 144, shape[1] // 112, 256)


def _fill_value(key: str, layout: dict[str, list[int]]) -> np.ndarray:
    """One tensor by the rule for K3DN in shared/vectors/README.md."""
    shape, last = layout[key], key.rpartition(".")[2]
    random = np.random.RandomState(zlib.crc32(key.encode()))
    normal = np.asarray(random.standard_normal(shape)).astype(np.float32)
    is_norm = f"{key.rpartition('.')[0]}.running_mean" in layout
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "p":
        return np.eye(shape[0], dtype=np.float32)[np.random.RandomState(zlib.crc32(key.encode())).permutation(shape[0])]
    if len(shape) == 6:
        return normal
    plain = {"running_mean": 0.1 * normal, "running_var": 1 + 0.1 * np.abs(normal), "sign_s": np.sign(normal)}
    plain |= dict.fromkeys(("lower", "upper", "to_w"), 0.1 * normal) | {"log_s": 4 + 0.1 * normal}
    if last in plain:
        return np.asarray(plain[last], np.float32)
    if len(shape) == 1:
        return np.asarray(1 + 0.1 * normal if last == "weight" and is_norm else 0.05 * normal, np.float32)
    gain = 0.6
    if key.endswith("modulation.weight"):
        gain = 240
    elif key.startswith("disp.") or any(part in key for part in (".conv_q.", ".conv_k.", ".conv_v.")):
        gain = 1.5
    return np.asarray(gain * normal / np.sqrt(np.prod(shape[1:])), np.float32)


def _draw_view(side: str) -> torch.Tensor:
    random = np.random.RandomState(zlib.crc32(f"k3dn.{side}".encode()))
    return torch.from_numpy(random.uniform(0, 1, (1, 3, 288, 448)).astype(np.float32)).double() - 0.5


@pytest.fixture(scope="module")
def released():
    """The authors' network, filled by the vectors' rule, and the vectors."""
    if not VECTORS.is_dir():
        pytest.skip("the authors' vectors are not beside the checkout")
    layout = json.loads((VECTORS / "k3dn_large_layout.json").read_text())
    network = K3DN(released=True).eval()
    expected = network.state_dict()
    keys = released_keys(4, 8, 4)
    assert keys.keys() == layout.keys()
    state = {keys[key]: torch.from_numpy(_fill_value(key, layout)).reshape(expected[keys[key]].shape) for key in layout}
    network.load_state_dict(state, strict=True)
    return network.double(), np.load(VECTORS / "k3dn_large.npz")


def test_the_released_form_gives_the_authors_disparity_vectors_and_picture(released):
    network, numbers = released
    views = [_draw_view(side) for side in ("left", "right")]
    with torch.no_grad():
        vectors = network.predict_disparity(*views)
        picture = network(*views)
    assert np.abs(vectors.reshape(8, 256).numpy() - numbers["disparity"]).max() < 1e-6
    assert np.abs(picture.numpy() - numbers["output"]).max() < 1e-6


def test_the_released_form_stays_near_the_authors_picture_in_float32(released):
    network, numbers = released
    network = copy.deepcopy(network).float()
    with torch.no_grad():
        picture = network(*(_draw_view(side).float() for side in ("left", "right")))
    # the vectors' filling is sensitive: their README gives 1.5e-3 for float32
    assert np.abs(picture.numpy() - numbers["output"]).max() < 3e-3


def test_the_authors_picture_does_not_come_from_a_cleared_volume(released, monkeypatch):
    network, numbers = released
    views = [_draw_view(side) for side in ("left", "right")]
    nothing = torch.zeros(1, 64, 4, 36, 56, dtype=torch.float64)
    monkeypatch.setattr(network.disparity, "recall_leftovers", lambda right: nothing)
    with torch.no_grad():
        vectors = network.predict_disparity(*views)
    difference = np.abs(vectors.reshape(2, 4, 256).numpy() - numbers["disparity"].reshape(2, 4, 256)).max(axis=(0, 2))
    assert difference[0] > 1e-2
    # three columns of features beside the border reach the first two columns of windows and no further
    assert difference[2:].max() < 1e-6
