"""A `dpdeblur` on PATH that is this very checkout, for the shell scripts and documentation that the tests run.

Scripts call the program again and again, and each call would load torch anew. So the tests' `dpdeblur` only hands its
arguments, environment and open files to a process that has loaded everything and forks for each call.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_CLIENT = """\
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    call = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(server, [b"call"], [0, 1, 2])
    server.sendall(json.dumps(call).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.makefile().read()))
"""


@contextlib.contextmanager
def serve_program(folder: Path) -> Iterator[dict[str, str]]:
    """Make `dpdeblur`, `python` and `python3` in a folder.

    Args:
        folder: An empty one, of a short name: sockets have names of 100 bytes at most.

    Yields:
        The environment in which they are found first.
    """
    address = str(folder / "socket")
    (folder / "client.py").write_text(_CLIENT.format(address=address))
    python = shlex.quote(sys.executable)
    client = f"-S -E {shlex.quote(str(folder / 'client.py'))}"
    for name, arguments in {"dpdeblur": client, "python": "", "python3": ""}.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {python} {arguments} "$@"\n')
        script.chmod(0o755)
    paths, modules = (os.environ.get(name, "") for name in ("PATH", "PYTHONPATH"))
    environment = os.environ | {
        "PATH": os.pathsep.join([str(folder), paths]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), modules])),
        "OMP_NUM_THREADS": "1",
    }
    server = subprocess.Popen([sys.executable, __file__, address], env=environment, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        yield environment
    finally:
        server.kill()
        server.wait()


def run_shell(*command: str | Path, environment: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit code."""
    arguments = [str(part) for part in command]
    return subprocess.run(arguments, env=dict(environment), cwd=cwd, capture_output=True, text=True, timeout=300)


def _serve(address: str) -> None:
    """Fork for every call; a child ends with its call."""
    import dpdeblur.api  # noqa: F401  everything that a command loads
    from dpdeblur.cli import main

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _answer(connection, main)


def _answer(connection: socket.socket, main: Callable[[], None]) -> None:
    """Be the program for one call, and end."""
    _, files, _, _ = socket.recv_fds(connection, 4, 3)
    for number, file in enumerate(files):
        os.dup2(file, number)
    # the server's own streams may know other kinds of files
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)
    call = json.loads(connection.makefile().read())
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.argv = ["dpdeblur", *call["arguments"]]
    code: object = 1
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(str(code).encode())
        os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
