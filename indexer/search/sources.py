"""What a score is made of, one source for each signal: similarities to vectors, and matching words."""

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.index.segment import Found
from indexer.index.selection import ItemSet
from indexer.index.vector_index import Selected, VectorIndex
from indexer.search.fusion import ComposedQuery


class Best(NamedTuple):
    """Items, best first; ties by the item's age."""

    items: NDArray[np.int64]
    """[k]"""
    values: NDArray[np.float64]
    """[k] what they are ranked by."""

    def among(self, items: ItemSet | None, most: int | None = None) -> "Best":
        """Those of them that are in the set, if there is one, or the best so many of these."""
        found, values = self
        if items is not None:
            inside = items.holds(found)
            found, values = found[inside], values[inside]
        return Best(found[:most], values[:most])

    @property
    def pairs(self) -> list[tuple[int, float]]:
        """Primary key and value of each."""
        return list(zip(self.items.tolist(), self.values.tolist(), strict=True))


class Source(Protocol):
    """Standardised scores of items by one signal."""

    rest: float
    """What no item exceeds that is not among the best, once these are all there are."""
    margin: float
    """How far what `best` says of an item may be from what `of` says, by rounding."""

    def best(self, most: int) -> Best:
        """The items that this signal speaks for, among those that are searched, by their standardised scores."""

    def of(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each item [n], NaN where it lacks the signal."""


class First(NamedTuple):
    """What was found for a query together with others, before it is looked at by itself."""

    searched: Selected
    depth: int
    """How many were asked for."""
    found: Found


class VectorSource:
    """The similarities of a query to the vectors of one modality.

    Args:
        first: What is known of `searched` already.
    """

    rest = -np.inf

    def __init__(
        self, query: ComposedQuery, index: VectorIndex, searched: Selected, first: First | None = None
    ) -> None:
        self._query, self._index, self._searched, self._first = query, index, searched, first
        self.margin = 2e-6 * math.sqrt(query.vector @ query.vector)

    def best(self, most: int) -> Best:
        if not self.margin:  # all are as similar to nothing, and only all together tell which are the oldest
            most = max(most, sum(selection.live for _, selection in self._searched.parts) + 1)
        if self._first and most <= self._first.depth:
            found = Found(self._first.found.items[:most], self._first.found.similarities[:most])
        else:
            found = self._searched.search(self._query.vector, most)
        return Best(found.items, self._query.standardise(found.similarities))

    def of(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._query.standardise(self._index.similarities(self._query.vector, items))
