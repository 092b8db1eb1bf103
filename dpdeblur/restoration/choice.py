"""Which of the shipped weights suit a photo, by the scores measured on real scenes that their cards carry."""

from __future__ import annotations

from pathlib import Path

from dpdeblur.errors import NoSecondViewError, UsageError
from dpdeblur.networks import NETWORKS
from dpdeblur.photo import Kind
from dpdeblur.restoration.devices import choose_device
from dpdeblur.weights import list_weights, read_card


def choose_weights(
    photo_views: int, kind: Kind, model: str, device: str = "auto", *, is_gray: bool = False
) -> tuple[Path, str]:
    """Choose the weights for a photo by the scores on their cards.

    A pair of gray files is taken for a Pixel's, of whose dual pixels only the green ones can be read; one of coloured
    files for a Canon's.

    Args:
        photo_views: 1, or 2 when there is a left and a right view.
        kind: What the photo is.
        model: A key of `NETWORKS`, or `auto`.
        device: Where it would run; all shipped networks run anywhere.
        is_gray: Whether the photo has shades of gray only.

    Returns:
        The weights file, and the reason in words.

    Raises:
        UsageError: No such model, or no weights of it.
        NoSecondViewError: The photo lacks the second view that the weights need.
    """
    choose_device(device)
    cards = [(path, read_card(path)) for path in list_weights()]
    if model != "auto":
        if model not in NETWORKS:
            raise UsageError(f"unknown model {model!r}", remedy=f"use auto, {', '.join(sorted(NETWORKS))}")
        cards = [(path, card) for path, card in cards if card.network == model]
    if not cards:
        what = "no weights" if model == "auto" else f"no weights for {model}"
        raise UsageError(f"{what} are shipped", remedy="name a file with --weights")
    camera = "pixel" if kind == "pixel" or (kind == "pair" and is_gray) else "canon"
    fitting = [(path, card) for path, card in cards if NETWORKS[card.network].views <= photo_views]
    if not fitting:
        if model == "auto":
            raise NoSecondViewError(
                "all shipped weights need a left and a right view", remedy="name a file with --weights"
            )
        raise NoSecondViewError(f"{model} needs a left and a right view", remedy="use --model auto or gkmnet")
    path, card = max(fitting, key=lambda entry: entry[1].scores.get(camera, float("-inf")))
    gain = card.scores.get(camera)
    measured = "not measured" if gain is None else f"{gain:+.2f} dB on real {camera} scenes"
    views = "two views" if photo_views == 2 else "one view"
    how = "asked for" if model != "auto" else f"best measured for {views}"
    return path, f"{card.network}: {how} ({measured})"
