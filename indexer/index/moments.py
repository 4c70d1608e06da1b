"""Mean and covariance of a set of vectors, kept exact while vectors come and go.

They give, for any query and without sampling, the mean and the standard deviation of its similarity to every vector of
the set: with mean vector m and covariance S, the similarity q.x has mean q.m and variance q'Sq.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vector

MIN_STD = 1e-3
"""Below this the vectors are too few or too alike for a standard deviation to mean anything."""


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
        values = vectors.astype(np.float64)
        self.count += sign * len(values)
        self._sum += sign * values.sum(axis=0)
        self._products += sign * (values.T @ values)
