"""LPIPS, where its package and its backbone are installed; nothing is downloaded.

R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, by the authors'
package `lpips` (version 0.1 of the metric, AlexNet), the way the evaluations of DPDD's followers call it. The package
holds the metric's own weights; AlexNet's come from torchvision's cache, where the user has to put them. Nobody has
checked this program's LPIPS figures against others: the backbone could not be had where it was written.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpdeblur.evaluation.metrics import Floats

#: Takes result and reference, (H, W, C) in [0, 1], and returns their distance.
PerceptualMetric = Callable[[Floats, Floats], float]


def load_perceptual_metric() -> tuple[PerceptualMetric | None, str]:
    """Make LPIPS ready.

    Returns:
        The metric and an empty string; or None and why there is none, in words.
    """
    if importlib.util.find_spec("lpips") is None:
        return None, "the package lpips is not installed: pip install 'dpdeblur[lpips]'"
    try:
        from torchvision.models import AlexNet_Weights  # type: ignore[import-not-found]  # comes with the extra
    except (ImportError, RuntimeError) as error:  # RuntimeError: its build is for another torch
        return None, f"torchvision cannot be loaded ({error}): install the one that was built with this torch"
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(AlexNet_Weights.IMAGENET1K_V1.url).name
    if not file.is_file():
        return None, f"its backbone is missing, and nothing is downloaded: put torchvision's AlexNet at {file}"
    import lpips  # type: ignore[import-not-found]  # comes with the extra

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # it asks torchvision in an old way, and prints what it loads
        network: Any = lpips.LPIPS(net="alex", version="0.1", verbose=False).eval()

    def measure(result: Floats, reference: Floats) -> float:
        with torch.inference_mode():
            return float(network(_to_tensor(reference), _to_tensor(result), normalize=True))

    return measure, ""


def _to_tensor(picture: Floats) -> torch.Tensor:
    """(H, W, C) to (1, 3, H, W) float32; gray three times."""
    colour = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    return torch.from_numpy(np.ascontiguousarray(colour.transpose(2, 0, 1), np.float32))[None]
