"""`Searcher`: from a request to a page of hits."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from indexer.index.selection import ItemSet
from indexer.index.vector_index import VectorIndex
from indexer.search.columns import Columns, Matches
from indexer.search.filters import All, Filter, matches
from indexer.search.groups import rank_groups
from indexer.search.query import EmbeddedTerm, Ranking, embed_terms, rank
from indexer.stores.catalogue import Catalogue, CollectionRow, StoredItem
from indexer.types import MODALITIES, Hit, Modality, SearchRequest, SearchResult
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
        self._encoder, self._limits = encoder, limits

    def search(self, request: SearchRequest) -> SearchResult:
        """See `indexer.collection.Collection.search`."""
        started = time.perf_counter()
        terms = embed_terms(request.terms, self._encoder, self._limits, self._catalogue, self._row)
        embedded = time.perf_counter()
        targets = self._targets(request)
        found = self._matches(request)
        wanted = request.offset + request.limit
        ranking = self._rank(terms, targets, request, found, wanted)
        floor = -np.inf if request.min_score is None else request.min_score
        page = [pair for pair in ranking.candidates[:wanted] if pair[1] >= floor][request.offset :]
        hits = self._hydrate(page, ranking, request)
        ended = time.perf_counter()
        return SearchResult(
            hits=hits,
            total=self._searchable(ranking, terms, found),
            facets=found.facets if found else {},
            generation=self._row.generation,
            model=self._row.model,
            truncated=any(term.truncated for term in terms),
            embed_ms=1000 * (embedded - started),
            search_ms=1000 * (ended - embedded),
            total_ms=1000 * (ended - started),
        )

    def _targets(self, request: SearchRequest) -> dict[Modality, float]:
        asked = self._row.settings.modality_weights if request.target is None else request.target
        return {modality: weight for modality, weight in asked.items() if weight > 0 and self._indexes[modality].count}

    def _matches(self, request: SearchRequest) -> Matches | None:
        """The items that match the filter, and what else is asked of the metadata; None where nothing is."""
        if request.filter is None and not request.facets and request.group_by is None:
            return None
        return self._columns.select(request.filter or All(()), request.facets, request.group_by)

    def _rank(
        self,
        terms: Sequence[EmbeddedTerm],
        targets: Mapping[Modality, float],
        request: SearchRequest,
        found: Matches | None,
        wanted: int,
    ) -> Ranking:
        def rank_items(items: ItemSet | None, wanted: int) -> Ranking:
            searched = {modality: self._indexes[modality].select(items) for modality in targets}
            return rank(terms, targets, self._indexes, searched, wanted)

        if found is None:
            return rank_items(None, wanted)
        if found.groups is None:
            return rank_items(found.items, wanted)
        return rank_groups(rank_items, found.items, found.groups, request.group_size, wanted)

    def _searchable(self, ranking: Ranking, terms: Sequence[EmbeddedTerm], found: Matches | None) -> int:
        """Items that could be hits: matching ones with a vector of a target modality, less the items of the query."""
        items = found.items if found else None
        own = np.unique([term.item_pk for term in terms if term.item_pk is not None]).astype(np.int64)
        own = own if items is None else own[items.holds(own)]
        if len(ranking.searched) == len(MODALITIES):
            return (self._catalogue.count_items(self._row.pk) if items is None else len(items)) - len(own)
        own_vectors = self._catalogue.item_vectors(self._row.generation_pk, own.tolist())
        return sum(
            live - sum(modality in vectors for vectors in own_vectors.values())
            for modality, live in ranking.searched.items()
        )

    def _hydrate(self, page: Sequence[tuple[int, float]], ranking: Ranking, request: SearchRequest) -> list[Hit]:
        pks = [pk for pk, _ in page]
        stored = self._catalogue.items_by_pk(pks)
        vectors = self._catalogue.item_vectors(self._row.generation_pk, pks)
        return [
            Hit(
                id=stored[pk].item.id,
                score=score,
                scores=ranking.cosines(vectors[pk]),
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
