"""What the documentation says and what the program has, laid side by side."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterable
from typing import Any

import typer

from dpdeblur.commands.manual import list_commands

#: A fence's second word says what becomes of the block: `run` ones are run; of the others every line must be understood
#: by the command line, `long` ones take too long to run, `elsewhere` ones need what the tests' machine has not.
FATES = ("run", "long", "elsewhere")
_FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of Markdown.

    Attributes:
        language: The fence's first word.
        fate: Its second word, or an empty string.
        text: What stands in it.
    """

    language: str
    fate: str
    text: str


def find_blocks(markdown: str) -> list[Block]:
    """All fenced blocks."""
    return [Block(match[1], match[2] or "", match[3]) for match in _FENCE.finditer(markdown)]


def open_program(app: typer.Typer) -> Any:
    """The context of the whole program."""
    return typer.main.get_command(app).make_context("dpdeblur", ["-"], resilient_parsing=True)


def list_options(app: typer.Typer) -> dict[str, set[str]]:
    """The long options of each command, and of the program itself under the name of nothing."""
    root = open_program(app)
    options = {}
    for context in (root, *list_commands(root)):
        name = context.command_path.partition(" ")[2]
        parameters = context.command.get_params(context)
        options[name] = {one for parameter in parameters for one in parameter.opts if one.startswith("--")} - {"--help"}
    return options


def list_undescribed(app: typer.Typer) -> list[str]:
    """Commands and options whose help says nothing."""
    silent = []
    for context in list_commands(open_program(app)):
        if not context.command.help:
            silent.append(context.command_path)
        for parameter in context.command.get_params(context):
            record = parameter.get_help_record(context)
            if record is None or not re.sub(r"\[.*?\]", "", record[1]).strip():
                silent.append(f"{context.command_path} {parameter.name}")
    return silent


def find_calls(script: str) -> list[list[str]]:
    """The arguments of every call of `dpdeblur` in shell lines, comments left out."""
    calls = []
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
        words.whitespace_split = True
        call: list[str] | None = None
        for word in words:
            if set(word) <= set("|&;()<>"):
                call = None
            elif word == "dpdeblur" and call is None:
                call = []
                calls.append(call)
            elif call is not None:
                call.append(word)
    return calls


def parse_call(app: typer.Typer, arguments: list[str]) -> str | None:
    """Let the command line understand a call without doing it.

    Returns:
        What is wrong with it, or None.
    """
    context = open_program(app)
    command, rest = context.command, list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands:
            return f"there is no command {name!r}"
        command = command.commands[name]
    if hasattr(command, "commands"):
        return (
            None if rest and set(rest) <= {"--version", "--help", "--install-completion", "--show-completion"} else "?"
        )
    try:
        type(context)(command, info_name="dpdeblur", parent=context)
        command.make_context("dpdeblur", rest, parent=context)
    except typer.Exit:  # --help
        return None
    except Exception as error:  # the classes of wrong use have other homes in other versions of Typer
        return f"{error}"
    return None


def find_faults(markdown: str, manual: str, app: typer.Typer) -> list[str]:
    """Everything in which the documentation falls short of the program, or says too much.

    Args:
        markdown: The README.
        manual: The manual page, as plain text.
        app: The program.
    """
    options = list_options(app)
    blocks = [block for block in find_blocks(markdown) if block.language == "sh"]
    faults = [f"a block of shell lines has the fate {block.fate!r}" for block in blocks if block.fate not in FATES]
    calls = [call for block in blocks for call in find_calls(block.text)]
    for call in calls:
        problem = parse_call(app, call)
        if problem is not None:
            faults.append(f"dpdeblur {' '.join(call)}: {problem}")
    shown = {" ".join(call[:length]) for call in calls for length in (1, 2)}
    faults += [f"README.md has no example of {name}" for name in sorted(set(options) - {""} - shown)]
    words = set(_OPTION.findall(manual))
    for name, known in options.items():
        faults += [f"the manual page has no {option} of {name}" for option in sorted(known - words)]
    known = set().union(*options.values()) | {"--help"} | FOREIGN_OPTIONS
    faults += [
        f"README.md tells of {option}, which nothing has" for option in _list_told(markdown) if option not in known
    ]
    return faults


#: Options of other programs in the README.
FOREIGN_OPTIONS = {"--array", "--check", "--gpus-per-task"}


def _list_told(markdown: str) -> Iterable[str]:
    """The options that the README's code tells of."""
    spans = re.findall(r"`[^`\n]+`", _FENCE.sub("", markdown))
    code = [*spans, *(block.text for block in find_blocks(markdown) if block.language == "sh")]
    return sorted({option for text in code for option in _OPTION.findall(text)})
