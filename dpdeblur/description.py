"""What a capture is, and what `run` would do with it and why."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dpdeblur.errors import NoSecondViewError, show_path
from dpdeblur.pipeline import choose_network
from dpdeblur.readers import Capture, Probe
from dpdeblur.weights import read_card


@dataclasses.dataclass(frozen=True)
class Description:
    """What `info` says of a capture.

    Attributes:
        capture: The photo's file or files.
        probe: What they are.
        network: The network that `run` would take, or None where it can take none.
        weights: Its weights file, or None.
        reason: Why this network, or why none.
    """

    capture: Capture
    probe: Probe
    network: str | None
    weights: Path | None
    reason: str

    def as_dict(self) -> dict[str, object]:
        """The description in JSON's types."""
        return {
            "files": [str(path) for path in self.capture.paths],
            "name": self.capture.name,
            "kind": self.probe.kind,
            "width": self.probe.width,
            "height": self.probe.height,
            "camera": self.probe.camera,
            "dual": self.probe.dual,
            "network": self.network,
            "weights": None if self.weights is None else str(self.weights),
            "reason": self.reason,
            "warnings": list(self.probe.warnings),
        }

    def as_row(self) -> tuple[str, ...]:
        """The description as text: file, kind, size, camera, views, what `run` would do."""
        first, *others = self.capture.paths
        return (
            show_path(" + ".join([str(first), *(_name_beside(path, first) for path in others)])),
            self.probe.kind,
            f"{self.probe.width}x{self.probe.height}",
            self.probe.camera or "-",
            "left, right" if self.probe.dual else "one",
            f"fail: {self.reason}" if self.network is None else f"use {self.reason}",
        )


def _name_beside(path: Path, first: Path) -> str:
    """A file's name where it lies beside the first one, else its path: in DPDD's layout both have one name."""
    return path.name if path.parent == first.parent else str(path)


def describe_capture(capture: Capture, probe: Probe, *, model: str, weights: Path | None, device: str) -> Description:
    """Describe a capture.

    Args:
        capture: The photo's file or files.
        probe: What they were found to be.
        model: As `run --model`.
        weights: As `run --weights`.
        device: As `run --device`.

    Raises:
        UsageError: There is no such device.
        DpDeblurError: The weights that were named cannot be used.
    """
    try:
        path, reason = choose_network(
            probe.dual, probe.kind, is_gray=probe.is_gray, model=model, weights=weights, device=device
        )
    except NoSecondViewError as error:
        return Description(capture, probe, None, None, error.cause)
    return Description(capture, probe, read_card(path).network, path, reason)
