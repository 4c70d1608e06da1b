"""Hits of which each keeps others out: of its group, or with nearly its picture; in the order of the whole search."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.index.selection import ItemSet
from indexer.index.snapshot import BLOCK, Snapshot
from indexer.index.vector_index import VectorIndex
from indexer.search.diversity import directions
from indexer.search.query import MIN_CANDIDATES

_SAME = 1 - 1e-6
"""Cosine from which two vectors are taken for one: float32 rounds sums of products by less."""
_MARGIN = 1e-5
"""By which two ways to compute a cosine may differ."""


class Limit(Protocol):
    """What keeps items out because of better ones that are taken."""

    def look_at(self, items: NDArray[np.int64]) -> None:
        """These are the next candidates [m]; from now on they are named by their positions."""

    def admits(self, position: int) -> bool:
        """Whether a candidate may be taken."""

    def take(self, position: int) -> None:
        """A candidate is taken."""

    def excluded(self, items: ItemSet) -> NDArray[np.bool_]:
        """[n], by position in the mask of `items`: what it surely admits no more."""


class GroupSize:
    """Of each group at most so many.

    Args:
        groups: [n], by position in the mask of `items`; items of group 0 stand alone.
    """

    def __init__(self, items: ItemSet, groups: NDArray[np.int32], size: int) -> None:
        self._first, self._groups, self._size = items.first, groups, size
        self._members: Counter[int] = Counter()
        self._candidates: list[int] = []

    def look_at(self, items: NDArray[np.int64]) -> None:
        self._candidates = self._groups[items - self._first].tolist()

    def admits(self, position: int) -> bool:
        return self._members[self._candidates[position]] < self._size

    def take(self, position: int) -> None:
        group = self._candidates[position]
        self._members[group] += group > 0

    def excluded(self, items: ItemSet) -> NDArray[np.bool_]:
        full = np.zeros(int(self._groups.max(initial=0)) + 1, dtype=bool)
        full[[group for group, count in self._members.items() if count >= self._size]] = True
        return full[self._groups]


class NearDuplicates:
    """Nothing whose picture is nearly that of what is taken; an item without a picture is like none.

    Args:
        threshold: Cosine of two image vectors from which their pictures are near duplicates.
    """

    def __init__(self, index: VectorIndex, threshold: float) -> None:
        self._index, self._threshold = index, min(threshold, _SAME)
        self._taken: list[NDArray[np.float32]] = []
        self._looked_for = 0
        """Number of taken vectors whose duplicates are excluded already."""

    def look_at(self, items: NDArray[np.int64]) -> None:
        self._candidates, self._there = directions(self._index, items)
        self._out = np.zeros(len(items), dtype=bool)
        for vector in self._taken:
            self._keep_out(vector)

    def admits(self, position: int) -> bool:
        return not self._out[position]

    def take(self, position: int) -> None:
        if self._there[position]:
            self._taken.append(self._candidates[position])
            self._keep_out(self._taken[-1])

    def excluded(self, items: ItemSet) -> NDArray[np.bool_]:
        new = self._taken[self._looked_for :]
        self._looked_for = len(self._taken)
        near = np.zeros(len(items.mask), dtype=bool)
        if new:
            found = _near(self._index.snapshot(), np.stack(new), self._threshold + _MARGIN)
            near[found[items.holds(found)] - items.first] = True
        return near

    def _keep_out(self, vector: NDArray[np.float32]) -> None:
        # Each cosine is computed by itself, so that it does not depend on which others are asked for.
        self._out |= np.vecdot(self._candidates, vector) >= self._threshold


def rank_limited(
    rank_items: Callable[[ItemSet, int], list[tuple[int, float]]], items: ItemSet, limits: Sequence[Limit], wanted: int
) -> list[tuple[int, float]]:
    """The `wanted` best items that all limits admit, each of them looked at after all better ones.

    Whenever the best are used up, it is searched on without them and without all that they exclude: each such search
    takes an item at least, so that no group, and no picture that many items have, can hide the others.

    Args:
        rank_items: Primary key and score of the best so many of some items.
    """
    left, depth = items.mask, max(MIN_CANDIDATES, 2 * wanted)
    taken: list[tuple[int, float]] = []
    candidates = rank_items(items, depth)
    while True:
        pks = np.array([pk for pk, _ in candidates], dtype=np.int64)
        for limit in limits:
            limit.look_at(pks)
        for position, candidate in enumerate(candidates):
            if len(taken) < wanted and all(limit.admits(position) for limit in limits):
                taken.append(candidate)
                for limit in limits:
                    limit.take(position)
        if len(taken) == wanted or len(candidates) < depth:
            return taken
        for limit in limits:
            left = left & ~limit.excluded(items)
        left[pks - items.first] = False
        candidates = rank_items(ItemSet(items.first, left), depth)


def _near(snapshot: Snapshot, wanted: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Items with a cosine of at least `threshold` to one of the directions [m, d]."""
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(snapshot), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(snapshot)))
        cosines = (snapshot.directions(rows) @ wanted.T).max(axis=1)
        found.append(snapshot.items[rows[cosines >= threshold]])
    return np.concatenate(found)
