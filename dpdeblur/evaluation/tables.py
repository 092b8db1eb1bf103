"""What was measured, beside what was published, as a plain table, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence

from dpdeblur import __version__
from dpdeblur.evaluation.focus import THRESHOLDS, FocusErrors
from dpdeblur.evaluation.metrics import Scores
from dpdeblur.evaluation.protocols import Layout, Protocol
from dpdeblur.evaluation.published import PublishedRow
from dpdeblur.evaluation.summary import PhotoScores, Row

_METRICS = ("psnr", "ssim", "mae", "rmse_rel", "lpips")
_DIGITS = {"psnr": 2, "ssim": 3, "mae": 4, "rmse_rel": 4, "lpips": 3}
_HEADS = {"psnr": "PSNR", "ssim": "SSIM", "mae": "MAE", "rmse_rel": "RMSE_rel", "lpips": "LPIPS"}
_NOTHING = "-"


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that the tables tell.

    Attributes:
        data: The data set's folder.
        layout: Its layout.
        protocol: How it was scored.
        bits: 8 or 16.
        photos: Each photo's scores.
        rows: Their means.
        published: The papers' rows.
        focus: By method, how much pixels in focus were changed.
        focus_source: How those pixels were found, in words.
        failures: One line each.
    """

    data: str
    layout: Layout
    protocol: Protocol
    bits: int
    photos: Sequence[PhotoScores]
    rows: Sequence[Row]
    published: Sequence[PublishedRow]
    focus: dict[str, FocusErrors]
    focus_source: str
    failures: Sequence[str]

    @property
    def title(self) -> str:
        """The set and how it was scored, in one line."""
        count = max((row.photos for row in self.rows), default=0)
        return f"{self.layout}, {count} photo{'s' * (count != 1)} at {self.bits} bits: {self.protocol}"


def format_text(report: Report) -> str:
    """The tables for a terminal, columns in line."""
    parts = [report.title, "", _align(_list_scores(report))]
    focus = _list_focus(report)
    if focus:
        parts += ["", _describe_focus(report), "", _align(focus)]
    return "\n".join(parts)


def format_markdown(report: Report) -> str:
    """The tables in Markdown."""
    parts = [report.title, "", _mark_down(_list_scores(report))]
    focus = _list_focus(report)
    if focus:
        parts += ["", _describe_focus(report), "", _mark_down(focus)]
    return "\n".join(parts) + "\n"


def _list_scores(report: Report) -> list[list[str]]:
    """Head and rows; measured ones first, published ones named so."""
    has_lpips = any(row.scores.lpips is not None for row in report.rows)
    has_lpips |= any("lpips" in row.scores for row in report.published)
    metrics = [metric for metric in _METRICS if metric != "lpips" or has_lpips]
    is_deformed = report.protocol.deforms_reference
    has_groups = any(row.group != "all" for row in report.rows)
    head = ["method", *(["group"] if has_groups else []), "photos", "PSNR", "gain"]
    table = [[*head, *(_HEADS[metric] for metric in metrics[1:]), *(["compared"] if is_deformed else []), "source"]]
    for row in report.rows:
        numbers = [_format_score(row.scores, metric) for metric in metrics]
        gain = _NOTHING if row.gain is None else f"{row.gain:+.2f}"
        kept = [f"{row.kept_share:.1%}"] if is_deformed else []
        group = [row.group] if has_groups else []
        table.append([row.method, *group, str(row.photos), numbers[0], gain, *numbers[1:], *kept, "measured"])
    for paper in report.published:
        numbers = [paper.scores.get(metric, _NOTHING) for metric in metrics]
        kept = [_NOTHING] if is_deformed else []
        source = f"published: {paper.source}"
        group = ["all"] if has_groups else []
        table.append([paper.method, *group, _NOTHING, numbers[0], _NOTHING, *numbers[1:], *kept, source])
    return table


def _describe_focus(report: Report) -> str:
    share = next(iter(report.focus.values())).focus_share
    return f"Share of the pixels in focus ({share:.1%} of all; {report.focus_source}) that were changed by at most"


def _list_focus(report: Report) -> list[list[str]]:
    if not any(errors.counts.any() for errors in report.focus.values()):
        return []
    table = [["method", *(f"{threshold:g}" for threshold in THRESHOLDS)]]
    for method, errors in report.focus.items():
        table.append([method, *(f"{errors.find_share(threshold):.1%}" for threshold in THRESHOLDS)])
    return table


def _format_score(scores: Scores, metric: str) -> str:
    value = getattr(scores, metric)
    return _NOTHING if value is None else f"{value:.{_DIGITS[metric]}f}"


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in "+-" or cell == "inf"


def _align(table: list[list[str]]) -> str:
    """Words to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    is_right = [all(_is_number(row[column]) for row in table[1:]) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = zip(row, widths, is_right, strict=True)
        lines.append("  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells))
    return "\n".join(line.rstrip() for line in lines)


def _mark_down(table: list[list[str]]) -> str:
    rules = ["---:" if all(_is_number(row[i]) for row in table[1:]) else "---" for i in range(len(table[0]))]
    lines = (" | ".join(row) for row in (table[0], rules, *table[1:]))
    return "\n".join(f"| {line} |".replace("*", r"\*") for line in lines)  # a star in a name is no emphasis


def format_csv(report: Report) -> str:
    """One line a photo and method."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photo", "group", "method", *_METRICS, "compared_share"])
    for one in report.photos:
        scores = dataclasses.asdict(one.scores)
        numbers = ["" if scores[metric] is None else f"{scores[metric]:.9g}" for metric in _METRICS]
        writer.writerow([one.photo, one.group, one.method, *numbers, f"{one.kept_share:.9g}"])
    return text.getvalue()


def format_json(report: Report) -> str:
    """Everything, for other programs; an infinite PSNR is null."""
    content = {
        "dpdeblur": __version__,
        "data": report.data,
        "layout": report.layout,
        "bits": report.bits,
        "protocol": dataclasses.asdict(report.protocol),
        "measured": [
            {
                "method": row.method,
                "group": row.group,
                "photos": row.photos,
                **_list_numbers(row.scores),
                "gain": None if row.gain is None else _bound(row.gain),
                "compared_share": row.kept_share,
            }
            for row in report.rows
        ],
        "published": [
            {"method": row.method, "source": row.source, **{k: float(v) for k, v in row.scores.items()}}
            for row in report.published
        ],
        "photos": [
            {
                "photo": one.photo,
                "group": one.group,
                "method": one.method,
                **_list_numbers(one.scores),
                "compared_share": one.kept_share,
            }
            for one in report.photos
        ],
        "focus": {
            "found": report.focus_source,
            "methods": {
                method: {
                    "focus_share": errors.focus_share,
                    "unchanged": {f"{threshold:g}": _bound(errors.find_share(threshold)) for threshold in THRESHOLDS},
                }
                for method, errors in report.focus.items()
            },
        },
        "failures": list(report.failures),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _list_numbers(scores: Scores) -> dict[str, float | None]:
    return {name: None if value is None else _bound(value) for name, value in dataclasses.asdict(scores).items()}


def _bound(value: float) -> float | None:
    """JSON knows no infinity, and no NaN."""
    return value if math.isfinite(value) else None
