"""Being told to stop: at the next good moment when asked once, at once when asked twice or by the system.

Python runs its signal handlers in the main thread, between two of its own instructions: a network's tile may take a
minute. So the number of each signal also goes into a socket, where a thread waits that can end the process meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

#: What ends a process without asking, where the system has it.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))


@contextlib.contextmanager
def stop_on_signals(say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, let no signal leave an unfinished file behind.

    The first Ctrl-C is Python's own KeyboardInterrupt. The second one ends the process at once, and so do the signals
    that end it anyway; unfinished files are deleted first. Signals that are ignored (`nohup`) stay so.

    Args:
        say: Prints a line.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ending = [number for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL]
    for number in ending:
        signal.signal(number, _wait_for_thread)
    earlier = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_watch, args=(ours, say), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier)
        for number in ending:
            signal.signal(number, signal.SIG_DFL)
        theirs.close()
        thread.join()
        ours.close()


def _wait_for_thread(number: int, frame: object) -> None:
    """Do nothing: the thread has been told as well, and ends the process."""


def _watch(numbers: socket.socket, say: Callable[[str], None]) -> None:
    """Read the numbers of signals until the other side closes."""
    from dpdeblur.writers.atomic import drop_unfinished

    interruptions = 0
    while received := numbers.recv(1):
        interruptions += received[0] == signal.SIGINT
        if received[0] in _ENDING or interruptions > 1:
            drop_unfinished()
            os._exit(128 + received[0])
        if interruptions == 1:
            say("stopping as soon as what is being written is complete; Ctrl-C again stops at once")
