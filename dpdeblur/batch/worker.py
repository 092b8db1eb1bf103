"""A process of its own for decoding: a C library that crashes, hangs or is killed costs one photo, not the batch.

The process is a fresh Python (never a fork, which would share locks and is not to be had everywhere). It reads calls
from its standard input and writes results to its standard output, both pickled. Large arrays stay out of the pipe where
the system has anonymous memory files (Linux): the worker writes each into one and lets go of it, the parent maps the
file. Such files have no name, so nothing is left over, however either process ends. Elsewhere the pipe takes them.

The worker ends when its standard input closes, which the parent's death does too, and when a call takes longer than its
limit. Ctrl-C, which a terminal sends to both, is the parent's to handle.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import mmap
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, NoReturn, ParamSpec, Self, TypeVar

from dpdeblur.errors import DpDeblurError, PassingError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

P = ParamSpec("P")
T = TypeVar("T")

#: Arrays from this size on are handed over on their own; the rest is part of the pickle.
_LARGE_BYTES = 2**16
_LAST_MOMENT_S = 5.0
#: How a process ended by SIGKILL ends; Windows has neither.
_KILLED = -9
_COPY_AGAIN = "if that happens again, copy it again from the card or its backup"
_PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:] = {path!r}
from dpdeblur.batch.worker import serve
serve()
"""


class Worker:
    """A process that calls functions for this one; it is started at the first call, and anew after it died."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words: collections.deque[bytes] = collections.deque(maxlen=50)
        self._listener: threading.Thread | None = None
        self._shares_memory = False
        self._is_closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process, in the middle of a call too."""
        self.close()

    def close(self) -> None:
        """End the process, in the middle of a call too, which then raises PassingError in its thread."""
        self._is_closed = True
        if self._process is not None:
            self._process.kill()
        with self._lock:
            self._end()

    def call(self, limit_s: float, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call a function in the process; one call at a time.

        Args:
            limit_s: How long it may take, in seconds.
            work: A function that pickle knows by its module and name, or a `functools.partial` of one.
            arguments: What it is given; small, as they go through a pipe.
            options: The same by name.

        Returns:
            What the function returns; its arrays may be changed.

        Raises:
            DpDeblurError: The function raised it.
            MemoryError: Likewise, or the result does not fit into memory here.
            PassingError: The process died, took too long, or cannot be started.
        """
        with self._lock:
            if self._process is None:
                self._start()
            if self._is_closed:  # looked at after the start: `close` may have seen no process yet
                self._end()
                raise PassingError("was dropped")
            is_answered = False
            try:
                self._send(pickle.dumps((limit_s, self._shares_memory, work, arguments, options)))
                succeeded, result = self._receive()
                is_answered = True
            except (OSError, EOFError) as error:
                raise self._explain_death(limit_s) from error
            finally:
                if not is_answered:  # whatever is still in the pipe belongs to this call
                    self._end()
        if succeeded:
            return result  # type: ignore[no-any-return]  # whatever the function returns
        raise result

    def _start(self) -> None:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise PassingError(f"the decoder cannot be started ({error.strerror})") from error
        self._process = process
        # what decoders print is no line for the user; the last of it may say why one died
        self._last_words.clear()
        self._listener = threading.Thread(target=self._last_words.extend, args=(process.stderr,), daemon=True)
        self._listener.start()
        self._shares_memory = hasattr(os, "memfd_create") and os.path.exists(f"/proc/{process.pid}/fd/1")

    def _end(self) -> None:
        """Let go of the process; it has died, or is killed now."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if self._listener is not None:
            self._listener.join()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):  # closing writes what is left, to a process that is no more
                stream.close()

    def _send(self, message: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(struct.pack("<Q", len(message)) + message)
        self._process.stdin.flush()

    def _receive(self) -> tuple[bool, Any]:
        assert self._process is not None and self._process.stdout is not None
        stream = self._process.stdout
        length, count = struct.unpack("<QQ", _read(stream, 16))
        places = struct.unpack(f"<{2 * count}Q", _read(stream, 16 * count))
        answer = _read(stream, length)
        if not self._shares_memory:
            arrays = [_read(stream, size) for size in places[::2]]
        else:
            arrays = [self._map(descriptor, size) for size, descriptor in zip(places[::2], places[1::2], strict=True)]
            self._send(b"")
        return pickle.loads(answer, buffers=arrays)  # type: ignore[no-any-return]

    def _map(self, descriptor: int, size: int) -> Any:
        """Map one of the worker's files; the mapping lives as long as the array that is made of it."""
        assert self._process is not None
        ours = os.open(f"/proc/{self._process.pid}/fd/{descriptor}", os.O_RDWR)
        try:
            return mmap.mmap(ours, size)
        finally:
            os.close(ours)

    def _explain_death(self, limit_s: float) -> PassingError:
        assert self._process is not None
        process = self._process
        with contextlib.suppress(subprocess.TimeoutExpired):  # its pipe closes a moment before it ends
            process.wait(_LAST_MOMENT_S)
        self._end()
        words = [line.decode(errors="replace").strip() for line in self._last_words]
        if any(line.startswith("Timeout (") for line in words):
            return PassingError(f"decoding took more than {limit_s:.0f} s and was given up", remedy=_COPY_AGAIN)
        if process.returncode == _KILLED:
            cause = "its decoder was killed, as systems do when memory runs out"
            return PassingError(cause, remedy="close other programs, and run again")
        end = f"code {process.returncode}"
        if process.returncode < 0:
            end = signal.Signals(-process.returncode).name
        if words:
            end += f": {words[-1]}"
        return PassingError(f"its decoder crashed ({end})", remedy=_COPY_AGAIN)


def _read(stream: IO[bytes], size: int) -> bytearray:
    """Read exactly so many bytes.

    Raises:
        EOFError: The other side is gone.
    """
    content = bytearray(size)
    if stream.readinto(content) != size:  # type: ignore[attr-defined]  # typeshed's IO lacks it
        raise EOFError
    return content


def serve() -> NoReturn:
    """Be the process: answer calls until there are no more."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # the readers listen to what libraries print on standard error, and a watchdog's last words must get past them
    watchdog = os.dup(2)
    # what a library prints must not come between the answers, nor may it wait for input
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    if resource is not None:  # a crash must not leave its memory, with a photo in it, in the user's folder
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    inbox: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, inbox), daemon=True).start()
    while True:
        _answer(inbox, answers, watchdog)


def _listen(requests: IO[bytes], inbox: queue.SimpleQueue[bytearray]) -> NoReturn:
    """Take messages while the main thread works, so that the parent's end is noticed at once."""
    while True:
        try:
            (length,) = struct.unpack("<Q", _read(requests, 8))
            inbox.put(_read(requests, length))
        except EOFError:
            os._exit(0)


def _answer(inbox: queue.SimpleQueue[bytearray], answers: IO[bytes], watchdog: int) -> None:
    """Take one call, and send what comes of it; where it takes too long, say so on a descriptor and end."""
    limit_s, shares_memory, work, arguments, options = pickle.loads(inbox.get())
    # a thread without Python in it: it ends the process even where a library hangs and keeps Python locked
    faulthandler.dump_traceback_later(limit_s, exit=True, file=watchdog)
    arrays: list[pickle.PickleBuffer] = []

    def put_aside(array: pickle.PickleBuffer) -> bool:
        is_small = array.raw().nbytes < _LARGE_BYTES
        if not is_small:
            arrays.append(array)
        return is_small

    answer = pickle.dumps(_run(work, arguments, options), protocol=5, buffer_callback=put_aside)
    faulthandler.cancel_dump_traceback_later()
    sizes = [array.raw().nbytes for array in arrays]
    arrays.reverse()
    files: list[int] = []
    while shares_memory and arrays:
        files.append(_store(arrays.pop()))
    places = [number for pair in zip(sizes, files or [0] * len(sizes), strict=True) for number in pair]
    answers.write(struct.pack(f"<QQ{len(places)}Q", len(answer), len(sizes), *places) + answer)
    while arrays:
        answers.write(arrays.pop().raw())
    answers.flush()
    if shares_memory:
        inbox.get()  # the parent has mapped them
    for file in files:
        os.close(file)


def _run(work: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[bool, Any]:
    """Return whether the call went well, and its result or its expected failure; our own bugs end the process."""
    try:
        return True, work(*arguments, **options)
    except (DpDeblurError, MemoryError) as error:
        return False, error


def _store(array: pickle.PickleBuffer) -> int:
    """Write an array into an anonymous file."""
    file = os.memfd_create("dpdeblur")
    content = array.raw()
    while content:
        content = content[os.write(file, content) :]
    return file
