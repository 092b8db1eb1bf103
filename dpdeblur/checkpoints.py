"""The authors' checkpoints, imported once: recognised, renamed, checked strictly, and never executed."""

from __future__ import annotations

import dataclasses
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from dpdeblur.errors import WeightsError
from dpdeblur.networks import NETWORKS, dpanet, gkmnet, k3dn
from dpdeblur.weights import LARGEST_FORM, Card, compare_keys, plan_network, read_card, save_weights, shorten

#: What torch and zipfile raise for damaged files; their messages say nothing that helps.
_DAMAGE = (
    *(RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, AssertionError),
    *(struct.error, MemoryError, OverflowError, zipfile.BadZipFile),
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
    return weight.shape[0] if weight.ndim == 4 and 0 < weight.shape[0] <= LARGEST_FORM else 1


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


def _holds_weights(path: Path) -> bool:
    try:
        read_card(path)
    except WeightsError:
        return False
    return True


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
    if output.exists() and not _holds_weights(output):
        raise WeightsError("is there already, and holds no weights", path=output, remedy="choose another name")
    matches = [name for name, checkpoint in _CHECKPOINTS.items() if checkpoint.mark in state]
    if not matches:
        raise WeightsError(
            "is a checkpoint, but of none of GKMNet, DPANet and K3DN",
            path=path,
            remedy=f"its first keys are {', '.join(map(shorten, list(state)[:3])) or 'none'}",
        )
    name = matches[0]
    checkpoint = _CHECKPOINTS[name]
    try:
        form = checkpoint.find_form(state)
    except KeyError as error:
        raise WeightsError(f"looks like {name}, but lacks {error.args[0]}", path=path) from error
    keys = checkpoint.list_keys(form)
    differences = compare_keys(state, keys)
    if differences:
        raise WeightsError(f"looks like {name}, but {differences}", path=path)
    form = {**form, "released": True}
    expected = plan_network(path, name, form)
    renamed = {ours: _take_values(path, name, theirs, state[theirs], expected[ours]) for theirs, ours in keys.items()}
    network = NETWORKS[name].build(**form)
    network.load_state_dict(renamed, strict=True)
    card = Card(
        network=name,
        form=form,
        released=True,
        training={"source": f"imported from {path.name}"},
        licence="as the checkpoint's authors say",
    )
    return save_weights(output, name, network, card)


def _take_values(path: Path, name: str, key: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """Return a tensor in the shape and type of ours.

    Raises:
        WeightsError: It has another shape, or is no plain tensor of numbers.
    """
    cause = f"looks like {name}, but {key} "
    try:
        if [n for n in tensor.shape if n != 1] != [n for n in wanted.shape if n != 1]:
            raise WeightsError(f"{cause}has the shape {tuple(tensor.shape)}, not {tuple(wanted.shape)}", path=path)
        if (
            *(tensor.is_meta, tensor.layout != torch.strided, tensor.is_complex(), tensor.is_quantized),
            tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size(),
        ) != (False,) * 5:
            raise WeightsError(f"{cause}is no plain tensor", path=path)
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{cause}holds values that are not numbers", path=path)
        return tensor.detach().to(wanted.dtype).reshape(wanted.shape)
    except (RuntimeError, TypeError) as error:  # of types that have no arithmetic
        raise WeightsError(f"{cause}is no plain tensor", path=path) from error


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint, wrappers and `module.` taken off."""
    try:
        _check_archive(path)
        # by an open file, because torch goes by the suffixes of paths
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on odd files, and our line says what comes of them
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror})", path=path, remedy="check the name") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "holds something other than tensors, or is no checkpoint", path=path, remedy="nothing in it was executed"
        ) from error
    except _DAMAGE as error:
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


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: torch stores, and never compresses.

    Raises:
        WeightsError: It is such an archive.
        OSError: It cannot be read.
        zipfile.BadZipFile: It is a damaged archive.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\3\4":
            return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > path.stat().st_size:
        cause = f"claims to unpack to {unpacked} bytes, more than it has"
        raise WeightsError(cause, path=path, remedy="get the file again")
