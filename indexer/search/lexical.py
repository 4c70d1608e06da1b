"""Lexical scores: how well the words of items' texts match those of a query's, by bm25."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from indexer.errors import QueryInvalid
from indexer.index.segment import Found
from indexer.index.selection import ItemSet
from indexer.search.words import expression
from indexer.stores.texts import Texts
from indexer.types import Term


class LexicalScores:
    """The items that match, and what those score that do not: 0 with a text, NaN without.

    Args:
        items: [n] primary keys, ascending.
        scores: [n], the mean of the texts' bm25, each weighted.
        matched: [n], whether a text of positive weight matches.
    """

    def __init__(
        self, items: NDArray[np.int64], scores: NDArray[np.float64], matched: NDArray[np.bool_], texts: Texts
    ) -> None:
        self._items, self._scores, self._texts = items, scores, texts
        self._found = items[matched]
        best = np.argsort(-scores[matched], kind="stable")
        self._best = Found(self._found[best], scores[matched][best])

    def best(self, items: ItemSet | None, most: int | None = None) -> Found:
        """The items that match, or those of them that are in the set, best first; ties by the item's age."""
        found, scores = self._best
        if items is not None:
            inside = items.holds(found)
            found, scores = found[inside], scores[inside]
        return Found(found[:most], scores[:most])

    def of(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Score of each item [m]."""
        scores = np.where(self._texts.owners(items), 0.0, np.nan)
        if len(self._items):
            places = np.minimum(np.searchsorted(self._items, items), len(self._items) - 1)
            scores = np.where(self._items[places] == items, self._scores[places], scores)
        return scores

    @cached_property
    def top(self) -> float:
        """The highest score; 0 where nothing matches."""
        return float(self._best.similarities[0]) if len(self._found) else 0.0
