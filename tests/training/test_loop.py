"""The training loop, for seconds, on a network of toy size."""

import csv
import dataclasses

import cv2
import numpy as np
import pytest
import torch

from dpdeblur.networks import NETWORKS
from dpdeblur.training.loop import TrainOptions, compute_loss, train
from dpdeblur.training.losses import charbonnier, gradient_difference, structural_dissimilarity
from dpdeblur.training.scenes import load_scenes, measure_psnr, score_scenes
from dpdeblur.training.textures import draw_textures

FORM = {"base": 4, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1}


@pytest.fixture
def options(tmp_path) -> TrainOptions:
    """A run of a second: textures drawn, one scene to judge by, crops of 32 pixels."""
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "one.png"), draw_textures(1, seed=0)[0])
    rng = np.random.default_rng(0)
    sharp = cv2.resize(rng.random((24, 24)), (96, 96), interpolation=cv2.INTER_NEAREST)
    blurred = cv2.blur(sharp, (5, 5))
    arrays = {"left": blurred, "right": blurred, "reference": sharp}
    pack = {f"pixel_drawn/{part}": np.rint(image * 65535).astype(np.uint16) for part, image in arrays.items()}
    np.savez(tmp_path / "scenes.npz", **pack)
    return TrainOptions(
        network="k3dn",
        form=FORM,
        textures=photos,
        scenes=tmp_path / "scenes.npz",
        out=tmp_path / "out",
        steps=4,
        batch=2,
        height=32,
        width=32,
        largest_radius_px=2,
        procedural=2,
        score_every=0,
    )


def test_a_run_leaves_weights_state_log_and_pictures(options: TrainOptions):
    scores = train(options)
    assert set(scores) == {"pixel@1", "pixel@0.5"}
    network = NETWORKS["k3dn"].build(**FORM)
    network.load_state_dict(torch.load(options.out / "best.pt", weights_only=True))
    assert (options.out / "contact.jpg").stat().st_size > 1000
    with (options.out / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {"loss", "psnr_in", "psnr_out", "pixel@1", "pixel@0.5"} <= set(rows[-1])


def test_a_stopped_run_goes_on_where_it_was(options: TrainOptions):
    train(dataclasses.replace(options, steps=2))
    first = torch.load(options.out / "state.pt", weights_only=True)
    train(options)
    second = torch.load(options.out / "state.pt", weights_only=True)
    assert (first["step"], second["step"]) == (2, 4)
    assert second["minutes"] > first["minutes"]
    assert not torch.equal(first["generator"], second["generator"])


def test_a_network_that_breaks_is_reported_instead_of_saved(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dpdeblur.training.loop._score", lambda *arguments: {"pixel@1": float("nan")})
    with pytest.raises(FloatingPointError, match="not finite"):
        train(options)
    assert not (options.out / "best.pt").exists()


def test_gkmnet_is_supervised_at_all_three_scales():
    generator = torch.Generator().manual_seed(0)
    batch = tuple(torch.rand(1, 3, 32, 32, generator=generator) for _ in range(3))
    network = NETWORKS["gkmnet"].build()
    loss, result = compute_loss(network, 1, batch, gradient_weight=0.0)
    # untrained, it is the identity: the loss is that of the blurred pyramid itself
    from dpdeblur.networks.gkmnet import build_pyramid
    from dpdeblur.training.scenes import blend_views

    levels = zip(build_pyramid(blend_views(*batch[:2])), build_pyramid(batch[2]), strict=True)
    expected = sum(float(charbonnier(blurred, sharp)) for blurred, sharp in levels)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(result, blend_views(*batch[:2]), atol=1e-5, rtol=0)


def test_losses_have_their_closed_forms():
    zero, ones = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    assert float(charbonnier(zero, ones)) == pytest.approx((1 + 1e-6) ** 0.5)
    assert float(charbonnier(zero, zero)) == pytest.approx(1e-3)
    ramp = torch.arange(16.0).expand(1, 3, 16, 16)
    assert float(gradient_difference(ramp, zero)) == pytest.approx(1.0)


def test_structural_dissimilarity_agrees_with_scikit_image():
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(3)
    one = rng.random((48, 40, 3)).astype(np.float64)
    other = np.clip(one + rng.normal(0, 0.1, one.shape), 0, 1)
    as_published = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, full = structural_similarity(one, other, data_range=1, channel_axis=-1, full=True, **as_published)
    # scikit-image's window has the same 11 pixels; ours keeps only positions where it lies inside the picture
    expected = 1 - full[5:-5, 5:-5].mean()
    tensors = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (one, other))
    assert float(structural_dissimilarity(*tensors)) == pytest.approx(expected, abs=1e-6)


def test_psnr_of_the_scenes_is_blind_to_an_affine_change(options: TrainOptions):
    scene = load_scenes(options.scenes, "cpu")[0]
    noise = 0.1 * torch.randn(scene.reference.shape, generator=torch.Generator().manual_seed(0))
    noisy = (scene.reference * 0.5 + 0.2 + 0.5 * noise).clamp(0, 1)
    plain = float(-10 * torch.log10(noise[..., 12:-12, 12:-12].pow(2).mean()))
    assert measure_psnr(noisy, scene.reference) == pytest.approx(plain, abs=0.6)


def test_doing_nothing_gains_nothing_and_the_reference_gains_much(options: TrainOptions):
    scenes = load_scenes(options.scenes, "cpu")
    scales = {"pixel": (1.0,)}
    assert score_scenes(lambda left, right: (left + right) / 2, scenes, scales)["pixel@1"] == pytest.approx(0, abs=1e-6)
    assert score_scenes(lambda left, right: scenes[0].reference, scenes, scales)["pixel@1"] > 20
