"""From a photo to its restored self: nothing is lost on the way, and what goes wrong is said."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from tiny_networks import ADDED, write_k3dn
from torch import Tensor, nn

from dpdeblur.colour.spaces import ADOBE_RGB, LINEAR_SRGB, PROPHOTO, SRGB, ColourSpace
from dpdeblur.errors import DpDeblurError, NoSecondViewError
from dpdeblur.networks import K3DN_SIZES, NETWORKS, NetworkSpec
from dpdeblur.networks.network import Network
from dpdeblur.photo import Image, Photo
from dpdeblur.restoration import inference, tiling
from dpdeblur.restoration.inference import Restored, Restorer, Settings
from dpdeblur.restoration.tiling import plan_tiles, process_tiles
from dpdeblur.weights import WEIGHTS_FOLDER, Card, load_weights, save_weights

HALF_CODE = 0.5 / 65535


class Fake(Network):
    """A network of one view that runs `act` on its encoded picture; its one parameter is there to be stored."""

    views = 1
    size_multiple = (16, 16)
    min_size = (16, 16)
    overlap_px = 16
    bytes_per_px = 1000
    half_bytes_per_px = 1000
    value_offset = 0.0
    channel_order = "rgb"
    act: Callable[[Tensor], Tensor] = staticmethod(lambda picture: picture)

    def __init__(self) -> None:
        """Hold a zero."""
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(1))

    def forward(self, picture: Tensor) -> Tensor:
        """Act."""
        return type(self).act(picture)


@pytest.fixture
def restore_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Tensor], Tensor]], Callable[..., Restored]]:
    """Make a function that restores a photo by a network that does what it is told."""
    monkeypatch.setattr(inference, "OVERHEAD_BYTES", 0)

    def make(act: Callable[[Tensor], Tensor], *, released: bool = False, **attributes: Any) -> Callable[..., Restored]:
        network = type("Told", (Fake,), {"act": staticmethod(act), **attributes})
        monkeypatch.setitem(NETWORKS, "fake", NetworkSpec("fake", 1, network))
        path = tmp_path / "fake.safetensors"
        save_weights(path, "fake", network(), Card("fake", released=released))

        def restore(
            photo: Photo,
            advance: Callable[[float], None] = lambda share: None,
            in_place: bool = False,
            **settings: Any,
        ) -> Restored:
            return Restorer(path, Settings(device="cpu", **settings)).restore(photo, advance, in_place=in_place)

        return restore

    return make


@pytest.fixture(scope="module")
def k3dn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mean of the encoded views."""
    return write_k3dn(tmp_path_factory.mktemp("weights") / "k3dn.safetensors")


def _encode(linear: Image) -> Image:
    """The sRGB curve by its definition, for values from 0.0031308 up."""
    return np.asarray(1.055 * np.asarray(linear, np.float64) ** (1 / 2.4) - 0.055)


def _decode(encoded: Image) -> Image:
    """The inverse, for values from 0.04045 up."""
    return np.asarray(((np.asarray(encoded, np.float64) + 0.055) / 1.055) ** 2.4)


def _random(*shape: int, low: float = 0.05, high: float = 0.6, seed: int = 5) -> Image:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def _photo(base: Image, left: Image | None = None, right: Image | None = None, colour: ColourSpace = SRGB) -> Photo:
    return Photo((Path("a.tif"),), "image", base, left, right, colour)


def _restore(weights: Path, photo: Photo, **settings: Any) -> Restored:
    return Restorer(weights, Settings(device="cpu", **settings)).restore(photo)


@pytest.mark.parametrize("scale", [1.0, 0.37])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("colour", [SRGB, ADOBE_RGB, PROPHOTO, LINEAR_SRGB], ids=lambda space: space.name)
def test_identity_weights_give_the_photo_back(gkmnet: Path, colour: ColourSpace, channels: int, scale: float) -> None:
    codes = np.random.default_rng(1).integers(0, 65536, (45, 70, channels), np.uint16)
    codes[0, :4] = [[0], [1], [65534], [65535]]
    base = colour.decode(codes / np.float32(65535))
    restored = _restore(gkmnet, _photo(base, colour=colour), working_scale=scale)
    assert restored.working_scale == scale
    assert restored.image.shape == base.shape and restored.image.dtype == np.float32
    np.testing.assert_allclose(colour.encode(restored.image) * 65535, codes, rtol=0, atol=0.5)


@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_identity_weights_keep_values_below_black_and_above_white(gkmnet: Path, scale: float) -> None:
    base = _random(40, 50, 3, low=-0.2, high=3.0)
    for colour in (SRGB, PROPHOTO):
        image = _restore(gkmnet, _photo(base, colour=colour), working_scale=scale).image
        np.testing.assert_allclose(image, base, rtol=0, atol=HALF_CODE)


def test_identity_weights_give_the_photo_back_from_tiles(gkmnet: Path) -> None:
    base = _random(90, 100, 3, low=0, high=1)
    restored = _restore(gkmnet, _photo(base), working_scale=1, tile_px=48, overlap_px=16)
    assert restored.tile_px == 48
    np.testing.assert_allclose(SRGB.encode(restored.image), SRGB.encode(base), rtol=0, atol=HALF_CODE)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 2), (17, 31)])
def test_any_size_is_restored(gkmnet: Path, k3dn: Path, size: tuple[int, int]) -> None:
    for weights, channels, scale in itertools.product((gkmnet, k3dn), (1, 3), (None, 0.37)):
        base = _random(*size, channels)
        image = _restore(weights, _photo(base, base, base), working_scale=scale).image
        np.testing.assert_allclose(SRGB.encode(image), SRGB.encode(base), rtol=0, atol=HALF_CODE)


@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_strength_is_the_share_of_the_change(brighter: Path, scale: float) -> None:
    base = _random(40, 50, 3)
    for strength in (0.5, 1.0):
        image = _restore(brighter, _photo(base), strength=strength, working_scale=scale).image
        np.testing.assert_allclose(_encode(image) - _encode(base), strength * ADDED, rtol=0, atol=HALF_CODE)
    np.testing.assert_array_equal(_restore(brighter, _photo(base), strength=0.0, working_scale=scale).image, base)


def test_a_pair_comes_back_as_its_mean_plus_the_change(brighter: Path) -> None:
    left, right = _random(40, 50, 3, seed=1), _random(40, 50, 3, seed=2)
    mean = (left + right) / 2
    image = _restore(brighter, _photo(mean, left, right), working_scale=1).image
    np.testing.assert_allclose(image, _decode(_encode(mean) + ADDED), rtol=0, atol=HALF_CODE)


def test_a_photo_keeps_the_detail_that_its_views_lack(brighter: Path) -> None:
    base = _random(40, 50, 3)
    flat = np.full_like(base, 0.3)
    image = _restore(brighter, _photo(base, flat, flat), working_scale=1).image
    np.testing.assert_allclose(image, _decode(_encode(base) + ADDED), rtol=0, atol=HALF_CODE)


def test_a_prediction_from_two_views_replaces_their_mean(k3dn: Path) -> None:
    left, right = _random(40, 50, 3, seed=1), _random(40, 50, 3, seed=2)
    # this network gives the mean of the encoded views, which is darker than that of their light
    image = _restore(k3dn, _photo((left + right) / 2, left, right), working_scale=1).image
    np.testing.assert_allclose(image, _decode((_encode(left) + _encode(right)) / 2), rtol=0, atol=HALF_CODE)


def test_a_network_of_one_view_sees_the_mean_light_of_both(restore_with: Any) -> None:
    seen: list[Tensor] = []
    left, right = _random(32, 48, 3, seed=1), _random(32, 48, 3, seed=2)
    photo = _photo(_random(32, 48, 3, seed=3), left, right)
    restore_with(lambda picture: seen.append(picture.clone()) or picture)(photo, working_scale=1)
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0), _encode((left + right) / 2), rtol=0, atol=1e-6)


def test_networks_see_light_averaged_at_the_working_scale(restore_with: Any) -> None:
    seen: list[Tensor] = []
    base = _random(64, 96, 3)
    restore_with(lambda picture: seen.append(picture.clone()) or picture)(_photo(base), working_scale=0.5)
    blocks = base.reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0), _encode(blocks), rtol=0, atol=1e-6)


@pytest.mark.parametrize("colour", [SRGB, ADOBE_RGB], ids=lambda space: space.name)
def test_bands_and_tiles_give_what_whole_pictures_give(restore_with: Any, colour: ColourSpace) -> None:
    left, right = _random(307, 410, 3, low=0.2, seed=1), _random(307, 410, 3, low=0.2, seed=2)
    base = cv2.GaussianBlur(left, (0, 0), 2)
    restore = restore_with(lambda picture: 0.8 * picture + 0.1 * torch.roll(picture, 1, 3), overlap_px=32)
    photo = _photo(base, left, right, colour)
    small = (round(307 * 0.5123), round(410 * 0.5123))
    # each step on the whole picture, as it would be typed in
    mean = cv2.resize((left + right) / 2, small[::-1], interpolation=cv2.INTER_AREA)
    seen = _encode(mean @ colour.to_linear_srgb.T)
    change = 0.8 * seen + 0.1 * np.roll(seen, 1, axis=1) - seen
    enlarged = cv2.resize(change.astype(np.float32), (410, 307), interpolation=cv2.INTER_CUBIC)
    light = base @ colour.to_linear_srgb.T
    difference = _decode(_encode(light) + 0.7 * enlarged) - light
    expected = base + difference @ np.linalg.inv(colour.to_linear_srgb).T
    for tile_px in (64, 96, None):
        restored = restore(photo, working_scale=0.5123, tile_px=tile_px, strength=0.7, precision="fp32")
        # at the left edge of a tile something else is rolled in; the blending drops a quarter of the overlap
        np.testing.assert_allclose(restored.image[:, 8:], expected[:, 8:], rtol=0, atol=2e-6)


def test_an_ensemble_averages_over_the_photos_mirror_images(restore_with: Any) -> None:
    base = _random(32, 48, 3, low=0.2)
    restore = restore_with(lambda picture: torch.roll(picture, 1, 3))
    seen = _encode(base)
    # twice rolled to the right, and of the mirror images twice to the left
    expected = _decode((np.roll(seen, 1, axis=1) + np.roll(seen, -1, axis=1)) / 2)
    image = restore(_photo(base), working_scale=1, ensemble=True, precision="fp32").image
    np.testing.assert_allclose(image, expected, rtol=0, atol=2e-6)
    single = restore(_photo(base), working_scale=1, precision="fp32").image
    assert np.abs(single - expected).max() > 0.1


def test_the_working_scale_fits_the_blur_unless_it_is_given(restore_with: Any) -> None:
    noise = np.random.default_rng(1).random((400, 400), np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 12)
    base = 0.5 + 0.2 * ((blurred - 0.5) / blurred.std())[..., None] * np.float32(0.5)
    assert restore_with(lambda picture: picture)(_photo(base)).working_scale < 0.7


def test_a_network_of_two_views_refuses_a_photo_of_one(k3dn: Path) -> None:
    with pytest.raises(NoSecondViewError) as caught:
        _restore(k3dn, _photo(_random(20, 20, 3)))
    assert str(caught.value) == "a.tif: k3dn needs a left and a right view and this photo has one; " + (
        "use --model auto or gkmnet"
    )


def test_the_value_offset_is_added_before_and_taken_off_after(restore_with: Any) -> None:
    base = _random(20, 20, 3, low=0.25)
    image = restore_with(lambda picture: 0.5 * picture, value_offset=-0.5)(_photo(base), working_scale=1).image
    np.testing.assert_allclose(image, _decode(0.5 * (_encode(base) - 0.5) + 0.5), rtol=0, atol=HALF_CODE)


def test_k3dn_gives_what_it_gives_by_hand(tmp_path: Path) -> None:
    form = {"base": 4, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1}
    network = _perturb(NETWORKS["k3dn"].build(**form))
    save_weights(tmp_path / "w.safetensors", "k3dn", network, Card("k3dn", form))
    left, right = _random(32, 64, 3, seed=1), _random(32, 64, 3, seed=2)
    mean = (left + right) / 2
    with torch.inference_mode():
        picture = network(*(_to_tensor(_encode(view) - 0.5) for view in (left, right)))[0].permute(1, 2, 0).numpy()
    expected = _decode((picture + 0.5).clip(0, 1))
    assert np.abs(expected - _decode((_encode(left) + _encode(right)) / 2)).max() > 100 * HALF_CODE
    image = _restore(tmp_path / "w.safetensors", _photo(mean, left, right), working_scale=1, precision="fp32").image
    np.testing.assert_allclose(image, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("colour", [SRGB, ADOBE_RGB], ids=lambda space: space.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_released_weights_give_their_networks_own_picture(tmp_path: Path, colour: ColourSpace, channels: int) -> None:
    torch.manual_seed(0)
    form = {"width": 8, "released": True}
    network = NETWORKS["dpanet"].build(**form).eval()
    save_weights(tmp_path / "w.safetensors", "dpanet", network, Card("dpanet", form, released=True))
    # light colours, which lie inside sRGB too
    left, right = (_random(32, 48, channels, low=0.3, seed=seed) for seed in (1, 2))
    seen = [_encode(np.repeat(view, 3 // channels, axis=2)) for view in (left, right)]
    if channels == 3:
        seen = [_encode(view @ colour.to_linear_srgb.T) for view in (left, right)]
    with torch.inference_mode():
        blue_first = network(*(_to_tensor(view[..., ::-1]) for view in seen))[0].permute(1, 2, 0).numpy()
    expected = _decode(blue_first[..., ::-1])
    assert np.abs(expected - expected[..., ::-1]).mean() > 0.001
    restored = _restore(tmp_path / "w.safetensors", _photo(left, left, right, colour), strength=0.3, working_scale=0.5)
    assert restored.working_scale == 1.0 and restored.warnings == ()
    light = restored.image @ colour.to_linear_srgb.T if channels == 3 else restored.image
    wanted = expected if channels == 3 else expected.mean(axis=2, keepdims=True)
    np.testing.assert_allclose(light, wanted, rtol=0, atol=1e-5)


def _fail_above(pixels: int, error: Callable[[], Exception]) -> Callable[[Tensor], Tensor]:
    def act(picture: Tensor) -> Tensor:
        if picture.shape[2] * picture.shape[3] > pixels:
            raise error()
        return picture + 0.0625

    return act


def _find_cpu_error() -> Exception:
    """What torch itself raises when a CPU has no more memory: more than any address space holds is asked for."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, _find_cpu_error])
def test_out_of_memory_halves_the_tiles_and_goes_on(restore_with: Any, error: Callable[[], Exception]) -> None:
    base = _random(150, 130, 3)
    shares: list[float] = []
    restored = restore_with(_fail_above(50 * 50, error))(_photo(base), shares.append, working_scale=1)
    # 160 and 80 are too large; 40 is rounded up to a multiple of 16
    assert restored.tile_px == 48
    assert restored.warnings == ("out of memory: went on with tiles of 48 pixels",)
    np.testing.assert_allclose(_encode(restored.image) - _encode(base), 0.0625, rtol=0, atol=HALF_CODE)
    assert sum(shares) == pytest.approx(1)


def _sharpen(picture: Tensor) -> Tensor:
    """A change that depends on the rows above and below."""
    return picture + 0.2 * (2 * picture - torch.roll(picture, 3, 2) - torch.roll(picture, -3, 2))


@pytest.mark.parametrize("scale", [1.0, 0.61, 0.2])
@pytest.mark.parametrize(("channels", "is_dual"), [(3, False), (1, False), (3, True)])
def test_in_place_a_photo_becomes_what_it_becomes_elsewhere(
    restore_with: Any, monkeypatch: pytest.MonkeyPatch, scale: float, channels: int, is_dual: bool
) -> None:
    monkeypatch.setattr(tiling, "_STRIP_PX", 4 * 170)
    base = _random(210, 170, channels, low=0.2)
    views = (_random(210, 170, channels, seed=1), _random(210, 170, channels, seed=2)) if is_dual else (None, None)
    restore = restore_with(_sharpen)
    options: dict[str, Any] = {"working_scale": scale, "tile_px": 48, "precision": "fp32"}
    expected = restore(_photo(base.copy(), *views), **options).image
    restored = restore(_photo(base, *views), in_place=True, **options)
    assert restored.image is base
    np.testing.assert_array_equal(base, expected)


def test_in_place_a_network_that_gives_its_own_picture_gives_the_same(restore_with: Any) -> None:
    base = _random(150, 60, 3, low=0.2)
    restore = restore_with(_sharpen, released=True)
    expected = restore(_photo(base.copy()), tile_px=48).image
    assert restore(_photo(base), tile_px=48, in_place=True).image is base
    np.testing.assert_array_equal(base, expected)


def test_a_photo_that_cannot_be_written_to_is_not_restored_in_place(restore_with: Any) -> None:
    base = _random(40, 50, 3)
    base.flags.writeable = False
    image = restore_with(lambda picture: picture + 0.0625)(_photo(base), working_scale=1, in_place=True).image
    np.testing.assert_allclose(_encode(image) - _encode(base), 0.0625, rtol=0, atol=HALF_CODE)


@pytest.mark.parametrize("in_place", [False, True])
def test_out_of_memory_half_way_changes_no_row_twice(restore_with: Any, in_place: bool) -> None:
    calls = itertools.count()

    def fail_late(picture: Tensor) -> Tensor:
        if next(calls) == 7:
            raise torch.OutOfMemoryError("late")
        return picture + 0.0625

    base = _random(200, 60, 3)
    restored = restore_with(fail_late)(_photo(base.copy()), working_scale=1, tile_px=48, in_place=in_place)
    assert restored.warnings == ("out of memory: went on with tiles of 32 pixels",)
    np.testing.assert_allclose(_encode(restored.image) - _encode(base), 0.0625, rtol=0, atol=HALF_CODE)


#: A program that restores a picture in one tile, within so many bytes beyond what it has mapped by then.
_LIMITED = """
import resource, sys
import numpy as np, torch
from pathlib import Path
from dpdeblur.restoration.inference import Restorer, Settings
from dpdeblur.photo import Photo
torch.set_num_threads(1)
path, tile_px, most = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def limit(most):
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + most, resource.RLIM_INFINITY))
limit(2**30)
restorer = Restorer(path, Settings("cpu", "fp32", tile_px, working_scale=1.0))
base = np.full((tile_px, tile_px, 3), 0.2, np.float32)
base[::7] = 0.4
limit(most)
restored = restorer.restore(Photo((Path("a.tif"),), "image", base, base, base))
print(restored.tile_px, restored.image.shape, bool(np.isfinite(restored.image).all()), *restored.warnings, sep="; ")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited and read as Linux has it")
def test_a_process_that_may_take_no_more_memory_finishes_with_smaller_tiles(tmp_path: Path) -> None:
    torch.manual_seed(0)
    form = {"width": 32, "stem": 2}
    save_weights(tmp_path / "w.safetensors", "dpanet", NETWORKS["dpanet"].build(**form), Card("dpanet", form))
    command = [sys.executable, "-c", _LIMITED, str(tmp_path / "w.safetensors"), "512", "180000000"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    tile_px, shape, is_finite, warning = result.stdout.strip().split("; ")
    assert int(tile_px) < 512 and shape == "(512, 512, 3)" and is_finite == "True"
    assert warning == f"out of memory: went on with tiles of {tile_px} pixels"


def test_progress_never_runs_past_the_end_when_tiles_are_done_again(restore_with: Any) -> None:
    calls = itertools.count()

    def fail_late(picture: Tensor) -> Tensor:
        if next(calls) == 5:
            raise torch.OutOfMemoryError("late")
        return picture

    shares: list[float] = []
    restored = restore_with(fail_late)(_photo(_random(96, 96, 3)), shares.append, working_scale=1, tile_px=48)
    assert restored.tile_px == 32
    assert min(shares) > 0 and sum(shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("size_multiple", "min_size", "tile_px"),
    [((16, 16), (16, 16), 24), ((48, 32), (48, 96), None), ((48, 32), (48, 96), 90)],
)
def test_halving_reaches_the_smallest_tile_before_it_gives_up(
    restore_with: Any, size_multiple: tuple[int, int], min_size: tuple[int, int], tile_px: int | None
) -> None:
    area = min_size[0] * min_size[1]
    sizes = {"size_multiple": size_multiple, "min_size": min_size}
    photo = _photo(_random(200, 200, 3))
    fits = restore_with(_fail_above(area, torch.OutOfMemoryError), **sizes)
    restored = fits(photo, working_scale=1, tile_px=tile_px)
    assert restored.tile_px == max(min_size)
    assert restored.warnings == (f"out of memory: went on with tiles of {max(min_size)} pixels",)
    fails = restore_with(_fail_above(area - 1, torch.OutOfMemoryError), **sizes)
    with pytest.raises(DpDeblurError) as caught:
        fails(photo, working_scale=1, tile_px=tile_px)
    assert str(caught.value) == "not enough memory for the smallest tile; close other programs or use --device cpu"


def test_other_failures_of_a_network_are_not_taken_for_a_lack_of_memory(restore_with: Any) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        restore_with(_fail_above(0, lambda: RuntimeError("a bug")))(_photo(_random(20, 20, 3)))


@pytest.mark.parametrize("ensemble", [False, True])
def test_tiles_that_a_gpu_would_see_together_make_the_same_picture(
    restore_with: Any, monkeypatch: pytest.MonkeyPatch, ensemble: bool
) -> None:
    counts: list[int] = []

    def act(picture: Tensor) -> Tensor:
        counts.append(len(picture))
        return _sharpen(picture)

    restore, photo = restore_with(act), _photo(_random(150, 110, 3))
    expected = restore(photo, working_scale=1, tile_px=48, ensemble=ensemble)
    alone = len(counts)
    assert set(counts) == {1}
    counts.clear()
    monkeypatch.setattr(Restorer, "_count_together", lambda self, plan: 5)
    restored = restore(photo, working_scale=1, tile_px=48, ensemble=ensemble)
    assert set(counts[:-1]) == {5} and sum(counts) == alone
    np.testing.assert_allclose(restored.image, expected.image, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("most_px", "tried", "warnings"),
    [
        (2 * 48**2, [(4, 48), (2, 48)], ()),
        (48**2 - 1, [(4, 48), (2, 48), (1, 48), (1, 32)], ("out of memory: went on with tiles of 32 pixels",)),
    ],
)
def test_on_running_out_of_memory_fewer_tiles_are_seen_together_before_they_are_halved(
    restore_with: Any,
    monkeypatch: pytest.MonkeyPatch,
    most_px: int,
    tried: list[tuple[int, int]],
    warnings: tuple[str, ...],
) -> None:
    shapes: list[tuple[int, int]] = []

    def act(picture: Tensor) -> Tensor:
        shapes.append((len(picture), picture.shape[2]))
        if picture[:, 0].numel() > most_px:
            raise torch.OutOfMemoryError
        return picture + 0.0625

    monkeypatch.setattr(Restorer, "_count_together", lambda self, plan: 4)
    base = _random(240, 60, 3)
    restored = restore_with(act)(_photo(base), working_scale=1, tile_px=48)
    assert list(dict.fromkeys(shapes)) == tried
    assert restored.warnings == warnings
    np.testing.assert_allclose(_encode(restored.image) - _encode(base), 0.0625, rtol=0, atol=HALF_CODE)


@pytest.mark.parametrize(
    ("tile", "free_bytes", "ensemble", "together"),
    [
        ((384, 384), 2**40, False, 14),
        ((384, 384), 2_400_000_000, False, 6),  # 1.92 GB of 0.295 each
        ((384, 384), 100_000_000, False, 1),
        ((2048, 2048), 2**40, False, 1),
        ((96, 96), 2**40, False, 45),
        ((96, 96), 2**40, True, 180),
    ],
)
def test_a_gpu_sees_as_many_tiles_together_as_keep_it_busy_and_fit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tile: tuple[int, int],
    free_bytes: int,
    ensemble: bool,
    together: int,
) -> None:
    monkeypatch.setitem(NETWORKS, "fake", NetworkSpec("fake", 1, Fake))
    save_weights(tmp_path / "fake.safetensors", "fake", Fake(), Card("fake"))
    restorer = Restorer(tmp_path / "fake.safetensors", Settings(device="cpu", ensemble=ensemble))
    plan = tiling.TilePlan((9000, 9000), tile, 0, tuple(range(9)), tuple(range(5)))
    assert restorer._count_together(plan) == 1
    restorer._device = torch.device("cuda")
    monkeypatch.setattr(inference, "measure_free_bytes", lambda device: free_bytes)
    assert restorer._count_together(plan) == together


def _overflow_in_half(picture: Tensor) -> Tensor:
    return picture * float("inf") if torch.is_autocast_enabled("cpu") else picture + 0.0625


def test_half_precision_that_overflows_is_computed_in_full_and_said_once(restore_with: Any) -> None:
    base = _random(64, 64, 3)
    restored = restore_with(_overflow_in_half)(_photo(base), working_scale=1, precision="bf16", tile_px=32)
    assert restored.warnings == ("bf16 overflowed in a tile: it was computed in fp32",)
    np.testing.assert_allclose(_encode(restored.image) - _encode(base), 0.0625, rtol=0, atol=HALF_CODE)


def test_a_lack_of_memory_and_an_overflow_are_both_said(restore_with: Any) -> None:
    def act(picture: Tensor) -> Tensor:
        return _overflow_in_half(_fail_above(48 * 48, torch.OutOfMemoryError)(picture))

    restored = restore_with(act)(_photo(_random(64, 64, 3)), working_scale=1, precision="bf16")
    assert restored.precision == "bf16"
    assert [warning.split()[0] for warning in restored.warnings] == ["out", "bf16"]


def test_full_precision_runs_without_autocast_and_half_with_it(restore_with: Any) -> None:
    seen: list[bool] = []
    restore = restore_with(lambda picture: seen.append(torch.is_autocast_enabled("cpu")) or picture)
    assert [restore(_photo(_random(8, 8, 3)), precision=name).precision for name in ("fp32", "bf16")] == [
        "fp32",
        "bf16",
    ]
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("max_memory_bytes", "size_multiple", "tile"),
    [
        # the canvas is 160 x 208: 3 x 2 tiles of 64 x 112 compute 43,008 pixels, 2 x 3 of 96 x 80 46,080
        (10_000_000, (16, 16), (64, 112)),
        # 3 x 3 of 64 x 80 46,080, 2 x 4 of 96 x 64 49,152
        (7_000_000, (16, 16), (64, 80)),
        (7_000_000, (32, 32), (96, 64)),
        (7_000_000, (48, 32), (96, 64)),
        (2_570_000, (48, 32), (48, 32)),
        (1_000, (48, 32), (48, 32)),
    ],
)
def test_automatic_tiles_compute_the_least_that_the_memory_allowed_holds(
    restore_with: Any, max_memory_bytes: int, size_multiple: tuple[int, int], tile: tuple[int, int]
) -> None:
    seen: list[tuple[int, ...]] = []
    restore = restore_with(
        lambda picture: seen.append(tuple(picture.shape[2:])) or picture,
        size_multiple=size_multiple,
        min_size=size_multiple,
    )
    restore(_photo(_random(150, 200, 3)), working_scale=1, max_memory_bytes=max_memory_bytes)
    # 1000 bytes a pixel; below the smallest tile there is nothing to choose
    assert set(seen) == {tile}


def test_automatic_tiles_are_no_longer_than_the_network_wants_them(restore_with: Any) -> None:
    photo = _photo(_random(150, 200, 3))
    assert restore_with(lambda picture: picture)(photo, working_scale=1).tile_px == 208
    restore = restore_with(lambda picture: picture, largest_tile_px=96)
    assert 64 <= restore(photo, working_scale=1).tile_px <= 96
    assert restore(photo, working_scale=1, tile_px=160).tile_px == 160
    # the authors' own picture is that of the whole
    assert restore_with(lambda picture: picture, released=True, largest_tile_px=96)(photo).tile_px == 208


def test_where_not_even_small_tiles_keep_within_the_memory_allowed_a_warning_says_so(restore_with: Any) -> None:
    restore = restore_with(lambda picture: picture, size_multiple=(48, 32), min_size=(48, 32))
    photo = _photo(_random(150, 200, 3))
    # 48 x 32 pixels of 1000 bytes, and a row of them of 15 bytes a pixel
    assert restore(photo, working_scale=1, max_memory_bytes=1_700_000).warnings == ()
    (warning,) = restore(photo, working_scale=1, max_memory_bytes=1_500_000).warnings
    assert warning == "even small tiles take about 1 MB, more than was allowed"
    # tiles that were asked for are obeyed
    assert restore(photo, working_scale=1, max_memory_bytes=1_500_000, tile_px=48).warnings == ()


def test_automatic_tiles_keep_within_the_memory_that_is_free(
    restore_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "measure_free_bytes", lambda device: 10_000_000)
    photo = _photo(_random(150, 200, 3))
    seen: list[int] = []
    restore_with(lambda picture: seen.append(picture.shape[2] * picture.shape[3] * 1000) or picture)(
        photo, working_scale=1, max_memory_bytes=2**40
    )
    assert 6_000_000 < max(seen) <= 8_000_000


def test_what_tiles_share_is_left_out_of_the_memory_for_each_but_never_more_than_half(
    restore_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = restore_with(lambda picture: picture)
    photo = _photo(_random(150, 200, 3))
    plain = [restore(photo, working_scale=1, max_memory_bytes=most).tile_px for most in (20_000_000, 7_000_000)]
    monkeypatch.setattr(inference, "OVERHEAD_BYTES", 7_000_000)
    shared = [restore(photo, working_scale=1, max_memory_bytes=most).tile_px for most in (27_000_000, 14_000_000)]
    assert shared == plain and plain[0] > plain[1]
    assert restore(photo, working_scale=1, max_memory_bytes=3_000_000).tile_px > 16


def test_half_precision_on_a_cpu_has_its_own_measure_of_memory(restore_with: Any) -> None:
    restore = restore_with(lambda picture: picture, half_bytes_per_px=500)
    photo = _photo(_random(150, 200, 3))
    options = {"working_scale": 1.0, "max_memory_bytes": 10_000_000}
    half = restore(photo, precision="bf16", **options).tile_px
    assert half == restore(photo, precision="fp32", **options | {"max_memory_bytes": 20_000_000}).tile_px
    assert half > restore(photo, precision="fp32", **options).tile_px


def test_on_a_cpu_our_weights_take_a_share_of_free_memory_and_released_ones_the_whole_photo(
    restore_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "measure_free_bytes", lambda device: 8_000_000_000)
    photo = _photo(_random(192, 208, 3))
    greedy = {"bytes_per_px": 100_000, "half_bytes_per_px": 100_000}  # 4 GB for the whole photo
    # 520 MB: 5,200 pixels, 64 by 80
    assert restore_with(lambda picture: picture, **greedy)(photo, working_scale=1).tile_px == 80
    whole = restore_with(lambda picture: picture, released=True, **greedy)(photo)
    assert whole.tile_px == 208 and whole.warnings == ()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_shipped_networks_plan_with_the_same_memory_for_photos_of_all_sizes(name: str, precision: str) -> None:
    settings = Settings(device="cpu", precision=precision, working_scale=1.0)
    restorer = Restorer(WEIGHTS_FOLDER / f"{name}.safetensors", settings)
    expected: list[int] = []

    class Planned(Exception):  # noqa: N818  # stops before the network is run
        pass

    def note_plan(size: tuple[int, int], plan: Any, *rest: Any) -> Any:
        expected.append(restorer.estimate_bytes(plan))
        raise Planned

    for height, width in ((1155, 1732), (2309, 3464), (4472, 6708)):
        views = [np.broadcast_to(np.float32(0.5), (height, width, 3))] * 3
        with mock.patch.object(inference, "process_tiles", note_plan), pytest.raises(Planned):
            restorer.restore(Photo((Path("flat"),), "pair", *views))
    assert max(expected) < 1.07 * min(expected) and max(expected) < 520_000_000


def test_released_weights_say_so_when_memory_does_not_allow_the_whole_photo(restore_with: Any) -> None:
    restore = restore_with(lambda picture: picture, released=True)
    long, square = _photo(_random(16, 400, 3)), _photo(_random(100, 100, 3))
    # it is the area that counts: 16 * 400 fits, 112 * 112 does not
    assert restore(long, max_memory_bytes=7_000_000).tile_px == 400
    restored = restore(square, max_memory_bytes=7_000_000)
    assert restored.tile_px == 64
    assert restored.warnings == (
        "the photo was restored in tiles: near their borders it may differ from the authors' picture",
    )


def _to_tensor(picture: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32))[None]


def _perturb(network: Network) -> Network:
    """Move one of our forms away from the identity, by small draws where it starts at zero and at its end."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                moved = (parameter.flatten(1) == 0).all(dim=1) | torch.tensor(name == "output.weight")
                scale = (0.02 if name == "output.weight" else 0.1) / parameter[0].numel() ** 0.5
                parameter[moved] += scale * torch.randn(parameter[moved].shape, generator=generator)
    return network.eval()


def _draw_views(height: int, width: int) -> tuple[Image, Image]:
    """Discs of all sizes out of focus, sRGB-encoded, seen 4 pixels apart."""
    rng = np.random.default_rng(7)
    canvas = np.full((height + 16, width + 16, 3), 0.3, np.float32)
    for radius in rng.uniform(1 / 90**2, 1 / 2**2, 1500) ** -0.5:
        x, y = int(rng.integers(0, width + 16)), int(rng.integers(0, height + 16))
        cv2.circle(canvas, (x, y), max(1, round(radius)), rng.uniform(0.02, 0.9, 3).tolist(), -1)
    encoded = _encode(cv2.GaussianBlur(canvas, (0, 0), 2.0)).astype(np.float32)
    left, right = (encoded[8:-8, 8 + shift : 8 + shift + width] for shift in (-2, 2))
    return left, right


# Measured: GKMNet (trained) 0.042 at most and 0.0017 on the mean, where it changes the picture by 0.0138 on the mean,
# because its attention pools over a whole tile; DPANet 0.0061 and 0.00044 of 0.071; K3DN Tiny 0.0091 and 0.00040 of
# 0.053.
@pytest.mark.parametrize(
    ("name", "form", "largest", "mean"),
    [
        ("gkmnet", {}, 0.08, 0.004),
        ("dpanet", {"width": 16}, 0.012, 0.0009),
        ("k3dn", K3DN_SIZES["tiny"], 0.018, 0.0008),
    ],
)
def test_tiles_differ_little_from_the_whole(name: str, form: dict[str, Any], largest: float, mean: float) -> None:
    torch.manual_seed(5)
    shipped = WEIGHTS_FOLDER / f"{name}.safetensors"
    network = (
        load_weights(shipped)[0] if name == "gkmnet" and shipped.exists() else _perturb(NETWORKS[name].build(**form))
    )
    views = _draw_views(224, 320)
    views = views if network.views == 2 else ((views[0] + views[1]) / 2,)

    def run(pictures: tuple[Image, ...]) -> Image:
        with torch.inference_mode():
            result = network(*(_to_tensor(picture) + network.value_offset for picture in pictures))
        return (result[0] - network.value_offset).permute(1, 2, 0).numpy()

    plan = plan_tiles(
        (224, 320),
        tile_px=128,
        overlap_px=network.overlap_px,
        multiple=network.size_multiple,
        smallest=network.min_size,
    )
    assert plan.count == 12
    whole = run(views)
    change = np.abs(whole - sum(views) / len(views))

    def start(top: int, left: int) -> Callable[[], Image]:
        result = run(tuple(view[top : top + plan.tile[0], left : left + plan.tile[1]] for view in views))
        return lambda: result

    difference = np.abs(np.concatenate([band.copy() for band in process_tiles((224, 320), plan, start)]) - whole)
    print(f"{name}: {difference.max():.5f} at most, {difference.mean():.6f} on the mean; change {change.mean():.4f}")
    assert change.mean() > 2 * difference.mean()
    assert difference.max() < largest
    assert difference.mean() < mean
