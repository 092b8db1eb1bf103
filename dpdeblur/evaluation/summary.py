"""Scores of many scenes put together: means of a set, and of its groups."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

from dpdeblur.evaluation.metrics import Scores, compute_relative_rmse
from dpdeblur.evaluation.scoring import INPUT


@dataclasses.dataclass(frozen=True)
class PhotoScores:
    """What one method came to on one photo.

    Attributes:
        photo: The scene's name.
        group: indoor, outdoor, or nothing.
        method: `INPUT` or a method's name.
        scores: Against the reference.
        kept_share: Share of the pixels that were compared.
    """

    photo: str
    group: str
    method: str
    scores: Scores
    kept_share: float


@dataclasses.dataclass(frozen=True)
class Row:
    """The means of one method over a group of photos.

    Attributes:
        method: `INPUT` or a method's name.
        group: all, indoor or outdoor.
        photos: How many.
        scores: Their means; RMSE_rel is that of the mean PSNR, as published.
        gain: dB over the blurred photos, the same ones; None for these themselves.
        kept_share: Mean share of the pixels that were compared.
    """

    method: str
    group: str
    photos: int
    scores: Scores
    gain: float | None
    kept_share: float


def summarise(photos: Sequence[PhotoScores], methods: Iterable[str]) -> list[Row]:
    """Put scores together: all photos first, then the groups that there are.

    Args:
        photos: All photos' scores, those of the blurred photos included.
        methods: The rows, in order; one without a photo is left out.
    """
    groups = ["all", *(group for group in ("indoor", "outdoor") if any(one.group == group for one in photos))]
    before = {one.photo: one.scores.psnr for one in photos if one.method == INPUT}
    rows = []
    for group in groups:
        for method in (INPUT, *methods):
            found = [one for one in photos if one.method == method and group in ("all", one.group)]
            if found:
                rows.append(_make_row(method, group, found, before))
    return rows


def _make_row(method: str, group: str, found: list[PhotoScores], before: dict[str, float]) -> Row:
    psnr = statistics.fmean(one.scores.psnr for one in found)
    perceived = [one.scores.lpips for one in found if one.scores.lpips is not None]
    scores = Scores(
        psnr=psnr,
        ssim=statistics.fmean(one.scores.ssim for one in found),
        mae=statistics.fmean(one.scores.mae for one in found),
        rmse_rel=compute_relative_rmse(psnr),
        lpips=statistics.fmean(perceived) if perceived else None,
    )
    gain = None if method == INPUT else psnr - statistics.fmean(before[one.photo] for one in found)
    return Row(method, group, len(found), scores, gain, statistics.fmean(one.kept_share for one in found))
