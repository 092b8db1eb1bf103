"""Calls the program as a shell would, without a new process."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from typer.testing import CliRunner

from dpdeblur.cli import app


@dataclasses.dataclass(frozen=True)
class Run:
    """What a call came to.

    Attributes:
        code: The exit code.
        stdout: What was printed.
        stderr: What was said beside it.
    """

    code: int
    stdout: str
    stderr: str


def call(*arguments: str | Path, stdin: bytes = b"") -> Run:
    """Call `dpdeblur` with these arguments; an error that would be a traceback is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Run(result.exit_code, result.stdout, result.stderr)
