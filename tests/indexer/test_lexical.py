"""Lexical and hybrid searches against plain Python, from the scores that the sources give for every item."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.errors import QueryInvalid
from indexer.search import lexical, query, reciprocal
from indexer.search.embedding import EmbeddedTerm, embed_terms
from indexer.search.filters import parse_filter
from indexer.types import Hit, NewItem, SearchRequest, Signal, Term
from tests.fakes import FakeEncoder

WEIGHTS: Mapping[Signal, float] = {"image": 1.0, "text": 0.3, "lexical": lexical.WEIGHTS["weighted"]}
RRF_WEIGHTS: Mapping[Signal, float] = {**WEIGHTS, "lexical": lexical.WEIGHTS["rrf"]}
COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture
def stocked(collection: Collection) -> Collection:
    """A third of the items with picture and text, a third with either, in random words and at random places."""
    rng = random.Random(0)
    vectors = np.random.default_rng(0).normal(size=(60, collection.encoder.dimension)).tolist()
    collection.upsert(
        [
            NewItem(
                f"{n:02d}",
                text=f"{rng.choice(COLOURS)} {rng.choice(COLOURS)} {'thing ' * rng.randrange(4)}" if n % 3 else None,
                vectors={"image": vector} if n % 3 < 2 else None,
                fingerprint=collection.encoder.fingerprint if n % 3 < 2 else None,
                metadata={"half": n % 2, "group": n % 5},
            )
            for n, vector in enumerate(vectors)
        ]
    )
    return collection


@pytest.fixture(autouse=True)
def _few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that a search must ask for more of them to be exact."""
    monkeypatch.setattr(query, "MIN_CANDIDATES", 1)


def hits_of(collection: Collection, request: SearchRequest) -> list[Hit]:
    return collection.search(replace(request, limit=1000)).hits


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def ask(text: str = "red", **options: Any) -> SearchRequest:
    return SearchRequest((Term(text=text),), **options)


def parts_of(collection: Collection, terms: tuple[Term, ...]) -> dict[Signal, dict[str, float]]:
    """What each signal by itself says of each item."""
    parts: dict[Signal, dict[str, float]] = {}
    for modality in ("image", "text"):
        found = hits_of(collection, SearchRequest(terms, target={modality: 1.0}))
        parts[modality] = {hit.id: hit.scores[modality] for hit in found}
    own = {item.id for item in collection.items(1000)[0] if item.text is not None}
    words = [(term.weight, term.text) for term in terms if term.text is not None]
    lexical_scores = dict.fromkeys(own, 0.0)
    for weight, text in words:
        for hit in hits_of(collection, ask(text, mode="lexical")):
            lexical_scores[hit.id] += weight * hit.score / sum(abs(weight) for weight, _ in words)
    parts["lexical"] = lexical_scores
    return parts


def embed(collection: Collection, terms: tuple[Term, ...]) -> list[EmbeddedTerm]:
    return embed_terms(terms, collection.encoder, collection.limits, collection._catalogue, collection._row)


def ranked(scores: Mapping[str, float]) -> list[str]:
    return sorted(scores, key=lambda id_: (-round(scores[id_], 9), id_))


def test_lexical_hits_are_those_with_the_words_by_bm25_and_no_encoder_is_asked(
    stocked: Collection, encoder: FakeEncoder
) -> None:
    encoded = encoder.encoded_texts
    result = stocked.search(ask("red thing", mode="lexical", limit=1000))

    assert encoder.encoded_texts == encoded
    texts = {item.id: item.text.split() for item in stocked.items(1000)[0] if item.text}
    assert set(ids(result.hits)) == {id_ for id_, words in texts.items() if {"red", "thing"} & set(words)}
    assert result.total == len(result.hits)
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
    assert all(hit.scores == {"lexical": pytest.approx(hit.score)} and hit.score > 0 for hit in result.hits)

    mean = np.mean([len(words) for words in texts.values()])

    def bm25(words: list[str]) -> float:
        score = 0.0
        for word in ("red", "thing"):
            owners, count = sum(word in other for other in texts.values()), words.count(word)
            idf = max(np.log((len(texts) - owners + 0.5) / (owners + 0.5)), 1e-6)
            score += idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(words) / mean))
        return float(score)

    assert {hit.id: hit.score for hit in result.hits} == pytest.approx(
        {id_: bm25(texts[id_]) for id_ in ids(result.hits)}
    )


def test_weights_count_and_negative_texts_push_away(stocked: Collection) -> None:
    red, green = (parts_of(stocked, (Term(text=text),))["lexical"] for text in ("red", "green"))
    found = hits_of(stocked, SearchRequest((Term(3, "red"), Term(-2, "green")), mode="lexical"))

    expected = {id_: (3 * score - 2 * green[id_]) / 5 for id_, score in red.items()}
    assert {hit.id: hit.score for hit in found} == pytest.approx({i: s for i, s in expected.items() if s > 0})
    assert any(score < 0 < red[id_] for id_, score in expected.items())


@pytest.mark.parametrize(
    ("terms", "pointer"),
    [
        ((Term(item="01"),), "/mode"),
        ((Term(text="red"), Term(vector=[1.0] * 16)), "/mode"),
        ((Term(-1, "red"),), "/mode"),
        ((), "/query"),
        ((Term(text=" "),), "/query/text"),
    ],
)
def test_a_lexical_search_needs_words_to_look_for(stocked: Collection, terms: tuple[Term, ...], pointer: str) -> None:
    with pytest.raises(QueryInvalid) as caught:
        stocked.search(SearchRequest(terms, mode="lexical"))
    assert caught.value.pointer == pointer


QUERIES = [
    (Term(text="red thing"),),
    (Term(text="red"), Term(-0.5, "green")),
    (Term(text="blue"), Term(item="07")),
    (Term(item="07"),),
    (Term(text="unheard of"),),
]
ALL: list[SearchRequest] = [
    SearchRequest(terms, mode=mode, fusion=fusion, filter=parse_filter(filter_) if filter_ else None)
    for terms in QUERIES
    for mode, fusion in (("hybrid", "weighted"), ("hybrid", "rrf"), ("vector", "rrf"))
    for filter_ in (None, {"half": 1})
] + [ask("red thing", mode="lexical"), ask("red thing", mode="lexical", filter=parse_filter({"half": 1}))]


@pytest.mark.parametrize("terms", QUERIES, ids=range(len(QUERIES)))
def test_hybrid_is_the_mean_of_the_standardised_scores_that_an_item_has(
    stocked: Collection, terms: tuple[Term, ...]
) -> None:
    parts = parts_of(stocked, terms)
    question = stocked.generations.active.searcher._question(SearchRequest(terms), embed(stocked, terms))
    # Of one modality the score is the mean plus the spread times the standardised score.
    z: dict[Signal, dict[str, float]] = {}
    for modality, composed in question.composed.items():
        found = hits_of(stocked, SearchRequest(terms, target={modality: 1.0}))
        z[modality] = {hit.id: (hit.score - composed.spread.mean) / composed.spread.std for hit in found}
    primary = question.composed["image"].spread
    matching = [id_ for id_, score in parts["lexical"].items() if score > 0]
    if matching:
        best = max(max(parts["lexical"].values()), lexical.MIN_TOP)
        z["lexical"] = {id_: lexical.TOP * score / best for id_, score in parts["lexical"].items()}
    expected = {}
    for id_ in (z["image"].keys() | z["text"].keys()) - {term.item for term in terms}:
        own = {signal: values[id_] for signal, values in z.items() if id_ in values}
        total = sum(WEIGHTS[signal] for signal in own)
        expected[id_] = primary.mean + primary.std * sum(WEIGHTS[s] * value for s, value in own.items()) / total

    found = hits_of(stocked, SearchRequest(terms, mode="hybrid"))

    assert {hit.id: hit.score for hit in found} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("mode", ["hybrid", "vector"])
@pytest.mark.parametrize("terms", QUERIES[:1], ids=["text"])
def test_reciprocal_ranks_are_those_of_plain_python(stocked: Collection, terms: tuple[Term, ...], mode: Any) -> None:
    parts = parts_of(stocked, terms)
    if mode == "vector":
        del parts["lexical"]
    scores: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for signal, values in parts.items():
        for rank, id_ in enumerate(ranked(values), 1):
            scores[id_] += RRF_WEIGHTS[signal] / (60 + rank) if signal != "lexical" or values[id_] > 0 else 0
            totals[id_] += RRF_WEIGHTS[signal]  # type: ignore[assignment]
    expected = {id_: scores[id_] / totals[id_] for id_ in totals}

    found = hits_of(stocked, SearchRequest(terms, mode=mode, fusion="rrf"))

    assert {hit.id: hit.score for hit in found} == pytest.approx(expected)
    assert ids(found) == ranked(expected)


@pytest.mark.parametrize("request_", ALL, ids=range(len(ALL)))
def test_pages_are_parts_of_one_order_that_counts_all(stocked: Collection, request_: SearchRequest) -> None:
    whole = stocked.search(replace(request_, limit=1000))
    paged = [
        hit.id for offset in range(0, 70, 7) for hit in stocked.search(replace(request_, limit=7, offset=offset)).hits
    ]

    assert paged == ids(whole.hits)
    assert whole.total == len(whole.hits)
    if request_.filter:
        assert {hit.item.metadata["half"] for hit in whole.hits} <= {1}


@pytest.mark.parametrize("request_", ALL, ids=range(len(ALL)))
def test_groups_are_cut_from_the_same_order(stocked: Collection, request_: SearchRequest) -> None:
    expected, seen = [], Counter[int]()
    for hit in hits_of(stocked, request_):
        seen[hit.item.metadata["group"]] += 1
        if seen[hit.item.metadata["group"]] <= 2:
            expected.append(hit.id)

    assert ids(hits_of(stocked, replace(request_, group_by="group", group_size=2))) == expected


@pytest.mark.parametrize("fusion", ["weighted", "rrf"])
def test_only_items_with_a_text_have_a_lexical_score(stocked: Collection, fusion: Any) -> None:
    for hit in hits_of(stocked, ask("red", mode="hybrid", fusion=fusion)):
        text = hit.item.text
        assert ("lexical" in hit.scores) == (text is not None)
        if text is not None:
            assert (hit.scores["lexical"] > 0) == ("red" in text.split())


@pytest.mark.parametrize("fusion", ["weighted", "rrf"])
def test_words_that_no_text_has_change_no_order(stocked: Collection, fusion: Any) -> None:
    found, without = (hits_of(stocked, ask("xyz", mode=mode, fusion=fusion)) for mode in ("hybrid", "vector"))
    assert ids(found) == ids(without)


@pytest.mark.parametrize("target", [{"image": 1.0}, {"image": 0.0, "lexical": 1.0}, {"lexical": 5.0}])
def test_targets_say_what_words_count(stocked: Collection, target: dict[Signal, float]) -> None:
    result = stocked.search(ask("red", mode="hybrid", target=target, limit=1000))

    assert result.total == len(result.hits)
    assert all(("image" in hit.scores) <= bool(target.get("image", 1.0)) for hit in result.hits)
    with pytest.raises(QueryInvalid):
        stocked.search(ask("red", target={"image": 1.0, "lexical": 1.0}))


def test_scores_below_the_least_are_left_out(stocked: Collection) -> None:
    whole = hits_of(stocked, ask("red thing", mode="lexical"))
    least = whole[len(whole) // 2].score

    found = hits_of(stocked, ask("red thing", mode="lexical", min_score=least))

    assert ids(found) == [hit.id for hit in whole if hit.score >= least]


def test_ranks_beyond_the_depth_count_nothing(stocked: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reciprocal, "DEPTH", 3)
    found = hits_of(stocked, ask("red", fusion="rrf", target={"image": 1.0, "text": 1.0}))

    assert 3 <= len(found) <= 6
    assert found[0].score > found[-1].score > 0
