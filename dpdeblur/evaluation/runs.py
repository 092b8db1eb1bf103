"""A whole evaluation: find the scenes, score them one by one, put the tables together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

import numpy as np

from dpdeblur.errors import DpDeblurError, ReadError
from dpdeblur.evaluation.datasets import Scene, find_scenes
from dpdeblur.evaluation.focus import FocusErrors, find_focus
from dpdeblur.evaluation.methods import find_result, list_files, make_methods
from dpdeblur.evaluation.metrics import Mask
from dpdeblur.evaluation.perceptual import load_perceptual_metric
from dpdeblur.evaluation.pictures import read_picture
from dpdeblur.evaluation.protocols import PROTOCOLS, Layout
from dpdeblur.evaluation.published import Choice, list_published
from dpdeblur.evaluation.scoring import INPUT, SceneResult, score_scenes
from dpdeblur.evaluation.sheet import ContactSheet
from dpdeblur.evaluation.summary import PhotoScores, summarise
from dpdeblur.evaluation.tables import Report
from dpdeblur.restoration.inference import Settings

_BY_ITSELF = "where the photo agrees with its reference within 0.01"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to evaluate; attributes are the options of `eval`.

    Attributes:
        deforms: Whether the reference is deformed onto each result, or None for what the layout does.
        limit: How many scenes, the first, or None for all.
        has_sheet: Whether a contact sheet is wanted.
    """

    data: Path
    layout: Layout
    models: list[str]
    weights: list[Path]
    results: list[Path]
    device: str = "auto"
    limit: int | None = None
    bits: int = 16
    deforms: bool | None = None
    focus_masks: Path | None = None
    published: Choice = "networks"
    has_sheet: bool = False


class Listener(Protocol):
    """Who is told of an evaluation's progress."""

    def start(self, scenes: int) -> None:
        """Scoring begins, of so many scenes."""

    def advance(self, share: float) -> None:
        """A share of a scene is done."""

    def say(self, line: str) -> None:
        """Something that the user has to know."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        report: The tables.
        methods: The methods' names, in order.
        sheet: The contact sheet, ready to be drawn, or None.
    """

    report: Report
    methods: tuple[str, ...]
    sheet: ContactSheet | None


def run_evaluation(plan: Plan, listener: Listener) -> Evaluation:
    """Score a data set. Scenes and results that fail are told in a line each and left out.

    Raises:
        DpDeblurError: Nothing can be scored: no such data set, weights, device or folder.
    """
    protocol = PROTOCOLS[plan.layout]
    if plan.deforms is not None:
        protocol = dataclasses.replace(protocol, deforms_reference=plan.deforms)
    scenes = find_scenes(plan.data, plan.layout)
    for note in scenes.notes:
        listener.say(note)
    found = scenes.found[: plan.limit]
    methods = make_methods(
        plan.models,
        plan.weights,
        plan.results,
        settings=Settings(device=plan.device),
        has_views=any(scene.views is not None for scene in found),
        announce=listener.say,
    )
    perceptual, missing = load_perceptual_metric()
    if missing:
        listener.say(f"LPIPS is left out: {missing}")
    gathered = _Gathered(plan, tuple(method.name for method in methods), listener)
    for failure in scenes.failures:
        gathered.fail(failure)
    listener.start(len(found))
    for result in score_scenes(
        found,
        plan.layout,
        methods,
        protocol,
        bits=plan.bits,
        perceptual=perceptual,
        advance=listener.advance,
    ):
        if isinstance(result, DpDeblurError):
            gathered.fail(result)
        else:
            gathered.add(result)
    report = Report(
        data=str(plan.data),
        layout=plan.layout,
        protocol=protocol,
        bits=plan.bits,
        photos=gathered.photos,
        rows=summarise(gathered.photos, gathered.methods),
        published=list_published(plan.layout, deformed=protocol.deforms_reference, choice=plan.published),
        focus=gathered.focus,
        focus_source=_BY_ITSELF if plan.focus_masks is None else f"as marked in {plan.focus_masks}",
        failures=gathered.failures,
    )
    return Evaluation(report, gathered.methods, gathered.sheet)


class _Gathered:
    """What is kept of the scenes while they go by: numbers, and a few small pictures."""

    def __init__(self, plan: Plan, methods: tuple[str, ...], listener: Listener) -> None:
        self.methods = methods
        self.photos: list[PhotoScores] = []
        self.failures: list[str] = []
        self.focus = {method: FocusErrors() for method in methods}
        self.sheet = ContactSheet() if plan.has_sheet else None
        self._crop_px = PROTOCOLS[plan.layout].crop_px
        self._masks = None if plan.focus_masks is None else (plan.focus_masks, list_files(plan.focus_masks))
        self._listener = listener

    def fail(self, error: DpDeblurError) -> None:
        """Tell of something that could not be scored."""
        self.failures.append(str(error))
        self._listener.say(str(error))

    def add(self, result: SceneResult) -> None:
        """Take a scene's numbers."""
        for failure in result.failures:
            self.fail(failure)
        scene = result.scene
        for method, comparison in result.comparisons.items():
            self.photos.append(PhotoScores(scene.name, scene.group, method, comparison.scores, comparison.kept_share))
        if self.sheet is not None:
            self.sheet.add(result)
        try:
            focus = self._find_focus(result)
        except ReadError as error:
            self.fail(error)
            return
        cut = slice(self._crop_px, -self._crop_px) if self._crop_px else slice(None)
        for method, picture in result.pictures.items():
            self.focus[method].add(picture[cut, cut], result.blurred[cut, cut], focus)

    def _find_focus(self, result: SceneResult) -> Mask:
        """Where the photo is in focus, cut like the pictures: as marked, or where it agrees with its reference."""
        blurred = result.comparisons[INPUT]
        if self._masks is None:
            focus = find_focus(blurred.result, blurred.reference)
            return focus if blurred.mask is None else focus & blurred.mask
        return read_focus(*self._masks, result.scene, result.blurred.shape[:2], self._crop_px)


def read_focus(folder: Path, files: list[Path], scene: Scene, size: tuple[int, ...], crop_px: int) -> Mask:
    """Read where a photo is marked as in focus: pixels of at least half the full code.

    Raises:
        ReadError: There is no such picture, or it has another size.
    """
    path = find_result(files, scene, folder)
    marked = np.asarray(read_picture(path).mean(axis=2) >= 0.5)
    if marked.shape != size:
        raise ReadError(f"is {marked.shape[1]}x{marked.shape[0]}, the photo {size[1]}x{size[0]} pixels", path=path)
    return marked[crop_px : size[0] - crop_px, crop_px : size[1] - crop_px]
