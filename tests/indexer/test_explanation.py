"""Explanations: what they say adds up to the score, and is what the oracle's formula says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.search import query
from indexer.search.filters import parse_filter
from indexer.types import DEFAULT_WEIGHTS, NewItem, SearchRequest, SearchResult, Term
from tests.fakes import FakeEncoder

RNG = np.random.default_rng(8)
WEIGHTS = st.sampled_from([-1.0, -0.3, 0.4, 1.0, 2.0])


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Some items lack a picture, some a text."""
    encoder = FakeEncoder()
    with Collections(tmp_path_factory.mktemp("data"), lambda _: encoder) as collections:
        new = []
        for n in range(60):
            own = {m: list(RNG.normal(size=16) + 0.4) for m in ("image", "text") if n % (3 if m == "image" else 4)}
            if own:
                new.append(NewItem(f"i{n}", vectors=own, fingerprint=encoder.fingerprint, metadata={"n": n}))
        collections.get("default").upsert(new)
        yield collections.get("default")


def search(collection: Collection, *terms: Term, **options: Any) -> SearchResult:
    return collection.search(SearchRequest(terms, explain=True, **{"limit": 100} | options))


def vector(seed: int) -> list[float]:
    return list(np.random.default_rng(seed).normal(size=16))


@settings(deadline=None)
@given(
    terms=st.lists(st.tuples(st.integers(0, 9), WEIGHTS), min_size=1, max_size=4),
    target=st.sampled_from([None, {"image": 1.0}, {"text": 0.5}, {"image": 0.2, "text": 1.0}]),
)
def test_contributions_add_up_to_the_score(stocked: Collection, terms: list[tuple[int, float]], target: Any) -> None:
    asked = [Term(weight, vector=vector(seed)) for seed, weight in terms]
    asked.append(Term(0.7, item="i5"))
    weights = target or DEFAULT_WEIGHTS

    result = search(stocked, *asked, target=target)

    assert result.hits
    for hit in result.hits:
        told = hit.explanation
        assert told is not None
        assert told.base + sum(part.contribution for part in told.signals.values()) == pytest.approx(
            hit.score, abs=1e-5
        )
        assert told.base + sum(term.contribution for term in told.terms) == pytest.approx(hit.score, abs=1e-5)
        assert {name: part.score for name, part in told.signals.items()} == hit.scores
        own = sum(weights[name] for name in told.signals)
        assert {name: part.share * own for name, part in told.signals.items()} == pytest.approx(
            {name: weights[name] for name in told.signals}
        )
        for name, cosine in hit.scores.items():
            assert sum(term.share * term.cosines[name] for term in told.terms) == pytest.approx(cosine, abs=1e-5)


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
