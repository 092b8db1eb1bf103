"""Fills the authors' state dicts by the rule of shared/vectors/README.md, so that no author's weights are needed."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

VECTORS = Path(__file__).resolve().parents[2] / "../shared/vectors"


def read_layout(network: str) -> dict[str, list[int]]:
    """Read every key and shape of the released state dict of "gkmnet" or "dpanet"."""
    return json.loads((VECTORS / f"{network}_layout.json").read_text())


def fill_state(layout: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Fill a state dict of GKMNet or DPANet: float32, and int64 for the counters of batch norms."""
    return {key: torch.from_numpy(_fill_value(key, layout)) for key in layout}


def _fill_value(key: str, layout: dict[str, list[int]]) -> np.ndarray:
    shape = layout[key]
    stem, _, last = key.rpartition(".")
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    normal = np.asarray(np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)).astype(np.float32)
    if last == "running_mean":
        return np.float32(0.1) * normal
    if last == "running_var":
        return 1 + np.float32(0.1) * np.abs(normal)
    if len(shape) == 1:
        of_norm = last == "weight" and f"{stem}.running_mean" in layout
        return (1 + np.float32(0.1) * normal) if of_norm else np.float32(0.05) * normal
    return (normal / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
