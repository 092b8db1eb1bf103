"""What the papers printed, digit by digit, to stand beside what is measured here.

Scores are kept as the text that was printed; where a table's head scales a column (RMSE_rel by 10^-2, MAE by 10^-1 in
K3DN's), the decimal point is moved. Nothing is corrected: K3DN's table has an MAE of 0.450 (10^-1) for BAMBNet, where
DPANet's has 0.036. Methods marked * were trained with more data than DPDD, except in JDRL's tables, where the mark
means trained by JDRL. K3DN was scored after resizing the photos to 1152x1792 and its results back, JDRL with PWC-Net's
flow; this program does neither.

- K3DN: Y. Yang, L. Pan, L. Liu, M. Liu, CVPR 2023
- DPANet: Y. Li, Y. Yi, D. Ren, Q. Li, W. Zuo, arXiv 2204.12105, 2022
- GKMNet: Y. Quan, Z. Wu, H. Ji, NeurIPS 2021
- JDRL: Y. Li, D. Ren, X. Shu, W. Zuo, AAAI 2023
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from dpdeblur.evaluation.protocols import Layout

Choice = Literal["networks", "all", "none"]
_Metric = Literal["psnr", "ssim", "mae", "rmse_rel", "lpips"]


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """One row of a paper's table.

    Attributes:
        method: As the paper calls it; its own networks by their names.
        source: Paper and table.
        scores: The printed numbers, by metric.
    """

    method: str
    source: str
    scores: dict[str, str]


#: Rows of these are what this program runs or trains, and the blurred photos themselves.
_NETWORKS = ("Input", "K3DN", "DPANet", "GKMNet", "IFAN*", "UNet*", "MPRNet*")

_K3DN_TABLE_1 = """
Input              23.89 0.725 0.0639 0.0471
EBDB               23.69 0.707 0.0654 0.0471
DMENet             23.90 0.720 0.0638 0.0470
DPDNet             25.13 0.787 0.0554 0.0401
KPAC               25.22 0.774 0.0548 0.0400
RDPD*              25.39 0.772 0.0538 0.0400
DDDNet             25.41 0.786 0.0536 0.0385
DRBNet*            25.73 0.791 0.0517 0.0393
DeepRFT            25.71 0.801 0.0518 0.0389
IFAN               25.99 0.804 0.0501 0.0373
BAMBNet            26.40 0.821 0.0479 0.0450
Restormer          26.66 0.833 0.0465 0.0350
K3DN (Tiny)        26.74 0.825 0.0460 0.0351
K3DN (Lightweight) 26.84 0.829 0.0455 0.0349
K3DN (Large)       27.06 0.835 0.0444 0.0341
"""
_DPANET_TABLE_1 = """
JNB       22.13 0.676 0.056 0.480
EBDB      23.19 0.713 0.051 0.420
DMENet    23.32 0.715 0.051 0.411
DMPHN     25.33 0.781 0.040 0.220
MPRNet    25.68 0.789 0.039 0.229
DPDNet    25.13 0.786 0.041 0.226
RDPD+     25.39 0.772 0.040 0.256
BaMBNet   26.40 0.821 0.036 0.174
Restormer 26.66 0.833 0.035 0.155
DPANet    26.80 0.835 0.035 0.159
"""
_GKMNET_TABLE_1 = """
JNB      23.84 0.715 0.315
EBDB     23.45 0.683 0.336
DMENet   23.41 0.714 0.349
DPDNet-S 24.34 0.747 0.277
DPDNet-D 25.12 0.786 0.223
SRN      24.61 0.612 0.265
AttNet   25.22 0.781 0.219
GKMNet   25.47 0.789 0.219
"""
_JDRL_TABLE_1 = """
JNB     24.06 0.720 0.0400 0.443
EBDB    24.06 0.720 0.0398 0.442
DMENet  24.02 0.732 0.0395 0.426
DMPHN   25.00 0.769 0.0351 0.326
DPDNetS 24.81 0.760 0.0364 0.343
MPRNet  26.28 0.796 0.0293 0.302
UNet    24.62 0.758 0.0360 0.344
UNet*   25.82 0.783 0.0320 0.305
MPRNet* 26.88 0.810 0.0283 0.265
"""
_JDRL_TABLE_2 = """
JNB        22.13 0.676 0.0560 0.480
EBDB       23.19 0.713 0.0510 0.419
DMENet     23.33 0.715 0.0506 0.411
DPDNetS    24.39 0.750 0.0435 0.277
Son et al. 25.22 0.774 0.0403 0.227
IFAN       25.37 0.789 0.0394 0.217
UNet       24.60 0.757 0.0426 0.281
MPRNet     25.72 0.791 0.0385 0.235
IFAN*      25.54 0.788 0.0389 0.207
UNet*      24.73 0.762 0.0422 0.273
MPRNet*    25.73 0.792 0.0384 0.232
"""
_JDRL_TABLE_2_DEFORMED = """
JNB        21.30 0.692 0.0620 0.458
EBDB       22.66 0.737 0.0540 0.397
DMENet     22.89 0.740 0.0536 0.388
DPDNetS    24.48 0.778 0.0435 0.262
Son et al. 25.49 0.807 0.0398 0.212
IFAN       25.86 0.825 0.0374 0.192
UNet       24.63 0.785 0.0424 0.261
MPRNet     26.03 0.820 0.0372 0.214
IFAN*      26.09 0.826 0.0372 0.177
UNet*      24.97 0.794 0.0413 0.248
MPRNet*    26.21 0.825 0.0365 0.207
"""
_JDRL_TABLE_3 = """
JNB        22.33 0.635 0.0514 0.598
EBDB       22.38 0.640 0.0508 0.590
DMENet     22.40 0.639 0.0508 0.593
DPDNetS    22.85 0.668 0.0497 0.421
Son et al. 23.98 0.716 0.0433 0.339
IFAN       24.71 0.749 0.0407 0.306
UNet       23.43 0.694 0.0463 0.396
MPRNet     24.37 0.734 0.0413 0.346
IFAN*      24.87 0.748 0.0395 0.288
UNet*      23.55 0.696 0.0456 0.382
MPRNet*    24.54 0.736 0.0403 0.339
"""
_JDRL_TABLE_3_DEFORMED = """
JNB        21.02 0.651 0.0607 0.590
EBDB       21.37 0.659 0.0581 0.579
DMENet     21.38 0.658 0.0579 0.581
DPDNetS    22.66 0.702 0.0504 0.397
Son et al. 24.35 0.756 0.0414 0.308
IFAN       25.39 0.794 0.0380 0.264
UNet       23.51 0.729 0.0456 0.368
MPRNet     24.66 0.771 0.0399 0.313
IFAN*      25.61 0.793 0.0367 0.243
UNet*      23.86 0.736 0.0441 0.349
MPRNet*    24.90 0.775 0.0387 0.305
"""


def _read(text: str, source: str, *metrics: _Metric) -> tuple[PublishedRow, ...]:
    rows = []
    for line in text.strip().splitlines():
        method, *numbers = line.rsplit(maxsplit=len(metrics))
        rows.append(PublishedRow(method, source, dict(zip(metrics, numbers, strict=True))))
    return tuple(rows)


#: By layout and whether the reference is deformed onto each result.
PUBLISHED: dict[tuple[Layout, bool], tuple[PublishedRow, ...]] = {
    ("dpdd", False): (
        *_read(_K3DN_TABLE_1, "K3DN, table 1", "psnr", "ssim", "rmse_rel", "mae"),
        *_read(_DPANET_TABLE_1, "DPANet, table I", "psnr", "ssim", "mae", "lpips"),
        *_read(_GKMNET_TABLE_1, "GKMNet, table 1", "psnr", "ssim", "lpips"),
        *_read(_JDRL_TABLE_2, "JDRL, table 2", "psnr", "ssim", "mae", "lpips"),
    ),
    ("dpdd", True): _read(_JDRL_TABLE_2_DEFORMED, "JDRL, table 2", "psnr", "ssim", "mae", "lpips"),
    ("realdof", False): _read(_JDRL_TABLE_3, "JDRL, table 3", "psnr", "ssim", "mae", "lpips"),
    ("realdof", True): _read(_JDRL_TABLE_3_DEFORMED, "JDRL, table 3", "psnr", "ssim", "mae", "lpips"),
    ("sdd", True): _read(_JDRL_TABLE_1, "JDRL, table 1", "psnr", "ssim", "mae", "lpips"),
}


def list_published(layout: Layout, *, deformed: bool, choice: Choice = "all") -> tuple[PublishedRow, ...]:
    """List what was published of a data set, scored in the same way.

    Args:
        layout: The data set's.
        deformed: Whether the reference is deformed onto each result.
        choice: All methods of the tables, only this program's networks and those trained by JDRL, or none.
    """
    rows = () if choice == "none" else PUBLISHED.get((layout, deformed), ())
    return rows if choice == "all" else tuple(row for row in rows if row.method.split(" (")[0] in _NETWORKS)
