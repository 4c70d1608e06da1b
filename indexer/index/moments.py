"""Mean and covariance of a set of vectors, kept exact while vectors come and go.

They give, for any query and without sampling, the mean and the standard deviation of its similarity to every vector of
the set: with mean vector m and covariance S, the similarity q.x has mean q.m and variance q'Sq.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vector

MIN_STD = 1e-3
"""Below this the vectors are too few or too alike for a standard deviation to mean anything."""
_BLOCK = 4096
"""Vectors taken in at a time: they are held in float64."""
_ROWS = 64
"""Of the products, changed at a time: a few vectors cost half as much where what is added stays in the cache."""


class Spread(NamedTuple):
    """How a query's similarities to a set of vectors are spread."""

    mean: float
    std: float


class Moments:
    """Count, sum and sum of outer products of vectors, in float64."""

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self._sum = np.zeros(dimension)
        self._products = np.zeros((dimension, dimension))

    @classmethod
    def read(cls, path: Path, count: int, dimension: int) -> "Moments":
        """Those of so many vectors, as `write` wrote them; raises `OSError` or `ValueError` of another file."""
        found = cls(dimension)
        table = np.fromfile(path, dtype="<f8").reshape(dimension + 1, dimension)
        found.count, found._sum, found._products = count, table[0].copy(), table[1:].copy()
        return found

    def write(self, path: Path) -> None:
        """Keep the sums in a file; the count is kept by the caller."""
        np.vstack([self._sum, self._products]).astype("<f8").tofile(path)

    def join(self, other: "Moments") -> None:
        """Take in the vectors of another set."""
        self.count += other.count
        self._sum += other._sum
        self._products += other._products

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Take in vectors [n, d]."""
        self._change(vectors, 1)

    def remove(self, vectors: NDArray[np.float32]) -> None:
        """Take out vectors [n, d] that were added before."""
        self._change(vectors, -1)

    def mean(self) -> NDArray[np.float64] | None:
        """The vectors' centroid [d]; None of an empty set."""
        return self._sum / self.count if self.count else None

    def spread(self, query: Vector) -> Spread:
        """Mean and standard deviation of query . x over the set.

        A set of fewer than two vectors, or of nearly equal ones, has the standard deviation 1: scores of it are
        then compared as plain cosines.
        """
        if self.count < 2:
            return Spread(0.0, 1.0)
        query64 = query.astype(np.float64)
        mean = float(query64 @ self._sum) / self.count
        variance = float(query64 @ self._products @ query64) / self.count - mean**2
        std = float(np.sqrt(max(variance, 0.0)))
        return Spread(mean, std if std > MIN_STD else 1.0)

    def equals(self, other: "Moments") -> bool:
        """Whether both are of the same vectors, up to rounding."""
        return self.count == other.count and bool(
            np.allclose(self._sum, other._sum, atol=1e-6) and np.allclose(self._products, other._products, atol=1e-6)
        )

    def _change(self, vectors: NDArray[np.float32], sign: int) -> None:
        for start in range(0, len(vectors), _BLOCK):
            values = vectors[start : start + _BLOCK].astype(np.float64)
            self.count += sign * len(values)
            self._sum += sign * values.sum(axis=0)
            signed = sign * values
            for top in range(0, len(self._products), _ROWS):
                self._products[top : top + _ROWS] += signed[:, top : top + _ROWS].T @ values
