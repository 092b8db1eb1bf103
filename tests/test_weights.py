"""Weights files: what goes in comes out, and nothing damaged, foreign or half-written is taken for one."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_networks import write_gkmnet, write_k3dn

from dpdeblur import weights
from dpdeblur.errors import WeightsError
from dpdeblur.networks import NETWORKS
from dpdeblur.networks.dpanet import DPANet
from dpdeblur.networks.network import Network
from dpdeblur.weights import Card, hash_tensors, join_weights, list_weights, load_weights, read_card, save_weights

# small tensors gain nothing from threads, and threads on busy cores wait for each other
torch.set_num_threads(1)

FORM = {"width": 2}
CARD = Card(
    network="dpanet",
    form=FORM,
    fitting_radius_px=3.5,
    scores={"pixel": 0.81, "canon": -0.02, "in_focus_change": 0.003},
    training={"data": "procedural", "steps": 1200, "seed": 7, "rates": [1e-3, 1e-5], "device": "Ä"},
    licence="CC0-1.0",
    note='two\nlines and "quotes"',
)


def make_network(**form: Any) -> Network:
    """A DPANet whose every value is random, counted from a seed."""
    torch.manual_seed(3)
    network = NETWORKS["dpanet"].build(**(form or FORM))
    for tensor in network.state_dict().values():
        tensor.normal_(std=0.1)
    return network


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A good weights file."""
    path = tmp_path_factory.mktemp("weights") / "good.safetensors"
    save_weights(path, "dpanet", make_network(), CARD)
    return path.read_bytes()


def find_data(content: bytes) -> int:
    """Where the tensors begin."""
    return int(8 + struct.unpack("<Q", content[:8])[0])


def write_by_hand(path: Path, state: dict[str, torch.Tensor], **fields: Any) -> Path:
    """Write a weights file without our code's checks, its hash right unless it is among the fields."""
    card = {"network": "dpanet", "form": FORM, "sha256": hash_tensors(state), **fields}
    save_file(state, path, metadata={"dpdeblur": json.dumps(card)})
    return path


def write_header(path: Path, header: bytes) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


def expect_line(caught: pytest.ExceptionInfo[WeightsError], path: Path, *words: str) -> None:
    """One line of bearable length that names the file and says these words."""
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert len(line) < len(str(path)) + 300
    for word in words:
        assert word in line


# round trip


def test_tensors_and_card_come_back_as_they_were_saved(tmp_path: Path) -> None:
    network = make_network()
    path = tmp_path / "w.safetensors"
    saved = save_weights(path, "dpanet", network, CARD)
    loaded, card = load_weights(path)
    assert card == saved == read_card(path)
    assert card == dataclasses.replace(CARD, sha256=card.sha256, parameters=card.parameters)
    assert card.parameters == sum(np.prod(parameter.shape, dtype=int) for parameter in network.parameters())
    assert not loaded.training
    assert type(loaded) is type(network)
    state = loaded.state_dict()
    assert list(state) == list(network.state_dict())
    for name, tensor in network.state_dict().items():
        assert torch.equal(state[name], tensor)


def test_the_network_saved_is_the_one_on_the_card_whatever_the_card_said(tmp_path: Path) -> None:
    wrong = dataclasses.replace(CARD, network="k3dn", sha256="0" * 64, parameters=1)
    card = save_weights(tmp_path / "w", "dpanet", make_network(), wrong)
    assert (card.network, card.sha256 == wrong.sha256, card.parameters > 1) == ("dpanet", False, True)
    assert load_weights(tmp_path / "w")[1] == card


def test_hash_is_sha256_over_names_types_shapes_and_bytes() -> None:
    state = {"b": torch.tensor([[1.0, -2.0]]), "a": torch.tensor(5), "c": torch.ones(2, dtype=torch.float16)}
    expected = hashlib.sha256(
        b"a torch.int64 ()\n" + struct.pack("<q", 5)
        + b"b torch.float32 (1, 2)\n" + struct.pack("<2f", 1, -2)
        + b"c torch.float16 (2,)\n" + struct.pack("<2e", 1, 1)
    )  # fmt: skip
    assert hash_tensors(state) == expected.hexdigest()
    transposed = {**state, "b": torch.tensor([[1.0], [-2.0]]).T}
    assert hash_tensors(transposed) == expected.hexdigest()


def test_half_stores_large_tensors_in_two_bytes_and_gives_float32_back(tmp_path: Path) -> None:
    network = make_network(width=8)
    save_weights(tmp_path / "full", "dpanet", network, dataclasses.replace(CARD, form={"width": 8}))
    save_weights(tmp_path / "half", "dpanet", network, dataclasses.replace(CARD, form={"width": 8}), half=True)
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "full").stat().st_size
    loaded = load_weights(tmp_path / "half")[0].state_dict()
    with safe_open(tmp_path / "half", framework="np") as file:
        types = {name: file.get_tensor(name).dtype for name in file.keys()}
    assert set(types.values()) == {np.dtype(np.float16), np.dtype(np.float32)}
    for name, tensor in network.state_dict().items():
        assert loaded[name].dtype == torch.float32
        if types[name] == np.float32:
            assert tensor.numel() < 4096
            assert torch.equal(loaded[name], tensor)
        else:  # half rounds to 11 bits, below 2^-14 to steps of 2^-24
            assert tensor.numel() >= 4096
            error = (loaded[name] - tensor).abs()
            assert bool((error <= tensor.abs() * 2**-11 + 2**-25).all())


def test_half_keeps_a_tensor_that_exceeds_its_range_in_float32(tmp_path: Path) -> None:
    network = make_network(width=8)
    name = max(network.state_dict(), key=lambda name: network.state_dict()[name].numel())
    network.state_dict()[name].view(-1)[0] = 70000.0
    save_weights(tmp_path / "w", "dpanet", network, dataclasses.replace(CARD, form={"width": 8}), half=True)
    assert torch.equal(load_weights(tmp_path / "w")[0].state_dict()[name], network.state_dict()[name])


# writing


def test_a_file_has_the_mode_that_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_weights(tmp_path / "w", "dpanet", make_network(), CARD)
    finally:
        os.umask(before)
    assert (tmp_path / "w").stat().st_mode & 0o777 == 0o640


def test_a_new_file_takes_the_place_of_the_old_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"old")
    save_weights(tmp_path / "w", "dpanet", make_network(), CARD)
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    assert load_weights(tmp_path / "w")[1].note == CARD.note


def test_a_file_that_outgrows_the_systems_limit_leaves_the_old_one_alone(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "w"
    path.write_bytes(b"old")
    network = NETWORKS["gkmnet"].build()  # 5.6 MB
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        with pytest.raises(WeightsError) as caught:
            save_weights(path, "gkmnet", network, Card("gkmnet"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    expect_line(caught, path, os.strerror(errno.EFBIG))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("gone/w", errno.ENOENT),
        ("file/w", errno.ENOTDIR),
        ("folder", errno.EISDIR),
        ("w" * 252, errno.ENAMETOOLONG),  # possible itself, but not its partial file's
    ],
)
def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WeightsError) as caught:
        save_weights(tmp_path / name, "dpanet", make_network(), CARD)
    expect_line(caught, tmp_path / name, "cannot be written", os.strerror(code))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_diverged_is_not_written(tmp_path: Path, value: float) -> None:
    network = make_network()
    network.state_dict()["output.2.bias"][1] = value
    with pytest.raises(WeightsError) as caught:
        save_weights(tmp_path / "w", "dpanet", network, CARD)
    expect_line(caught, tmp_path / "w", "output.2.bias", "not numbers")
    assert list(tmp_path.iterdir()) == []


def test_a_card_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    card = dataclasses.replace(CARD, scores={"pixel": 0.8, "in_focus_change": float("nan")})
    with pytest.raises(WeightsError) as caught:
        save_weights(tmp_path / "w", "dpanet", make_network(), card)
    expect_line(caught, tmp_path / "w", "the card's scores")
    assert list(tmp_path.iterdir()) == []


# damage


def test_the_card_is_read_without_the_tensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w"
    path.write_bytes(content[: find_data(content)])
    assert read_card(path).scores == CARD.scores
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    expect_line(caught, path, "is damaged")


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_flipped_bit_among_the_tensors_is_found_by_the_hash(tmp_path: Path, content: bytes, place: float) -> None:
    first, last = find_data(content), len(content) - 1
    changed = bytearray(content)
    changed[round(first + place * (last - first))] ^= 1
    path = tmp_path / "w"
    path.write_bytes(changed)
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    expect_line(caught, path, "do not match the hash")


@pytest.mark.parametrize("length", [0, 1, 8, 9, 500, -5000, -1])
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, content: bytes, length: int) -> None:
    path = tmp_path / "w"
    path.write_bytes(content[:length])
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    expect_line(caught, path, "is damaged" if length < 0 else "is" if length < 8 else "no card")


def test_random_damage_in_the_header_is_refused_or_harmless(tmp_path: Path, content: bytes) -> None:
    chance = random.Random(5)
    path = tmp_path / "w"
    refused = 0
    for _ in range(60):
        changed = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(find_data(content))] = chance.randrange(256)
        path.write_bytes(changed)
        try:
            loaded, _ = load_weights(path)
        except WeightsError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert isinstance(loaded, DPANet)
    assert refused > 30


def test_missing_files_and_folders_are_told_apart_from_damaged_ones(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "gone", os.strerror(errno.ENOENT)), (tmp_path, os.strerror(errno.EISDIR))):
        for function in (read_card, load_weights):
            with pytest.raises(WeightsError) as caught:
                function(path)
            expect_line(caught, path, f"cannot be read ({reason})")


@pytest.mark.parametrize(
    "header",
    [
        b"no JSON",
        b"\xff\xfe\x00",
        b"{}",
        b"[]",
        b"7",
        b'"__metadata__"',
        b'{"__metadata__": null}',
        b'{"__metadata__": {"format": "pt"}}',
        b'{"__metadata__": {"dpdeblur": "{"}}',
        b'{"__metadata__": {"dpdeblur": {}}}',
        b'{"__metadata__": {"dpdeblur": "{}"}}',
        b'{"__metadata__": {"dpdeblur": "[1, 2]"}}',
        b'{"__metadata__": {"dpdeblur": "null"}}',
        b"[" * 200_000,
    ],
)
def test_a_file_without_our_card_is_refused(tmp_path: Path, header: bytes) -> None:
    path = write_header(tmp_path / "w", header)
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    expect_line(caught, path, "has no card of dpdeblur", "dpdeblur weights import")


def test_somebody_elses_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "w", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="has no card of dpdeblur"):
        load_weights(tmp_path / "w")


@pytest.mark.parametrize("size", [10_000_001, 2**40, 2**64 - 1])
def test_a_header_beyond_reason_is_refused_before_it_is_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "w").write_bytes(struct.pack("<Q", size) + b"{}")
    with pytest.raises(WeightsError) as caught:
        read_card(tmp_path / "w")
    expect_line(caught, tmp_path / "w", "is not a safetensors file")


# cards


@pytest.mark.parametrize("network", ["restormer", "", "DPANET"])
def test_an_unknown_network_is_named(tmp_path: Path, network: str) -> None:
    path = write_by_hand(tmp_path / "w", {"a": torch.zeros(1)}, network=network)
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    expect_line(caught, path, f"unknown network, {network!r}", "update dpdeblur")


def test_fields_of_a_future_card_ask_for_a_newer_program(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "w", {"a": torch.zeros(1)}, lens_model="thick")
    with pytest.raises(WeightsError) as caught:
        read_card(path)
    expect_line(caught, path, "lens_model", "update dpdeblur")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", ["dpanet"]),
        ("network", None),
        ("form", [2]),
        ("form", {"width": "2"}),
        ("form", {"width": 2.0}),
        ("form", {"width": -1}),
        ("form", {"width": 10**9}),
        ("released", "false"),
        ("sha256", None),
        ("parameters", "many"),
        ("fitting_radius_px", "4"),
        ("fitting_radius_px", 0),
        ("fitting_radius_px", -3.0),
        ("fitting_radius_px", float("nan")),
        ("fitting_radius_px", float("inf")),
        ("scores", [0.8]),
        ("scores", {"pixel": "0.8"}),
        ("scores", {"pixel": None}),
        ("scores", {"pixel": float("nan")}),
        ("training", "long"),
        ("licence", 3),
        ("note", None),
    ],
)
def test_a_card_whose_field_is_of_another_kind_is_refused_by_name(tmp_path: Path, field: str, value: object) -> None:
    path = write_by_hand(tmp_path / "w", {"a": torch.zeros(1)}, **{field: value})
    with pytest.raises(WeightsError) as caught:
        read_card(path)
    expect_line(caught, path, f"has a card whose {field} is not")


@pytest.mark.parametrize(
    ("network", "form", "words"),
    [
        ("dpanet", {"width": 3}, "of the shape (16,), not (24,)"),
        ("dpanet", {"width": 0}, "zero"),
        ("dpanet", {"depth": 3}, "unexpected keyword argument 'depth'"),
        ("gkmnet", {}, "lacks coefficients.gates.bias"),
        ("k3dn", {"base": 0}, "does not fit k3dn"),
    ],
)
def test_tensors_that_do_not_fit_the_form_are_refused(tmp_path: Path, network: str, form: object, words: str) -> None:
    path = write_by_hand(tmp_path / "w", make_network().state_dict(), network=network, form=form)
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    expect_line(caught, path, f"does not fit {network} in its form", words)


def test_missing_and_unknown_tensors_are_named(tmp_path: Path) -> None:
    state = dict(make_network().state_dict())
    state["output.3.bias"] = state.pop("output.2.bias")
    path = write_by_hand(tmp_path / "w", state)
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    expect_line(caught, path, "lacks output.2.bias and has unknown output.3.bias")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_values_that_are_not_numbers_are_refused_though_the_hash_is_right(tmp_path: Path, value: float) -> None:
    state = make_network().state_dict()
    state["output.2.bias"][0] = value
    path = write_by_hand(tmp_path / "w", state)
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    expect_line(caught, path, "not numbers")


# the files that came with the program


def test_shipped_files_are_listed_by_name_and_nothing_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("k3dn.safetensors", "gkmnet.safetensors", "README.md", ".gkmnet.safetensors.1.part", "a.pth"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(weights, "WEIGHTS_FOLDER", tmp_path)
    assert [path.name for path in list_weights()] == ["gkmnet.safetensors", "k3dn.safetensors"]
    monkeypatch.setattr(weights, "WEIGHTS_FOLDER", tmp_path / "gone")
    assert list_weights() == []


@pytest.mark.parametrize("path", list_weights(), ids=lambda path: path.name)
def test_a_shipped_file_is_what_its_card_says(path: Path) -> None:
    network, card = load_weights(path)
    assert not card.released
    assert card.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert path.name.startswith(card.network)


# joining


def test_joined_weights_hold_every_tensor_of_both_as_it_was(tmp_path: Path) -> None:
    k3dn, gkmnet = write_k3dn(tmp_path / "k.safetensors"), write_gkmnet(tmp_path / "g.safetensors", added=0.1)
    card = join_weights(k3dn, gkmnet, tmp_path / "both.safetensors")
    joined, read = load_weights(tmp_path / "both.safetensors")
    assert read == card and card.network == "both" and card.scores == {}
    parts = {"k3dn": load_weights(k3dn), "gkmnet": load_weights(gkmnet)}
    state = joined.state_dict()
    for name, (module, its_card) in parts.items():
        assert card.training[name]["sha256"] == its_card.sha256
        for key, tensor in module.state_dict().items():
            assert torch.equal(state.pop(f"{name}.{key}"), tensor)
    assert state == {}


def test_what_both_store_in_half_stays_in_half_and_nothing_else_becomes_so(tmp_path: Path) -> None:
    k3dn, gkmnet = write_k3dn(tmp_path / "k.safetensors"), write_gkmnet(tmp_path / "g.safetensors")
    half_k3dn, half_gkmnet = tmp_path / "hk.safetensors", tmp_path / "hg.safetensors"
    save_weights(half_k3dn, "k3dn", *load_weights(k3dn), half=True)
    save_weights(half_gkmnet, "gkmnet", *load_weights(gkmnet), half=True)
    output = tmp_path / "both.safetensors"

    def measure(*parts: Path) -> int:
        join_weights(*parts, output)
        return output.stat().st_size

    whole = measure(k3dn, gkmnet)
    assert measure(k3dn, half_gkmnet) == measure(half_k3dn, gkmnet) == whole
    assert measure(half_k3dn, half_gkmnet) < 0.6 * whole


def test_weights_are_joined_only_from_the_networks_that_they_are_of(tmp_path: Path) -> None:
    k3dn, gkmnet = write_k3dn(tmp_path / "k.safetensors"), write_gkmnet(tmp_path / "g.safetensors")
    output = tmp_path / "both.safetensors"
    for wrong in ((gkmnet, k3dn), (k3dn, k3dn), (gkmnet, gkmnet)):
        with pytest.raises(WeightsError, match="holds no weights of (k3dn|gkmnet) in our form; name K3DN's file first"):
            join_weights(*wrong, output)
    network, card = load_weights(gkmnet)
    save_weights(tmp_path / "other.safetensors", "gkmnet", network, dataclasses.replace(card, licence="CC0-1.0"))
    with pytest.raises(WeightsError, match="is under another licence than k.safetensors"):
        join_weights(k3dn, tmp_path / "other.safetensors", output)
    assert not output.exists()


def test_joined_weights_replace_others_like_them_and_nothing_else(tmp_path: Path) -> None:
    k3dn, gkmnet = write_k3dn(tmp_path / "k.safetensors"), write_gkmnet(tmp_path / "g.safetensors")
    before = k3dn.read_bytes()
    with pytest.raises(WeightsError, match="holds weights of another network; choose another name"):
        join_weights(k3dn, gkmnet, k3dn)
    assert k3dn.read_bytes() == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        join_weights(k3dn, gkmnet, tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    first = join_weights(k3dn, gkmnet, tmp_path / "both.safetensors")
    assert join_weights(k3dn, gkmnet, tmp_path / "both.safetensors") == first


def test_the_shipped_join_is_of_the_shipped_parts() -> None:
    training = read_card(weights.WEIGHTS_FOLDER / "both.safetensors").training
    for part in ("k3dn", "gkmnet"):
        assert training[part]["sha256"] == read_card(weights.WEIGHTS_FOLDER / f"{part}.safetensors").sha256
