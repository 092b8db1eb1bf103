"""Makes previews for reports, and reads a report's page the way a browser's parser would."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dpdeblur.colour.spaces import SRGB
from dpdeblur.photo import Image
from dpdeblur.restoration.defocus import DefocusMap
from dpdeblur.writers.preview import Preview, Side, make_preview

#: Elements without an end tag.
_VOID = {"br", "img", "input", "link", "meta"}


def draw_photo(width: int = 96, height: int = 64, *, seed: int = 0) -> Image:
    """A smooth random picture with some structure, (H, W, 3) linear."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.02, 0.9, (max(2, height // 8), max(2, width // 8), 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def make_small_preview(
    width: int = 96, height: int = 64, *, budget_bytes: int = 128_000, seed: int = 0, orientation: int = 1
) -> Preview:
    """A preview of a picture that got lighter."""
    before = draw_photo(width, height, seed=seed)
    defocus = DefocusMap(
        "disparity",
        np.linspace(-1.5, 1.5, 24, dtype=np.float32).reshape(4, 6),
        np.ones((4, 6), np.float32),
    )
    sides = Side(before, SRGB, orientation), Side(before + np.float32(0.1), SRGB, orientation)
    return make_preview(*sides, defocus, budget_bytes)


@dataclasses.dataclass
class Element:
    """One element of a page."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


class Page(HTMLParser):
    """A page, parsed; raises where its elements are not closed in order.

    Attributes:
        elements: All of them, in order.
    """

    def __init__(self, path: Path) -> None:
        """Parse a file."""
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element, which must be the innermost."""
        assert self._open and self._open.pop().tag == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        """Give text to the elements that it stands in."""
        for element in self._open:
            element.text += data

    def find(self, tag: str, **attributes: str) -> list[Element]:
        """The elements of a tag whose attributes are these; `class_` stands for class, `_` for `-`."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element.tag == tag and all(element.attributes.get(name) == value for name, value in wanted.items())
        ]

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the page's script knows of the photos."""
        return [json.loads(element.text) for element in self.find("script", type="application/json")]

    @property
    def names(self) -> list[str]:
        """The names of the photos, as they are shown."""
        return [element.text for element in self.find("span", class_="name")]

    @property
    def states(self) -> list[str]:
        """How the photos ended, as it is shown."""
        return [one.text for one in self.elements if (one.attributes.get("class") or "").split()[:1] == ["state"]]
