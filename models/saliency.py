"""Which regions of a picture make it match a query: what its similarity loses when they are hidden.

Occlusion (Zeiler and Fergus 2014, arXiv:1311.2901) needs nothing of a model but its embeddings, so that it works for
every exported tower. Patch tokens would need one run instead of two hundred, but an exported graph gives the pooled
embedding alone, and convolutional towers have none.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from models.encoder import MAX_IMAGES, Encoder

GRID = 14
"""Cells along each side, and windows: 196 pictures are embedded for one map."""
WINDOW = 5
"""Cells along each side of a window, odd: a third of the picture, as less leaves too much of a thing to miss it."""


class SaliencyMap(NamedTuple):
    """How much each part of a picture contributes to its similarity with a query."""

    score: float
    """The similarity of the whole picture."""
    grid: NDArray[np.float32]
    """[rows, columns]: mean loss of similarity over the windows that hide a cell; negative where hiding it helps."""


def occlusion_map(pixels: NDArray[np.uint8], query: NDArray[np.float32], encoder: Encoder) -> SaliencyMap:
    """Hide windows of a picture, one after another, each centred on a cell, under the picture's mean colour.

    Args:
        pixels: As `encoder.preprocess` gives them, [height, width, 3]; fewer than `GRID` along a side are a cell each.
        query: [dimension], not necessarily of unit length.
    """
    rows, columns = (_edges(side) for side in pixels.shape[:2])
    shape = len(rows) - 1, len(columns) - 1
    colour = pixels.mean(axis=(0, 1)).round().astype(np.uint8)
    [score] = encoder.encode_pixels([pixels]) @ query
    similarities: list[NDArray[np.float32]] = []
    cells = list(np.ndindex(shape))
    for start in range(0, len(cells), MAX_IMAGES):  # all of them would be much memory
        hidden = [_hide(pixels, rows, columns, cell, colour) for cell in cells[start : start + MAX_IMAGES]]
        similarities.append(encoder.encode_pixels(hidden) @ query)
    return SaliencyMap(float(score), _mean_around(score - np.concatenate(similarities).reshape(shape)))


def _edges(side: int) -> NDArray[np.int64]:
    """Where the cells along a side begin, and the last one ends."""
    return np.linspace(0, side, min(GRID, side) + 1).round().astype(np.int64)


def _hide(
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    cell: tuple[int, ...],
    colour: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    (top, bottom), (left, right) = (_around(edges, at) for edges, at in zip((rows, columns), cell, strict=True))
    hidden = pixels.copy()
    hidden[top:bottom, left:right] = colour
    return hidden


def _around(edges: NDArray[np.int64], cell: int) -> tuple[int, int]:
    """Where the window centred on a cell begins and ends."""
    reach = WINDOW // 2
    return int(edges[max(0, cell - reach)]), int(edges[min(len(edges) - 1, cell + reach + 1)])


def _mean_around(losses: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each cell the mean loss of the windows that hide it."""
    sums, counts = (
        sliding_window_view(np.pad(values, WINDOW // 2), (WINDOW, WINDOW)).sum(axis=(2, 3))
        for values in (losses, np.ones_like(losses))
    )
    return np.asarray(sums / counts, dtype=np.float32)
