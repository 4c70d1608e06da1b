"""Diversity: hits that are like those before them come later."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.index.snapshot import lengths
from indexer.index.vector_index import VectorIndex

POOL = 1_000
"""Best items that are put in another order; the same for every page, so that pages are parts of one order."""


class Likeness:
    """Cosines between items, by the vectors of the first index in which both have one; 0 where there is none."""

    def __init__(self, items: NDArray[np.int64], indexes: Sequence[VectorIndex]) -> None:
        self._count = len(items)
        self._directions = [directions(index, items) for index in indexes]

    def cosines(self, position: int) -> NDArray[np.float32]:
        """Of all items [n] with one of them."""
        found = np.zeros(self._count, dtype=np.float32)
        for vectors, there in reversed(self._directions):
            found = np.where(there & there[position], vectors @ vectors[position], found)
        return found


def directions(index: VectorIndex, items: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The items' vectors [n, d] at length 1, zeros for an item without one, and which [n] have one."""
    vectors = index.vectors(items)
    there = ~np.isnan(vectors[:, 0])
    vectors[~there] = 0
    return vectors / lengths(vectors)[:, None], there


def diversify(
    candidates: Sequence[tuple[int, float]], indexes: Sequence[VectorIndex], diversity: float, wanted: int
) -> list[tuple[int, float]]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998, SIGIR, 335-336) over the best `POOL` candidates.

    Again and again the item comes next with the highest

        (1 - diversity) * relevance - diversity * highest cosine with an item that came before

    where the relevance is the score, scaled so that it is 1 for the best and 0 for the last of the pool. What is after
    the pool follows by score. The answer is a beginning of the same order, however many are wanted.

    Args:
        candidates: Primary key and score, best first.
        indexes: Of the target modalities, that which counts most first.
        wanted: How many must be in their place.
    """
    pool, rest = candidates[:POOL], candidates[POOL:]
    if not pool:
        return []
    likeness = Likeness(np.array([pk for pk, _ in pool]), indexes)
    relevance = _scaled(np.array([score for _, score in pool]))
    order = [0]
    nearest = likeness.cosines(0)
    while len(order) < min(wanted, len(pool)):
        gains = (1 - diversity) * relevance - diversity * nearest
        gains[order] = -np.inf
        order.append(int(gains.argmax()))
        np.maximum(nearest, likeness.cosines(order[-1]), out=nearest)
    return [*(pool[position] for position in order), *rest]


def _scaled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    width = scores[0] - scores[-1]
    return (scores - scores[-1]) / width if width > 0 else np.ones(len(scores))
