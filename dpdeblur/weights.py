"""Weights files: safetensors with a card, verified by hash; and the authors' checkpoints, imported once.

A card is JSON under the key "dpdeblur" of the file's metadata. It says which network in which form the tensors belong
to, how they were made, and what they measured on real scenes, so that the program can choose by it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable, Mapping
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
    """
    state = {}
    for name, tensor in module.state_dict().items():
        stored = tensor.detach().cpu().contiguous()
        if half and stored.dtype == torch.float32 and stored.numel() >= _SMALLEST_HALF:
            stored = stored.half()
        state[name] = stored
    card = dataclasses.replace(
        card,
        network=network_name,
        sha256=hash_tensors(state),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
    )
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # opened here first, because the library makes files that only their owner may read
        partial.touch()
        mode = partial.stat().st_mode
        save_file(state, partial, metadata={_CARD_KEY: json.dumps(dataclasses.asdict(card), sort_keys=True)})
        partial.chmod(mode)
        os.replace(partial, path)
    except OSError as error:
        raise WeightsError(f"cannot be written ({error.strerror})", path=path) from error
    finally:
        partial.unlink(missing_ok=True)
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
        card = Card(**fields)
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror})", path=path, remedy="check the name") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError("has no card of dpdeblur", path=path, remedy=remedy) from error
    if card.network not in NETWORKS or not isinstance(card.form, dict) or not isinstance(card.scores, dict):
        raise WeightsError(f"is for an unknown network, {card.network!r}", path=path, remedy="update dpdeblur")
    return card


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
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise WeightsError("holds values that are not numbers", path=path, remedy=remedy)
    try:
        module = NETWORKS[card.network].build(**card.form).eval()
        expected = module.state_dict()
        module.load_state_dict({k: v.to(expected[k].dtype) if k in expected else v for k, v in state.items()})
    except (RuntimeError, TypeError, ValueError) as error:
        cause = f"does not fit {card.network} in its form: {str(error).splitlines()[-1].strip()}"
        raise WeightsError(cause, path=path, remedy="update dpdeblur") from error
    return module, card


def _find_k3dn_form(state: Mapping[str, Tensor]) -> dict[str, int]:
    def count(prefix: str) -> int:
        return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})

    return {
        "base": len(state["feat_extract.0.main.0.weight"]),
        "blocks": count("Encoder.0.layers."),
        "psf_blocks": count("deblur."),
        "srp_blocks": count("srp.0.conv_o.1.layers."),
    }


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
        lambda state: {"width": len(state["out.0.weight"])},
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
    except (KeyError, TypeError) as error:
        raise WeightsError(f"looks like {name}, but lacks {error}", path=path) from error
    keys = checkpoint.list_keys(form)
    missing, extra = sorted(keys.keys() - state.keys()), sorted(state.keys() - keys.keys())
    if missing or extra:
        parts = [f"{what} {', '.join(some[:3])}{' ...' if len(some) > 3 else ''}" for what, some in
                 (("lacks", missing), ("has unknown", extra)) if some]  # fmt: skip
        raise WeightsError(f"looks like {name}, but {' and '.join(parts)}", path=path)
    network = NETWORKS[name].build(**form, released=True)
    expected = network.state_dict()
    renamed = {}
    for theirs, ours in keys.items():
        tensor, wanted = state[theirs], expected[ours]
        if [n for n in tensor.shape if n != 1] != [n for n in wanted.shape if n != 1]:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted.shape)}"
            raise WeightsError(f"looks like {name}, but {theirs} has the shape {shapes}", path=path)
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
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise WeightsError("is not a checkpoint, or is damaged", path=path, remedy="get the file again") from error
    for wrapper in ("G_state_dict", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise WeightsError("is a checkpoint without a state dict", path=path, remedy="save `model.state_dict()`")
    return {key.removeprefix("module."): value for key, value in content.items()}
