"""The vectors of an index as they are at one moment, to be read at leisure beside searches and writes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from indexer.segment import View

BLOCK = 8192
"""Vectors read at a time."""


class Snapshot:
    """n vectors as rows 0 to n - 1; what is written later does not show.

    Args:
        main: A segment that never grows.
        delta: A segment that may be appended to, but only under `lock`.
        version: Equal for equal sets of vectors of one index.
        centroid: float64 [d], mean of the vectors; None of an empty set.
    """

    def __init__(
        self,
        main: View,
        delta: View,
        lock: AbstractContextManager[object],
        version: tuple[int, int],
        centroid: NDArray[np.float64] | None,
    ) -> None:
        self._main, self._delta, self._lock = main, delta, lock
        self._main_positions, self._delta_positions = main.positions(), delta.positions()
        self.version, self.centroid = version, centroid
        self.items: NDArray[np.int64] = np.concatenate(
            [main.items[self._main_positions], delta.items[self._delta_positions]]
        )
        """[n] primary key of each row's item; no item comes twice."""

    def __len__(self) -> int:
        return len(self.items)

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors [m, d] of rows [m]; writers wait no longer than copying these takes."""
        border = len(self._main_positions)
        in_main = rows < border
        if in_main.all():
            return self._main.vectors(self._main_positions[rows])
        read = np.empty((len(rows), self._main.flat.d), dtype=np.float32)
        read[in_main] = self._main.vectors(self._main_positions[rows[in_main]])
        with self._lock:
            read[~in_main] = self._delta.vectors(self._delta_positions[rows[~in_main] - border])
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
