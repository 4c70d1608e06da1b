from fastapi.testclient import TestClient

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
    assert set(info["index"]) == {"kind", "main", "delta", "memory_bytes"}
    assert info["created_at"].endswith("Z")


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
