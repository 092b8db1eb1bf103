"""The report's page: what stands before and behind its rows, the row of a photo, and rows of a page that is there.

Nothing on the page comes from elsewhere: a policy (CSP) allows its own script and style, by their hashes, and pictures
that stand in it or in the folder beside it. All text is escaped; what a photo's script block holds is data.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import importlib.resources
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Literal

from dpdeblur import __version__
from dpdeblur.errors import ReadError

Status = Literal["done", "skipped", "failed"]
#: What the page's script knows of a photo: values that JSON knows.
Record = Mapping[str, object]

_GENERATOR = re.compile(rb'<meta name="generator" content="dpdeblur [^"]{1,40} \(report\)">')
_HEAD_BYTES = 1024
_ROW_START = b'<li data-key="'
_ROW = re.compile(
    rb'<li data-key="([0-9a-f]{32})".*?<img [^>]*src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)".*'
    rb'<script type="application/json">(.*)</script></li>\r?\n?',
    re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Wording:
    """What the report calls things.

    Attributes:
        heading: Its title.
        before: The left picture.
        after: The right picture.
        done: A photo that was worked on.
        skipped: A photo that was not.
    """

    heading: str
    before: str = "Before"
    after: str = "After"
    done: str = "Restored"
    skipped: str = "Done before"

    def name_status(self, status: Status) -> str:
        """The word for how a photo ended."""
        return {"done": self.done, "skipped": self.skipped, "failed": "Failed"}[status]


@dataclasses.dataclass(frozen=True)
class Frame:
    """A page without its rows.

    Attributes:
        head: Up to the summary.
        middle: From there to the rows.
        foot: What follows them.
    """

    head: bytes
    middle: bytes
    foot: bytes


def build_frame(wording: Wording, *, loads_files: bool) -> Frame:
    """Fill in everything of the page but summary and rows.

    Args:
        wording: What things are called.
        loads_files: Whether pictures from the folder beside the page may be shown.
    """
    page = importlib.resources.files(__package__).joinpath("report.html").read_text("utf-8")
    script, style = (re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL) for tag in ("script", "style"))
    assert script is not None and style is not None, "the page has both"
    policy = (
        f"default-src 'none'; script-src {_hash(script[1])}; style-src {_hash(style[1])};"
        f" img-src data:{' file: ' + chr(39) + 'self' + chr(39) if loads_files else ''};"
        " base-uri 'none'; form-action 'none'"
    )
    title = escape(wording.heading)
    options = (("all", "All"), ("done", wording.done), ("failed", "Failed"), ("skipped", wording.skipped))
    choices = "".join(f'<option value="{value}">{escape(name)}</option>' for value, name in options)
    parts = {
        "<!--META-->": f'<meta name="generator" content="dpdeblur {__version__} (report)">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        "<!--TITLE-->": f"<title>{title}</title>",
        "<!--BODY-->": f'<body data-before="{escape(wording.before)}" data-after="{escape(wording.after)}">\n'
        f'<header id="top">\n<h1>{title}</h1>\n<p id="summary"><!--SUMMARY--></p>\n<form id="find-form" role="search">'
        '<input id="find" type="search" placeholder="Find a name" aria-label="Find a name" autocomplete="off">'
        f'<select id="state" aria-label="Which photos">{choices}<option value="warned">With warnings</option></select>'
        "</form>\n</header>",
    }
    for mark, text in parts.items():
        page = page.replace(mark, text)
    head, rest = page.split("<!--SUMMARY-->")
    middle, foot = rest.split("<!--ROWS-->\n")
    return Frame(*(part.encode("utf-8", "backslashreplace") for part in (head, middle, foot)))


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def escape(text: str) -> str:
    """Text for the page, in attributes too."""
    return html.escape(text, quote=True)


def render_row(
    record: Record, thumbnail: bytes, *, number: int, status: Status, state: str, is_warned: bool, key: str
) -> bytes:
    """Write a photo's row, on one line.

    Args:
        record: What the script knows of it; `name` is shown.
        thumbnail: A JPEG, or nothing.
        number: Its place, counted from 1.
        status: How it ended.
        state: The same in words.
        is_warned: Whether there are warnings.
        key: By what a later report finds the row again, 32 hexadecimal digits; nothing where it must not.
    """
    picture = ""
    if thumbnail:
        source = f"data:image/jpeg;base64,{base64.b64encode(thumbnail).decode()}"
        picture = f'<img alt="" loading="lazy" decoding="async" src="{source}">'
    # "<" could end the block that the data stands in; everything beyond ASCII is an escape already
    data = json.dumps(record, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
    warned = ("yes", " warned") if is_warned else ("no", "")
    row = (
        f'<li data-key="{key}" data-status="{status}" data-warned="{warned[0]}">'
        f'<a href="#{number}" class="{status}">{picture}<span class="words">'
        f'<span class="name">{_on_one_line(str(record["name"]))}</span>'
        f'<span class="state{warned[1]}">{_on_one_line(state)}</span></span></a>'
        f'<script type="application/json">{data}</script></li>\n'
    )
    return row.encode("utf-8", "backslashreplace")


def _on_one_line(text: str) -> str:
    return escape(" ".join(text.split()))


def is_own_page(path: Path) -> bool:
    """Whether dpdeblur wrote a file as a report.

    Raises:
        ReadError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _GENERATOR.search(file.read(_HEAD_BYTES)) is not None
    except OSError as error:
        raise ReadError(f"cannot be read ({error.strerror})", path=path, remedy="name another report") from error


class EarlierRows:
    """The rows with pictures of a page that is about to be replaced, found by their keys; they stay on the disk."""

    def __init__(self) -> None:
        """Know none."""
        self._file: BinaryIO | None = None
        self._places: dict[str, int] = {}

    def open(self, path: Path) -> None:
        """Look where the rows of a page are.

        Raises:
            OSError: It cannot be read.
        """
        self._file = path.open("rb")
        place = 0
        for line in self._file:
            if line.startswith(_ROW_START):
                key = line[len(_ROW_START) : len(_ROW_START) + 32]
                self._places[key.decode("ascii", "replace")] = place
            place += len(line)

    def find(self, key: str) -> tuple[Record, bytes] | None:
        """Read a row: what the script knew of the photo, and its thumbnail.

        Returns:
            None where there is no such row, or somebody changed it so that it is none.
        """
        if self._file is None or key not in self._places:
            return None
        self._file.seek(self._places[key])
        match = _ROW.fullmatch(self._file.readline())
        if match is None:
            return None
        try:
            record = json.loads(match[3])
            thumbnail = base64.b64decode(match[2], validate=True)
        except ValueError:
            return None
        is_whole = isinstance(record, dict) and {"name", "warnings", "facts"} <= record.keys()
        return (record, thumbnail) if is_whole else None

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file = None
