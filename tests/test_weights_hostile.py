"""Weights and checkpoints made to harm: nothing in them runs, and none takes more memory than its own size allows."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dpdeblur.checkpoints import import_checkpoint
from dpdeblur.errors import WeightsError
from dpdeblur.networks import NETWORKS, dpanet, k3dn
from dpdeblur.networks.network import Network
from dpdeblur.weights import hash_tensors, load_weights, read_card

# small tensors gain nothing from threads, and threads on busy cores wait for each other
torch.set_num_threads(1)


def write_weights(path: Path, state: dict[str, torch.Tensor], **fields: Any) -> Path:
    """A weights file whose card says anything, its hash right."""
    card = {"network": "dpanet", "form": {"width": 2}, "sha256": hash_tensors(state), **fields}
    save_file(state, path, metadata={"dpdeblur": json.dumps(card)})
    return path


def refuse(path: Path, *, output: Path | None = None) -> str:
    """Load or import a file that must be refused; return the one line."""
    with pytest.raises(WeightsError) as caught:
        load_weights(path) if output is None else import_checkpoint(path, output)
    line = str(caught.value)
    assert "\n" not in line and len(line) < len(str(path)) + 500
    return line


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The networks that are built with memory for their values."""
    names: list[str] = []
    make = Network.__init__

    def note(self: Network, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        if torch.get_default_device().type != "meta":
            names.append(type(self).__name__)

    monkeypatch.setattr(Network, "__init__", note)
    return names


def test_a_network_is_built_where_the_file_is_good(tmp_path: Path, built: list[str]) -> None:
    state = NETWORKS["dpanet"].build(width=2).state_dict()
    built.clear()
    load_weights(write_weights(tmp_path / "w", dict(state)))
    assert built == ["DPANet"]


@pytest.mark.parametrize(
    ("network", "form"),
    [
        ("dpanet", {"width": 128}),
        ("k3dn", {"base": 128, "blocks": 8, "psf_blocks": 8, "srp_blocks": 8}),
        ("k3dn", {"base": 1, "blocks": 2, "psf_blocks": 2, "srp_blocks": 2}),
    ],
)
def test_a_card_is_compared_with_its_tensors_before_its_network_takes_memory(
    tmp_path: Path, built: list[str], network: str, form: dict[str, int]
) -> None:
    path = write_weights(tmp_path / "w", {"a": torch.zeros(4)}, network=network, form=form)
    line = refuse(path)
    assert "does not fit" in line or "million values" in line
    assert built == []


def test_a_form_beyond_the_largest_network_is_refused(tmp_path: Path) -> None:
    # DPANet's released width is 64; its values grow with the square
    path = write_weights(tmp_path / "w", {"a": torch.zeros(4)}, form={"width": 128})
    assert "asks for a dpanet of 2" in refuse(path) and "million values" in refuse(path)
    path = write_weights(tmp_path / "w", {"a": torch.zeros(4)}, form={"width": 129})
    assert "whose form is not" in refuse(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parameters", 10**400),
        ("parameters", -1),
        ("scores", {"pixel": 10**400}),
        ("fitting_radius_px", 10**400),
    ],
)
def test_numbers_of_hundreds_of_digits_are_refused_by_name(tmp_path: Path, field: str, value: object) -> None:
    path = write_weights(tmp_path / "w", {"a": torch.zeros(1)}, **{field: value})
    with pytest.raises(WeightsError, match=f"has a card whose {field} is not"):
        read_card(path)


def test_names_of_any_length_make_a_line_of_bearable_length(tmp_path: Path) -> None:
    long = "x\n" * 50_000
    for path in (
        write_weights(tmp_path / "a", {"a": torch.zeros(1)}, network=long),
        write_weights(tmp_path / "b", {"a": torch.zeros(1)}, **{long: 1}),
        write_weights(tmp_path / "c", {long: torch.zeros(1)}),
        write_weights(tmp_path / "d", {"a": torch.zeros(1)}, form={long: 1}),
    ):
        refuse(path)
    torch.save({long: torch.zeros(1)}, tmp_path / "e.pth")
    refuse(tmp_path / "e.pth", output=tmp_path / "w")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bool, torch.uint8, torch.complex64])
def test_tensors_of_types_that_no_network_has_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {"a": torch.zeros(8, dtype=torch.uint8).view(dtype)}
    refuse(write_weights(tmp_path / "w", state))


def make_released(width: int) -> dict[str, torch.Tensor]:
    """The authors' state dict of a DPANet without memory for its values."""
    with torch.device("meta"):
        ours = NETWORKS["dpanet"].build(width=width, released=True).state_dict()
    return {key: torch.zeros(1).expand(ours[name].shape) for key, name in dpanet.released_keys().items()}


def test_tensors_that_repeat_one_value_to_look_large_are_refused(tmp_path: Path, built: list[str]) -> None:
    path = tmp_path / "a.pth"
    torch.save(make_released(64), path)
    assert path.stat().st_size < 200_000  # and 256 MB, once it were taken for whole
    assert "is no plain tensor" in refuse(path, output=tmp_path / "w")
    torch.save(make_released(128), path)
    assert "million values" in refuse(path, output=tmp_path / "w")
    assert built == []


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused_before(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "good.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in parts.items():
            archive.writestr(part, bytes(64 << 20) if "/data/" in part else content)
    tracemalloc.start()
    try:
        line = refuse(tmp_path / "bomb.pth", output=tmp_path / "w")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "claims to unpack to" in line
    assert peak < 4 << 20


def test_a_storage_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(7777)}, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    place = content.index(pickle.dumps(7777, protocol=2)[2:-1])
    number = pickle.dumps(2**40, protocol=2)[2:-1]
    path = tmp_path / "a.pth"
    path.write_bytes(content[:place] + number + content[place + 3 :])
    assert "is not a checkpoint, or is damaged" in refuse(path, output=tmp_path / "w")


def test_an_old_archive_is_refused_and_nothing_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("../../escaped", "storages", "tensors", "pickle"):
            part = tarfile.TarInfo(name)
            part.size = 4
            archive.addfile(part, io.BytesIO(b"\x80\x02N."))
    refuse(path, output=tmp_path / "folder" / "w")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.pth"]


@pytest.mark.filterwarnings("error")
def test_odd_pickles_are_refused_without_a_remark_of_torch(tmp_path: Path) -> None:
    for protocol in range(6):
        (tmp_path / "a.pth").write_bytes(pickle.dumps({"a": [1.0, {"b": (2, None)}]}, protocol=protocol))
        refuse(tmp_path / "a.pth", output=tmp_path / "w")


def test_a_weights_file_in_the_making_is_its_owner_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dpdeblur import weights

    modes = []

    def watch(state: object, path: Path, metadata: object) -> None:
        modes.append(path.stat().st_mode & 0o777)
        path.write_bytes(b"tensors")

    monkeypatch.setattr(weights, "save_file", watch)
    form = {"base": 1, "blocks": 1, "psf_blocks": 1, "srp_blocks": 1}
    weights.save_weights(tmp_path / "w", "k3dn", NETWORKS["k3dn"].build(**form), weights.Card("k3dn", form))
    assert modes == [0o600]
    assert (tmp_path / "w").stat().st_mode & 0o077  # the umask lets others read what is complete


def test_header_lengths_are_compared_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w"
    for length in (9_999_999, 2**31, 2**63):
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        refuse(path)


def test_k3dn_keys_of_any_number_take_no_longer_than_their_file(tmp_path: Path, built: list[str]) -> None:
    state = {key: torch.zeros(1) for key in k3dn.released_keys(64, 64, 64)}
    torch.save(state, tmp_path / "a.pth")
    refuse(tmp_path / "a.pth", output=tmp_path / "w")
    assert built == []
