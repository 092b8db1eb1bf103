"""The documentation is complete, true and runs: README.md, the manual page, --help and completion."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from captures import draw_views, dual_frames, write_dual_cr2
from cli_runs import PROGRAM, call
from documentation import find_blocks, find_calls, find_faults, list_options, list_undescribed, open_program, parse_call
from shell import ROOT, run_shell, serve_program

from dpdeblur.cli import app
from dpdeblur.commands.examples import EXAMPLES, attach_examples
from dpdeblur.commands.manual import format_manual
from dpdeblur.weights import list_weights, read_card

README = (ROOT / "README.md").read_text(encoding="utf-8")
MANUAL = ROOT / "dpdeblur" / "commands" / "dpdeblur.1"


def read_plain(manual: str) -> str:
    """A manual page's words, without what roff needs around them."""
    return manual.replace(r"\-", "-").replace(r"\fB", "").replace(r"\fR", "").replace(r"\&", "")


# README.md


def test_every_command_and_option_is_documented_and_nothing_else():
    assert find_faults(README, read_plain(MANUAL.read_text()), app) == []


def test_every_command_and_option_says_what_it_is_for():
    assert list_undescribed(app) == []


@pytest.fixture
def desk(tmp_path: Path, dual_dng: Path, srgb_tiff: Path) -> Path:
    """A folder with what the examples name: two tiny photos and a small raw."""
    photos = tmp_path / "PHOTOS"
    photos.mkdir()
    for path in (dual_dng, srgb_tiff):
        shutil.copy(path, photos)
    write_dual_cr2(tmp_path / "IMG_0001.CR2", *dual_frames(*draw_views(128, 192)))
    return tmp_path


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Where shell lines find the program."""
    with tempfile.TemporaryDirectory() as folder, serve_program(Path(folder)) as environment:
        yield environment


def test_the_examples_of_the_readme_run(desk: Path, environment: dict[str, str]):
    blocks = [block for block in find_blocks(README) if block.fate == "run"]
    assert {block.language for block in blocks} == {"sh", "python"}
    for block in blocks:
        shell = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
        result = run_shell(*shell, block.text, environment=environment, cwd=desk)
        assert result.returncode == 0, f"{block.text}\n{result.stdout}\n{result.stderr}"


def test_files_that_the_readme_names_are_there():
    named = re.findall(r"`((?:tests|examples|dpdeblur|weights)/[\w/.-]*)`|\]\(([\w/.-]+)\)", README)
    paths = {first or second for first, second in named}
    assert len(paths) > 5
    assert [path for path in sorted(paths) if not ("NAME" in path or (ROOT / path).exists())] == []


def test_the_table_of_networks_holds_what_the_cards_of_the_shipped_weights_say():
    table = [line.split("|")[1:-1] for line in README.splitlines() if line.startswith("|")]
    header = next(row for row in table if row[0].strip() == "scene")
    cards = [read_card(path) for path in list_weights()]
    for card in cards:
        (column,) = (index for index, title in enumerate(header) if card.network in title.lower())
        told = {row[0].strip(" *"): row[column].strip(" *") for row in table if len(row) == len(header)}
        scenes = {name: score for name, score in card.scores.items() if "_" in name and name != "in_focus_change"}
        assert len(scenes) == 6
        assert {name: told[name] for name in scenes} == {name: f"{score:+.2f}" for name, score in scenes.items()}
        assert told["mean of the Pixel scenes"] == f"{card.scores['pixel']:+.2f}"
        assert told["in focus, mean change"] == f"{card.scores['in_focus_change']:.4f}"
    assert len(cards) >= 2


# the checker itself


def make_app(*, described: bool = True) -> typer.Typer:
    """A program of two commands."""
    small = typer.Typer()

    @small.command("cut", help="Cut." if described else None)
    def cut(depth: int = typer.Option(1, "--depth", help="How deep." if described else None)) -> None:
        raise AssertionError("nothing is done")

    @small.command("glue", help="Glue.")
    def glue() -> None:
        raise AssertionError("nothing is done")

    return small


GOOD_README = "```sh run\ndpdeblur cut --depth 2 | cat  # deep\ndpdeblur glue\n```\nUse `--depth`.\n"


def test_a_faultless_documentation_has_no_faults():
    small = make_app()
    assert find_faults(GOOD_README, read_plain(format_manual(open_program(small))), small) == []
    assert list_undescribed(small) == []


@pytest.mark.parametrize(
    ("readme", "manual", "fault"),
    [
        (GOOD_README.replace("glue", "cut"), "--depth", "README.md has no example of glue"),
        (GOOD_README, "--dept", "the manual page has no --depth of cut"),
        (GOOD_README.replace("--depth 2", "--deep 2"), "--depth", "dpdeblur cut --deep 2: "),
        (GOOD_README.replace("--depth 2", "--depth much"), "--depth", "dpdeblur cut --depth much: "),
        (GOOD_README.replace("glue", "weld"), "--depth", "dpdeblur weld: there is no command 'weld'"),
        (GOOD_README.replace("Use `--depth`", "Use `--width`"), "--depth", "README.md tells of --width"),
        (GOOD_README.replace("sh run", "sh"), "--depth", "a block of shell lines has the fate ''"),
    ],
)
def test_each_fault_is_found(readme: str, manual: str, fault: str):
    found = find_faults(readme, f"{manual} --install-completion --show-completion", make_app())
    assert any(one.startswith(fault) for one in found), found


def test_what_says_nothing_is_found():
    assert list_undescribed(make_app(described=False)) == ["dpdeblur cut", "dpdeblur cut depth"]


def test_a_line_that_fails_is_a_failure(desk: Path, environment: dict[str, str]):
    lines = "dpdeblur info PHOTOS >/dev/null\ndpdeblur info MISSING | cat\n"
    assert run_shell("bash", "-euo", "pipefail", "-c", lines, environment=environment, cwd=desk).returncode == 2


def test_calls_are_found_in_pipes_lists_and_over_lines():
    script = "find . -print0 | dpdeblur run -0 \\\n  -o 'my out'  # dpdeblur no\n"
    script += "false && dpdeblur info a; dpdeblur info b >c"
    assert find_calls(script) == [["run", "-0", "-o", "my out"], ["info", "a"], ["info", "b"]]


# --help


def test_every_command_has_examples_that_the_command_line_understands():
    names = set(list_options(app)) - {""}
    assert set(EXAMPLES) == names
    for name, examples in EXAMPLES.items():
        for what, why in examples:
            calls = find_calls(what)
            assert calls and why.endswith((".", "safetensors")), what
            assert [problem for problem in (parse_call(app, one) for one in calls) if problem] == [], what
        assert any(f"dpdeblur {name}" in what for what, _ in examples)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_help_ends_with_the_examples(name: str):
    result = call(*name.split(), "--help")
    assert result.code == 0
    assert "Examples:" in result.stdout
    assert EXAMPLES[name][0][0][:40] in result.stdout


def test_examples_reach_groups_within_groups():
    inner, outer = typer.Typer(), typer.Typer()
    inner.command("list")(lambda: None)
    outer.add_typer(inner, name="weights")
    attach_examples(outer)
    assert inner.registered_commands[0].epilog.startswith("Examples:\ndpdeblur weights list\n    ")


# the manual page


def test_the_manual_page_is_up_to_date():
    assert call("manual").stdout == MANUAL.read_text(), "run: dpdeblur manual > dpdeblur/commands/dpdeblur.1"


def test_the_manual_page_is_hidden_from_help_but_there():
    assert "manual" not in call("--help").stdout
    assert "" not in [line for line in MANUAL.read_text().splitlines()], "roff takes an empty line for a break"


@pytest.mark.parametrize("program", [("man", "--warnings", "-l"), ("groff", "-man", "-Tutf8", "-ww"), ("mandoc",)])
def test_programs_that_show_manual_pages_show_all_of_it(program: tuple[str, ...]):
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    settings = os.environ | {"MANWIDTH": "200", "MANPAGER": "cat", "GROFF_NO_SGR": "1", "LC_ALL": "C.UTF-8"}
    shown = subprocess.run([*program, str(MANUAL)], env=settings, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    text = re.sub(r".\x08", "", shown.stdout)  # bold by striking twice
    for name, options in list_options(app).items():
        assert f"dpdeblur {name}".strip() in text
        for option in options:
            assert option in text
    assert "--strength" in text and "130" in text and "/O=" not in text


def test_the_wheel_brings_the_manual_page():
    # a checkout that was built holds a description of itself, too, without a record of files
    found = importlib.metadata.distributions(name="dpdeblur")
    files = next((wheel.files for wheel in found if wheel.read_text("RECORD")), None)
    if files is None:
        pytest.skip("dpdeblur is not installed from a wheel here")
    (page,) = (path for path in files if path.name == "dpdeblur.1" and "share" in path.parts)
    assert Path(str(page.locate())).resolve().is_file()
    assert page.parts[-4:] == ("share", "man", "man1", "dpdeblur.1")


# completion


def test_bash_completes_commands_options_and_choices(tmp_path: Path):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    # the shell calls the program by its name, so it has to have that name
    program = tmp_path / "dpdeblur"
    program.write_text(f'#!/bin/sh\nexec \'{sys.executable}\' -c "{START}" "$@"\n')
    program.chmod(0o755)
    settings = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = subprocess.run(
        [program, "--show-completion", "bash"], env=settings, capture_output=True, text=True, check=True
    ).stdout
    lines = [script]
    for words in ("dpdeblur sp", "dpdeblur run --str", "dpdeblur run --format j", "dpdeblur weights "):
        lines.append(f"COMP_WORDS=({words.rstrip()}{' ' + chr(39) * 2 if words.endswith(' ') else ''})")
        lines.append("COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _dpdeblur_completion dpdeblur; echo ${COMPREPLY[@]}")
    result = subprocess.run(["bash", "-c", "\n".join(lines)], env=settings, capture_output=True, text=True, check=True)
    replies = result.stdout.splitlines()
    assert replies[:3] == ["split", "--strength", "jpeg"]
    assert {"list", "verify", "import"} <= set(replies[3].split())


START = "import sys; sys.argv[0] = 'dpdeblur'; from dpdeblur.cli import main; main()"


def test_completion_loads_nothing_heavy():
    watch = "import sys\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    settings = os.environ | {
        "_DPDEBLUR_COMPLETE": "complete_bash",
        "COMP_WORDS": "dpdeblur run --st",
        "COMP_CWORD": "2",
    }
    program = START.replace("main()", "") + "\n" + watch
    result = subprocess.run([PROGRAM[0], "-c", program], env=settings, capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.split() == ["--strength"]
    loaded = set(result.stderr.split())
    assert "typer" in loaded
    assert not loaded & {"torch", "cv2", "rawpy", "numpy"}
