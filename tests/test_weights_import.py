"""The authors' checkpoints: taken over to the last bit, strictly, and never executed."""

from __future__ import annotations

import json
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from intruder import Intruder
from safetensors import safe_open
from torch import Tensor

from dpdeblur.checkpoints import import_checkpoint
from dpdeblur.errors import WeightsError
from dpdeblur.networks import K3DN_SIZES, NETWORKS, dpanet, gkmnet, k3dn
from dpdeblur.networks.network import Network
from dpdeblur.weights import Card, load_weights, save_weights

# small tensors gain nothing from threads, and threads on busy cores wait for each other
torch.set_num_threads(1)


def list_keys(name: str, form: dict[str, int]) -> dict[str, str]:
    """Released key -> ours."""
    if name == "k3dn":
        return k3dn.released_keys(form["blocks"], form["psf_blocks"], form["srp_blocks"])
    return gkmnet.released_keys() if name == "gkmnet" else dpanet.released_keys()


def build_released(name: str, form: dict[str, int]) -> Network:
    """The network in the authors' form, its norms' statistics and biases as random as the rest, from a seed."""
    torch.manual_seed(11)
    network = NETWORKS[name].build(**form, released=True).eval()
    for key, tensor in network.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif key.endswith("num_batches_tracked"):
            tensor.fill_(1234)
        elif key.endswith(("running_mean", "bias")):
            tensor.normal_(std=0.1)
    return network


def name_as_released(network: Network, name: str, form: dict[str, int]) -> dict[str, Tensor]:
    """The network's tensors under the authors' names and in their shapes."""
    ours = network.state_dict()
    state = {theirs: ours[key].clone() for theirs, key in list_keys(name, form).items()}
    for key, tensor in state.items():
        if key.startswith("deblur.") and key.endswith(("conv1.weight", "inter.to_w")):
            state[key] = tensor[None, :, None]
    return state


def save_checkpoint(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def import_failing(path: Path, *words: str) -> None:
    """The import of this file fails in one line of bearable length, with these words, and writes nothing."""
    output = path.with_name("out.safetensors")
    before = sorted(path.parent.iterdir())
    with pytest.raises(WeightsError) as caught:
        import_checkpoint(path, output)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert len(line) < len(str(path)) + 500
    for word in words:
        assert word in line
    assert sorted(path.parent.iterdir()) == before


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A small DPANet as its authors would save it. Nobody may change it."""
    return name_as_released(build_released("dpanet", {"width": 2}), "dpanet", {"width": 2})


# what comes out


@pytest.mark.parametrize(
    ("name", "form", "size", "wrapper"),
    [
        ("gkmnet", {}, (32, 48), "plain"),
        ("gkmnet", {}, (32, 48), "state_dict"),
        ("dpanet", {"width": 4}, (32, 48), "plain"),
        ("dpanet", {"width": 2}, (32, 48), "G_state_dict"),
        ("k3dn", {"base": 4, "blocks": 2, "psf_blocks": 3, "srp_blocks": 1}, (288, 448), "G_state_dict"),
    ],
)
def test_an_imported_network_computes_what_the_released_one_does(
    tmp_path: Path, name: str, form: dict[str, int], size: tuple[int, int], wrapper: str
) -> None:
    released = build_released(name, form)
    content: Any = name_as_released(released, name, form)
    if wrapper == "G_state_dict":  # as saved from several GPUs, with what training needs beside it
        content = {"epoch": 7, wrapper: {f"module.{key}": value for key, value in content.items()}, "G_optimizer": {}}
    elif wrapper == "state_dict":
        content = {wrapper: content}
    path = save_checkpoint(tmp_path / "theirs.pth", content)
    card = import_checkpoint(path, tmp_path / "w.safetensors")
    loaded, read = load_weights(tmp_path / "w.safetensors")
    assert read == card
    assert (card.network, card.form, card.released) == (name, {**form, "released": True}, True)
    assert card.training == {"source": "imported from theirs.pth"}
    assert card.scores == {}
    pictures = torch.rand(released.views, 1, 3, *size) + released.value_offset
    with torch.inference_mode():
        expected, result = released(*pictures), loaded(*pictures)
    assert float(expected.std()) > 1e-3
    assert torch.equal(result, expected)


# counts that the papers print
@pytest.mark.parametrize(("size", "millions"), [("tiny", 3.0), ("lightweight", 5.0)])
def test_the_papers_smaller_k3dns_are_recognised(tmp_path: Path, size: str, millions: float) -> None:
    form = K3DN_SIZES[size]
    released = build_released("k3dn", form)
    path = save_checkpoint(tmp_path / "a.pth", {"G_state_dict": name_as_released(released, "k3dn", form)})
    card = import_checkpoint(path, tmp_path / "w")
    assert card.form == {**form, "released": True}
    assert card.parameters / 1e6 == pytest.approx(millions, abs=0.1)
    loaded = load_weights(tmp_path / "w")[0].state_dict()
    for key, tensor in released.state_dict().items():
        assert torch.equal(loaded[key], tensor)


@pytest.mark.parametrize(
    ("layout", "form", "millions"),
    [
        ("gkmnet", {}, 1.41),
        ("dpanet", {"width": 64}, 63.98),
        ("k3dn_large", K3DN_SIZES["large"], 16.1),
    ],
)
def test_the_released_keys_and_shapes_are_taken_over_whole(
    tmp_path: Path, shared: Path, layout: str, form: dict[str, int], millions: float
) -> None:
    name = layout.removesuffix("_large")
    shapes = json.loads((shared / "vectors" / f"{layout}_layout.json").read_text())
    # one value per tensor, which half precision holds, tells the tensors apart
    state = {
        key: torch.full(shape, number)
        if key.endswith("num_batches_tracked")
        else torch.full(shape, number / 8, dtype=torch.float16)
        for number, (key, shape) in enumerate(shapes.items())
    }
    output = tmp_path / "w"
    try:
        card = import_checkpoint(save_checkpoint(tmp_path / "a.pth", state), output)
        assert card.form == {**form, "released": True}
        assert card.parameters / 1e6 == pytest.approx(millions, abs=0.06 if name == "k3dn" else 0.005)
        keys = list_keys(name, form)
        with safe_open(output, framework="pt") as file:
            assert len(file.keys()) == len(shapes)
            for theirs, tensor in state.items():
                stored = file.get_tensor(keys[theirs])
                assert stored.numel() == tensor.numel()
                assert stored.unique().tolist() == [tensor.flatten()[0].item()]
    finally:
        output.unlink(missing_ok=True)  # 256 MB


def test_half_precision_checkpoints_become_float32(tmp_path: Path, state: dict[str, Tensor]) -> None:
    halved = {key: tensor.half() for key, tensor in state.items()}
    import_checkpoint(save_checkpoint(tmp_path / "a.pth", halved), tmp_path / "w")
    loaded = load_weights(tmp_path / "w")[0].state_dict()
    for theirs, ours in dpanet.released_keys().items():
        assert loaded[ours].dtype == torch.float32
        assert torch.equal(loaded[ours], halved[theirs].float())


# strictness


@pytest.mark.parametrize(("name", "form"), [("gkmnet", {}), ("dpanet", {"width": 2}), ("k3dn", K3DN_SIZES["tiny"])])
def test_a_missing_and_an_extra_key_are_named(tmp_path: Path, name: str, form: dict[str, int]) -> None:
    state = name_as_released(build_released(name, form), name, form)
    missing = next(key for key in reversed(state) if key.endswith("bias"))
    extra = {key: tensor for key, tensor in state.items() if key != missing}
    import_failing(save_checkpoint(tmp_path / "a.pth", extra), f"looks like {name}, but lacks {missing}")
    extra = {**state, "ema.decay": torch.zeros(1)}
    import_failing(save_checkpoint(tmp_path / "b.pth", extra), f"looks like {name}, but has unknown ema.decay")


def test_many_wrong_keys_still_make_a_short_line(tmp_path: Path, state: dict[str, Tensor]) -> None:
    wrong = {f"b.{key}": tensor for key, tensor in state.items()}
    mark = "encoder.encoder1.deform.weight"
    kept = {mark: state[mark], "out.0.weight": state["out.0.weight"]}
    import_failing(save_checkpoint(tmp_path / "a.pth", {**wrong, **kept}), "lacks", "has unknown b.", " ...")


def test_the_key_that_tells_the_width_is_named_when_it_is_missing(tmp_path: Path, state: dict[str, Tensor]) -> None:
    rest = {key: tensor for key, tensor in state.items() if key != "out.0.weight"}
    import_failing(save_checkpoint(tmp_path / "a.pth", rest), "looks like dpanet, but lacks out.0.weight")


@pytest.mark.parametrize(
    ("key", "shape", "wanted"),
    [
        ("out.2.bias", (4,), "(3,)"),
        ("predeblur.conv_first.weight", (2, 3, 3), "(2, 3, 3, 3)"),
        ("predeblur.conv_first.weight", (3, 2, 3, 3), "(2, 3, 3, 3)"),
        ("out.2.bias", (), "(3,)"),
        ("out.0.weight", (), "("),
        ("out.0.weight", (0, 2, 3, 3), "("),
        ("out.0.weight", (10**9, 2, 3, 3), "("),
    ],
)
def test_a_tensor_of_another_shape_is_named_with_both_shapes(
    tmp_path: Path, state: dict[str, Tensor], key: str, shape: tuple[int, ...], wanted: str
) -> None:
    path = save_checkpoint(tmp_path / "a.pth", {**state, key: torch.zeros(1).expand(shape or (1,)).view(shape)})
    import_failing(path, "looks like dpanet, but ", "has the shape (", f", not {wanted}")
    if key != "out.0.weight":  # which all other shapes are measured by
        import_failing(path, f"but {key} has the shape {shape}")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, device="meta"),
        torch.zeros(3).to_sparse(),
        torch.zeros(3, dtype=torch.complex64),
    ],
    ids=["meta", "sparse", "complex"],
)
def test_a_tensor_without_plain_values_is_named(tmp_path: Path, state: dict[str, Tensor], tensor: Tensor) -> None:
    path = save_checkpoint(tmp_path / "a.pth", {**state, "out.2.bias": tensor})
    import_failing(path, "out.2.bias is no plain tensor")


def test_values_that_are_not_numbers_are_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = save_checkpoint(tmp_path / "a.pth", {**state, "out.2.bias": torch.tensor([0, float("nan"), 0])})
    import_failing(path, "out.2.bias holds values that are not numbers")


def test_a_prefix_on_some_keys_only_is_not_taken_off(tmp_path: Path, state: dict[str, Tensor]) -> None:
    # taken off, the two biases would be one key
    path = save_checkpoint(tmp_path / "a.pth", {**state, "module.out.2.bias": state["out.2.bias"]})
    import_failing(path, "has unknown module.out.2.bias")


# what is no checkpoint


def test_another_networks_checkpoint_is_refused_with_its_first_keys(tmp_path: Path) -> None:
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).state_dict()
    import_failing(save_checkpoint(tmp_path / "a.pth", other), "none of GKMNet, DPANet and K3DN", "0.weight, 0.bias")
    import_failing(save_checkpoint(tmp_path / "b.pth", {}), "none of GKMNet, DPANet and K3DN")


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"a": 1.0}, {1: torch.zeros(3)}, {"G_state_dict": "x"}])
def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    import_failing(save_checkpoint(tmp_path / "a.pth", content), "is a checkpoint without a state dict")


@pytest.mark.parametrize("form", ["pickle", "zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_the_code_never_runs(
    tmp_path: Path, state: dict[str, Tensor], form: str
) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "a.pth"
    content = {**state, "extra": Intruder(trace)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content["extra"]))
    else:
        save_checkpoint(path, content, _use_new_zipfile_serialization=form == "zip")
    import_failing(path, "holds something other than tensors", "nothing in it was executed")
    assert not trace.exists()
    # the same file would have run its code in torch.load without weights_only
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert trace.is_dir()


def test_files_of_other_kinds_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    good = save_checkpoint(tmp_path / "good.pth", state).read_bytes()
    contents = {
        "empty": b"",
        "text": b"not a checkpoint\n",
        "start": good[:100],
        "half": good[: len(good) // 2],
        "cut": good[:-1],
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        import_failing(tmp_path / name, "checkpoint")
    import_failing(tmp_path / "gone", f"cannot be read ({os.strerror(2)})", "check the name")
    (tmp_path / "folder").mkdir()
    import_failing(tmp_path / "folder", f"cannot be read ({os.strerror(21)})")


def test_a_weights_file_of_ours_is_no_checkpoint(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", "dpanet", NETWORKS["dpanet"].build(width=2), Card("dpanet", {"width": 2}))
    import_failing(tmp_path / "w", "is no checkpoint")


@pytest.mark.parametrize("zipped", [True, False])
def test_random_damage_is_always_refused_in_one_line(tmp_path: Path, zipped: bool) -> None:
    content = {"a.weight": torch.zeros(3, 2), "a.steps": torch.tensor(3)}
    path = save_checkpoint(tmp_path / "a.pth", content, _use_new_zipfile_serialization=zipped)
    good, chance = path.read_bytes(), random.Random(1)
    for _ in range(200):
        changed = bytearray(good[: chance.choice([len(good), chance.randrange(len(good))])])
        for _ in range(chance.randint(0, 3)):
            if changed:
                changed[chance.randrange(min(len(changed), 700))] = chance.randrange(256)
        path.write_bytes(changed)
        import_failing(path)


# where it goes


def test_only_weights_are_written_over(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = save_checkpoint(tmp_path / "a.pth", state)
    output = tmp_path / "a.jpg"
    output.write_bytes(b"a photo")
    with pytest.raises(WeightsError, match="is there already, and holds no weights"):
        import_checkpoint(path, output)
    assert output.read_bytes() == b"a photo"
    for _ in range(2):
        import_checkpoint(path, tmp_path / "w.safetensors")


def test_the_checkpoint_itself_is_never_written_over(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = save_checkpoint(tmp_path / "a.pth", state)
    before = path.read_bytes()
    (tmp_path / "b.pth").symlink_to(path)
    for output in (path, tmp_path / "b.pth"):
        with pytest.raises(WeightsError, match="is the checkpoint itself"):
            import_checkpoint(path, output)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = save_checkpoint(tmp_path / "a.pth", state)
    with pytest.raises(WeightsError, match="cannot be written") as caught:
        import_checkpoint(path, tmp_path / "gone" / "w")
    assert str(caught.value).startswith(f"{tmp_path / 'gone' / 'w'}: ")
    assert list(tmp_path.iterdir()) == [path]
