"""JDRL as a loss: what it asks of a picture, what its gradients reach, and that every network trains with it."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dpdeblur.networks import NETWORKS
from dpdeblur.training.jdrl import JDRL, JdrlObjective, JdrlOptions, compare_scales
from dpdeblur.training.loop import train
from dpdeblur.training.options import TrainOptions
from dpdeblur.training.recipe import Pair, Progress
from dpdeblur.training.recipes import RECIPES
from dpdeblur.training.textures import draw_textures
from dpdeblur.training.warping import estimate_flow, fit_motion, measure_length

SMALL = JdrlOptions(reblur_width=4)
FORMS = {
    "gkmnet": {},
    "dpanet": {"width": 4},
    "k3dn": {"base": 4, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1},
    "both": {"base": 4, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1},
}


def blur(picture: Tensor) -> Tensor:
    """A 5x5 box, the border repeated."""
    return functional.avg_pool2d(functional.pad(picture, (2, 2, 2, 2), mode="replicate"), 5, 1)


@pytest.fixture(scope="module")
def drawn() -> Tensor:
    """Two pictures with detail everywhere, (2, 3, 112, 112)."""
    return torch.from_numpy(draw_textures(2, seed=5)[:, 100:212, 100:212].copy()).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def sharp(drawn: Tensor) -> Tensor:
    return drawn[..., 8:104, 8:104]


@pytest.fixture(scope="module")
def moved(drawn: Tensor) -> Tensor:
    """The same pictures, three pixels to the left and two upwards."""
    return drawn[..., 10:106, 11:107]


def test_the_numbers_are_the_papers():
    options = JdrlOptions()
    assert (options.threshold, options.reblur_weight, options.initial_epochs) == (0.35, 0.5, 15)
    assert options.reblur_width == 64
    assert RECIPES["jdrl"] is JDRL
    assert (JDRL.epochs, JDRL.learning_rate, JDRL.optimizer, JDRL.height, JDRL.width) == (100, 2e-5, "adam", 512, 512)
    factors = [JDRL.schedule(Progress(0, epoch / 100, 100)) for epoch in (0, 59.9, 60, 99)]
    assert factors == [1, 1, 0.5, 0.5]


def test_the_distance_has_its_closed_form_at_every_scale():
    results = [torch.full((1, 3, 16 // k, 16 // k), 0.7) for k in (1, 2, 4)]
    reference = torch.full((1, 3, 16, 16), 0.4)
    everywhere = torch.ones(1, 1, 16, 16)
    one = (0.3**2 + 1e-6) ** 0.5
    assert float(compare_scales(results[:1], reference, everywhere)) == pytest.approx(one, rel=1e-5)
    assert float(compare_scales(results, reference, everywhere)) == pytest.approx(3 * one, rel=1e-5)
    half = everywhere.clone()
    half[..., :8] = 0  # what is masked counts as no difference: the epsilon remains
    assert float(compare_scales(results[:1], reference, half)) == pytest.approx((one + 1e-3) / 2, rel=1e-5)


def test_a_result_without_fault_costs_next_to_nothing(sharp: Tensor):
    outcome = JdrlObjective(SMALL).judge([sharp], sharp, sharp, is_initial=False)
    # epsilon for each of the two terms, and what the flow of equal pictures is off by
    assert 2e-3 <= float(outcome.figures["deblurring"]) < 3e-3
    assert float(outcome.figures["kept"]) > 0.97


def test_a_moved_reference_is_forgiven_by_the_first_two_terms(sharp: Tensor, moved: Tensor):
    figures = JdrlObjective(SMALL).judge([sharp], blur(sharp), moved, is_initial=False).figures
    pixelwise = compare_scales([sharp], moved, torch.ones_like(sharp[:, :1]))
    assert float(figures["deblurring"]) < 0.35 * 2 * float(pixelwise)
    assert 0.7 < float(figures["kept"]) < 1


def test_the_whole_is_the_sum_of_the_terms(sharp: Tensor, moved: Tensor):
    objective = JdrlObjective(JdrlOptions(reblur_width=4, reblur_weight=0.25))
    outcome = objective.judge([sharp], blur(sharp), moved, is_initial=False)
    blurred = blur(sharp)
    reblurring = torch.sqrt((objective.reblur(sharp, blurred) - blurred) ** 2 + 1e-6).mean()
    expected = float(outcome.figures["deblurring"]) + 0.25 * float(reblurring.detach())
    assert float(outcome.loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_the_first_stage_looks_for_flow_on_the_blurred_picture_only(sharp: Tensor, moved: Tensor):
    objective = JdrlObjective(SMALL)
    useless = torch.full_like(sharp, 0.5, requires_grad=True)  # no flow can be found on it
    blurred = blur(sharp)
    outcome = objective.judge([useless], blurred, moved, is_initial=True)
    outcome.loss.backward()
    assert all(parameter.grad is None for parameter in objective.parameters())
    # the reference comes to lie on the blurred picture, so the gradient points at the sharp one
    agreement = (useless.grad.sign() == (useless - sharp).sign())[..., 12:-12, 12:-12].float().mean()
    assert float(agreement) > 0.9


def test_the_second_stage_begins_after_15_of_100_epochs(sharp: Tensor):
    objective, network = JdrlObjective(SMALL), NETWORKS["gkmnet"].build()
    pair = Pair(blur(sharp)[..., :48, :48], blur(sharp)[..., :48, :48], sharp[..., :48, :48])
    figures = [objective(network, pair, Progress(0, done, 100)).figures for done in (0.149, 0.151)]
    assert float(figures[0]["reblurring"]) == 0 < float(figures[1]["reblurring"])
    assert figures[0].keys() == figures[1].keys()


def test_gradients_reach_the_network_and_the_reblurring(sharp: Tensor, moved: Tensor):
    objective = JdrlObjective(SMALL)
    result = blur(sharp).requires_grad_()
    objective.judge([result], blur(sharp).detach(), moved, is_initial=False).loss.backward()
    assert result.grad is not None and float(result.grad.abs().sum()) > 0
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in objective.parameters())


def restore_by(loss: str, sharp: Tensor, moved: Tensor) -> Tensor:
    """Let a loss pull the pixels of a blurred picture, with nothing between, for 30 steps."""
    torch.manual_seed(0)
    blurred = blur(sharp)
    picture = nn.Parameter(blurred.clone())
    objective = JdrlObjective(SMALL)
    optimizer = torch.optim.Adam([picture, *objective.parameters()], lr=0.02)
    for step in range(30):
        optimizer.zero_grad()
        if loss == "jdrl":
            total = objective.judge([picture], blurred, moved, is_initial=step < 8).loss
        else:
            total = compare_scales([picture], moved, torch.ones_like(moved[:, :1]))
        total.backward()
        optimizer.step()
    return picture.detach()


def test_pixels_pulled_by_jdrl_become_sharp_where_they_are(sharp: Tensor, moved: Tensor):
    inner = (..., slice(12, -12), slice(12, -12))

    def drift(picture: Tensor) -> float:
        return float(measure_length(fit_motion(estimate_flow(sharp, picture))[inner]).mean())

    sharp, moved = sharp[:1], moved[:1]
    by_jdrl, pixelwise = (restore_by(loss, sharp, moved) for loss in ("jdrl", "pixelwise"))
    # the reference lies sqrt(3^2 + 2^2) = 3.6 pixels away
    assert drift(pixelwise) == pytest.approx(13**0.5, abs=0.3)
    assert drift(by_jdrl) < 0.5
    errors = [float((picture - sharp)[inner].abs().mean()) for picture in (by_jdrl, blur(sharp))]
    assert errors[0] < 0.75 * errors[1]


@pytest.mark.parametrize("mask", ["motion", "length"])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_learns_by_it(name: str, mask: str, sharp: Tensor, moved: Tensor):
    torch.manual_seed(0)
    network = NETWORKS[name].build(**FORMS[name]).train()
    objective = JdrlObjective(JdrlOptions(reblur_width=4, mask=mask))
    optimizer = torch.optim.Adam([*network.parameters(), *objective.parameters()], lr=3e-4)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    blurred = blur(sharp)[:1, :, :64, :64]
    pair = Pair(blurred, blurred, moved[:1, :, :64, :64])
    losses = []
    for step in range(4):
        outcome = objective(network, pair, Progress(step, 0.5, 100))
        assert outcome.result.shape == pair.sharp.shape
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        losses.append(float(outcome.loss.detach()))
    assert losses[-1] < losses[0]
    assert any(not torch.equal(now, then) for now, then in zip(network.parameters(), before, strict=True))


def test_the_recipe_trains_a_dual_pixel_network_on_a_folder_of_pairs(tmp_path: Path, sharp: Tensor, moved: Tensor):
    for part, pictures in (("l/source", blur(sharp)), ("r/source", blur(sharp)), ("c/target", moved)):
        folder = tmp_path / "pairs" / f"train_{part}"
        folder.mkdir(parents=True)
        for number, picture in enumerate(pictures):
            encoded = (picture.permute(1, 2, 0).numpy()[..., ::-1] * 65535).round().astype(np.uint16)
            cv2.imwrite(str(folder / f"{number}.png"), encoded)
    options = TrainOptions(
        recipe="jdrl",
        network="k3dn",
        form=FORMS["k3dn"],
        pairs=tmp_path / "pairs",
        out=tmp_path / "out",
        steps=3,
        batch=1,
        height=48,
        width=48,
        score_every=0,
    )
    train(options)
    with (options.out / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[1:]
    assert len(rows) == 3
    # one step in the first stage, then the reblurring joins
    assert [float(row["reblurring"]) > 0 for row in rows] == [False, True, True]
    assert all(0 < float(row["kept"]) <= 1 for row in rows)
    state = torch.load(options.out / "state.pt", weights_only=True)
    assert any("reblur" in name for name in state["trainee"])
