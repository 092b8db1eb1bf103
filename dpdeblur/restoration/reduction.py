"""Reducing a part of a picture by area averages, without reducing the rest."""

from __future__ import annotations

import numpy as np

from dpdeblur.photo import Image


def reduce_part(image: Image, size: tuple[int, int], rows: slice, columns: slice) -> Image:
    """Cut a part out of an image as it is after area-averaging the whole to `size`; at its own size that is a view.

    Args:
        image: (H, W, C) float32, linear light.
        size: (h, w) of the whole after averaging, at most (H, W).
        rows: The wanted ones of h; start and stop are given.
        columns: The wanted ones of w.

    Returns:
        (rows, columns, C) float32.
    """
    if image.shape[:2] == size:
        return image[rows, columns]
    scale = image.shape[1] / size[1]
    first, last = int(columns.start * scale), min(image.shape[1], int(np.ceil(columns.stop * scale)))
    wide = _average_rows(image[:, first:last], np.arange(rows.start, rows.stop + 1) * (image.shape[0] / size[0]))
    edges = np.arange(columns.start, columns.stop + 1) * scale - first
    return np.ascontiguousarray(_average_rows(wide.transpose(1, 0, 2), edges).transpose(1, 0, 2))


def _average_rows(image: Image, edges: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Image:
    """The mean of the rows between each edge and the next; a row that an edge divides counts in both by its parts."""
    above = edges[:-1].astype(np.intp)
    width = edges[1] - edges[0]
    means = np.zeros((len(above), *image.shape[1:]), np.float32)
    for row in range(int(np.ceil(width)) + 1):
        rows = above + row
        weights = np.clip(np.minimum(edges[1:], rows + 1) - np.maximum(edges[:-1], rows), 0, None) / width
        part = image[np.minimum(rows, len(image) - 1)]
        part *= weights.astype(np.float32)[:, None, None]
        means += part
    return means
