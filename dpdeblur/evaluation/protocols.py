"""How each data set is scored: what is done to result and reference before the metrics, and their parameters."""

from __future__ import annotations

import dataclasses
from typing import Literal

from dpdeblur.evaluation.metrics import Window

Layout = Literal["pairs", "dpdd", "realdof", "sdd", "pixel4"]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a set is scored, in the order of the attributes.

    Attributes:
        deforms_reference: The reference is deformed onto each result by optical flow first, as JDRL scores SDD.
        crop_px: Pixels cut off at each border.
        fits_values: The result's values are fitted to the reference's by one affine map per channel.
        window: Of SSIM.
    """

    deforms_reference: bool = False
    crop_px: int = 0
    fits_values: bool = False
    window: Window = "uniform"

    def __str__(self) -> str:
        """One line for the head of a table."""
        parts = ["reference deformed onto each result" if self.deforms_reference else "reference as it is"]
        if self.crop_px:
            parts.append(f"{self.crop_px} px cut off at each border")
        if self.fits_values:
            parts.append("values fitted by one affine map")
        parts.append("SSIM in uniform 7x7 windows" if self.window == "uniform" else "SSIM in Gaussian windows")
        return ", ".join(parts)


#: DPDD and RealDOF are scored as they are (JDRL's tables 2 and 3 have both ways), SDD never (JDRL, "Experiments on SDD
#: dataset"). The Pixel scenes' references have other exposures and were taken at another place of the moving lens.
PROTOCOLS: dict[Layout, Protocol] = {
    "pairs": Protocol(),
    "dpdd": Protocol(),
    "realdof": Protocol(),
    "sdd": Protocol(deforms_reference=True),
    "pixel4": Protocol(crop_px=24, fits_values=True, window="gaussian"),
}
