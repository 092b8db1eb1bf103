"""`dpdeblur manual`: the manual page, from what the commands say about themselves."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import typer

from dpdeblur import __version__
from dpdeblur.commands.examples import EXAMPLES

_INTRODUCTION = """\
dpdeblur turns out-of-focus photographs sharp: dual-pixel raws of Canon cameras and captures of Google Pixels from their
left and right views, any other photo from itself. It works offline, on one photo or on thousands, and never touches an
original. Results appear under their names only when they are complete; what is done already is skipped, so an
interrupted batch goes on by the same command."""

_EXIT_CODES = (
    ("0", "All photos are done, or were done already."),
    ("1", "Some photos failed, each with one line on standard error that says why. The others are done."),
    ("2", "The command line asks for something impossible. Nothing was done."),
    ("3", "There was nothing to work on."),
    ("130", "Interrupted. The same command goes on where it stopped."),
)
_FILES = (
    (
        "deblurred/",
        "Where run writes beside each photo when no --output is given. A walk through folders passes it by.",
    ),
    ("split_views/", "The same for split."),
)


def manual(context: typer.Context) -> None:
    """Print the manual page, in the language of man(1)."""
    typer.echo(format_manual(context.find_root()), nl=False)


def format_manual(root: Any) -> str:
    """Write the manual page.

    Args:
        root: The program's context. Whether its class is Click's or Typer's own depends on Typer's version, so it has
            no type here.

    Returns:
        The page in roff, with the macros of man(7).
    """
    lines = [
        f'.TH DPDEBLUR 1 "" "dpdeblur {__version__}" "User Commands"',
        ".SH NAME",
        r"dpdeblur \- turns out-of-focus dual-pixel photographs sharp",
        ".SH SYNOPSIS",
    ]
    commands = list(list_commands(root))
    for context in commands:
        usage = " ".join(context.command.collect_usage_pieces(context))
        lines += [f".B {_quote(_name(context))}", _quote(usage), ".br"]
    lines += [".SH DESCRIPTION", _quote(_INTRODUCTION), ".SH OPTIONS", *_format_options(root)]
    for context in commands:
        lines += [f".SH {_quote(_name(context)).upper()}", *_format_command(context)]
    for title, terms in (("EXIT STATUS", _EXIT_CODES), ("FILES", _FILES)):
        lines += [f".SH {title}", *itertools.chain(*(_format_term(*term) for term in terms))]
    return "\n".join(lines) + "\n"


def list_commands(context: Any) -> Iterator[Any]:
    """Yield the context of every command that is not hidden, groups opened up.

    Args:
        context: That of the program, or of a group.
    """
    for name, command in context.command.commands.items():
        if command.hidden:
            continue
        inner = type(context)(command, info_name=name, parent=context)
        if hasattr(command, "commands"):
            yield from list_commands(inner)
        else:
            yield inner


def _name(context: Any) -> str:
    """The whole command, however the program was called: `dpdeblur weights list`."""
    return " ".join(["dpdeblur", *_find_path(context)])


def _find_path(context: Any) -> list[str]:
    return [] if context.parent is None else [*_find_path(context.parent), context.info_name]


def _format_command(context: Any) -> Iterator[str]:
    yield "\n.PP\n".join(_quote(paragraph) for paragraph in context.command.help.split("\n\n"))
    yield from _format_options(context)
    examples = EXAMPLES.get(" ".join(_find_path(context)), ())
    if examples:
        yield ".SS Examples"
    for what, why in examples:
        yield f".PP\n.nf\n.RS\n{_quote(what)}\n.RE\n.fi\n.RS 8\n{_quote(why)}\n.RE"


def _format_options(context: Any) -> Iterator[str]:
    """The parameters in the groups of `--help`, each group under its name."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            term, text = record
            if parameter.param_type_name == "argument":
                term = term.partition(" ")[0].upper()  # without the type, which its help tells
            groups.setdefault(parameter.rich_help_panel or "", []).append((term, text))
    for name, records in groups.items():
        if name:
            yield f".SS {_quote(name)}"
        for record in records:
            yield from _format_term(*record)


def _format_term(term: str, text: str) -> tuple[str, ...]:
    return ".TP", rf"\fB{_quote(term)}\fR", _quote(re.sub(r" {2,}", " ", text))


def _quote(text: str) -> str:
    """Keep roff from reading text as its own commands, and hyphens as typographic ones."""
    lines = text.replace("\\", r"\e").replace("-", r"\-").split("\n")
    return "\n".join(rf"\&{line}" if line[:1] in (".", "'") else line for line in lines)
