"""Several GPUs: one process each, started by torchrun, with DistributedDataParallel between them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import distributed, nn


@dataclasses.dataclass(frozen=True)
class Processes:
    """The processes of one run, of which this is one.

    Attributes:
        device: This process's device.
        rank: Its number, from 0.
        count: How many there are.
    """

    device: str
    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and the bar."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Make the processes' gradients one. Stages of an objective may leave parameters out."""
        if self.count == 1:
            return module
        on_gpu = [torch.device(self.device)] if self.device.startswith("cuda") else None
        return nn.parallel.DistributedDataParallel(module, device_ids=on_gpu, find_unused_parameters=True)

    def agree(self, values: list[float]) -> list[float]:
        """The first process's values, in all processes: clocks differ, and one must not stop before the others."""
        if self.count == 1:
            return values
        shared = torch.tensor(values, dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return shared.tolist()

    def gather(self, value: dict[str, Any]) -> list[dict[str, Any]]:
        """Every process's value, by rank."""
        if self.count == 1:
            return [value]
        values: list[dict[str, Any]] = [{} for _ in range(self.count)]
        distributed.all_gather_object(values, value)
        return values


@contextlib.contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, or be the only one.

    Args:
        device: torch device; "cuda" becomes the GPU of this process's number.

    Yields:
        The processes, connected by NCCL between GPUs and by gloo for the CPU and for small things.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(device)
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(device, int(os.environ["RANK"]), count)
    finally:
        distributed.destroy_process_group()
