"""Where the networks run: device, precision and how much memory there is."""

from __future__ import annotations

import re
from typing import Literal

import torch

from dpdeblur.errors import UsageError
from dpdeblur.restoration.memory import measure_free_memory

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(wanted: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:N` or `mps` into a device that is there.

    Raises:
        UsageError: The device is not there, or the name is unknown.
    """
    if wanted == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    parts = re.fullmatch(r"(cpu|cuda|mps)|(cuda):([0-9]{1,9})", wanted)
    if parts is None:
        raise UsageError(f"unknown device {wanted!r}", remedy="use auto, cpu, cuda, cuda:N or mps")
    kind, number = parts[1] or parts[2], int(parts[3] or 0)
    if kind == "cuda" and number >= torch.cuda.device_count():
        raise UsageError(f"device {wanted} is not there", remedy="use --device auto or cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device mps is not there", remedy="use --device auto or cpu")
    return torch.device(kind, number) if parts[3] else torch.device(kind)


def choose_precision(wanted: str, device: torch.device, *, is_released: bool = False) -> Precision:
    """Turn `auto` into a precision.

    On CUDA that is fp16, whose finer steps suit pictures better than bf16's. On a CPU that multiplies bf16 by itself it
    is bf16: the shipped networks are 1.5 to 1.8 times as fast, and on real scenes their results stay above 62 dB of
    those in fp32 and score within 0.006 dB of them (tests/benchmarks/precision.py). Elsewhere it is fp32.

    Args:
        wanted: auto, fp32, bf16 or fp16.
        device: Where to compute.
        is_released: Whether the weights are the authors', whose own picture is wanted; no rounding then on a CPU.

    Raises:
        UsageError: The name is unknown, or fp16 is asked of a CPU.
    """
    if wanted == "auto":
        if device.type == "cuda":
            return "fp16"
        return "bf16" if device.type == "cpu" and not is_released and has_native_bf16() else "fp32"
    if wanted not in DTYPES:
        raise UsageError(f"unknown precision {wanted!r}", remedy="use auto, fp32, bf16 or fp16")
    if wanted == "fp16" and device.type == "cpu":
        raise UsageError("fp16 is slower than fp32 on a CPU", remedy="use --precision fp32 or bf16")
    return wanted  # type: ignore[return-value]  # checked against DTYPES above


def has_native_bf16() -> bool:
    """Whether this CPU multiplies bf16 by itself, as far as torch tells: older versions, and those for ARM, do not."""
    if not hasattr(torch.cpu, "get_capabilities") or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def measure_free_bytes(device: torch.device) -> int:
    """Memory that an allocation on the device may count on."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return measure_free_memory()
