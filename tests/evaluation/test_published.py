"""The papers' numbers: against the papers' texts where they are at hand, and against each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpdeblur.evaluation.published import PUBLISHED, PublishedRow, list_published

ROWS = [(layout, deformed, row) for (layout, deformed), rows in PUBLISHED.items() for row in rows]

#: What this program's tables call methods that the papers call otherwise.
OWN_NAMES = {"K3DN": "Ours", "GKMNet": "GKMNet [Ours]"}


def list_rows(source: str) -> list[PublishedRow]:
    return [row for _, _, row in ROWS if row.source == source]


def read_paper(shared: Path, name: str) -> str:
    return (shared / "papers" / f"{name}.txt").read_text(encoding="utf-8")


def test_every_row_has_psnr_and_ssim_in_the_range_of_pictures() -> None:
    for _, _, row in ROWS:
        assert 20 < float(row.scores["psnr"]) < 30
        assert 0.6 < float(row.scores["ssim"]) < 0.85
        for metric, largest in (("mae", 0.07), ("rmse_rel", 0.09), ("lpips", 0.6)):
            assert 0 < float(row.scores.get(metric, "0.01")) < largest


def test_k3dns_rows_are_those_of_its_table(shared: Path) -> None:
    text = read_paper(shared, "k3dn")
    table = text[text.index("Table 1. Comparison") : text.index("Table 2. Comparison")]
    for row in list_rows("K3DN, table 1"):
        name = row.method.replace("K3DN", "Ours")
        (line,) = re.findall(rf"^{re.escape(name)}(?: \[\d+\])?\t(.*)$", table, re.MULTILINE)
        psnr, ssim, rmse_rel, mae = line.split()[:4]
        assert (row.scores["psnr"], row.scores["ssim"]) == (psnr, ssim)
        assert float(row.scores["rmse_rel"]) == pytest.approx(float(rmse_rel) / 100, abs=1e-12)
        assert float(row.scores["mae"]) == pytest.approx(float(mae) / 10, abs=1e-12)
    assert len(list_rows("K3DN, table 1")) == len(re.findall(r"^\S.*\t\d\d\.\d\d\t", table, re.MULTILINE))


def test_dpanets_rows_are_those_of_its_table(shared: Path) -> None:
    text = read_paper(shared, "dpanet")
    table = text[text.index("TABLE I: Quantitative") :].splitlines()[:8]
    names = next(line for line in table if "JNB" in line and "DPANet" in line).split()
    names = names[names.index("JNB") :]
    for metric in ("psnr", "ssim", "mae", "lpips"):
        printed = next(line for line in table if line.upper().startswith(f"{metric.upper()} ")).split()[2:]
        ours = {row.method: row.scores[metric] for row in list_rows("DPANet, table I")}
        assert ours == dict(zip(names, printed, strict=True))


def test_gkmnets_rows_are_those_of_its_table(shared: Path) -> None:
    text = read_paper(shared, "gkmnet")
    table = text[text.index("Table 1: Quantitative comparison of different methods on DPD") :].split("\n\n")[1]
    printed = {}
    for line in table.splitlines()[3:]:
        cells = [cell.strip() for cell in line.split("|")[1:5]]
        printed[re.sub(r" \[.*\]", "", cells[0])] = tuple(cells[1:])
    ours = {row.method: tuple(row.scores[m] for m in ("psnr", "ssim", "lpips")) for row in list_rows("GKMNet, table 1")}
    assert ours == printed


@pytest.mark.parametrize(("number", "layout"), [(2, "dpdd"), (3, "realdof")])
def test_jdrls_rows_of_both_kinds_are_those_of_its_tables(shared: Path, number: int, layout: str) -> None:
    text = read_paper(shared, "jdrl")
    lines = text[text.index(f"Table {number}: Quantitative") :].splitlines()[3:14]
    for deformed in (False, True):
        ours = {
            row.method: "/".join(row.scores[metric] for metric in ("psnr", "ssim", "mae", "lpips"))
            for where, how, row in ROWS
            if (where, how) == (layout, deformed) and row.source.startswith("JDRL")
        }
        printed = {}
        for line in lines:
            name, *scores = line.rsplit(maxsplit=2)
            printed[name] = scores[deformed]
        assert ours == printed


def test_jdrls_rows_of_sdd_are_those_of_its_table(shared: Path) -> None:
    text = read_paper(shared, "jdrl")
    lines = text[text.index("Table 1: Quantitive") :].splitlines()[2:11]
    printed = {}
    for line in lines:
        name, *numbers = line.replace("(Ours)", "").rsplit(maxsplit=4)
        printed[name.strip()] = numbers
    ours = {
        row.method: [row.scores[metric] for metric in ("psnr", "ssim", "mae", "lpips")]
        for row in list_rows("JDRL, table 1")
    }
    assert ours == printed


def test_only_rows_scored_the_same_way_are_listed() -> None:
    assert {row.source for row in list_published("dpdd", deformed=False)} == {
        "K3DN, table 1",
        "DPANet, table I",
        "GKMNet, table 1",
        "JDRL, table 2",
    }
    assert {row.source for row in list_published("dpdd", deformed=True)} == {"JDRL, table 2"}
    assert list_published("sdd", deformed=False) == ()  # nobody scores it so
    assert list_published("pixel4", deformed=False) == list_published("pairs", deformed=False) == ()


def test_networks_are_those_that_this_program_runs_or_trains() -> None:
    names = [row.method for row in list_published("dpdd", deformed=False, choice="networks")]
    assert names == [
        *("Input", "K3DN (Tiny)", "K3DN (Lightweight)", "K3DN (Large)", "DPANet", "GKMNet"),
        *("IFAN*", "UNet*", "MPRNet*"),
    ]
    assert list_published("dpdd", deformed=False, choice="none") == ()
