"""Weights files: safetensors with a card, verified by hash.

A card is JSON under the key "dpdeblur" of the file's metadata. It says which network in which form the tensors belong
to, how they were made, and what they measured on real scenes, so that the program can choose by it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import struct
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dpdeblur.errors import WeightsError
from dpdeblur.networks import NETWORKS
from dpdeblur.networks.both import Both
from dpdeblur.networks.network import Network

_CARD_KEY = "dpdeblur"
_INSTALLED = Path(__file__).parent / "weights_files"
#: Where the shipped weights lie: inside the installed package, or in the checkout.
WEIGHTS_FOLDER = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1] / "weights"
# small tensors (norms, biases, spectra's weights) keep float32: they weigh nothing and some exceed half's range
_SMALLEST_HALF = 4096
_LARGEST_HEADER_BYTES = 10_000_000
#: No network is wider or longer: a card must not ask for days of building.
LARGEST_FORM = 128
#: Or larger: the largest that was released has 64 million values.
_LARGEST_NETWORK = 128_000_000
_LARGEST_SCORE = 1e6
_LONGEST_NAME = 60


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
        # made here first for the mode that the umask says; until it is complete, nobody else needs to look at it
        partial.touch()
        mode = partial.stat().st_mode
        partial.chmod(0o600)
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
            names = ", ".join(map(shorten, sorted(unknown)[:3]))
            cause = f"has a card with {names}, which this dpdeblur does not know"
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
        cause = f"is for an unknown network, {shorten(card.network)!r}"
        raise WeightsError(cause, path=path, remedy="update dpdeblur")
    return card


def _find_wrong_field(card: Card) -> str | None:
    """The first field whose type is wrong, or whose numbers are none; whoever reads a card relies on the rest."""
    blank = Card("")
    for field in dataclasses.fields(Card):
        value, kind = getattr(card, field.name), type(getattr(blank, field.name))
        if not isinstance(value, int | float if kind is float else kind):
            return field.name
    if not 0 < card.fitting_radius_px <= _LARGEST_SCORE:
        return "fitting_radius_px"
    if not 0 <= card.parameters <= _LARGEST_NETWORK:
        return "parameters"
    # as comparisons: NaN is in no range, and a whole number of a hundred digits is no error
    if not all(isinstance(score, int | float) and abs(score) <= _LARGEST_SCORE for score in card.scores.values()):
        return "scores"
    if not all(isinstance(value, int) and 0 <= value <= LARGEST_FORM for value in card.form.values()):
        return "form"
    return None


def shorten(name: str) -> str:
    """A name out of a file, as long as a line can bear."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def plan_network(path: Path, network: str, form: Mapping[str, Any]) -> dict[str, Tensor]:
    """Find out the tensors of a network before it takes any memory.

    Args:
        path: The file that asks for it.
        network: Key of `NETWORKS`.
        form: Keyword arguments of its builder.

    Returns:
        Name -> a tensor with shape and type, and no values.

    Raises:
        WeightsError: There is no such form, or the network is larger than any.
    """
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tensors without elements
            expected = NETWORKS[network].build(**form).state_dict()
    except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError, AssertionError) as error:
        reason = (str(error).splitlines() or [""])[-1].strip()[:200]
        raise WeightsError(
            f"does not fit {network} in its form: {reason}", path=path, remedy="update dpdeblur"
        ) from error
    size = sum(tensor.numel() for tensor in expected.values())
    if size > _LARGEST_NETWORK:
        cause = f"asks for a {network} of {size / 1e6:.0f} million values"
        raise WeightsError(cause, path=path, remedy=f"the largest allowed has {_LARGEST_NETWORK // 1_000_000}")
    return expected


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
        if hash_tensors(state) != card.sha256:
            raise WeightsError("its tensors do not match the hash in its card", path=path, remedy=remedy)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
            raise WeightsError("holds values that are not numbers", path=path, remedy=remedy)
    except (SafetensorError, OSError) as error:
        raise WeightsError("is damaged", path=path, remedy=remedy) from error
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:  # of types that have no arithmetic
        raise WeightsError("holds tensors that no network has", path=path, remedy=remedy) from error
    expected = plan_network(path, card.network, card.form)
    differences = compare_keys(state, expected) or _compare_shapes(state, expected)
    if differences:
        raise WeightsError(f"does not fit {card.network} in its form: it {differences}", path=path, remedy=remedy)
    module = NETWORKS[card.network].build(**card.form).eval()
    module.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in state.items()})
    return module, card


def join_weights(k3dn: Path, gkmnet: Path, output: Path) -> Card:
    """Put weights of K3DN and of GKMNet, which were trained apart, into one file for the network `both`.

    Args:
        k3dn: Weights in our form, not imported ones.
        gkmnet: The same.
        output: The .safetensors file to write; weights that lie there are replaced.

    Returns:
        The card as written: measured by nobody yet, and with the smaller of the two radii that fit.

    Raises:
        WeightsError: A file is not what it should be, the two go by different terms, or something else lies there.
    """
    parts = {"k3dn": load_weights(k3dn), "gkmnet": load_weights(gkmnet)}
    for (name, (_, card)), path in zip(parts.items(), (k3dn, gkmnet), strict=True):
        if card.network != name or card.released:
            raise WeightsError(f"holds no weights of {name} in our form", path=path, remedy="name K3DN's file first")
    cards = {name: card for name, (_, card) in parts.items()}
    if cards["k3dn"].licence != cards["gkmnet"].licence:
        raise WeightsError(f"is under another licence than {k3dn.name}", path=gkmnet)
    if output.exists() and read_card(output).network != "both":
        raise WeightsError("holds weights of another network", path=output, remedy="choose another name")
    network = Both(**cards["k3dn"].form)
    for name, (module, _) in parts.items():
        network.get_submodule(name).load_state_dict(module.state_dict())
    card = Card(
        network="both",
        form=cards["k3dn"].form,
        fitting_radius_px=min(card.fitting_radius_px for card in cards.values()),
        training={name: card.training | {"sha256": card.sha256} for name, card in cards.items()},
        licence=cards["k3dn"].licence,
    )
    # what came in float16 goes out so, and nothing else may lose a digit
    return save_weights(output, "both", network, card, half=_are_half(k3dn, gkmnet))


def _are_half(*paths: Path) -> bool:
    """Whether all files hold their large tensors in float16."""
    for path in paths:
        with safe_open(path, framework="pt") as file:
            tensors = (file.get_tensor(name) for name in file.keys())
            if any(tensor.dtype == torch.float32 and tensor.numel() >= _SMALLEST_HALF for tensor in tensors):
                return False
    return True


def _compare_shapes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """The first tensor of another shape; empty when there is none. Both have the same keys."""
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            return f"has {name} of the shape {tuple(tensor.shape)}, not {tuple(expected[name].shape)}"
    return ""


def compare_keys(found: Iterable[str], expected: Iterable[str]) -> str:
    """What is lacking and what is unknown, three of each at most; empty when nothing is."""
    sides = {"lacks": set(expected) - set(found), "has unknown": set(found) - set(expected)}
    return " and ".join(
        f"{what} {', '.join(map(shorten, sorted(keys)[:3]))}{' ...' if len(keys) > 3 else ''}"
        for what, keys in sides.items()
        if keys
    )
