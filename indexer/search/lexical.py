"""Lexical scores: how well the words of items' texts match those of a query's, by bm25."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.errors import QueryInvalid
from indexer.index.selection import ItemSet
from indexer.search.sources import Best
from indexer.search.words import expression
from indexer.stores.texts import Matched, Texts
from indexer.types import Fusion, Term

WEIGHTS: Mapping[Fusion, float] = {"weighted": 2.0, "rrf": 8.0}
"""What words count beside vectors where the request does not say."""
TOP = 4.5
"""The best match counts as so many standard deviations of similarities; docs/adr/0012 tells how both were chosen."""
MIN_TOP = 1.0
"""bm25 of about a word that a quarter of the texts have: a best match that is worth less counts less."""


class LexicalTerm(NamedTuple):
    """The words of one text of a query."""

    share: float
    """Of the texts; without their signs they add up to 1."""
    matched: Matched


class LexicalScores:
    """What words say of items: above 0 of those that match; 0 of the others with a text; NaN without one.

    Args:
        terms: of the query; None for one that is no text.
        matched: by any, with the mean of their bm25, each weighted; not above 0 of some that a negative text matches.
    """

    def __init__(self, terms: Sequence[LexicalTerm | None], matched: Matched, texts: Texts) -> None:
        self.terms, self._matched, self._texts = terms, matched, texts
        best = np.argsort(-matched.scores, kind="stable")[: np.count_nonzero(matched.scores > 0)]
        self._best = Best(matched.items[best], matched.scores[best])

    @property
    def top(self) -> float:
        """The highest score; 0 where nothing matches."""
        return max(self._best.values[:1].tolist(), default=0.0)

    @property
    def deviation(self) -> float:
        """bm25 that counts as one standard deviation: what it is worth depends on the query, so its best is fixed."""
        return max(self.top, MIN_TOP) / TOP

    def best(self, items: ItemSet | None, most: int | None = None) -> Best:
        """The items that match, or those of them that are in the set."""
        return self._best.among(items, most)

    def score(self, item: int) -> float:
        """Of an item with a text."""
        return self._matched.score(item)

    def of(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Score of each item [m]."""
        scores = np.full(len(items), np.nan)
        _, there, places = np.intersect1d(items, self._matched.items, return_indices=True)
        scores[there] = self._matched.scores[places]
        others = np.isnan(scores)
        scores[others] = np.where(self._texts.owners(items[others]), 0.0, np.nan)
        return scores


class LexicalSource:
    """How well the words of texts match; of a text without any of them 0, which is what nearly all have."""

    rest = margin = 0.0

    def __init__(self, scores: LexicalScores, items: ItemSet | None) -> None:
        self._scores, self._items = scores, items

    def best(self, most: int) -> Best:
        found, scores = self._scores.best(self._items, most)
        return Best(found, scores / self._scores.deviation)

    def of(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._scores.of(items) / self._scores.deviation


def score_texts(terms: Sequence[Term], texts: Texts) -> LexicalScores:
    """Look for the words of a query's texts; its other terms have none."""
    total = sum(abs(term.weight) for term in terms if term.text is not None)

    def look_for(term: Term) -> LexicalTerm | None:
        return None if term.text is None else LexicalTerm(term.weight / total, _matched(term.text, texts))

    found = [look_for(term) for term in terms]
    items = reduce(np.union1d, (term.matched.items for term in found if term), np.empty(0, dtype=np.int64))
    scores = np.zeros(len(items))
    for term in filter(None, found):
        scores[np.searchsorted(items, term.matched.items)] += term.share * term.matched.scores
    return LexicalScores(found, Matched(items, scores), texts)


def check_texts(terms: Sequence[Term]) -> None:
    """Raises `QueryInvalid`: a lexical search has a term that is no text, or none that anything could match."""
    if any(term.text is None for term in terms):
        raise QueryInvalid("mode lexical takes texts only; mode hybrid takes all terms", "/mode")
    if not any(term.weight > 0 for term in terms):
        raise QueryInvalid("mode lexical needs a text of positive weight", "/mode")


def _matched(text: str, texts: Texts) -> Matched:
    words = expression(text, texts)
    return Matched(np.empty(0, dtype=np.int64), np.empty(0)) if words is None else texts.matching(words)
