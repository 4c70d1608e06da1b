"""Many searches in one request: each is answered as it would be alone."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from indexer.stores.catalogue import Catalogue
from tests.app.conftest import ITEMS, SEARCH, SEARCH_BATCH
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture

COLOURS = ("red", "green", "blue", "yellow", "black", "white")


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    items = [
        {"id": colour, "image": data_uri(picture(colour)), "text": f"a {colour} thing", "metadata": {"n": number}}
        for number, colour in enumerate(COLOURS)
    ]
    client.post(ITEMS, json={"items": [*items, {"id": "text", "text": "red and green"}]})
    return client


def search_all(client: TestClient, *searches: Any) -> list[dict[str, Any]]:
    answer = client.post(SEARCH_BATCH, json={"searches": searches})
    assert answer.status_code == 200, answer.text
    return [{name: value for name, value in result.items() if name != "took_ms"} for result in answer.json()["results"]]


GOOD: list[dict[str, Any]] = [
    {"query": "red"},
    {"query": {"image": data_uri(picture("blue"))}, "limit": 3, "offset": 1, "target": {"image": 1}},
    {"query": [{"item": "yellow"}, {"text": "red", "weight": -1}], "include": ["vector"]},
    {"query": {"item": "yellow"}, "filter": {"n": {"$lt": 3}}, "facets": ["n"]},
    {"query": ["green", {"image": data_uri(picture("red"))}], "min_score": 0.2, "group_by": "n"},
    {"query": {"vector": [1.0] * 16}, "target": {"text": 1}},
    {"query": "red " * 200},
    {"query": "red thnig", "mode": "lexical", "include": ["text", "explain"], "diversity": 0.3},
    {"query": ["red thing", {"item": "blue"}], "mode": "hybrid", "include": ["explain"], "collapse_duplicates": 0.98},
    {"query": "red thing", "mode": "hybrid", "fusion": "rrf", "include": ["explain"], "target": {"lexical": 3}},
]

BAD: list[tuple[Any, int, str, str]] = [
    (None, 422, "invalid-request", ""),
    ("red", 422, "invalid-request", ""),
    ({}, 422, "invalid-request", "/query"),
    ({"query": "red", "limit": 0}, 422, "invalid-request", "/limit"),
    ({"query": "red", "colour": "red"}, 422, "invalid-request", "/colour"),
    ({"query": ["red", {"text": 1}]}, 422, "invalid-request", "/query/1/text"),
    ({"query": "red", "filter": {"n": {"$near": 1}}}, 422, "filter-invalid", "/filter/n/$near"),
    ({"query": {"item": "red"}, "mode": "lexical"}, 422, "query-invalid", "/mode"),
    ({"query": "red", "target": {"lexical": 1}}, 422, "query-invalid", "/target/lexical"),
    ({"query": {"item": "nobody"}}, 404, "item-not-found", "/query/item"),
    ({"query": ["red", {"vector": [1.0]}]}, 422, "vector-invalid", "/query/1/vector"),
    ({"query": ["red", {"image": "data:,x"}]}, 422, "image-undecodable", "/query/1/image"),
    ({"query": {"image": "http://127.0.0.1/x.png"}}, 422, "url-forbidden", "/query/image"),
]


def test_each_search_is_answered_as_it_is_alone(stocked: TestClient) -> None:
    alone = [stocked.post(SEARCH, json=search).json() for search in GOOD]
    for answer in alone:
        del answer["took_ms"]

    assert search_all(stocked, *GOOD) == alone


def test_a_bad_search_stops_no_other(stocked: TestClient) -> None:
    searches = [search for pair in zip((bad for bad, *_ in BAD), GOOD * 2, strict=False) for search in pair]

    results = search_all(stocked, *searches)

    for (_, status, type_, pointer), result in zip(BAD, results[::2], strict=True):
        problem = result.pop("problem")
        assert (problem["status"], problem["type"], result) == (status, type_, {})
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert results[1::2] == search_all(stocked, *searches[1::2])


def test_problems_are_those_of_the_search_alone(stocked: TestClient) -> None:
    # The body of a lone search is at fault as a whole, or there is none: that is told in other words.
    searches = [bad for bad, *_ in BAD if isinstance(bad, dict)]

    alone = [stocked.post(SEARCH, json=search).json() for search in searches]

    assert [result["problem"] for result in search_all(stocked, *searches)] == alone


def test_all_are_embedded_together_and_read_together(
    stocked: TestClient, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for owner, name in ((encoder, "encode_texts"), (encoder, "encode_pixels"), (Catalogue, "found")):
        call = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *a, name=name, call=call, **options: (calls.append(name), call(*a, **options))[1]
        )

    search_all(stocked, *GOOD)

    assert sorted(calls) == ["encode_pixels", "encode_texts", "found"]


def test_as_many_hits_as_one_search_may_have(client: TestClient) -> None:
    assert len(search_all(client, *[{"query": "red", "limit": 39}] * 256)) == 256
