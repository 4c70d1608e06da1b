"""Everything that a search can ask for at once, in every mode: against plain Python, and in one batch."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from types import SimpleNamespace as Namespace
from typing import Any

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.errors import QueryInvalid
from indexer.search import diversity, limits, query, searcher
from indexer.search.filters import parse_filter
from indexer.stores.catalogue import Catalogue
from indexer.types import Hit, NewItem, SearchOutcome, SearchRequest, SearchResult, Term
from tests.fakes import FakeEncoder
from tests.indexer.test_diversity import greedy
from tests.indexer.test_limits import walk

COLOURS = ("red", "green", "blue")
MODES = [("vector", "weighted"), ("vector", "rrf"), ("hybrid", "weighted"), ("hybrid", "rrf"), ("lexical", "weighted")]


@pytest.fixture(autouse=True)
def _few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that a search must ask for more of them to be exact."""
    monkeypatch.setattr(query, "MIN_CANDIDATES", 2)
    monkeypatch.setattr(limits, "MIN_CANDIDATES", 4)


@pytest.fixture
def stocked(collection: Collection) -> Collection:
    """Texts in a few colours, pictures around a few centres, several of them nearly equal; some items lack either."""
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(8, 16))
    collection.upsert(
        [
            NewItem(
                f"{n:02d}",
                text=f"{COLOURS[n % 3]} {'thing ' * (n % 5)}" if n % 4 else None,
                vectors={"image": list(centres[n % 8] + 0.04 * rng.normal(size=16))} if n % 7 else None,
                fingerprint=collection.encoder.fingerprint if n % 7 else None,
                metadata={"half": n % 2, "group": n % 6},
            )
            for n in range(90)
            if n % 4 or n % 7
        ]
    )
    return collection


def ask(mode: Any, fusion: Any, **options: Any) -> SearchRequest:
    terms = (Term(text="red thing"), Term(-0.5, "blue"), *([] if mode == "lexical" else [Term(item="05")]))
    return SearchRequest(terms, mode=mode, fusion=fusion, include_vectors=True, limit=1000, **options)


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def answered(outcome: SearchOutcome) -> SearchResult:
    assert isinstance(outcome, SearchResult)
    return outcome


@pytest.mark.parametrize(("mode", "fusion"), MODES)
def test_filter_groups_duplicates_the_least_score_and_diversity_together(
    stocked: Collection, mode: Any, fusion: Any
) -> None:
    request = ask(mode, fusion, filter=parse_filter({"half": 1}), facets=("group",))
    every = stocked.search(request)
    limited = replace(request, group_by="group", group_size=6, collapse_duplicates=0.97)
    kept = walk(every.hits, 0.97, group_size=6)
    hits = [hit for hit in every.hits if hit.id in kept]
    floor = hits[-2].score

    found = stocked.search(replace(limited, min_score=floor, diversity=0.4))

    assert 4 < len(kept) < len(every.hits)
    assert ids(stocked.search(limited).hits) == kept
    assert ids(found.hits) == greedy([hit for hit in hits if hit.score >= floor], 0.4, ("image", "text"))
    assert ids(found.hits) != kept[: len(found.hits)]
    assert (found.total, found.facets) == (every.total, every.facets)
    assert every.total == len(every.hits)


@pytest.mark.parametrize(("mode", "fusion"), MODES)
def test_pages_of_a_diverse_order_are_parts_of_it(
    stocked: Collection, mode: Any, fusion: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diversity, "POOL", 10)
    request = ask(mode, fusion, diversity=0.5, group_by="group", group_size=9, collapse_duplicates=0.99)
    whole = ids(stocked.search(request).hits)

    pages = [stocked.search(replace(request, limit=7, offset=offset)).hits for offset in range(0, len(whole) + 7, 7)]

    assert [hit.id for page in pages for hit in page] == whole
    assert len(whole) > 10


def test_a_batch_answers_each_search_as_alone(stocked: Collection, encoder: FakeEncoder) -> None:
    plain = [ask(mode, fusion, explain=True) for mode, fusion in MODES]
    full = [replace(request, diversity=0.3, group_by="group", collapse_duplicates=0.97) for request in plain]
    bad = [
        SearchRequest((Term(item="05"),), mode="lexical"),
        SearchRequest((), mode="lexical"),
        SearchRequest((Term(text="red"),), target={"lexical": 1.0}),
    ]
    requests = [request for some in zip_longest(plain, bad, full) for request in some if request]
    alone = {number: stocked.search(request) for number, request in enumerate(requests) if request not in bad}
    encoded = encoder.encoded_texts

    outcomes = stocked.search_batch(requests)

    # Two texts of each search; of those by words alone none, and one of the search whose target is refused.
    assert encoder.encoded_texts - encoded == 2 * 8 + 1
    for number, outcome in enumerate(outcomes):
        if number in alone:
            found, expected = answered(outcome), alone[number]
            assert [(hit.id, hit.score, hit.scores, hit.explanation) for hit in found.hits] == [
                (hit.id, hit.score, hit.scores, hit.explanation) for hit in expected.hits
            ]
            assert (found.total, found.plan) == (expected.total, expected.plan)
        else:
            assert isinstance(outcome, QueryInvalid)


def test_a_batch_of_words_calls_no_encoder(stocked: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("encode_texts", "encode_pixels"):
        monkeypatch.delattr(FakeEncoder, name)

    outcomes = stocked.search_batch([ask("lexical", "weighted", explain=True)] * 3)

    assert all(answered(outcome).hits for outcome in outcomes)


def test_the_time_that_a_search_took_is_that_of_reading_its_hits_too(
    stocked: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    found = Catalogue.found
    monkeypatch.setattr(Catalogue, "found", lambda *a, **options: (events.append("read"), found(*a, **options))[1])
    monkeypatch.setattr(searcher, "time", Namespace(perf_counter=lambda: (events.append("clock"), 0.0)[1]))

    stocked.search(ask("hybrid", "weighted"))

    assert events == ["clock", "clock", "clock", "read", "clock"]


@pytest.mark.parametrize("target", [{"image": 1.0, "lexical": 0.0}, {"text": 1.0}])
def test_words_that_do_not_count_find_nothing(stocked: Collection, target: Any) -> None:
    result = stocked.search(ask("hybrid", "weighted", target=target))

    assert result.total == len(result.hits)


def test_the_plan_counts_what_words_found(stocked: Collection) -> None:
    filter_ = parse_filter({"half": 1})
    by_words, by_ranks = (stocked.search(ask(*mode, filter=filter_)) for mode in (MODES[4], MODES[3]))

    assert by_words.plan.vectors == {}
    assert by_words.plan.candidates >= len(by_words.hits) > 0
    assert by_ranks.plan.rounds == 1
    assert by_ranks.plan.candidates == len(by_ranks.hits)
    assert by_ranks.plan.matches == by_words.plan.matches
