"""`Searcher`: from a request to a page of hits."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from indexer.errors import QueryInvalid
from indexer.index.vector_index import VectorIndex
from indexer.search.columns import Columns, Matches
from indexer.search.filters import All, Filter, matches
from indexer.search.groups import rank_groups
from indexer.search.lexical import WEIGHTS, check_texts, score_texts
from indexer.search.query import EmbeddedTerm, check_terms, compose_terms, embed_terms
from indexer.search.ranking import Question
from indexer.stores.catalogue import Catalogue, CollectionRow, StoredItem
from indexer.types import MODALITIES, Hit, Modality, SearchRequest, SearchResult, Signal
from models.encoder import Encoder
from models.imaging import ImageLimits


class Searcher:
    """The read path of one collection: embed, filter, search, fuse, hydrate. Thread-safe, as its parts are."""

    def __init__(
        self,
        row: CollectionRow,
        catalogue: Catalogue,
        indexes: Mapping[Modality, VectorIndex],
        columns: Columns,
        encoder: Encoder,
        limits: ImageLimits,
    ) -> None:
        self._row, self._catalogue, self._indexes, self._columns = row, catalogue, indexes, columns
        self._texts = catalogue.texts(row.pk)
        self._encoder, self._limits = encoder, limits

    def search(self, request: SearchRequest) -> SearchResult:
        """See `indexer.collection.Collection.search`."""
        started = time.perf_counter()
        terms = self._embed(request)
        embedded = time.perf_counter()
        found = self._matches(request)
        question = self._question(request, terms)
        wanted = request.offset + request.limit
        candidates = self._rank(question, request, found, wanted)
        floor = -np.inf if request.min_score is None else request.min_score
        page = [pair for pair in candidates[:wanted] if pair[1] >= floor][request.offset :]
        hits = self._hydrate(page, question, request)
        ended = time.perf_counter()
        return SearchResult(
            hits=hits,
            total=self._searchable(question, found),
            facets=found.facets if found else {},
            generation=self._row.generation,
            truncated=any(term.truncated for term in terms),
            embed_ms=1000 * (embedded - started),
            search_ms=1000 * (ended - embedded),
            total_ms=1000 * (ended - started),
        )

    def _embed(self, request: SearchRequest) -> list[EmbeddedTerm]:
        if request.mode == "lexical":
            check_terms(request.terms)
            check_texts(request.terms)
            return []
        return embed_terms(request.terms, self._encoder, self._limits, self._catalogue, self._row)

    def _question(self, request: SearchRequest, terms: Sequence[EmbeddedTerm]) -> Question:
        weights = self._weights(request)
        indexes = {modality: self._indexes[modality] for modality in MODALITIES if weights.get(modality, 0) > 0}
        with_vectors = {modality: index for modality, index in indexes.items() if index.count} if terms else {}
        return Question(
            composed=compose_terms(terms, with_vectors),
            lexical=None if request.mode == "vector" else score_texts(request.terms, self._texts),
            weights=weights,
            own=np.unique([term.item_pk for term in terms if term.item_pk is not None]).astype(np.int64),
            mode=request.mode,
            fusion=request.fusion,
        )

    def _weights(self, request: SearchRequest) -> dict[Signal, float]:
        asked: dict[Signal, float] = dict(request.target or {})
        if request.mode == "vector" and "lexical" in asked:
            raise QueryInvalid("words count in mode hybrid only", "/target/lexical")
        if not any(modality in asked for modality in MODALITIES):
            asked.update(self._row.settings.modality_weights.items())
        asked.setdefault("lexical", WEIGHTS[request.fusion])
        return asked

    def _matches(self, request: SearchRequest) -> Matches | None:
        """The items that match the filter, and what else is asked of the metadata; None where nothing is."""
        if request.filter is None and not request.facets and request.group_by is None:
            return None
        return self._columns.select(request.filter or All(()), request.facets, request.group_by)

    def _rank(
        self, question: Question, request: SearchRequest, found: Matches | None, wanted: int
    ) -> list[tuple[int, float]]:
        items = found.items if found else None
        rank_items = question.ranker(self._indexes, items)
        if found is None or found.groups is None:
            return rank_items(items, wanted)
        return rank_groups(rank_items, found.items, found.groups, request.group_size, wanted)

    def _searchable(self, question: Question, found: Matches | None) -> int:
        """Items that could be hits: matching ones that a target or the words speak for, less those of the query."""
        items = found.items if found else None
        words = np.empty(0, dtype=np.int64) if question.lexical is None else question.lexical.best(items).items
        if not question.composed:
            return len(np.setdiff1d(words, question.own))
        own = question.own if items is None else question.own[items.holds(question.own)]
        if len(question.composed) == len(MODALITIES):
            return (self._catalogue.count_items(self._row.pk) if items is None else len(items)) - len(own)
        [(modality, query)] = question.composed.items()
        index, wordy = self._indexes[modality], np.setdiff1d(words, question.own)
        own_vectors, lacking = ~np.isnan(index.similarities(query.vector, own)), index.similarities(query.vector, wordy)
        return int(index.select(items).live - np.count_nonzero(own_vectors) + np.count_nonzero(np.isnan(lacking)))

    def _hydrate(self, page: Sequence[tuple[int, float]], question: Question, request: SearchRequest) -> list[Hit]:
        pks = [pk for pk, _ in page]
        stored = self._catalogue.items_by_pk(pks)
        vectors = self._catalogue.item_vectors(self._row.generation_pk, pks)
        lexical = question.lexical_scores(pks)
        return [
            Hit(
                id=stored[pk].item.id,
                score=score,
                scores=question.cosines(vectors[pk]) | lexical[pk],
                item=stored[pk].item,
                vectors=vectors[pk] if request.include_vectors else None,
            )
            for pk, score in page
            # Else it was deleted or changed while this search ran.
            if pk in stored and pk in vectors and fits(stored[pk], request.filter)
        ]


def fits(stored: StoredItem, filter_: Filter | None) -> bool:
    """Whether an item as it is now matches; all do where there is no filter."""
    return filter_ is None or matches(filter_, stored.item.metadata)
