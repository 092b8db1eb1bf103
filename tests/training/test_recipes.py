"""Losses and schedules against closed forms, scikit-image and the papers' numbers."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from dpdeblur.networks import NETWORKS
from dpdeblur.networks.gkmnet import build_pyramid
from dpdeblur.networks.light import blend_views
from dpdeblur.training.losses import charbonnier, gradient_difference, structural_dissimilarity
from dpdeblur.training.papers import (
    CharbonnierObjective,
    ReblurringObjective,
    TurningObjective,
    close_srp,
    initialise_attention,
    is_similarity_turn,
)
from dpdeblur.training.recipe import Pair, Progress
from dpdeblur.training.recipes import RECIPES
from dpdeblur.training.scenes import load_scenes, measure_psnr, score_scenes
from dpdeblur.training.shipped import DetailObjective

K3DN_FORM = {"base": 4, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1}


def _batch(size: int = 32, batch: int = 1) -> Pair:
    generator = torch.Generator().manual_seed(0)
    return Pair(*(torch.rand(batch, 3, size, size, generator=generator) for _ in range(3)))


def _at_epoch(recipe: str, epoch: float) -> Progress:
    epochs = RECIPES[recipe].epochs
    return Progress(round(1e6 * epoch / epochs), epoch / epochs, epochs)


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


def test_every_recipe_has_the_numbers_of_its_paper():
    table = {name: (r.learning_rate, r.batch, r.height, r.epochs, r.optimizer) for name, r in RECIPES.items()}
    assert table["gkmnet"] == (1e-4, 4, 256, 3000, "adam")
    assert table["dpanet"] == (2e-5, 4, 512, 150, "adam")
    assert table["k3dn"][:2] == (3e-4, 4) and table["k3dn"][-1] == "adamw"
    papers = NETWORKS.keys() - {"both"}  # which no paper trained
    assert {name: recipe.network for name, recipe in RECIPES.items() if name in NETWORKS} == {n: n for n in papers}
    assert all(recipe.name == name for name, recipe in RECIPES.items())


def test_learning_rates_follow_the_papers_epochs():
    gkmnet, dpanet = RECIPES["gkmnet"].schedule, RECIPES["dpanet"].schedule
    assert [gkmnet(_at_epoch("gkmnet", e)) for e in (0, 1999, 2000, 3000)] == [1, 1, 0.1, 0.1]
    assert [dpanet(_at_epoch("dpanet", e)) for e in (0, 59, 60, 119, 120, 150)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    k3dn = RECIPES["k3dn"].schedule
    assert k3dn(Progress(0, 0.0, 300)) == pytest.approx(1) == pytest.approx(k3dn(Progress(1, 0.8, 300)))
    assert k3dn(Progress(1, 0.4, 300)) == pytest.approx(0.505)
    assert k3dn(Progress(1, 1.0, 300)) == pytest.approx(0.01)


def test_gkmnets_loss_is_squared_error_and_similarity_in_turns():
    turns = [is_similarity_turn(epoch) for epoch in (0, 999, 1000, 1499, 1500, 1999, 2000, 2499, 2500, 3000)]
    assert turns == [False, False, True, True, False, False, True, True, False, True]
    network, batch = NETWORKS["gkmnet"].build(), _batch(64)
    # untrained, it is the identity: the loss is that of the blurred pyramid itself
    blurred, sharp = build_pyramid(blend_views(*batch[:2])), build_pyramid(batch.sharp)
    squared = sum(float(((b - s) ** 2).mean()) for b, s in zip(blurred, sharp, strict=True))
    loss = TurningObjective()(network, batch, _at_epoch("gkmnet", 500)).loss
    assert float(loss.detach()) == pytest.approx(squared, rel=1e-4)
    similar = sum(float(structural_dissimilarity(b, s)) for b, s in zip(blurred, sharp, strict=True))
    loss = TurningObjective()(network, batch, _at_epoch("gkmnet", 1200)).loss
    assert float(loss.detach()) == pytest.approx(similar, rel=1e-3)


def test_dpanets_loss_is_charbonniers_distance():
    network, batch = NETWORKS["dpanet"].build(width=4), _batch()
    outcome = CharbonnierObjective()(network, batch, _at_epoch("dpanet", 0))
    # untrained, it is the mean of the views
    expected = torch.sqrt(((batch.left + batch.right) / 2 - batch.sharp) ** 2 + 1e-6).mean()
    assert float(outcome.loss.detach()) == pytest.approx(float(expected), rel=1e-4)


def test_k3dns_loss_adds_the_reference_blurred_by_the_shared_kernels():
    network, batch = NETWORKS["k3dn"].build(**K3DN_FORM), _batch(64)
    # at first the network passes the views through, whatever the kernels are
    torch.nn.init.normal_(network.output.weight, std=0.1)
    network.eval()
    outcome = ReblurringObjective(0.3)(network, batch, _at_epoch("k3dn", 0))
    left, right, sharp = (picture - 0.5 for picture in batch)
    deblurring = charbonnier(network(left, right) + 0.5, batch.sharp)
    reblurring = charbonnier(network.reblur(sharp, left, right) + 0.5, blend_views(*batch[:2]))
    expected = float((deblurring + 0.3 * reblurring).detach())
    assert float(outcome.loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(outcome.figures["reblurring"]) == pytest.approx(float(reblurring.detach()), rel=1e-5)
    # the reblurring loss alone reaches the kernels
    reblurring.backward()
    assert float(network.psf[0].spectrum.grad.abs().sum()) > 0
    with pytest.raises(TypeError, match="only K3DN"):
        ReblurringObjective()(NETWORKS["dpanet"].build(width=4), batch, _at_epoch("k3dn", 0))


def test_k3dn_trains_its_sharp_region_blocks_last_and_alone():
    network = NETWORKS["k3dn"].build(**K3DN_FORM)
    trains = RECIPES["k3dn"].trains
    early, late = (
        {name for name, _ in network.named_parameters() if trains(name, Progress(0, done, 300))} for done in (0.5, 0.9)
    )
    assert late == {name for name, _ in network.named_parameters() if name.startswith("srp.")}
    assert early | late == {name for name, _ in network.named_parameters()} and not early & late
    close_srp(network)
    joined = torch.rand(1, 16, 8, 8)
    torch.testing.assert_close(network.srp[0](joined), joined)


def test_gkmnets_attention_starts_by_xavier():
    torch.manual_seed(0)
    network = NETWORKS["gkmnet"].build()
    initialise_attention(network)
    weight = network.coefficients.gates.weight
    fan_in, fan_out = weight.shape[1] * 25, weight.shape[0] * 25
    assert float(weight.abs().max()) == pytest.approx(math.sqrt(6 / (fan_in + fan_out)), rel=1e-3)


def test_the_shipped_recipe_supervises_gkmnet_at_all_three_scales():
    network, batch = NETWORKS["gkmnet"].build(), _batch()
    outcome = DetailObjective(0.0)(network, batch, Progress(0, 0.0, 1))
    levels = zip(build_pyramid(blend_views(*batch[:2])), build_pyramid(batch.sharp), strict=True)
    expected = sum(float(charbonnier(blurred, sharp)) for blurred, sharp in levels)
    assert float(outcome.loss.detach()) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(outcome.result, blend_views(*batch[:2]), atol=1e-5, rtol=0)
    weighted = DetailObjective(0.5)(NETWORKS["dpanet"].build(width=4), batch, Progress(0, 0.0, 1)).loss
    mean = (batch.left + batch.right) / 2
    plain = charbonnier(mean, batch.sharp) + 0.5 * gradient_difference(mean, batch.sharp)
    assert float(weighted.detach()) == pytest.approx(float(plain), rel=1e-4)


def _pack(folder) -> None:
    rng = np.random.default_rng(0)
    image = np.rint(rng.random((96, 96)) * 65535).astype(np.uint16)
    np.savez(folder / "scenes.npz", **{f"pixel_drawn/{part}": image for part in ("left", "right", "reference")})


def test_psnr_of_the_scenes_is_blind_to_an_affine_change(tmp_path):
    _pack(tmp_path)
    scene = load_scenes(tmp_path / "scenes.npz", "cpu")[0]
    noise = 0.05 * torch.randn(scene.reference.shape, generator=torch.Generator().manual_seed(0))
    noisy = (scene.reference + noise) * 0.5 + 0.2
    plain = float(-10 * torch.log10(noise[..., 12:-12, 12:-12].pow(2).mean()))
    assert measure_psnr(noisy, scene.reference) == pytest.approx(plain, abs=0.6)


def test_doing_nothing_gains_nothing_and_the_reference_gains_much(tmp_path):
    _pack(tmp_path)
    scenes = load_scenes(tmp_path / "scenes.npz", "cpu")
    scenes = [dataclasses.replace(scene, left=scene.left.roll(1, 3), right=scene.right.roll(1, 3)) for scene in scenes]
    scales = {"pixel": (1.0,)}
    assert score_scenes(lambda left, right: (left + right) / 2, scenes, scales)["pixel@1"] == pytest.approx(0, abs=1e-6)
    assert score_scenes(lambda left, right: scenes[0].reference, scenes, scales)["pixel@1"] > 20
