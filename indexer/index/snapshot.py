"""The vectors of an index as they are at one moment, to be read at leisure beside searches and writes."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.index.segment import View

BLOCK = 8192
"""Vectors read at a time."""


class Snapshot:
    """n vectors as rows 0 to n - 1; what is written later does not show.

    Args:
        views: Of the index's segments.
        version: Equal for equal sets of vectors of one index.
        centroid: float64 [d], mean of the vectors; None of an empty set.
    """

    def __init__(self, views: Sequence[View], version: tuple[int, int], centroid: NDArray[np.float64] | None) -> None:
        self._parts = [(view.rows.vectors, view.positions()) for view in views]
        self._ends = np.cumsum([view.live for view in views])
        self.version, self.centroid = version, centroid
        self.items: NDArray[np.int64] = np.concatenate([view.rows.items[view.positions()] for view in views])
        """[n] primary key of each row's item; no item comes twice."""

    def __len__(self) -> int:
        return len(self.items)

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors [m, d] of rows [m]."""
        read = np.empty((len(rows), self._parts[0][0].shape[1]), dtype=np.float32)
        parts = np.searchsorted(self._ends, rows, side="right")
        for part in np.unique(parts):
            (stored, positions), here = self._parts[part], parts == part
            start = self._ends[part] - len(positions)
            read[here] = stored[positions[rows[here] - start]]
        return read

    def directions(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors [m, d] of rows [m] at length 1, so that their dot products are cosines; zeros stay zeros."""
        vectors = self.vectors(rows)
        vectors /= lengths(vectors)[:, None]
        return vectors

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All vectors in the order of the rows."""
        for start in range(0, len(self), BLOCK):
            yield self.vectors(np.arange(start, min(start + BLOCK, len(self))))


def lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of vectors [n, d]; of zeros the smallest positive number, so that one can divide by it."""
    return np.asarray(np.maximum(np.sqrt(np.vecdot(vectors, vectors)), np.finfo(np.float32).tiny))
