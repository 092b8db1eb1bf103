"""The training loop, for seconds, on a network of toy size."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dpdeblur.errors import UsageError
from dpdeblur.networks import NETWORKS
from dpdeblur.training.loop import Run, train
from dpdeblur.training.options import TrainOptions, resolve_recipe
from dpdeblur.training.processes import Processes
from dpdeblur.training.recipe import Progress
from dpdeblur.training.scenes import load_scenes
from dpdeblur.training.sources import MixedSource
from dpdeblur.training.step import Stepper
from dpdeblur.training.textures import draw_textures
from dpdeblur.training.validation import Judge

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


def _arguments(options: TrainOptions) -> list[str]:
    """The options as `python -m dpdeblur.training` takes them."""
    defaults = TrainOptions()
    words = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value != getattr(defaults, field.name):
            words += [f"--{field.name.replace('_', '-')}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return words


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _state(folder: Path) -> dict:
    return torch.load(folder / "state.pt", weights_only=True)


def _assert_same_weights(one: Path, other: Path) -> None:
    first, second = _state(one), _state(other)
    assert first["step"] == second["step"]
    for part in ("trainee", "average"):
        for name, tensor in first[part].items():
            assert torch.equal(tensor, second[part][name]), name
    for index, moments in first["optimizer"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, second["optimizer"]["state"][index][name])


def test_a_run_leaves_weights_state_log_and_pictures(options: TrainOptions):
    scores = train(options)
    assert set(scores) == {"pixel@1", "pixel@0.5"}
    network = NETWORKS["k3dn"].build(**FORM)
    network.load_state_dict(torch.load(options.out / "best.pt", weights_only=True))
    assert (options.out / "contact.jpg").stat().st_size > 1000
    rows = _rows(options.out)
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {"loss", "psnr_in", "psnr_out", "pixel@1", "pixel@0.5"} <= set(rows[-1])
    assert rows[0]["loss"] == "nan" and float(rows[1]["loss"]) > 0


def test_without_real_scenes_a_run_is_judged_by_simulated_ones_it_does_not_train_on(options: TrainOptions):
    photos = options.textures
    assert photos is not None
    for number in range(2):
        cv2.imwrite(str(photos / f"more{number}.png"), draw_textures(1, seed=number + 5)[0])
    scores = train(dataclasses.replace(options, scenes=None, steps=1))
    assert set(scores) == {"simulated@1"}
    assert (options.out / "contact.jpg").stat().st_size > 1000


def test_a_run_that_is_killed_goes_on_to_the_same_weights_bit_for_bit(options: TrainOptions, tmp_path: Path):
    options = dataclasses.replace(options, steps=12, save_every=0.0, score_every=1e9)
    command = [sys.executable, "-m", "dpdeblur.training", *_arguments(options)]
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (
        (options.out / "state.pt").exists() and 3 <= _state(options.out)["step"] < 12
    ):
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert 3 <= _state(options.out)["step"] < 12
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(options)
    train(dataclasses.replace(options, out=tmp_path / "whole"))
    torch.set_num_threads(threads)
    _assert_same_weights(options.out, tmp_path / "whole")


def test_a_stopped_run_keeps_its_log_and_its_average(options: TrainOptions):
    train(dataclasses.replace(options, steps=2))
    first = _state(options.out)
    train(options)
    second = _state(options.out)
    assert (first["step"], second["step"]) == (2, 4)
    assert second["minutes"] > first["minutes"]
    assert not torch.equal(first["ranks"][0]["source"]["generator"], second["ranks"][0]["source"]["generator"])
    assert [row["step"] for row in _rows(options.out)] == ["0", "1", "2", "3", "4"]


def test_rows_after_the_last_saved_state_are_taken_back(options: TrainOptions):
    train(dataclasses.replace(options, steps=2))
    with (options.out / "log.csv").open("a") as file:
        file.write("3,0.1,0,0,0,0,0,0\n4,0.1,0")
    train(options)
    rows = _rows(options.out)
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert float(rows[-2]["loss"]) > 0 and None not in rows[-1].values()


def test_two_processes_train_as_one(options: TrainOptions, tmp_path: Path):
    # DPANet normalises nothing over a batch, so halves of a batch are as good as the whole
    options = dataclasses.replace(
        options, network="dpanet", form={"width": 4}, learning_rate=0.2, steps=3, precision="fp32", score_every=1e9
    )
    folder = tmp_path / "two"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "dpdeblur.training", *_arguments(dataclasses.replace(options, out=folder))]
    subprocess.run(command, env=_environment(), check=True, capture_output=True, timeout=120)
    state = _state(folder)
    assert state["step"] == 3 and len(state["ranks"]) == 2
    # the same by hand: the samples of both processes as one batch
    whole = Run(dataclasses.replace(options, out=tmp_path / "one"), Processes("cpu"))
    parts = []
    for rank in range(2):
        part = Run(dataclasses.replace(options, out=tmp_path / "part", batch=1), Processes("cpu", rank))
        parts.append(part.state.source)
    before = {name: tensor.clone() for name, tensor in whole.state.trainee.state_dict().items()}
    whole.state.source = MixedSource(parts)
    whole.go()
    moved = 0.0
    for name, tensor in whole.state.trainee.state_dict().items():
        torch.testing.assert_close(tensor, state["trainee"][name], atol=1e-4, rtol=0)
        moved = max(moved, float((tensor - before[name]).abs().max()))
    assert moved > 2e-3


def test_a_state_of_two_processes_is_not_taken_up_by_one(options: TrainOptions):
    train(dataclasses.replace(options, steps=1))
    state = _state(options.out)
    state["ranks"] = state["ranks"] * 2
    torch.save(state, options.out / "state.pt")
    with pytest.raises(UsageError, match="2 processes"):
        train(options)


@pytest.mark.parametrize("name", ["best.pt", "log.csv", "contact.jpg"])
def test_a_file_of_somebody_else_is_not_replaced(options: TrainOptions, name: str):
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name} is there already"):
        train(options)
    assert (options.out / name).read_text() == "mine"
    assert [path.name for path in options.out.iterdir()] == [name]


def test_a_file_that_is_no_state_is_said_in_one_line(options: TrainOptions):
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "state.pt").write_text("mine")
    with pytest.raises(UsageError, match=r"state\.pt: cannot be read \(damaged, or no file of a training\)"):
        train(options)
    assert (options.out / "state.pt").read_text() == "mine"


def test_a_form_that_the_network_does_not_have_is_said_before_any_folder_is_made(options: TrainOptions):
    with pytest.raises(UsageError, match="--form does not fit .* unexpected keyword argument 'bases'"):
        train(dataclasses.replace(options, form={"bases": 20}, out=options.out / "new"))
    assert not (options.out / "new").exists()


def test_another_networks_state_is_refused(options: TrainOptions):
    train(dataclasses.replace(options, steps=1))
    with pytest.raises(UsageError, match="another kind of run"):
        train(dataclasses.replace(options, network="gkmnet", form={}))


def test_a_network_that_breaks_is_reported_instead_of_saved(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dpdeblur.training.validation.Judge.score", lambda *_: {"pixel@1": float("nan")})
    with pytest.raises(FloatingPointError, match="not finite"):
        train(options)
    assert not (options.out / "best.pt").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_changes_the_weights_and_keeps_them_finite(options: TrainOptions, precision: str):
    train(dataclasses.replace(options, steps=2, precision=precision, score_every=1e9))
    state = _state(options.out)
    network = NETWORKS["k3dn"].build(**FORM)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state["trainee"].values())
    assert not torch.equal(state["trainee"]["network.output.weight"], network.output.weight)


def test_what_is_frozen_by_name_stays_as_it_was_built(options: TrainOptions):
    dpanet = dataclasses.replace(options, network="dpanet", form={"width": 4}, freeze="_field.", steps=2)
    train(dpanet)
    trainee = _state(options.out)["trainee"]
    fields = [tensor for name, tensor in trainee.items() if "_field." in name]
    assert len(fields) == 32 and not any(bool(tensor.any()) for tensor in fields)
    assert bool(trainee["network.output.2.weight"].any())


def test_k3dn_by_its_paper_trains_the_sharp_region_blocks_in_the_last_fifth_and_nothing_else(options: TrainOptions):
    paper = dataclasses.replace(options, recipe="k3dn", network=None, steps=5, learning_rate=0.01, width=64, height=64)
    snapshots = []
    for steps in (0, 4, 5):
        # a process that stops at once leaves the state as it was built
        stop = {"stop_after": 0.0} if steps == 0 else {}
        if steps == 4:
            run = Run(paper, Processes("cpu"))
            stepper = Stepper(run.state, run.recipe, precision="fp32", mean_views=False, freeze="")
            for step in range(4):
                stepper.take(Progress(step, step / 5, run.recipe.epochs))
            run.state.save(run.state_path, 0.0)
        else:
            train(dataclasses.replace(paper, **stop))
        snapshots.append(_state(options.out)["trainee"])
    new, plain, whole = snapshots

    def changed(one: dict, other: dict) -> set[str]:
        return {name for name in one if not torch.equal(one[name], other[name])}

    assert changed(new, plain) and not any(name.startswith("network.srp.") for name in changed(new, plain))
    assert changed(plain, whole) and all(name.startswith("network.srp.") for name in changed(plain, whole))
    # in the first stage the blocks passed their input on
    assert not any(bool(plain[f"network.srp.{i}.leave.weight"].any()) for i in range(3))
    rows = _rows(options.out)
    assert rows[0]["reblurring"] == "nan" and float(rows[-1]["reblurring"]) > 0


def test_simulated_and_real_pairs_share_a_batch(options: TrainOptions, tmp_path: Path):
    rng = np.random.default_rng(0)
    for part in ("train_l/source", "train_r/source", "train_c/target"):
        (tmp_path / "pairs" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "pairs" / part / "0.png"), rng.integers(0, 65535, (40, 40, 3)).astype(np.uint16))
    both = dataclasses.replace(options, pairs=tmp_path / "pairs", pairs_share=0.25, batch=4)
    source = Run(both, Processes("cpu")).state.source
    assert isinstance(source, MixedSource)
    simulated, real = (part.draw() for part in source.sources)
    assert len(simulated.left) == 3 and len(real.left) == 1
    assert source.draw().left.shape == (4, 3, 32, 32)
    only = Run(dataclasses.replace(both, textures=None, out=tmp_path / "only"), Processes("cpu")).state.source
    assert only.draw().left.shape == (4, 3, 32, 32)
    assert train(dataclasses.replace(both, steps=1)).keys() == {"pixel@1", "pixel@0.5"}


def test_tensorboard_is_asked_for_only_where_it_is(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match="TensorBoard is not installed"):
        train(dataclasses.replace(options, tensorboard=True))


def test_a_run_on_the_mean_of_the_views_cannot_tell_them_apart(options: TrainOptions):
    assert options.scenes is not None
    scene = load_scenes(options.scenes, "cpu")[0]
    swapped = dataclasses.replace(scene, left=scene.right**2, right=scene.left)
    other = dataclasses.replace(scene, left=scene.left, right=scene.right**2)
    network = NETWORKS["k3dn"].build(**FORM).eval()
    with torch.no_grad():
        network.output.weight += 0.1 * torch.randn(network.output.weight.shape)
    blind = [Judge([s], mean_views=True).score(network)["pixel@1"] for s in (swapped, other)]
    seeing = [Judge([s], mean_views=False).score(network)["pixel@1"] for s in (swapped, other)]
    assert blind[0] == pytest.approx(blind[1], abs=1e-4)
    assert abs(seeing[0] - seeing[1]) > 1e-3


def test_what_does_not_fit_together_is_said_in_one_line(options: TrainOptions):
    for changes, match in (
        ({"recipe": "none"}, "no recipe"),
        ({"textures": None}, "nothing to train on"),
        ({"network": "none"}, "no network"),
        ({"recipe": "k3dn", "network": "gkmnet"}, "own kernels"),
        ({"recipe": "gkmnet", "gradient_weight": 1.0}, "no gradient term"),
        ({"family_shares": (1.0, 0.0)}, "4 numbers"),
    ):
        with pytest.raises(UsageError, match=match):
            train(dataclasses.replace(options, **changes))


def test_options_go_before_the_recipe_and_the_recipe_before_nothing(options: TrainOptions):
    recipe = resolve_recipe(TrainOptions(recipe="gkmnet", textures=options.textures, learning_rate=3e-4))
    assert (recipe.network, recipe.batch, recipe.height, recipe.learning_rate) == ("gkmnet", 4, 256, 3e-4)
    shipped = resolve_recipe(TrainOptions(textures=options.textures))
    assert (shipped.batch, shipped.height, shipped.width, shipped.learning_rate) == (16, 288, 224, 5e-4)
    assert (shipped.decay, shipped.average, shipped.betas, shipped.clip_norm) == (1e-4, 0.999, (0.9, 0.99), 0.5)
    assert shipped.schedule(Progress(0, 0.0, 1)) == pytest.approx(1 / 200)
    assert shipped.schedule(Progress(1000, 0.5, 1)) == pytest.approx(0.01 + 0.99 / 2)
