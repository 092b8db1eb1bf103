"""The contact sheet: which photos, in which order, and what it shows of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpdeblur.evaluation.canvas import SERIES, WHITE
from dpdeblur.evaluation.datasets import Scene
from dpdeblur.evaluation.focus import FocusErrors
from dpdeblur.evaluation.metrics import Floats
from dpdeblur.evaluation.protocols import Protocol
from dpdeblur.evaluation.scoring import INPUT, SceneResult, compare_pictures
from dpdeblur.evaluation.sheet import BRIGHTEST, ContactSheet, make_band


def make_result(name: str, error: float, *, size: tuple[int, int] = (600, 900), failed: bool = False) -> SceneResult:
    """A gray reference; a result that is too bright by `error` in a square near its lower right corner."""
    reference = np.full((*size, 1), 0.4)
    blurred = reference + 0.05
    picture = reference.copy()
    picture[-160:-60, -260:-160] += error
    pictures: dict[str, Floats] = {} if failed else {"net": picture}
    comparisons = {
        method: compare_pictures(one, reference, Protocol()) for method, one in {INPUT: blurred, **pictures}.items()
    }
    path = Path(f"{name}.png")
    return SceneResult(Scene(name, path, path, None), blurred, pictures, comparisons)


def test_the_worst_photos_come_first_and_only_they_are_kept() -> None:
    sheet = ContactSheet(limit=3)
    for name, error in (("b", 0.2), ("d", 0.05), ("a", 0.3), ("e", 0.01), ("c", 0.1)):
        sheet.add(make_result(name, error))
    assert [band.name for band in sheet.list_bands()] == ["a", "b", "c"]


def test_parts_are_cut_where_the_result_is_worst_at_full_size() -> None:
    band = make_band(make_result("a", 0.3))
    part = band.parts["net"]
    assert part.shape == (270, 360, 3)
    assert set(np.unique(part)) == {round(0.4 * 255), round(0.7 * 255)}
    assert (part == round(0.7 * 255)).all(axis=2).sum() == 100 * 100  # the whole square
    assert (band.parts[INPUT] == round(0.45 * 255)).all()
    assert (band.parts["reference"] == round(0.4 * 255)).all()


def test_the_frame_shows_where_the_part_lies() -> None:
    whole = make_band(make_result("a", 0.3)).whole
    rows, columns = np.nonzero((whole == np.array(WHITE)).all(axis=2))
    factor = whole.shape[1] / 900
    # the square's middle is at (690, 490), but the part must stay within the picture, and any window that lies in the
    # square is as wrong as any other
    assert abs(columns.mean() / factor - 690) < 25
    assert abs(rows.mean() / factor - 465) < 25


def test_the_larger_the_error_the_brighter_its_map() -> None:
    brightness = []
    for error in (0.0, 0.05, 0.1, BRIGHTEST, 2 * BRIGHTEST):
        errors = make_band(make_result("a", error)).errors["net"]
        brightness.append(int(errors.astype(int).sum(axis=2).max()))
    assert brightness[:4] == sorted(set(brightness[:4]))
    assert brightness[3] == brightness[4]


def test_pictures_smaller_than_a_part_are_shown_whole() -> None:
    band = make_band(make_result("a", 0.3, size=(280, 300)))
    assert band.parts["net"].shape == (270, 300, 3)


def test_labels_say_what_was_gained() -> None:
    band = make_band(make_result("a", 0.1))
    # the input is off by 0.05 everywhere: 26.02 dB; the result by 0.1 in 10,000 of 540,000 pixels: 37.32 dB
    assert band.labels == {INPUT: "26.02 dB", "net": "37.32 dB (+11.30)"}


def test_a_photo_without_a_result_is_sorted_by_what_it_was() -> None:
    band = make_band(make_result("a", 0.1, failed=True))
    assert round(band.psnr, 2) == 26.02
    assert set(band.parts) == {INPUT, "reference"}


def test_the_sheet_has_a_band_a_photo_and_the_distribution_below() -> None:
    sheet = ContactSheet()
    sheet.add(make_result("a", 0.1))
    plain = sheet.draw("set: as it is", ["net"], {"net": FocusErrors()})
    sheet.add(make_result("b", 0.2, failed=True))
    two = sheet.draw("set: as it is", ["net"], {"net": FocusErrors()})
    errors = FocusErrors()
    errors.add(np.full((5, 5, 1), 0.51), np.full((5, 5, 1), 0.5), np.ones((5, 5), bool))
    full = sheet.draw("set: as it is", ["net"], {"net": errors})
    assert two.height - plain.height == 2 * 270 + 12 + 110
    assert full.height - two.height == 560
    below = full.pixels[two.height :]
    blue = (below == np.array(SERIES[0])).all(axis=2)
    # nothing up to an error of 0.01, all from there on: the curve is at the top over nine tenths of the width
    columns = np.flatnonzero(blue[116:128].any(axis=0))
    assert columns.max() - columns.min() > 0.85 * (full.width - 170)
