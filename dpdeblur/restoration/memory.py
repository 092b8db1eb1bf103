"""How much memory this process may still take: what the machine has free, and what containers and limits leave of it.

Sources: proc(5), cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the Linux kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: Files of a cgroup: its limits, what it uses, and the cached files among that which the kernel drops at need.
_Files = tuple[tuple[str, ...], str, str]
_CGROUP_2: _Files = (("memory.max", "memory.high"), "memory.current", "inactive_file")
_CGROUP_1: _Files = (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
#: So much address space is more than the program ever asks for by itself.
_LITTLE_BYTES = 4 * 2**30
#: From malloc.h: how much may lie free at the heap's end, by how much it grows, and from how many bytes on something is
#: a mapping of its own instead.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
#: Larger maps would leave gaps that the next tile's do not fit, in each run others; smaller ones come too often.
_MOST_KEPT_BYTES = 2**23
#: Where the system does not tell.
_GUESS_BYTES = 4 * 2**30


def measure_free_memory(root: Path = Path("/")) -> int:
    """Bytes that this process may still take before it swaps, fails or is killed.

    Args:
        root: Where `proc` and `sys` lie.
    """
    return max(0, min(_find_machine_bytes(root), *_list_cgroup_bytes(root), *_list_address_bytes(root), 2**63))


def tune_allocator(root: Path = Path("/")) -> None:
    """Have glibc keep the memory of a network's maps from tile to tile, or where `ulimit -v` leaves little, give it up.

    By itself it returns large arrays to the system as soon as they are freed, and to get and clear them anew for every
    layer takes a third of the networks' time. Arrays from 8 MiB on go back all the same; in huge pages, which the
    program asks for when it starts, that takes hardly any time.

    Under a limit on the address space, what is kept would fall into pieces too small for the next tile, and be out of
    reach for oneDNN, which takes the memory for its code from the system: there everything from 1 MiB goes back.

    Args:
        root: Where `proc` lies.
    """
    library = _load_library("mallopt")
    if library is None:
        return
    if any(left < _LITTLE_BYTES for left in _list_address_bytes(root)):
        library.mallopt(_M_MMAP_THRESHOLD, 2**20)
        return
    library.mallopt(_M_MMAP_THRESHOLD, _MOST_KEPT_BYTES)
    library.mallopt(_M_TRIM_THRESHOLD, 2**30)
    library.mallopt(_M_TOP_PAD, 2**26)


def return_freed_memory() -> None:
    """Have glibc give back to the system what was freed and it has kept for later."""
    library = _load_library("malloc_trim")
    if library is not None:
        library.malloc_trim(0)


def _load_library(function: str) -> ctypes.CDLL | None:
    """The C library, if it has a function of glibc's allocator; others have no such choice."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, function) else None


def _find_machine_bytes(root: Path) -> int:
    meminfo = root / "proc/meminfo"
    if meminfo.exists():
        fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        # macOS tells the size of memory only; half of it is a careful guess of what is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return _GUESS_BYTES  # Windows: the standard library does not tell


def _list_address_bytes(root: Path) -> Iterator[int]:
    """What `ulimit -v` leaves, where it is set."""
    statm = root / "proc/self/statm"
    if resource is None or not statm.exists():
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - int(statm.read_text().split()[0]) * resource.getpagesize()


def _list_cgroup_bytes(root: Path) -> Iterator[int]:
    """What the process's own cgroup leaves, and each one around it, up to the last that can be seen from here."""
    for folder, mount, (limits, usage, cache) in _find_cgroups(root):
        for place in (folder, *folder.parents):
            used, stat = _read(place / usage), _read(place / "memory.stat")
            if used is not None and stat is not None:
                cached = dict(line.split(maxsplit=1) for line in stat.splitlines()).get(cache, "0")
                for name in limits:
                    limit = _read(place / name)
                    if limit is not None and limit != "max":
                        yield int(limit) - max(0, int(used) - int(cached))
            if place == mount:
                break


def _find_cgroups(root: Path) -> Iterator[tuple[Path, Path, _Files]]:
    """The folders that hold this process's memory cgroups, where their hierarchy is mounted, and their files' names."""
    membership, mounts = _read(root / "proc/self/cgroup"), _read(root / "proc/self/mountinfo")
    if membership is None or mounts is None:
        return
    # "0::/user.slice" of version 2, "4:memory:/docker/1f2e" of version 1
    paths = {tuple(line.split(":", 2)[1].split(",")): line.split(":", 2)[2] for line in membership.splitlines()}
    for line in mounts.splitlines():
        # "36 35 0:31 ROOT MOUNT rw,nosuid shared:1 - TYPE SOURCE OPTIONS"
        place, kind = (part.split() for part in line.split(" - ", 1))
        if kind[0] == "cgroup2":
            path, files = paths.get(("",)), _CGROUP_2
        elif kind[0] == "cgroup" and "memory" in kind[2].split(","):
            path, files = next((paths[names] for names in paths if "memory" in names), None), _CGROUP_1
        else:
            continue
        if path is None:
            continue
        mount = root / place[4].lstrip("/")
        # a container may see only its own part of the hierarchy, under its path or under another
        inner = PurePosixPath(path)
        is_seen = inner.is_relative_to(place[3]) and ".." not in inner.parts
        yield (mount / inner.relative_to(place[3]) if is_seen else mount), mount, files


def _read(path: Path) -> str | None:
    """A file of the system's, or None where there is none, or none for us: what is not told does not limit."""
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return None
