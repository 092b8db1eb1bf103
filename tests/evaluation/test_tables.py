"""Means of scores, and the tables that show them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from dpdeblur.evaluation.focus import FocusErrors
from dpdeblur.evaluation.metrics import Scores
from dpdeblur.evaluation.protocols import PROTOCOLS, Protocol
from dpdeblur.evaluation.published import list_published
from dpdeblur.evaluation.scoring import INPUT
from dpdeblur.evaluation.summary import PhotoScores, summarise
from dpdeblur.evaluation.tables import Report, format_csv, format_json, format_markdown, format_text


def score(photo: str, method: str, psnr: float, group: str = "", **others: float) -> PhotoScores:
    scores = Scores(psnr, others.get("ssim", 0.8), others.get("mae", 0.04), 10 ** (-psnr / 20), others.get("lpips"))
    return PhotoScores(photo, group, method, scores, others.get("kept", 1.0))


PHOTOS = (
    score("a", INPUT, 20.0, "indoor", ssim=0.7),
    score("a", "net*", 22.0, "indoor", ssim=0.75),
    score("b", INPUT, 26.0, "outdoor", ssim=0.8),
    score("b", "net*", 26.5, "outdoor", ssim=0.85),
    score("c", INPUT, 30.0, "outdoor"),
)


def make_report(photos: Sequence[PhotoScores] = PHOTOS, **changes: object) -> Report:
    errors = FocusErrors()
    errors.add(np.full((2, 5, 1), 0.5), np.full((2, 5, 1), 0.49), np.ones((2, 5), bool))
    report = Report(
        data="set",
        layout="dpdd",
        protocol=PROTOCOLS["dpdd"],
        bits=16,
        photos=photos,
        rows=summarise(photos, ["net*"]),
        published=list_published("dpdd", deformed=False, choice="networks"),
        focus={"net*": errors},
        focus_source="as marked",
        failures=["c: broken"],
    )
    return dataclasses.replace(report, **changes)  # type: ignore[arg-type]


def test_means_are_taken_over_the_photos_that_a_method_restored() -> None:
    rows = {(row.method, row.group): row for row in summarise(PHOTOS, ["net*", "other"])}
    assert list(rows) == [
        *((INPUT, "all"), ("net*", "all"), (INPUT, "indoor"), ("net*", "indoor")),
        *((INPUT, "outdoor"), ("net*", "outdoor")),
    ]
    assert (rows[INPUT, "all"].photos, rows["net*", "all"].photos) == (3, 2)
    assert rows[INPUT, "all"].scores.psnr == pytest.approx(76 / 3)
    assert rows["net*", "all"].scores.ssim == pytest.approx(0.8)
    assert rows["net*", "outdoor"].scores.psnr == 26.5


def test_the_gain_compares_the_same_photos() -> None:
    rows = {(row.method, row.group): row for row in summarise(PHOTOS, ["net*"])}
    assert rows["net*", "all"].gain == pytest.approx(1.25)  # photo c, which was not restored, does not count
    assert rows[INPUT, "all"].gain is None


def test_relative_rmse_of_a_set_is_that_of_its_mean_psnr() -> None:
    rows = summarise(PHOTOS[:4], ["net*"])
    assert rows[0].scores.rmse_rel == pytest.approx(10 ** (-23 / 20))  # not the mean of 0.1 and 0.0501


def test_lpips_is_averaged_where_it_is_known() -> None:
    photos = [score("a", INPUT, 20, lpips=0.2), score("b", INPUT, 20, lpips=0.4), score("c", INPUT, 20)]
    assert summarise(photos, [])[0].scores.lpips == pytest.approx(0.3)


def test_the_table_shows_measured_rows_before_published_ones_and_names_both() -> None:
    lines = format_text(make_report()).splitlines()
    assert lines[0] == ("dpdd, 3 photos at 16 bits: reference as it is, SSIM in uniform 7x7 windows")
    head = lines[2].split()
    assert head == ["method", "group", "photos", "PSNR", "gain", "SSIM", "MAE", "RMSE_rel", "LPIPS", "source"]
    assert lines[4].split() == ["net*", "all", "2", "24.25", "+1.25", "0.800", "0.0400", "0.0613", "-", "measured"]
    k3dn = next(line for line in lines if line.startswith("K3DN (Large)"))
    assert k3dn.split()[2:] == [
        *("all", "-", "27.06", "-", "0.835", "0.0341", "0.0444", "-", "published:", "K3DN,", "table", "1"),
    ]
    places = {line.index("source") for line in lines if line.startswith("method ") and "source" in line}
    assert {line.index("published") for line in lines if "published" in line} == places
    assert "Share of the pixels in focus (100.0% of all; as marked) that were changed by at most" in lines
    assert lines[-1].split() == ["net*", "0.0%", "0.0%", "100.0%", "100.0%", "100.0%"]


def test_columns_that_nothing_fills_are_left_out() -> None:
    photos = [score("a", INPUT, 20.0), score("a", "net*", 21.0)]
    report = make_report(photos, published=(), focus={"net*": FocusErrors()})
    lines = format_text(report).splitlines()
    assert lines[2].split() == ["method", "photos", "PSNR", "gain", "SSIM", "MAE", "RMSE_rel", "source"]
    assert len(lines) == 5


def test_a_deformed_reference_shows_how_much_was_compared() -> None:
    photos = [score("a", INPUT, 20.0, kept=0.9), score("b", INPUT, 21.0, kept=0.8)]
    report = make_report(photos, protocol=Protocol(deforms_reference=True), published=(), focus={})
    lines = format_text(report).splitlines()
    assert lines[0].startswith("dpdd, 2 photos at 16 bits: reference deformed onto each result")
    assert lines[3].split()[-2:] == ["85.0%", "measured"]


def test_markdown_has_the_same_cells_and_no_emphasis_by_accident() -> None:
    lines = format_markdown(make_report()).splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert "| net\\* | all | 2 | 24.25 | +1.25 |" in table[3]
    assert len({line.replace("\\|", "").count("|") for line in table[:12]}) == 1
    assert table[1].startswith("| --- | --- | ---: | ---: |")


def test_csv_has_a_line_a_photo_and_method() -> None:
    rows = list(csv.DictReader(io.StringIO(format_csv(make_report()))))
    assert len(rows) == 5
    assert rows[1] | {"rmse_rel": ""} == {
        "photo": "a",
        "group": "indoor",
        "method": "net*",
        "psnr": "22",
        "ssim": "0.75",
        "mae": "0.04",
        "rmse_rel": "",
        "lpips": "",
        "compared_share": "1",
    }
    assert float(rows[1]["rmse_rel"]) == pytest.approx(10 ** (-22 / 20), rel=1e-8)


def test_json_holds_everything_and_no_infinity() -> None:
    photos = [score("a", INPUT, 20.0), score("a", "net*", math.inf)]
    content = json.loads(format_json(make_report(photos)), parse_constant=pytest.fail)
    assert content["measured"][1]["psnr"] is None
    assert content["measured"][1]["gain"] is None
    assert content["photos"][0]["psnr"] == 20
    assert content["published"][0] == {
        "method": "Input",
        "source": "K3DN, table 1",
        "psnr": 23.89,
        "ssim": 0.725,
        "rmse_rel": 0.0639,
        "mae": 0.0471,
    }
    assert content["focus"]["methods"]["net*"]["unchanged"]["0.01"] == 1
    assert content["failures"] == ["c: broken"]
