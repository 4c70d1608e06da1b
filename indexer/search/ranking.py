"""The order of the items that a request asks for: by vectors, by words, or by both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexer.index.moments import Spread
from indexer.index.selection import ItemSet
from indexer.index.vector_index import VectorIndex
from indexer.search import reciprocal
from indexer.search.diversity import POOL
from indexer.search.embedding import EmbeddedTerm
from indexer.search.fusion import ComposedQuery
from indexer.search.lexical import LexicalScores, LexicalSource
from indexer.search.query import Effort, rank
from indexer.search.reciprocal import Ranks
from indexer.search.sources import First, Source, VectorSource
from indexer.types import FoundItem, Modality, SearchRequest, Signal, Vector

RankItems: TypeAlias = Callable[[ItemSet | None, int], list[tuple[int, float]]]
"""Primary key and score of the best so many items of a set, best first, ties by the item's age."""


_NOBODY = np.empty(0, dtype=np.int64)


class Ranking(NamedTuple):
    """How the items that are searched are ordered."""

    rank_items: RankItems
    """Of all of them or any part, each part in the order that it has in the whole."""
    ranks: Ranks
    """Empty where scores are fused, not ranks."""


def searches_all(request: SearchRequest) -> bool:
    """Whether nothing is asked of the metadata, nor of what the best items have in common."""
    nothing = request.filter is None and not request.facets and request.group_by is None
    return nothing and request.collapse_duplicates is None


@dataclass(frozen=True)
class Question:
    """A request, with its terms composed per modality and its words looked up."""

    request: SearchRequest
    terms: Sequence[EmbeddedTerm]
    """Empty where only words are asked for."""
    composed: Mapping[Modality, ComposedQuery]
    lexical: LexicalScores | None
    """None where words were not asked for."""
    weights: Mapping[Signal, float]
    lone: bool = False
    """Whether the score is the cosine of one term with one modality, and nothing else is to be told of it."""

    @property
    def wanted(self) -> int:
        """How many of the best items are needed to make the page."""
        end = self.request.offset + self.request.limit
        return max(end, POOL) if self.request.diversity else end

    @property
    def searches_all(self) -> bool:
        """See the function of this name."""
        return searches_all(self.request)

    @cached_property
    def own(self) -> NDArray[np.int64]:
        """Items of the query, which do not find themselves."""
        pks = {term.item_pk for term in self.terms if term.item_pk is not None}
        return np.array(sorted(pks), dtype=np.int64) if pks else _NOBODY

    @property
    def words(self) -> LexicalScores | None:
        """What words say, where it counts."""
        # Words that no text has tell nothing, least of all that items without a text are better.
        counts = self.lexical is not None and self.lexical.top > 0 and self.weights["lexical"] > 0
        return self.lexical if counts else None

    @property
    def signals(self) -> list[Signal]:
        """What scores are made of."""
        words: list[Signal] = ["lexical"] if self.words else []
        return [*self.composed, *words]

    @property
    def by_ranks(self) -> bool:
        """Whether ranks are fused; of words alone the score is their bm25."""
        return self.request.fusion == "rrf" and self.request.mode != "lexical"

    @property
    def scale(self) -> Spread:
        """On which scores are: of the cosines of the primary target, or of one that has a scale; of words bm25."""
        if self.by_ranks:
            return reciprocal.SCALE
        if not self.composed:
            return Spread(0.0, self.lexical.deviation if self.lexical else 1.0)
        by_merit = {modality: (query.has_scale, self.weights[modality]) for modality, query in self.composed.items()}
        return self.composed[max(by_merit, key=by_merit.__getitem__)].spread

    def ranking(
        self,
        indexes: Mapping[Modality, VectorIndex],
        items: ItemSet | None,
        effort: Effort,
        first: Mapping[Modality, First],
    ) -> Ranking:
        """The order of `items`.

        Args:
            first: What was found among all items already, together with other questions.
        """
        if not self.by_ranks:

            def rank_items(some: ItemSet | None, wanted: int) -> list[tuple[int, float]]:
                sources = self._sources(indexes, some, effort, first)
                return rank(sources, self.weights, self.scale, self.own, wanted, effort).pairs

            return Ranking(rank_items, {})
        sources = self._sources(indexes, items, effort, first)
        ranks = reciprocal.ranks_of(sources, self.own)
        best = reciprocal.fuse_ranks(ranks, sources, self.weights)
        effort.count(len(best.items))
        return Ranking(lambda some, wanted: best.among(some, wanted).pairs, ranks)

    def scores(self, pk: int, item: FoundItem, vectors: Mapping[Modality, Vector]) -> dict[Signal, float]:
        """Weighted mean cosine of the terms with each vector of a target modality that an item has.

        Where words were asked for also their bm25, if it has a text; 0 where none of them is in it.
        """
        found: dict[Signal, float] = {
            modality: float(query.cosine_vector @ vectors[modality])
            for modality, query in self.composed.items()
            if modality in vectors
        }
        if self.lexical is not None and item.text is not None:
            found["lexical"] = self.lexical.score(pk)
        return found

    def _sources(
        self,
        indexes: Mapping[Modality, VectorIndex],
        items: ItemSet | None,
        effort: Effort,
        first: Mapping[Modality, First],
    ) -> dict[Signal, Source]:
        sources: dict[Signal, Source] = {}
        for modality, query in self.composed.items():
            found = first.get(modality) if items is None else None
            searched = found.searched if found else indexes[modality].select(items)
            effort.vectors.setdefault(modality, searched.live)
            sources[modality] = VectorSource(query, indexes[modality], searched, found)
        if self.words is not None:
            sources["lexical"] = LexicalSource(self.words, items)
        return sources
