import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from indexer.collections import Collections
from indexer.index import kinds
from tests.app.conftest import client_of
from tests.fakes import FakeEncoder

PATH = "/v1/collections/shoes"


def test_a_collection_default_always_exists(client: TestClient) -> None:
    client.put("/v1/collections/default/items/a", json={"text": "red"})

    assert client.delete("/v1/collections/default").status_code == 204
    assert client.get("/v1/collections/default").json()["items"] == 0


def test_a_collection_is_created_once_and_then_confirmed(client: TestClient) -> None:
    body = {"modality_weights": {"image": 1.0, "text": 1.0}}

    statuses = [client.put(PATH, json=body).status_code for _ in range(2)]
    other = client.put(PATH, json={"modality_weights": {"image": 1.0, "text": 0.5}})

    assert statuses == [201, 200]
    assert (other.status_code, other.json()["type"]) == (409, "collection-conflict")


def test_a_collection_describes_itself(client: TestClient, encoder: FakeEncoder) -> None:
    client.put(PATH, json={})
    client.put(f"{PATH}/items/a", json={"text": "red"})

    info = client.get(PATH).json()

    assert (info["name"], info["model"], info["fingerprint"]) == ("shoes", "default", encoder.fingerprint)
    assert (info["dimension"], info["generation"], info["items"]) == (16, 1, 1)
    assert info["vectors"] == {"image": 0, "text": 1}
    segments = {"image": [], "text": []}
    assert info["index"] == {
        "setting": "auto",
        "kind": "flat",
        "main": 0,
        "delta": 1,
        "memory_bytes": info["index"]["memory_bytes"],
        "segments": segments,
    }
    assert info["created_at"].endswith("Z")


def test_a_collection_asks_for_a_kind_of_index_and_shows_what_it_was_tuned_to(
    settings: Settings, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "FLAT_COMPONENTS", 1)
    with client_of(settings, encoder) as client:
        statuses = [client.put(PATH, json={"index": kind}).status_code for kind in ("hnsw", "hnsw", "auto")]
        client.put(f"{PATH}/items/a", json={"text": "red"})
        # Codes of one or two vectors tell them apart from nothing, so that FAISS gives none of them.
        client.post(f"{PATH}/items", json={"items": [{"id": str(n), "text": f"blue {n}"} for n in range(29)]})
    with Collections(settings.data_dir, lambda _: encoder) as collections:
        collections.get("shoes").compact()
    with client_of(settings, encoder) as client:
        index = client.get(PATH).json()["index"]
        hits = client.get(f"{PATH}/search", params={"q": "red", "limit": 1}).json()["hits"]

    assert statuses == [201, 200, 409]
    assert (index["setting"], index["kind"], index["main"], index["delta"]) == ("hnsw", "hnsw", 30, 0)
    [segment] = index["segments"]["text"]
    assert (segment["kind"], segment["vectors"]) == ("hnsw", 30)
    assert segment["tuning"].pop("nprobe") > 0
    assert segment["tuning"] == {
        "target": 0.98,
        "recall": {"stored": 1.0, "other": 1.0},
        "candidates": 200,
        "ef_search": 16,
    }
    assert [hit["id"] for hit in hits] == ["a"]


def test_collections_are_listed_by_name(client: TestClient) -> None:
    client.put(PATH, json={})
    client.put("/v1/collections/bags", json={})

    names = [info["name"] for info in client.get("/v1/collections").json()["collections"]]

    assert names == ["bags", "default", "shoes"]


def test_a_deleted_collection_is_gone(client: TestClient) -> None:
    client.put(PATH, json={})

    assert client.delete(PATH).status_code == 204
    assert client.get(PATH).status_code == 404
    assert client.delete(PATH).status_code == 404


def test_items_of_one_collection_are_not_in_another(client: TestClient) -> None:
    client.put(PATH, json={})
    client.put(f"{PATH}/items/a", json={"text": "red"})

    assert client.get("/v1/collections/default/search", params={"q": "red"}).json()["hits"] == []
    assert [hit["id"] for hit in client.get(f"{PATH}/search", params={"q": "red"}).json()["hits"]] == ["a"]
