"""Devices and precisions that are there, and one plain line for those that are not."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
import torch

from dpdeblur.errors import UsageError
from dpdeblur.restoration.devices import choose_device, choose_precision, has_native_bf16, measure_free_bytes

CPU = torch.device("cpu")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    "name", ["", "gpu", "CPU", "cpu:", "cpu:0", "mps:1", "cuda:", "cuda:-1", "cuda:x", "cuda:٣", "cuda:0:1"]
)
def test_unknown_names_are_refused_with_those_that_exist(two_gpus: None, name: str) -> None:
    with pytest.raises(UsageError, match="unknown device .*; use auto, cpu, cuda, cuda:N or mps"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:9", "cuda:123456789"])
def test_a_gpu_beyond_the_last_is_not_there(two_gpus: None, name: str) -> None:
    with pytest.raises(UsageError, match=f"device {name} is not there; use --device auto or cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:9", "mps"])
def test_no_accelerator_is_there_without_one(no_gpu: None, name: str) -> None:
    with pytest.raises(UsageError, match=f"device {name} is not there"):
        choose_device(name)


def test_auto_takes_the_gpu_where_there_is_one(two_gpus: None) -> None:
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == CPU


def test_auto_takes_mps_before_the_cpu(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("mps") == torch.device("mps")


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False}, "fp32"),
        ({"neon": True, "bf16": True}, "fp32"),  # not measured
    ],
)
def test_auto_precision_is_half_on_cuda_and_on_a_cpu_that_has_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    kinds = ("cuda", "cpu", "mps")
    assert [choose_precision("auto", torch.device(kind)) for kind in kinds] == ["fp16", precision, "fp32"]


def test_auto_precision_is_full_where_torch_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_precision("auto", CPU) == "fp32"


def test_auto_precision_is_full_where_torch_was_built_without_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert choose_precision("auto", CPU) == "fp32"


def test_released_weights_are_not_rounded_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert choose_precision("auto", CPU, is_released=True) == "fp32"
    assert choose_precision("bf16", CPU, is_released=True) == "bf16"


@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="this torch does not tell")
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel's own list of features is the oracle")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors are not measured")
def test_native_bf16_is_what_the_kernel_says_of_this_cpu() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert has_native_bf16() == bool(flags & {"avx512_bf16", "amx_bf16"})


def test_precisions_are_taken_as_asked() -> None:
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("fp16", torch.device("cuda")) == "fp16"


def test_fp16_is_refused_on_a_cpu() -> None:
    with pytest.raises(UsageError, match="fp16 is slower than fp32 on a CPU; use --precision fp32 or bf16"):
        choose_precision("fp16", CPU)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown precision 'fp8'; use auto, fp32, bf16 or fp16"):
        choose_precision("fp8", CPU)


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="this system does not tell how much memory it has")
def test_free_memory_is_part_of_what_the_machine_has() -> None:
    assert 2**24 < measure_free_bytes(CPU) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
