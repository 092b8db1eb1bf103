"""Starting the program anew with the one setting of its allocator that can only be made before a process starts.

glibc hands out a network's maps at multiples of 64 bytes. The sliver that this leaves before each map goes to a cache
of the thread's (tcache) and from there to small objects, so that the gap which a freed map leaves is too narrow for the
next map of its size. Without those caches the networks' peak is a tenth to a fifth lower, and within some percent the
same in every run (tests/benchmarks/memory.py --caches).

Source: the GNU C Library's manual, "Memory Allocation Tunables".
"""

from __future__ import annotations

import contextlib
import os
import sys

_VARIABLE = "GLIBC_TUNABLES"
_TUNABLE = "glibc.malloc.tcache_count"
_MARK = "DPDEBLUR_RESTARTED"


def restart_without_caches() -> None:
    """Replace this process by the same program without glibc's caches of threads.

    Process number, open files and ignored signals stay what they were. Returns where this is such a process already,
    where the user has chosen that setting, and where there is none, or no way to it: a process that was started as
    something else, and calls the program from within, stays what it is.
    """
    # the loader drops the variable of programs with more rights than their user: the mark keeps those from starting
    # again and again
    is_restarted = os.environ.pop(_MARK, None) is not None
    tunables = os.environ.get(_VARIABLE, "")
    has_tunable = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})
    arguments = sys.argv[1:]
    is_own = sys.orig_argv[len(sys.orig_argv) - len(arguments) :] == arguments
    if is_restarted or _TUNABLE in tunables or not has_tunable or not is_own or not sys.executable:
        return
    tunables = f"{tunables}:{_TUNABLE}=0" if tunables else f"{_TUNABLE}=0"
    # arguments and environment may be as long as the system allows; it is only memory that is lost
    with contextlib.suppress(OSError):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {_VARIABLE: tunables, _MARK: "1"})
