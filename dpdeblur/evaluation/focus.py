"""What happens to pixels that were in focus: K3DN's figure 8.

Yang et al. (CVPR 2023) mark the sharp regions of DPDD's test photos by hand and give, for each error, the percentage of
their pixels that a method changes by no more: pixels in focus should stay as they are. Their marks are not published.
Where no marks are given, a pixel counts as in focus if the photo agrees with its reference there already: a 9x9 mean of
their absolute difference below 0.01. Even regions agree too, so this finds more than what a person would mark.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

from dpdeblur.evaluation.metrics import Floats, Mask

#: Errors whose shares are printed.
THRESHOLDS = (0.002, 0.005, 0.01, 0.02, 0.05)
#: Errors of the curve: 0 to 0.1 in steps of 0.0005.
LARGEST_ERROR = 0.1
_STEPS = 200
_WINDOW_PX = 9
_AGREEMENT = 0.01


def find_focus(blurred: Floats, reference: Floats) -> Mask:
    """Find the pixels where a photo agrees with its reference.

    Args:
        blurred: (H, W, C), cut and fitted to the reference as the protocol says.
        reference: (H, W, C).

    Returns:
        (H, W).
    """
    difference = np.abs(blurred - reference).mean(axis=2)
    return np.asarray(cv2.blur(difference, (_WINDOW_PX, _WINDOW_PX)) < _AGREEMENT)


@dataclasses.dataclass
class FocusErrors:
    """How much the pixels in focus were changed, over all photos so far.

    Attributes:
        counts: (202,) pixels by their error: the k-th of at most 0.0005 k (and more than the one before), the last of
            more than 0.1.
        seen: Pixels of the photos, in focus or not.
    """

    counts: npt.NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(_STEPS + 2, np.int64))
    seen: int = 0

    def add(self, result: Floats, blurred: Floats, focus: Mask) -> None:
        """Count a photo.

        Args:
            result: (H, W, C).
            blurred: (H, W, C), the photo that it was made from. A pixel's error is the root of the mean squared
                difference of its channels: the RMSE_rel that the figure names, of one pixel.
            focus: (H, W).
        """
        error = np.sqrt(np.mean((result - blurred)[focus] ** 2, axis=-1))
        # an error of exactly a step belongs to it: rounding must not push it over
        steps = np.ceil(error * (_STEPS / LARGEST_ERROR) - 1e-6).astype(np.int64)
        self.counts += np.bincount(np.minimum(steps, _STEPS + 1), minlength=_STEPS + 2)
        self.seen += focus.size

    @property
    def focus_share(self) -> float:
        """Share of all pixels that were in focus."""
        return float(self.counts.sum() / self.seen) if self.seen else 0.0

    def draw_curve(self) -> npt.NDArray[np.float64]:
        """Share of the pixels in focus with an error of at most 0, 0.0005 ... 0.1: (201,); NaN where there are none."""
        total = self.counts.sum()
        return np.cumsum(self.counts[:-1]) / total if total else np.full(_STEPS + 1, np.nan)

    def find_share(self, error: float) -> float:
        """Share of the pixels in focus with at most this error, a multiple of 0.0005 up to 0.1."""
        return float(self.draw_curve()[round(error * _STEPS / LARGEST_ERROR)])
