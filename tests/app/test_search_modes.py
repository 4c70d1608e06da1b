from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.conftest import ITEMS, SEARCH, Run
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture

UPLOAD = f"{SEARCH}/upload"


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    items = [
        {"id": "dress", "text": "red linen dress", "image": data_uri(picture("red"))},
        {"id": "shirt", "text": "blue linen shirt", "image": data_uri(picture("blue"))},
        {"id": "bag", "image": data_uri(picture("green"))},
        {"id": "shoes", "text": "black leather shoes"},
        {"id": "belt", "text": "black leather belt"},
    ]
    client.post(ITEMS, json={"items": items})
    return client


def hits(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def test_words_find_the_texts_that_have_them(stocked: TestClient, encoder: FakeEncoder) -> None:
    encoded = encoder.encoded_texts
    answer = stocked.post(SEARCH, json={"query": "linnen dress", "mode": "lexical"})

    assert hits(answer) == ["dress", "shirt"]
    assert answer.json()["total"] == 2
    assert all(hit["scores"] == {"lexical": pytest.approx(hit["score"])} for hit in answer.json()["hits"])
    assert encoder.encoded_texts == encoded
    assert hits(stocked.get(SEARCH, params={"q": '"linen shirt" lea*', "mode": "lexical", "limit": 1})) == ["shirt"]


@pytest.mark.parametrize("fusion", ["weighted", "rrf"])
def test_words_and_vectors_are_mixed(stocked: TestClient, fusion: str) -> None:
    body = {"query": "red leather shoes", "mode": "hybrid", "fusion": fusion}
    answer = stocked.post(SEARCH, json=body)
    short = stocked.get(SEARCH, params={"q": "red leather shoes", "mode": "hybrid", "fusion": fusion})

    assert hits(answer)[0] == "shoes"
    assert (len(hits(answer)), answer.json()["total"]) == (5, 5)
    scores = {hit["id"]: set(hit["scores"]) for hit in answer.json()["hits"]}
    assert (scores["shoes"], scores["bag"]) == ({"text", "lexical"}, {"image"})
    assert hits(short) == hits(answer)
    assert hits(stocked.post(SEARCH, json=body | {"target": {"lexical": 0, "image": 1}}))[0] == "dress"


def test_each_fusion_is_explained_by_what_it_adds_up(stocked: TestClient) -> None:
    body = {"query": ["red shoes", {"item": "dress"}], "mode": "hybrid", "include": ["explain"]}
    for fusion, told in (("weighted", "standardised"), ("rrf", "rank")):
        answer = stocked.post(SEARCH, json=body | {"fusion": fusion, "diversity": 0.2, "collapse_duplicates": 0.98})

        assert hits(answer)
        for hit in answer.json()["hits"]:
            signals = hit["explain"]["signals"]
            assert signals.keys() == hit["scores"].keys()
            assert all(part.keys() <= {"score", "share", "contribution", told} for part in signals.values())
            added = sum(part["contribution"] for part in signals.values())
            assert hit["explain"]["base"] + added == pytest.approx(hit["score"], abs=1e-5)
            assert ["contribution" in term for term in hit["explain"]["terms"]] == [fusion == "weighted"] * 2


def test_an_uploaded_picture_and_words_are_mixed(stocked: TestClient) -> None:
    files = {"image": ("red.png", picture("red"), "image/png")}
    answer = stocked.post(UPLOAD, files=files, data={"query": "linen", "mode": "hybrid", "fusion": "rrf"})

    assert hits(answer)[0] == "dress"
    assert "lexical" in answer.json()["hits"][0]["scores"]


def test_the_command_line_asks_for_words(run: Run, server_url: str, tmp_path: Path) -> None:
    (tmp_path / "catalog.jsonl").write_text('{"id": "a", "title": "linen dress"}\n{"id": "b", "title": "shoes"}\n')
    run("ingest", tmp_path / "catalog.jsonl", "--url", server_url)

    found = run("search", "dres*", "--mode", "lexical", "--url", server_url, "--json")

    assert [hit["id"] for hit in found.json["hits"]] == ["a"]
    assert run("search", "dress", "--mode", "fuzzy", "--url", server_url).code == 2
