"""One scene from its files to its scores: the blurred photo and every method's result against the reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dpdeblur.errors import DpDeblurError, ReadError, UsageError
from dpdeblur.evaluation.alignment import deform_reference, fit_values
from dpdeblur.evaluation.datasets import Scene
from dpdeblur.evaluation.methods import Method
from dpdeblur.evaluation.metrics import (
    Floats,
    Mask,
    Scores,
    compute_mae,
    compute_psnr,
    compute_relative_rmse,
    compute_ssim,
)
from dpdeblur.evaluation.perceptual import PerceptualMetric
from dpdeblur.evaluation.pictures import quantise
from dpdeblur.evaluation.protocols import Layout, Protocol
from dpdeblur.evaluation.scenes import OpenScene, open_scene

#: What the blurred photo's row is called.
INPUT = "input"
_SMALLEST_PX = 11


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two pictures as they were compared.

    Attributes:
        result: (H, W, C), cut and fitted as the protocol says.
        reference: (H, W, C), likewise, deformed where it says so.
        mask: (H, W), the pixels that count, or None for all.
        scores: What it came to.
    """

    result: Floats
    reference: Floats
    mask: Mask | None
    scores: Scores

    @property
    def kept_share(self) -> float:
        """Share of the pixels that count."""
        return 1.0 if self.mask is None else float(self.mask.mean())


@dataclasses.dataclass(frozen=True)
class SceneResult:
    """All comparisons of one scene.

    Attributes:
        scene: Its files.
        blurred: (H, W, C), the blurred photo, at the depth that is scored; neither cut nor fitted.
        pictures: The methods' results in that form, by their names.
        comparisons: `INPUT` and the methods, by name; a method that failed is not there.
        failures: One a method that failed.
    """

    scene: Scene
    blurred: Floats
    pictures: dict[str, Floats]
    comparisons: dict[str, Comparison]
    failures: tuple[DpDeblurError, ...] = ()


def compare_pictures(
    result: Floats, reference: Floats, protocol: Protocol, perceptual: PerceptualMetric | None = None
) -> Comparison:
    """Compare a result with a reference.

    Args:
        result: (H, W, C) in [0, 1].
        reference: The same.
        protocol: What is done to both first.
        perceptual: Computes LPIPS, or None to leave it out.

    Raises:
        DpDeblurError: The pictures are too small for the protocol.
    """
    mask: Mask | None = None
    if protocol.deforms_reference:
        reference, mask = deform_reference(reference, result)
    if protocol.crop_px:
        cut = slice(protocol.crop_px, -protocol.crop_px)
        result, reference = result[cut, cut], reference[cut, cut]
        mask = None if mask is None else mask[cut, cut]
    if min(result.shape[:2]) < _SMALLEST_PX or (mask is not None and not mask.any()):
        raise DpDeblurError("nothing is left to compare of so small a picture")
    if protocol.fits_values:
        result = np.clip(fit_values(result, reference), 0, 1)
    psnr = compute_psnr(result, reference, mask)
    scores = Scores(
        psnr=psnr,
        ssim=compute_ssim(result, reference, protocol.window, mask),
        mae=compute_mae(result, reference, mask),
        rmse_rel=compute_relative_rmse(psnr),
        lpips=None if perceptual is None else perceptual(result, reference),
    )
    return Comparison(result, reference, mask, scores)


def score_scene(
    scene: OpenScene,
    methods: Sequence[Method],
    protocol: Protocol,
    bits: int,
    perceptual: PerceptualMetric | None,
    advance: Callable[[float], None],
) -> SceneResult:
    """Restore and score one scene; a method that fails leaves the others alone.

    Args:
        scene: The opened scene.
        methods: What restores it.
        protocol: How it is scored.
        bits: 8 or 16: result, photo and reference are rounded to such codes first.
        perceptual: Computes LPIPS, or None.
        advance: Told the share of the scene that is done.
    """
    reference, blurred = quantise(scene.reference, bits), quantise(scene.blurred, bits)
    comparisons = {INPUT: compare_pictures(blurred, reference, protocol, perceptual)}
    pictures: dict[str, Floats] = {}
    failures: list[DpDeblurError] = []
    for method in methods:
        told = _Told(advance, 1 / len(methods))
        try:
            picture = quantise(method.restore(scene, told), bits)
            comparisons[method.name] = compare_pictures(picture, reference, protocol, perceptual)
            pictures[method.name] = picture
        except UsageError:
            raise
        except DpDeblurError as error:
            failures.append(_name_failure(error, method.name, scene.scene))
        told.finish()
    return SceneResult(scene.scene, blurred, pictures, comparisons, tuple(failures))


def score_scenes(
    scenes: Sequence[Scene],
    layout: Layout,
    methods: Sequence[Method],
    protocol: Protocol,
    *,
    bits: int,
    perceptual: PerceptualMetric | None,
    advance: Callable[[float], None],
) -> Iterator[SceneResult | DpDeblurError]:
    """Score scenes one after the other; of one that cannot be opened or compared, its error.

    Args:
        scenes: What to score.
        layout: How the set is laid out.
        methods: What restores.
        protocol: How it is scored.
        bits: 8 or 16.
        perceptual: Computes LPIPS, or None.
        advance: Told the share of a scene that is done.
    """
    for scene in scenes:
        told = _Told(advance, 1.0)
        try:
            yield score_scene(open_scene(scene, layout), methods, protocol, bits, perceptual, told)
        except UsageError:
            raise
        except DpDeblurError as error:
            yield error if error.path is not None else ReadError(error.cause, path=scene.sharp, remedy=error.remedy)
        told.finish()


class _Told:
    """Passes shares of a part on as shares of the whole, and the rest of it at the end."""

    def __init__(self, advance: Callable[[float], None], share: float) -> None:
        self._advance = advance
        self._share = share
        self._done = 0.0

    def __call__(self, share: float) -> None:
        share = min(share, 1 - self._done)
        self._done += share
        self._advance(share * self._share)

    def finish(self) -> None:
        """Tell what has not been told."""
        self(1 - self._done)


def _name_failure(error: DpDeblurError, method: str, scene: Scene) -> DpDeblurError:
    """Say with which method it failed."""
    return type(error)(f"{method}: {error.cause}", path=error.path or scene.sharp, remedy=error.remedy)
