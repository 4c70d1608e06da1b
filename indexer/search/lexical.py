"""Lexical scores: how well the words of items' texts match those of a query's, by bm25."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from indexer.errors import QueryInvalid
from indexer.index.selection import ItemSet
from indexer.search.words import expression
from indexer.stores.texts import Matched, Texts
from indexer.types import Fusion, Term

WEIGHTS: Mapping[Fusion, float] = {"weighted": 2.0, "rrf": 8.0}
"""What words count beside vectors where the request does not say."""
TOP = 4.5
"""The best match counts as so many standard deviations of similarities; docs/adr/0012 tells how both were chosen."""
MIN_TOP = 1.0
"""bm25 of about a word that a quarter of the texts have: a best match that is worth less counts less."""


class LexicalScores:
    """What words say of items: above 0 of those that match; 0 of the others with a text; NaN without one.

    Args:
        items: [n] primary keys, ascending.
        scores: [n], the mean of the texts' bm25, each weighted; of some that a negative text matches, not above 0.
    """

    def __init__(self, items: NDArray[np.int64], scores: NDArray[np.float64], texts: Texts) -> None:
        self._items, self._scores, self._texts = items, scores, texts
        best = np.argsort(-scores, kind="stable")[: np.count_nonzero(scores > 0)]
        self._best = Matched(items[best], scores[best])

    @property
    def top(self) -> float:
        """The highest score; 0 where nothing matches."""
        return max(self._best.scores[:1].tolist(), default=0.0)

    def best(self, items: ItemSet | None, most: int | None = None) -> Matched:
        """The items that match, or those of them that are in the set, best first; ties by the item's age."""
        found, scores = self._best
        if items is not None:
            inside = items.holds(found)
            found, scores = found[inside], scores[inside]
        return Matched(found[:most], scores[:most])

    def of(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Score of each item [m]."""
        scores = np.full(len(items), np.nan)
        _, there, places = np.intersect1d(items, self._items, return_indices=True)
        scores[there] = self._scores[places]
        others = np.isnan(scores)
        scores[others] = np.where(self._texts.owners(items[others]), 0.0, np.nan)
        return scores

    def standardise(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """On the scale of standardised similarities: what bm25 is worth depends on the query, so its best is fixed."""
        return TOP * scores / max(self.top, MIN_TOP)


def score_texts(terms: Sequence[Term], texts: Texts) -> LexicalScores:
    """Look for the words of a query's texts; its other terms have none."""
    asked = [(term.weight, expression(term.text, texts)) for term in terms if term.text is not None]
    total = sum(abs(weight) for weight, _ in asked)
    found = [(weight / total, texts.matching(words)) for weight, words in asked if words is not None]
    items = reduce(np.union1d, (part.items for _, part in found), np.empty(0, dtype=np.int64))
    scores = np.zeros(len(items))
    for share, part in found:
        scores[np.searchsorted(items, part.items)] += share * part.scores
    return LexicalScores(items, scores, texts)


def check_texts(terms: Sequence[Term]) -> None:
    """Raises `QueryInvalid`: a lexical search has a term that is no text, or none that anything could match."""
    if any(term.text is None for term in terms):
        raise QueryInvalid("mode lexical takes texts only; mode hybrid takes all terms", "/mode")
    if not any(term.weight > 0 for term in terms):
        raise QueryInvalid("mode lexical needs a text of positive weight", "/mode")
