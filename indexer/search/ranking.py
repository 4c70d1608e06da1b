"""The order of the items that a request asks for: by vectors, by words, or by both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexer.index.moments import Spread
from indexer.index.selection import ItemSet
from indexer.index.vector_index import VectorIndex
from indexer.search.fusion import ComposedQuery
from indexer.search.lexical import LexicalScores
from indexer.search.query import rank
from indexer.search.reciprocal import reciprocal_ranks
from indexer.search.sources import Best, LexicalSource, Source, VectorSource
from indexer.types import Fusion, Modality, Mode, Signal, Vector

RankItems: TypeAlias = Callable[[ItemSet | None, int], list[tuple[int, float]]]
"""Primary key and score of the best so many items of a set, best first, ties by the item's age."""


@dataclass(frozen=True)
class Question:
    """A request, with its terms composed per modality and its words looked up."""

    composed: Mapping[Modality, ComposedQuery]
    lexical: LexicalScores | None
    """None where words were not asked for."""
    weights: Mapping[Signal, float]
    own: NDArray[np.int64]
    """Items of the query, which do not find themselves."""
    mode: Mode
    fusion: Fusion

    def ranker(self, indexes: Mapping[Modality, VectorIndex], items: ItemSet | None) -> RankItems:
        """Ranks `items` or any part of them, each part in the order that it has in the whole."""
        match self.mode, self.fusion:
            case "lexical", _:
                assert self.lexical is not None
                return partial(_take, Best(*self.lexical.best(items)))
            case _, "rrf":
                return partial(_take, reciprocal_ranks(self._sources(indexes, items), self.weights, self.own))
            case _:
                return lambda some, wanted: rank(
                    self._sources(indexes, some), self.weights, self._scale, self.own, wanted
                )

    def cosines(self, vectors: Mapping[Modality, Vector]) -> dict[Signal, float]:
        """Weighted mean cosine of the terms with an item's vector of each target modality that it has."""
        return {
            modality: float(query.cosine_vector @ vectors[modality])
            for modality, query in self.composed.items()
            if modality in vectors
        }

    def lexical_scores(self, items: Sequence[int]) -> dict[int, dict[Signal, float]]:
        """By item: its bm25, where words were asked for and it has a text; 0 where none of them is in it."""
        if self.lexical is None:
            return {item: {} for item in items}
        scores = self.lexical.of(np.array(items, dtype=np.int64)).tolist()
        return {item: {} if np.isnan(score) else {"lexical": score} for item, score in zip(items, scores, strict=True)}

    @property
    def _scale(self) -> Spread:
        if not self.composed:
            return Spread(0.0, 1.0)
        return self.composed[max(self.composed, key=lambda modality: self.weights[modality])].spread

    def _sources(self, indexes: Mapping[Modality, VectorIndex], items: ItemSet | None) -> dict[Signal, Source]:
        sources: dict[Signal, Source] = {
            modality: VectorSource(query, indexes[modality], indexes[modality].select(items))
            for modality, query in self.composed.items()
        }
        # Words that no text has tell nothing, least of all that items without a text are better.
        if self.lexical is not None and self.lexical.top > 0 and self.weights["lexical"] > 0:
            sources["lexical"] = LexicalSource(self.lexical, items)
        return sources


def _take(order: Best, items: ItemSet | None, wanted: int) -> list[tuple[int, float]]:
    found, scores = order
    if items is not None:
        inside = items.holds(found)
        found, scores = found[inside], scores[inside]
    return list(zip(found[:wanted].tolist(), scores[:wanted].tolist(), strict=True))
