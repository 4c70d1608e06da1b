"""Explanations: what they say adds up to the score, and is what the oracle's formula says."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.search import lexical, query
from indexer.search.filters import parse_filter
from indexer.types import DEFAULT_WEIGHTS, Fusion, Hit, Mode, NewItem, SearchRequest, SearchResult, Signal, Term
from tests.fakes import FakeEncoder

RNG = np.random.default_rng(8)
WEIGHTS = st.sampled_from([-1.0, -0.3, 0.4, 1.0, 2.0])
VECTORS = st.lists(st.tuples(st.integers(0, 9), WEIGHTS), min_size=1, max_size=4)
TEXTS = st.lists(st.tuples(st.sampled_from(["red", "blue thing", "xyz"]), WEIGHTS), max_size=3)
TARGETS = st.sampled_from([None, {"image": 1.0}, {"text": 0.5}, {"image": 0.2, "text": 1.0}])
COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Some items lack a picture, some a text's vector, some the text."""
    encoder = FakeEncoder()
    with Collections(tmp_path_factory.mktemp("data"), lambda _: encoder) as collections:
        new = []
        for n in range(60):
            own = {m: list(RNG.normal(size=16) + 0.4) for m in ("image", "text") if n % (3 if m == "image" else 4)}
            text = f"{COLOURS[n % 3]} {'thing ' * (n % 5)}" if "text" in own and n % 7 else None
            if own:
                given = NewItem(f"i{n}", text=text, vectors=own, fingerprint=encoder.fingerprint, metadata={"n": n})
                new.append(given)
        collections.get("default").upsert(new)
        yield collections.get("default")


def search(collection: Collection, *terms: Term, **options: Any) -> SearchResult:
    return collection.search(SearchRequest(terms, explain=True, **{"limit": 100} | options))


def vector(seed: int) -> list[float]:
    return list(np.random.default_rng(seed).normal(size=16))


def check(hit: Hit, fusion: Fusion, weights: Mapping[Signal, float]) -> None:
    """What is told of a hit adds up, over its signals and, unless ranks are fused, over the terms."""
    told = hit.explanation
    assert told is not None
    assert told.base + sum(part.contribution for part in told.signals.values()) == pytest.approx(hit.score, abs=1e-5)
    assert {name: part.score for name, part in told.signals.items()} == {s: hit.scores[s] for s in told.signals}
    total = sum(weights[name] for name in told.signals)
    assert {name: part.share * total for name, part in told.signals.items()} == pytest.approx(
        {name: weights[name] for name in told.signals}
    )
    if fusion == "weighted":
        parts = [term.contribution for term in told.terms if term.contribution is not None]
        assert len(parts) == len(told.terms)
        assert told.base + sum(parts) == pytest.approx(hit.score, abs=1e-5)
    else:
        assert told.base == 0
        assert {term.contribution for term in told.terms} == {None}
        for part in told.signals.values():
            assert part.contribution == pytest.approx(part.share / (60 + part.rank) if part.rank else 0)
    for name in told.signals.keys() - {"lexical"}:
        cosines = sum(term.share * term.scores[name] for term in told.terms)
        assert cosines == pytest.approx(hit.scores[name], abs=1e-5)


@given(terms=VECTORS, texts=TEXTS, target=TARGETS, mode=st.sampled_from(["vector", "hybrid"]), fusion=...)
def test_contributions_add_up_to_the_score(
    stocked: Collection,
    terms: list[tuple[int, float]],
    texts: list[tuple[str, float]],
    target: Any,
    mode: Mode,
    fusion: Fusion,
) -> None:
    asked = [Term(weight, vector=vector(seed)) for seed, weight in terms]
    asked += [Term(weight, text) for text, weight in texts]
    asked.append(Term(0.7, item="i5"))
    weights = {"lexical": lexical.WEIGHTS[fusion]} | dict(target or DEFAULT_WEIGHTS)

    result = search(stocked, *asked, target=target, mode=mode, fusion=fusion)

    assert result.hits
    for hit in result.hits:
        check(hit, fusion, weights)
    told = [(hit.scores.get("lexical", 0), hit.explanation) for hit in result.hits]
    assert all("lexical" in explanation.signals for bm25, explanation in told if explanation and bm25 > 0)


@given(texts=TEXTS, fusion=...)
def test_of_words_alone_the_score_is_bm25(stocked: Collection, texts: list[tuple[str, float]], fusion: Fusion) -> None:
    assume(any(weight > 0 for _, weight in texts))

    result = search(stocked, *[Term(weight, text) for text, weight in texts], mode="lexical", fusion=fusion)

    for hit in result.hits:
        check(hit, "weighted", {"lexical": 1.0})
        assert hit.explanation is not None
        assert hit.explanation.base == 0
        assert hit.scores == {"lexical": pytest.approx(hit.score)}
        for term, (text, _) in zip(hit.explanation.terms, texts, strict=True):
            assert (term.scores["lexical"] > 0) == bool(set(text.split()) & set((hit.item.text or "").split()))


def test_ranks_are_those_of_the_searches_by_one_signal(stocked: Collection) -> None:
    terms = (Term(text="red thing"), Term(-0.4, "blue"))
    orders = {
        signal: [hit.id for hit in search(stocked, *terms, target={signal: 1.0}).hits] for signal in ("image", "text")
    }
    orders["lexical"] = [hit.id for hit in search(stocked, *terms, mode="lexical").hits]

    for hit in search(stocked, *terms, mode="hybrid", fusion="rrf").hits:
        assert hit.explanation is not None
        ranks = {signal: part.rank for signal, part in hit.explanation.signals.items()}
        assert ranks == {
            signal: orders[signal].index(hit.id) + 1 if hit.id in orders[signal] else None for signal in hit.scores
        }


def test_the_plan_tells_what_was_searched(stocked: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    every = search(stocked, Term(vector=vector(1)))
    some = search(stocked, Term(vector=vector(1)), filter=parse_filter({"n": {"$lt": 8}}))
    monkeypatch.setattr(query, "MIN_CANDIDATES", 1)
    deep = [search(stocked, Term(vector=vector(seed)), limit=1).plan for seed in range(10)]

    assert every.plan == ({"image": 40, "text": 45}, None, 1, 55)
    assert some.plan == ({"image": 5, "text": 6}, 7, 1, 7)
    assert max(plan.rounds for plan in deep) > 1
    assert all(plan.candidates > plan.rounds for plan in deep)


def test_nothing_is_explained_unasked(stocked: Collection) -> None:
    assert stocked.search(SearchRequest((Term(text="red"),))).hits[0].explanation is None
