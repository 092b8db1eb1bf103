"""Free memory as the machine, its containers and the user's limits have it, in fabricated trees of /proc and /sys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dpdeblur.restoration import memory
from dpdeblur.restoration.memory import measure_free_memory

GIB = 2**30
CGROUP_2 = "36 25 0:31 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
CGROUP_1 = "36 25 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
UNLIMITED_1 = "9223372036854771712"
#: What glibc is told: M_MMAP_THRESHOLD is -3, M_TRIM_THRESHOLD -1, M_TOP_PAD -2.
GIVEN_BACK = [(-3, 2**20)]
KEPT = [(-3, 2**23), (-1, 2**30), (-2, 2**26)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 64 GiB free and no address-space limit."""
    _write(tmp_path / "proc/meminfo", f"MemTotal: {96 * GIB // 1024} kB\nMemAvailable: {64 * GIB // 1024} kB\n")
    if memory.resource is not None:
        monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (memory.resource.RLIM_INFINITY,) * 2)
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _join(root: Path, membership: str, *mounts: str) -> None:
    _write(root / "proc/self/cgroup", membership + "\n")
    _write(root / "proc/self/mountinfo", "\n".join(("25 1 8:1 / / rw - ext4 /dev/vda rw", *mounts)) + "\n")


def _limit_2(folder: Path, most: str, used: int, *, high: str = "max", inactive: int = 0) -> None:
    _write(folder / "memory.max", f"{most}\n")
    _write(folder / "memory.high", f"{high}\n")
    _write(folder / "memory.current", f"{used}\n")
    _write(folder / "memory.stat", f"anon 4096\nfile 8192\ninactive_file {inactive}\nactive_file 77\n")


def _limit_1(folder: Path, most: str, used: int, *, inactive: int = 0) -> None:
    _write(folder / "memory.limit_in_bytes", f"{most}\n")
    _write(folder / "memory.usage_in_bytes", f"{used}\n")
    _write(folder / "memory.stat", f"cache 1\ninactive_file 5\ntotal_inactive_file {inactive}\n")


def test_without_limits_it_is_what_the_machine_has_available(root: Path) -> None:
    assert measure_free_memory(root) == 64 * GIB


def test_a_container_leaves_its_limit_less_what_it_uses(root: Path) -> None:
    _join(root, "0::/", CGROUP_2)
    _limit_2(root / "sys/fs/cgroup", str(2 * GIB), GIB // 2)
    assert measure_free_memory(root) == 2 * GIB - GIB // 2


def test_cached_files_that_the_kernel_can_drop_count_as_free(root: Path) -> None:
    _join(root, "0::/", CGROUP_2)
    _limit_2(root / "sys/fs/cgroup", str(2 * GIB), 2 * GIB, inactive=GIB)
    assert measure_free_memory(root) == GIB


def test_the_tightest_limit_up_the_hierarchy_counts(root: Path) -> None:
    _join(root, "0::/user.slice/job/step", CGROUP_2)
    top = root / "sys/fs/cgroup"
    _limit_2(top / "user.slice/job/step", "max", GIB)
    _limit_2(top / "user.slice/job", str(3 * GIB), GIB)
    _limit_2(top / "user.slice", str(9 * GIB), 8 * GIB, high=str(9 * GIB - 1))
    # the root cgroup of a machine has neither limits nor usage
    _write(top / "memory.stat", "anon 1\n")
    assert measure_free_memory(root) == GIB - 1


def test_memory_high_counts_because_beyond_it_the_kernel_makes_processes_wait(root: Path) -> None:
    _join(root, "0::/a", CGROUP_2)
    _limit_2(root / "sys/fs/cgroup/a", str(8 * GIB), GIB, high=str(4 * GIB))
    assert measure_free_memory(root) == 3 * GIB


def test_version_1_is_understood_too(root: Path) -> None:
    _join(root, "5:cpu,cpuacct:/elsewhere\n4:memory:/docker/1f2e\n1:name=systemd:/\n0::/", CGROUP_1)
    top = root / "sys/fs/cgroup/memory"
    _limit_1(top, UNLIMITED_1, 40 * GIB)
    _limit_1(top / "docker", UNLIMITED_1, 9 * GIB)
    _limit_1(top / "docker/1f2e", str(2 * GIB), GIB, inactive=GIB // 4)
    assert measure_free_memory(root) == GIB + GIB // 4


def test_memory_accounted_by_version_1_beside_an_empty_version_2(root: Path) -> None:
    unified = "37 25 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    _join(root, "4:memory:/a\n0::/b", CGROUP_1, unified)
    _limit_1(root / "sys/fs/cgroup/memory/a", str(2 * GIB), GIB)
    (root / "sys/fs/cgroup/unified/b").mkdir(parents=True)
    assert measure_free_memory(root) == GIB


@pytest.mark.parametrize("membership", ["0::/docker/1f2e", "0::/../../docker/1f2e", "0::/"])
def test_a_container_that_sees_only_its_own_part_finds_its_limit(root: Path, membership: str) -> None:
    own_part = CGROUP_2.replace("0:31 /", "0:31 /docker/1f2e", 1)
    _join(root, membership, own_part)
    _limit_2(root / "sys/fs/cgroup", str(2 * GIB), GIB)
    assert measure_free_memory(root) == GIB


def test_what_is_over_its_limit_leaves_nothing(root: Path) -> None:
    _join(root, "0::/", CGROUP_2)
    _limit_2(root / "sys/fs/cgroup", str(GIB), 2 * GIB)
    assert measure_free_memory(root) == 0


def test_a_small_machine_is_not_made_larger_by_a_large_limit(root: Path) -> None:
    _join(root, "0::/", CGROUP_2)
    _limit_2(root / "sys/fs/cgroup", str(512 * GIB), GIB)
    assert measure_free_memory(root) == 64 * GIB


@pytest.mark.skipif(memory.resource is None, reason="Windows has no such limits")
def test_an_address_space_limit_leaves_what_the_process_has_not_mapped(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (4 * GIB, 8 * GIB))
    _write(root / "proc/self/statm", "1000 200 30 4 0 5 0\n")
    assert measure_free_memory(root) == 4 * GIB - 1000 * memory.resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is read from /proc")
def test_this_very_system_keeps_to_a_limit_that_a_shell_sets() -> None:
    program = "from dpdeblur.restoration.memory import measure_free_memory; print(measure_free_memory())"
    command = ["sh", "-c", f'ulimit -v 1000000 && exec "$0" -c "{program}"', sys.executable]
    free = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    # a bare interpreter maps some tens of megabytes
    assert 700_000_000 < free < 1_024_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is done")
@pytest.mark.parametrize(("left", "calls"), [(3 * GIB, GIVEN_BACK), (5 * GIB, KEPT), (None, KEPT)])
def test_freed_memory_is_kept_but_where_little_address_space_is_left_given_back_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, left: int | None, calls: list[tuple[int, int]]
) -> None:
    made: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda *arguments: made.append(arguments))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    _write(root / "proc/self/statm", "0 0 0 0 0 0 0\n")
    if left is not None:
        monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (left, left))
    memory.tune_allocator(root)
    assert made == calls


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="asks glibc")
def test_freed_memory_goes_back_to_the_system() -> None:
    # blocks too small to be mappings of their own, and one after them that keeps the heap from shrinking by itself
    code = """
from pathlib import Path
from dpdeblur.restoration.memory import return_freed_memory, tune_allocator

def read_resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmRSS"))

tune_allocator()
blocks = [bytearray(100_000) for _ in range(1000)]
last = bytearray(100_000)
del blocks
kept = read_resident()
return_freed_memory()
print(kept - read_resident())
"""
    freed = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert freed > 50_000
