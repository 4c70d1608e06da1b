"""`Searcher`: from requests to pages of hits."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from indexer.index.selection import ItemSet
from indexer.index.vector_index import VectorIndex
from indexer.search.columns import Columns, Matches
from indexer.search.diversity import POOL, diversify
from indexer.search.embedding import EmbeddedTerm, embed_queries
from indexer.search.explanation import explain
from indexer.search.filters import All, Filter, matches
from indexer.search.limits import GroupSize, Limit, NearDuplicates, rank_limited
from indexer.search.query import Effort, Ranking, rank
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.types import (
    MODALITIES,
    Hit,
    Item,
    Modality,
    Plan,
    SearchOutcome,
    SearchRequest,
    SearchResult,
    Took,
    Vector,
)
from models.encoder import Encoder
from models.imaging import ImageLimits


class Page(NamedTuple):
    """What was found for one request, before it is read from the catalogue."""

    request: SearchRequest
    terms: Sequence[EmbeddedTerm]
    found: Matches | None
    ranking: Ranking
    targets: Mapping[Modality, float]
    effort: Effort
    shown: Sequence[tuple[int, float]]
    """Primary key and score of each hit."""


class Searcher:
    """The read path of one collection: embed, filter, search, fuse, hydrate. Thread-safe, as its parts are."""

    def __init__(
        self,
        row: CollectionRow,
        catalogue: Catalogue,
        indexes: Mapping[Modality, VectorIndex],
        columns: Columns,
        count_items: Callable[[], int],
        encoder: Encoder,
        limits: ImageLimits,
    ) -> None:
        self._row, self._catalogue, self._indexes, self._columns = row, catalogue, indexes, columns
        self._count_items = count_items
        self._encoder, self._image_limits = encoder, limits

    def search(self, request: SearchRequest) -> SearchResult:
        """See `indexer.collection.Collection.search`."""
        [outcome] = self.search_batch([request])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def search_batch(self, requests: Sequence[SearchRequest]) -> list[SearchOutcome]:
        """See `indexer.collection.Collection.search_batch`."""
        started = time.perf_counter()
        queries = [request.terms for request in requests]
        embedded = embed_queries(queries, self._encoder, self._image_limits, self._catalogue, self._row)
        searched = time.perf_counter()
        pages = self._find(
            [(request, terms) for request, terms in zip(requests, embedded, strict=True) if isinstance(terms, list)]
        )
        hits = iter(self._hydrate(pages))
        ended = time.perf_counter()
        took = Took(1000 * (searched - started), 1000 * (ended - searched), 1000 * (ended - started))
        found = (self._result(page, next(hits), took) for page in pages)
        return [next(found) if isinstance(terms, list) else terms for terms in embedded]

    def _find(self, queries: Sequence[tuple[SearchRequest, Sequence[EmbeddedTerm]]]) -> list[Page]:
        """The page that each query asks for."""
        return [self._page(request, terms) for request, terms in queries]

    def _page(self, request: SearchRequest, terms: Sequence[EmbeddedTerm]) -> Page:
        found, targets = self._matches(request), self._targets(request)
        wanted = request.offset + request.limit
        depth, effort = max(wanted, POOL) if request.diversity else wanted, Effort()
        ranking = self._rank(terms, targets, request, found, depth, effort)
        floor = -np.inf if request.min_score is None else request.min_score
        candidates = [pair for pair in ranking.candidates if pair[1] >= floor]
        if request.diversity:
            by_weight = sorted(targets, key=lambda modality: -targets[modality])
            indexes = [self._indexes[modality] for modality in by_weight]
            candidates = diversify(candidates, indexes, request.diversity, wanted)
        return Page(request, terms, found, ranking, targets, effort, candidates[request.offset : wanted])

    def _result(self, page: Page, hits: list[Hit], took: Took) -> SearchResult:
        return SearchResult(
            hits=hits,
            total=self._searchable(page.ranking, page.terms, page.found),
            facets=page.found.facets if page.found else {},
            generation=self._row.generation,
            truncated=any(term.truncated for term in page.terms),
            plan=Plan(
                vectors=page.ranking.searched,
                matches=len(page.found.items) if page.found else None,
                rounds=page.effort.rounds,
                candidates=page.effort.candidates,
            ),
            took=took,
        )

    def _targets(self, request: SearchRequest) -> dict[Modality, float]:
        asked = self._row.settings.modality_weights if request.target is None else request.target
        return {modality: weight for modality, weight in asked.items() if weight > 0 and self._indexes[modality].count}

    def _matches(self, request: SearchRequest) -> Matches | None:
        """The items that match the filter, and what else is asked of the metadata; None where nothing is."""
        asked = (request.filter, request.facets or None, request.group_by, request.collapse_duplicates)
        if all(part is None for part in asked):
            return None
        return self._columns.select(request.filter or All(()), request.facets, request.group_by)

    def _rank(
        self,
        terms: Sequence[EmbeddedTerm],
        targets: Mapping[Modality, float],
        request: SearchRequest,
        found: Matches | None,
        wanted: int,
        effort: Effort,
    ) -> Ranking:
        def rank_items(items: ItemSet | None, wanted: int) -> Ranking:
            searched = {modality: self._indexes[modality].select(items) for modality in targets}
            return rank(terms, targets, self._indexes, searched, wanted, effort)

        if found is None:
            return rank_items(None, wanted)
        limits = list(self._limits(request, found))
        return rank_limited(rank_items, found.items, limits, wanted) if limits else rank_items(found.items, wanted)

    def _limits(self, request: SearchRequest, found: Matches) -> Iterator[Limit]:
        if found.groups is not None:
            yield GroupSize(found.items, found.groups, request.group_size)
        if request.collapse_duplicates is not None:
            yield NearDuplicates(self._indexes["image"], request.collapse_duplicates)

    def _searchable(self, ranking: Ranking, terms: Sequence[EmbeddedTerm], found: Matches | None) -> int:
        """Items that could be hits: matching ones with a vector of a target modality, less the items of the query."""
        items = found.items if found else None
        own = np.unique([term.item_pk for term in terms if term.item_pk is not None]).astype(np.int64)
        own = own if items is None else own[items.holds(own)]
        if len(ranking.searched) == len(MODALITIES):
            return (self._count_items() if items is None else len(items)) - len(own)
        own_vectors = self._catalogue.item_vectors(self._row.generation_pk, own.tolist()) if len(own) else {}
        return sum(
            live - sum(modality in vectors for vectors in own_vectors.values())
            for modality, live in ranking.searched.items()
        )

    def _hydrate(self, pages: Sequence[Page]) -> Iterator[list[Hit]]:
        """The hits of each page; those of all pages are read together."""
        pks = list({pk: None for page in pages for pk, _ in page.shown})
        found = self._catalogue.found(self._row.generation_pk, pks)
        for page in pages:
            yield [
                self._hit(page, score, *found[pk])
                for pk, score in page.shown
                # Else it was deleted or changed while this search ran.
                if pk in found and fits(found[pk][0], page.request.filter)
            ]

    def _hit(self, page: Page, score: float, item: Item, vectors: dict[Modality, Vector]) -> Hit:
        return Hit(
            id=item.id,
            score=score,
            scores=page.ranking.cosines(vectors),
            item=item,
            vectors=vectors if page.request.include_vectors else None,
            explanation=explain(page.ranking.composed, page.targets, vectors) if page.request.explain else None,
        )


def fits(item: Item, filter_: Filter | None) -> bool:
    """Whether an item as it is now matches; all do where there is no filter."""
    return filter_ is None or matches(filter_, item.metadata)
