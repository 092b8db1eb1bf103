"""Weights files: safetensors with a card, verified by hash; and the authors' checkpoints, imported once.

A card is JSON under the key "dpdeblur" of the file's metadata. It says which network in which form the tensors belong
to, how they were made, and what they measured on real scenes, so that the program can choose by it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dpdeblur.errors import WeightsError
from dpdeblur.networks import NETWORKS, dpanet, gkmnet, k3dn
from dpdeblur.networks.network import Network

_CARD_KEY = "dpdeblur"
_INSTALLED = Path(__file__).parent / "weights_files"
#: Where the shipped weights lie: inside the installed package, or in the checkout.
WEIGHTS_FOLDER = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1] / "weights"
# small tensors (norms, biases, spectra's weights) keep float32: they weigh nothing and some exceed half's range
_SMALLEST_HALF = 4096
_LARGEST_HEADER_BYTES = 10_000_000
# no network is wider or longer: a damaged card must not ask for a terabyte
_LARGEST_FORM = 1024


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of a weights file.

    Attributes:
        network: Key of `NETWORKS`.
        form: Keyword arguments of the network's builder.
        released: Whether the tensors are the authors', whose network gives the picture itself.
        sha256: Hash of the tensors.
        parameters: Number of trainable parameters.
        fitting_radius_px: Radius of blur that the network restores best; photos are reduced until theirs fits.
        scores: Mean gain in dB by camera kind ("pixel", "canon"), and whatever else was measured.
        training: How they were made: data and its terms, steps, seed, commit, time, device.
        licence: Of the weights.
        note: Anything else a user should know.
    """

    network: str
    form: dict[str, Any] = dataclasses.field(default_factory=dict)
    released: bool = False
    sha256: str = ""
    parameters: int = 0
    fitting_radius_px: float = 4.0
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    licence: str = "MIT"
    note: str = ""


def list_weights() -> list[Path]:
    """The weights files that came with the program, by name."""
    return sorted(WEIGHTS_FOLDER.glob("*.safetensors"))


def hash_tensors(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_weights(path: Path, network_name: str, module: Network, card: Card, *, half: bool = False) -> Card:
    """Write a network's tensors and its card, replacing the file in one step.

    Args:
        path: The file to write.
        network_name: Key of `NETWORKS`.
        module: The network.
        card: Its hash and number of parameters are filled in here.
        half: Store the large tensors in float16, half the size.

    Returns:
        The card as written.

    Raises:
        WeightsError: A tensor or a field of the card holds what no reader would take, or the file cannot be written.
    """
    state = {}
    for name, tensor in module.state_dict().items():
        stored = tensor.detach().cpu().contiguous()
        if not bool(torch.isfinite(stored).all()):
            raise WeightsError(f"not written, {name} holds values that are not numbers", path=path)
        if half and stored.dtype == torch.float32 and stored.numel() >= _SMALLEST_HALF:
            halved = stored.half()
            stored = halved if bool(torch.isfinite(halved).all()) else stored
        state[name] = stored
    card = dataclasses.replace(
        card,
        network=network_name,
        sha256=hash_tensors(state),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
    )
    wrong = _find_wrong_field(card)
    if wrong:
        raise WeightsError(f"not written, the card's {wrong} is not what it should be", path=path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # made here first, because the library makes files that only their owner may read
        partial.touch()
        mode = partial.stat().st_mode
        save_file(state, partial, metadata={_CARD_KEY: json.dumps(dataclasses.asdict(card), sort_keys=True)})
        partial.chmod(mode)
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        # where not even the name is possible this fails too, and the first failure is the one to tell
        with contextlib.suppress(OSError):
            partial.unlink()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WeightsError(f"cannot be written ({reason})", path=path) from error
    return card


def read_card(path: Path) -> Card:
    """Read a weights file's card without its tensors.

    Raises:
        WeightsError: The file is missing, is no safetensors file, or has no card of ours.
    """
    remedy = "use a file made by dpdeblur; checkpoints are turned into one by `dpdeblur weights import`"
    try:
        with path.open("rb") as file:
            size = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))[0]
            if size > _LARGEST_HEADER_BYTES:
                raise WeightsError("is not a safetensors file", path=path, remedy=remedy)
            header = json.loads(file.read(size))
        fields = json.loads(header["__metadata__"][_CARD_KEY])
        unknown = fields.keys() - {field.name for field in dataclasses.fields(Card)}
        if unknown:
            cause = f"has a card with {', '.join(sorted(unknown)[:3])}, which this dpdeblur does not know"
            raise WeightsError(cause, path=path, remedy="update dpdeblur")
        card = Card(**fields)
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror})", path=path, remedy="check the name") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError("has no card of dpdeblur", path=path, remedy=remedy) from error
    wrong = _find_wrong_field(card)
    if wrong:
        raise WeightsError(f"has a card whose {wrong} is not what it should be", path=path, remedy="get the file again")
    if card.network not in NETWORKS:
        raise WeightsError(f"is for an unknown network, {card.network!r}", path=path, remedy="update dpdeblur")
    return card


def _find_wrong_field(card: Card) -> str | None:
    """The first field whose type is wrong, or whose numbers are none; whoever reads a card relies on the rest."""
    blank = Card("")
    for field in dataclasses.fields(Card):
        value, kind = getattr(card, field.name), type(getattr(blank, field.name))
        if not isinstance(value, int | float if kind is float else kind):
            return field.name
    if not 0 < card.fitting_radius_px < math.inf:
        return "fitting_radius_px"
    if not all(isinstance(score, int | float) and math.isfinite(score) for score in card.scores.values()):
        return "scores"
    if not all(isinstance(value, int) and 0 <= value <= _LARGEST_FORM for value in card.form.values()):
        return "form"
    return None


def load_weights(path: Path) -> tuple[Network, Card]:
    """Build the network of a weights file, in evaluation mode and float32.

    Raises:
        WeightsError: The file is missing, damaged or foreign, or its tensors are not those of its card.
    """
    card = read_card(path)
    remedy = "get the file again"
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise WeightsError("is damaged", path=path, remedy=remedy) from error
    if hash_tensors(state) != card.sha256:
        raise WeightsError("its tensors do not match the hash in its card", path=path, remedy=remedy)
    try:
        if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
            raise WeightsError("holds values that are not numbers", path=path, remedy=remedy)
        module = NETWORKS[card.network].build(**card.form).eval()
        expected = module.state_dict()
        differences = _compare_keys(state, expected)
        if differences:
            raise WeightsError(f"does not fit {card.network} in its form: it {differences}", path=path, remedy=remedy)
        module.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in state.items()})
    except (RuntimeError, TypeError, ValueError, ArithmeticError, MemoryError) as error:
        cause = f"does not fit {card.network} in its form: {(str(error).splitlines() or [''])[-1].strip()}"
        raise WeightsError(cause, path=path, remedy="update dpdeblur") from error
    return module, card


def _compare_keys(found: Iterable[str], expected: Iterable[str]) -> str:
    """What is lacking and what is unknown, three of each at most; empty when nothing is."""
    sides = {"lacks": set(expected) - set(found), "has unknown": set(found) - set(expected)}
    return " and ".join(
        f"{what} {', '.join(sorted(keys)[:3])}{' ...' if len(keys) > 3 else ''}" for what, keys in sides.items() if keys
    )


def _find_k3dn_form(state: Mapping[str, Tensor]) -> dict[str, int]:
    def count(prefix: str) -> int:
        return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})

    return {
        "base": _count_outputs(state["feat_extract.0.main.0.weight"]),
        "blocks": count("Encoder.0.layers."),
        "psf_blocks": count("deblur."),
        "srp_blocks": count("srp.0.conv_o.1.layers."),
    }


def _count_outputs(weight: Tensor) -> int:
    """Outputs of a convolution; 1 where the tensor cannot be its weight, which its shape tells later."""
    return weight.shape[0] if weight.ndim == 4 and 0 < weight.shape[0] <= _LARGEST_FORM else 1


def _list_k3dn_keys(form: Mapping[str, int]) -> dict[str, str]:
    return k3dn.released_keys(form["blocks"], form["psf_blocks"], form["srp_blocks"])


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
    """How an authors' state dict is recognised, measured and renamed."""

    mark: str
    find_form: Callable[[Mapping[str, Tensor]], dict[str, int]]
    list_keys: Callable[[Mapping[str, int]], dict[str, str]]


_CHECKPOINTS = {
    "gkmnet": _Checkpoint("SumLayer.conv.weight", lambda state: {}, lambda form: gkmnet.released_keys()),
    "dpanet": _Checkpoint(
        "encoder.encoder1.deform.weight",
        lambda state: {"width": _count_outputs(state["out.0.weight"])},
        lambda form: dpanet.released_keys(),
    ),
    "k3dn": _Checkpoint("feat_extract.0.main.0.weight", _find_k3dn_form, _list_k3dn_keys),
}


def import_checkpoint(path: Path, output: Path) -> Card:
    """Turn a checkpoint of a paper's authors into a weights file of ours; nothing in it is ever executed.

    Args:
        path: A state dict saved by torch, plain or under `G_state_dict` (or `state_dict`), with or without `module.`.
        output: The .safetensors file to write.

    Returns:
        The card as written.

    Raises:
        WeightsError: The file is no checkpoint, or none of the three networks', or not strictly so.
    """
    state = _read_checkpoint(path)
    if output.exists() and output.samefile(path):
        raise WeightsError("is the checkpoint itself, which stays as it is", path=output, remedy="choose another name")
    matches = [name for name, checkpoint in _CHECKPOINTS.items() if checkpoint.mark in state]
    if not matches:
        raise WeightsError(
            "is a checkpoint, but of none of GKMNet, DPANet and K3DN",
            path=path,
            remedy=f"its first keys are {', '.join(list(state)[:3]) or 'none'}",
        )
    name = matches[0]
    checkpoint = _CHECKPOINTS[name]
    try:
        form = checkpoint.find_form(state)
    except KeyError as error:
        raise WeightsError(f"looks like {name}, but lacks {error.args[0]}", path=path) from error
    keys = checkpoint.list_keys(form)
    differences = _compare_keys(state, keys)
    if differences:
        raise WeightsError(f"looks like {name}, but {differences}", path=path)
    network = NETWORKS[name].build(**form, released=True)
    expected = network.state_dict()
    renamed = {}
    for theirs, ours in keys.items():
        tensor, wanted = state[theirs], expected[ours]
        if [n for n in tensor.shape if n != 1] != [n for n in wanted.shape if n != 1]:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted.shape)}"
            raise WeightsError(f"looks like {name}, but {theirs} has the shape {shapes}", path=path)
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_complex():
            raise WeightsError(f"looks like {name}, but {theirs} is no plain tensor", path=path)
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"looks like {name}, but {theirs} holds values that are not numbers", path=path)
        renamed[ours] = tensor.to(wanted.dtype).reshape(wanted.shape)
    network.load_state_dict(renamed, strict=True)
    card = Card(
        network=name,
        form={**form, "released": True},
        released=True,
        training={"source": f"imported from {path.name}"},
        licence="as the checkpoint's authors say",
    )
    return save_weights(output, name, network, card)


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint, wrappers and `module.` taken off."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror})", path=path, remedy="check the name") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "holds something other than tensors, or is no checkpoint", path=path, remedy="nothing in it was executed"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, AssertionError, struct.error,
            MemoryError, OverflowError) as error:  # fmt: skip  # all of these come out of torch for damaged files
        raise WeightsError("is not a checkpoint, or is damaged", path=path, remedy="get the file again") from error
    for wrapper in ("G_state_dict", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise WeightsError("is a checkpoint without a state dict", path=path, remedy="save `model.state_dict()`")
    if all(key.startswith("module.") for key in content):
        return {key.removeprefix("module."): value for key, value in content.items()}
    return content
