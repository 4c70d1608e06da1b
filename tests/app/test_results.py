"""What is written by hand is what the schemas say, and short searches are answered where they are read."""

import base64
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.routes import search
from app.schemas.search import BatchResults, SearchResults
from app.search_batcher import SearchBatcher
from tests.app.conftest import ITEMS, SEARCH
from tests.pictures import data_uri, picture

ODD = 'a "quote", a \\ and a\nline; größer, 赤, 😀, </script>'
EVERYTHING = ["text", "metadata", "vector", "explain"]


@pytest.fixture
def odd(client: TestClient) -> TestClient:
    items = [
        {"id": f"{ODD}/1", "image": data_uri(picture("red")), "text": ODD, "metadata": {ODD: [ODD, 1e-7, 2**70, None]}},
        {"id": "plain", "image": data_uri(picture("blue")), "metadata": {"brand": "Puma"}},
    ]
    client.post(ITEMS, json={"items": items}).raise_for_status()
    return client


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"include": []},
        {"include": EVERYTHING},
        {"include": EVERYTHING, "encoding_format": "base64"},
        {"include": EVERYTHING, "mode": "hybrid", "fusion": "rrf"},
        {"include": EVERYTHING, "mode": "hybrid", "facets": ["brand"], "filter": {"brand": "Puma"}},
        {"filter": {"brand": "none"}},
    ],
)
def test_results_are_what_the_schema_says(odd: TestClient, options: dict[str, Any]) -> None:
    body = {"query": "red"} | options

    alone = odd.post(SEARCH, json=body)
    batch = odd.post(f"{SEARCH}/batch", json={"searches": [body, {"query": {"item": "missing"}}]})

    found = SearchResults.model_validate_json(alone.text)
    both = BatchResults.model_validate_json(batch.text)
    assert len(both.results) == 2
    assert found.model_dump(exclude_unset=True, exclude={"took_ms"}) == both.results[0].model_dump(
        exclude_unset=True, exclude={"took_ms"}
    )


def test_hits_carry_any_text_as_it_was_stored(odd: TestClient) -> None:
    [hit] = odd.post(SEARCH, json={"query": "red", "limit": 1}).json()["hits"]

    assert hit["id"] == f"{ODD}/1"
    assert hit["text"] == ODD
    assert hit["metadata"] == {ODD: [ODD, 1e-7, 2**70, None]}
    assert odd.get(hit["image_url"]).status_code == 200


def test_vectors_are_given_as_numbers_or_as_base64(odd: TestClient) -> None:
    body = {"query": "red", "include": ["vector"]}

    numbers, texts = (
        [hit["vectors"]["image"] for hit in odd.post(SEARCH, json=body | asked).json()["hits"]]
        for asked in ({}, {"encoding_format": "base64"})
    )

    assert [np.frombuffer(base64.b64decode(text), "<f4").tolist() for text in texts] == numbers


def test_a_short_search_is_answered_without_a_thread(odd: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = odd.post("/v1/embeddings", json={"input": "red"}).json()["data"][0]["embedding"]

    async def refuse(*_: object) -> None:
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr(search, "run_in_threadpool", refuse)
    monkeypatch.setattr(SearchBatcher, "search", refuse)

    answer = odd.post(SEARCH, json={"query": {"vector": vector}, "target": {"image": 1}})
    assert [hit["id"] for hit in answer.json()["hits"]] == [f"{ODD}/1", "plain"]
    assert odd.post(SEARCH, json={"query": "red"}).status_code == 500
