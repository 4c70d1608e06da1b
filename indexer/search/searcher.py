"""`Searcher`: from requests to pages of hits."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from indexer.errors import IndexerError, QueryInvalid
from indexer.index.asked import Asked
from indexer.index.vector_index import VectorIndex
from indexer.search.columns import Columns, Matches
from indexer.search.diversity import diversify
from indexer.search.embedding import Embedded, EmbeddedTerm, check_terms, embed_queries
from indexer.search.explanation import explain
from indexer.search.filters import All, Filter, matches
from indexer.search.lexical import WEIGHTS, check_texts, score_texts
from indexer.search.limits import GroupSize, Limit, NearDuplicates, rank_limited
from indexer.search.query import Effort, compose_terms
from indexer.search.ranking import Question, Ranking, searches_all
from indexer.search.reciprocal import Ranks
from indexer.search.sources import First
from indexer.search.together import search_together
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.types import (
    MODALITIES,
    FoundItem,
    Hit,
    Item,
    Modality,
    Plan,
    SearchOutcome,
    SearchRequest,
    SearchResult,
    Signal,
    Took,
)
from models.encoder import Encoder
from models.errors import ModelError
from models.imaging import ImageLimits

SHORT_HITS, SHORT_TERMS, SHORT_CHARACTERS = 100, 4, 1000
"""Of a page that is read at once, and of a query that is embedded in a moment."""


class Page(NamedTuple):
    """What was found for one request, before it is read from the catalogue."""

    question: Question
    found: Matches | None
    ranks: Ranks
    plan: Plan
    total: int
    shown: Sequence[tuple[int, float]]
    """Primary key and score of each hit."""

    @property
    def needs_vectors(self) -> bool:
        """Whether anything is told of the hits' vectors that the search did not find out."""
        return self.question.request.include_vectors or not self.question.lone


class Searcher:
    """The read path of one collection: embed, filter, search, fuse, hydrate. Thread-safe, as its parts are."""

    def __init__(
        self,
        row: CollectionRow,
        catalogue: Catalogue,
        indexes: Mapping[Modality, VectorIndex],
        columns: Columns,
        count_items: Callable[[], int],
        asked: Asked,
        encoder: Encoder,
        limits: ImageLimits,
    ) -> None:
        self._row, self._catalogue, self._indexes, self._columns = row, catalogue, indexes, columns
        self._texts = catalogue.texts(row.pk)
        self._count_items, self._asked = count_items, asked
        self._encoder, self._image_limits = encoder, limits

    def search(self, request: SearchRequest) -> SearchResult:
        """See `indexer.collection.Collection.search`."""
        [outcome] = self.search_batch([request])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def is_quick(self, request: SearchRequest) -> bool:
        """Whether a search takes about as long as handing it to a thread would, and waits for no other thread.

        That is a short one for one vector in one modality.
        """
        alone = len(request.terms) == 1 and request.terms[0].vector is not None
        if not alone or not is_short(request):
            return False
        return all(index.is_quick for index in self._indexes.values()) and self._aims_at_one(request)

    def _aims_at_one(self, request: SearchRequest) -> bool:
        """Whether the vectors of one modality are searched."""
        target = request.target or self._row.settings.modality_weights
        return sum(target.get(modality, 0) > 0 and index.count > 0 for modality, index in self._indexes.items()) == 1

    def search_batch(self, requests: Sequence[SearchRequest]) -> list[SearchOutcome]:
        """See `indexer.collection.Collection.search_batch`."""
        started = time.perf_counter()
        embedded = self._embed(requests)
        ready = time.perf_counter()
        asked = [self._ask(request, terms) for request, terms in zip(requests, embedded, strict=True)]
        firsts = iter(search_together([one for one in asked if isinstance(one, Question)], self._indexes))
        pages = [self._find(one, next(firsts)) if isinstance(one, Question) else one for one in asked]
        searched = time.perf_counter()
        hits = iter(self._hydrate([page for page in pages if isinstance(page, Page)]))
        ended = time.perf_counter()
        parts = (ready - started, searched - ready, ended - searched, ended - started)
        took = Took(*(1000 * seconds for seconds in parts))
        return [self._result(page, next(hits), took) if isinstance(page, Page) else page for page in pages]

    def _embed(self, requests: Sequence[SearchRequest]) -> list[Embedded]:
        """The terms of each; of those that look for words only none."""
        queries = [request.terms for request in requests if request.mode != "lexical"]
        embedded = iter(embed_queries(queries, self._encoder, self._image_limits, self._catalogue, self._row))
        return [[] if request.mode == "lexical" else next(embedded) for request in requests]

    def _ask(self, request: SearchRequest, terms: Embedded) -> Question | IndexerError | ModelError:
        """What a request asks for, or why it cannot be asked."""
        if isinstance(terms, Exception):
            return terms
        self._note(request, terms)
        try:
            return self._question(request, terms)
        except IndexerError as error:
            return error

    def _note(self, request: SearchRequest, terms: Sequence[EmbeddedTerm]) -> None:
        """Indexes are tuned by what people look for: texts and pictures, whose vectors no item has."""
        for term, embedded in zip(request.terms, terms, strict=False):  # words alone have no vectors
            if term.text is not None or term.image is not None:
                self._asked.note(next(iter(embedded.embeddings.values())))

    def _find(self, question: Question, first: Mapping[Modality, First]) -> Page | IndexerError:
        """The page that was asked for, or why there is none."""
        try:
            return self._page(question, first)
        except IndexerError as error:
            return error

    def _question(self, request: SearchRequest, terms: Sequence[EmbeddedTerm]) -> Question:
        if request.mode == "lexical":
            check_terms(request.terms)
            check_texts(request.terms)
        weights = self._weights(request)
        targets = [modality for modality in MODALITIES if weights.get(modality, 0) > 0] if terms else []
        indexes = {modality: self._indexes[modality] for modality in targets if self._indexes[modality].count}
        lexical = None if request.mode == "vector" else score_texts(request.terms, self._texts)
        lone = len(terms) == len(indexes) == 1 and lexical is None and request.fusion == "weighted"
        lone = lone and not request.explain
        composed = compose_terms(terms, indexes, standardised=not lone)
        return Question(request, terms, composed, lexical, weights, lone=lone)

    def _weights(self, request: SearchRequest) -> dict[Signal, float]:
        asked: dict[Signal, float] = dict(request.target or {})
        if request.mode != "hybrid" and "lexical" in asked:
            raise QueryInvalid("words count in mode hybrid only", "/target/lexical")
        if asked.keys().isdisjoint(MODALITIES):
            asked.update(self._row.settings.modality_weights.items())
        asked.setdefault("lexical", WEIGHTS[request.fusion])
        return asked

    def _page(self, question: Question, first: Mapping[Modality, First]) -> Page:
        request, found, effort = question.request, self._matches(question), Effort()
        end = request.offset + request.limit
        ranking = question.ranking(self._indexes, found.items if found else None, effort, first)
        candidates = self._rank(ranking, request, found, question.wanted)
        if request.min_score is not None:
            candidates = [pair for pair in candidates if pair[1] >= request.min_score]
        if request.diversity:
            candidates = diversify(candidates, self._likeness(question), request.diversity, end)
        plan = Plan(effort.vectors, len(found.items) if found else None, effort.rounds, effort.candidates)
        total = self._searchable(question, found, effort)
        return Page(question, found, ranking.ranks, plan, total, candidates[request.offset : end])

    def _result(self, page: Page, hits: list[Hit], took: Took) -> SearchResult:
        return SearchResult(
            hits=hits,
            total=page.total,
            facets=page.found.facets if page.found else {},
            generation=self._row.generation,
            model=self._row.model,
            truncated=any(term.truncated for term in page.question.terms),
            plan=page.plan,
            took=took,
        )

    def _matches(self, question: Question) -> Matches | None:
        """The items that match the filter, and what else is asked of the metadata; None where nothing is."""
        request = question.request
        if question.searches_all:
            return None
        return self._columns.select(request.filter or All(()), request.facets, request.group_by)

    def _rank(
        self, ranking: Ranking, request: SearchRequest, found: Matches | None, wanted: int
    ) -> list[tuple[int, float]]:
        if found is None:
            return ranking.rank_items(None, wanted)
        limits = list(self._limits(request, found))
        if not limits:
            return ranking.rank_items(found.items, wanted)
        return rank_limited(ranking.rank_items, found.items, limits, wanted)

    def _limits(self, request: SearchRequest, found: Matches) -> Iterator[Limit]:
        if found.groups is not None:
            yield GroupSize(found.items, found.groups, request.group_size)
        if request.collapse_duplicates is not None:
            yield NearDuplicates(self._indexes["image"], request.collapse_duplicates)

    def _likeness(self, question: Question) -> list[VectorIndex]:
        """Of the target modalities, that which counts most first; words alone have them too."""
        weights = {modality: question.weights.get(modality, 0) for modality in MODALITIES}
        return [self._indexes[m] for m in sorted(MODALITIES, key=lambda m: -weights[m]) if weights[m] > 0]

    def _searchable(self, question: Question, found: Matches | None, effort: Effort) -> int:
        """Items that could be hits: matching ones that a target or the words speak for, less those of the query."""
        items = found.items if found else None
        own = question.own if items is None else question.own[items.holds(question.own)]
        if len(question.composed) == len(MODALITIES):
            return (self._count_items() if items is None else len(items)) - len(own)
        if question.composed and not len(own) and question.words is None:
            return effort.vectors[next(iter(question.composed))]
        words = np.empty(0, dtype=np.int64) if question.words is None else question.words.best(items).items
        words = np.setdiff1d(words, own)
        if not question.composed:
            return len(words)
        [(modality, query)] = question.composed.items()
        own_vectors, without = (
            np.isnan(self._indexes[modality].similarities(query.vector, pks)) for pks in (own, words)
        )
        return int(effort.vectors[modality] - np.count_nonzero(~own_vectors) + np.count_nonzero(without))

    def _hydrate(self, pages: Sequence[Page]) -> list[list[Hit]]:
        """The hits of each page; those of all pages are read together."""
        pks = list({pk: None for page in pages for pk, _ in page.shown})
        with_vectors = any(page.needs_vectors for page in pages)
        found = self._catalogue.found(self._row.generation_pk, pks, with_vectors=with_vectors)
        return [_hits(page, found) for page in pages]


def is_short(request: SearchRequest) -> bool:
    """Whether a search takes as long as most do: of short texts, items and vectors, few hits, nothing else asked."""
    plain = request.mode == "vector" and searches_all(request) and request.fusion == "weighted"
    plain = plain and not (request.explain or request.diversity)
    few = request.offset + request.limit <= SHORT_HITS and len(request.terms) <= SHORT_TERMS
    characters = sum(len(term.text or "") for term in request.terms)
    return plain and few and characters <= SHORT_CHARACTERS and all(term.image is None for term in request.terms)


def _hits(page: Page, found: Mapping[int, FoundItem]) -> list[Hit]:
    """Those of a page that are there still, as they were when it was searched."""
    question, filter_ = page.question, page.question.request.filter
    shown = [(found[pk], score) for pk, score in page.shown if pk in found]
    if filter_ is not None:
        shown = [(item, score) for item, score in shown if fits(item, filter_)]
    if not question.lone:
        return [_hit(page, score, item) for item, score in shown]
    [modality], with_vectors = question.composed, question.request.include_vectors
    return [
        Hit(item.id, score, {modality: score}, item, item.vectors if with_vectors else None) for item, score in shown
    ]


def _hit(page: Page, score: float, item: FoundItem) -> Hit:
    question, request = page.question, page.question.request
    vectors = item.vectors
    scores = question.scores(item.pk, item, vectors)
    explanation = explain(question, page.ranks, item.pk, scores, vectors) if request.explain else None
    return Hit(item.id, score, scores, item, vectors if request.include_vectors else None, explanation)


def fits(item: Item | FoundItem, filter_: Filter | None) -> bool:
    """Whether an item as it is now matches; all do where there is no filter."""
    return filter_ is None or matches(filter_, item.metadata)
