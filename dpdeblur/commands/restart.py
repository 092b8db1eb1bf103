"""Starting the program anew with the settings of its allocator that can only be made before a process starts.

glibc hands out a network's maps at multiples of 64 bytes. The sliver that this leaves before each map goes to a cache
of the thread's (tcache) and from there to small objects, so that the gap which a freed map leaves is too narrow for the
next map of its size. Without those caches the networks' peak is a tenth to a fifth lower. Large maps go back to the
system when they are freed (`tune_allocator`), which keeps the peak of different runs within some percent of each other;
in huge pages that costs hardly any time (tests/benchmarks/memory.py --untuned).

Source: the GNU C Library's manual, "Memory Allocation Tunables".
"""

from __future__ import annotations

import contextlib
import os
import sys

_VARIABLE = "GLIBC_TUNABLES"
_TUNABLE = "glibc.malloc.tcache_count"
#: What the program runs with; a glibc older than 2.35 passes over the second.
TUNABLES = f"{_TUNABLE}=0:glibc.malloc.hugetlb=1"
_MARK = "DPDEBLUR_RESTARTED"


def restart_with_tunables() -> None:
    """Replace this process by the same program with glibc's settings for it.

    Process number, open files and ignored signals stay what they were. Returns where this is such a process already,
    where the user has chosen the first of them, and where there is none, or no way to it: a process that was started as
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
    tunables = f"{TUNABLES}:{tunables}" if tunables else TUNABLES  # the last word is the user's
    # arguments and environment may be as long as the system allows; it is only memory that is lost
    with contextlib.suppress(OSError):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {_VARIABLE: tunables, _MARK: "1"})
