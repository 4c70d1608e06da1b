import io
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.settings import Settings
from tests.app.conftest import ITEMS, SEARCH, client_of
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture


def test_an_item_is_created_updated_and_unchanged(client: TestClient) -> None:
    first = client.put(f"{ITEMS}/a", json={"text": "red dress"})
    again = client.put(f"{ITEMS}/a", json={"text": "red dress"})
    other = client.put(f"{ITEMS}/a", json={"text": "blue dress"})

    assert [(answer.status_code, answer.json()["status"]) for answer in (first, again, other)] == [
        (201, "created"),
        (200, "unchanged"),
        (200, "updated"),
    ]


def test_an_item_is_found_by_the_very_next_search(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"image": data_uri(picture("red")), "text": "a dress"})

    hits = client.get(SEARCH, params={"q": "red"}).json()["hits"]

    assert [hit["id"] for hit in hits] == ["a"]


def test_the_answer_tells_alignment_and_duplicates(client: TestClient) -> None:
    client.put(f"{ITEMS}/first", json={"image": data_uri(picture("red"))})

    answer = client.put(f"{ITEMS}/second", json={"image": data_uri(picture("red")), "text": "red"}).json()

    assert answer["modalities"] == ["image", "text"]
    assert answer["alignment"] == pytest.approx(1, abs=0.05)
    assert answer["duplicates"] == [{"id": "first", "score": 1.0}]


def test_a_form_where_only_json_is_read_is_told_where_it_goes(client: TestClient) -> None:
    answer = client.post(ITEMS, files={"image": ("a.png", picture("red"), "image/png")}, data={"id": "a"})

    assert answer.status_code == 415
    assert "PUT /v1/collections/{name}/items/{id}" in answer.json()["detail"]


def test_a_form_stores_what_json_stores(client: TestClient) -> None:
    stored = client.put(
        f"{ITEMS}/a",
        files={"image": ("a.png", picture("red"), "image/png")},
        data={"text": "red", "metadata": '{"price": 5}'},
    )

    item = client.get(f"{ITEMS}/a").json()
    assert stored.status_code == 201
    assert (item["text"], item["metadata"], item["modalities"]) == ("red", {"price": 5}, ["image", "text"])


def test_bytes_decide_what_a_picture_is(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"image": data_uri(picture("red", format_="JPEG"), "image/png")})

    assert client.get(f"{ITEMS}/a/image").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("item_id", ["a/b.jpg", "image", "a/image", "ä ö?#%", "delete", "..%2f"])
def test_an_id_may_be_any_text(client: TestClient, item_id: str) -> None:
    path = f"{ITEMS}/{quote(item_id, safe='')}"
    stored = client.put(path, json={"image": data_uri(picture("red"))})

    item = client.get(path).json()

    assert (stored.status_code, item["id"]) == (201, item_id)
    assert client.get(item["image_url"]).content == picture("red")
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


def test_slashes_in_an_id_need_not_be_encoded(client: TestClient) -> None:
    client.put(f"{ITEMS}/shoes/1.jpg", json={"text": "red"})

    assert client.get(f"{ITEMS}/shoes%2F1.jpg").json()["id"] == "shoes/1.jpg"


@pytest.mark.parametrize(("part", "allowed"), [("image", "GET"), ("explain", "POST")])
def test_what_an_item_has_is_no_item_of_its_own(client: TestClient, part: str, allowed: str) -> None:
    """A picture that is put there would else become an item with the id `shoe/image`."""
    for method in ("PUT", "DELETE"):
        answer = client.request(method, f"{ITEMS}/shoe/{part}", json={"text": "red"})
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert client.get(ITEMS).json()["items"] == []


def test_a_batch_answers_each_item_for_itself(client: TestClient) -> None:
    items = [
        {"id": "good", "image": data_uri(picture("red"))},
        {"id": "broken", "image": data_uri(b"not a picture")},
        {"id": "empty"},
        {"id": "away", "image": "http://127.0.0.1:1/x.png"},
        {"id": "text", "text": "blue"},
    ]

    answer = client.post(ITEMS, json={"items": items})

    results = answer.json()["results"]
    assert answer.status_code == 200
    assert [result["id"] for result in results] == [item["id"] for item in items]
    assert [result.get("status") or result["error"]["type"] for result in results] == [
        "created",
        "image-undecodable",
        "item-invalid",
        "url-forbidden",
        "created",
    ]
    assert results[1]["error"]["errors"][0]["pointer"] == "/items/1/image"
    assert client.get("/v1/collections/default").json()["items"] == 2


def test_a_batch_beyond_memory_is_stored_in_parts(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.batches.MAX_PENDING_BYTES", 200)
    items = [{"id": str(number), "image": data_uri(picture("red", (24, 16 + number)))} for number in range(20)]
    items[7] = {"id": "7", "image": "data:,"}

    results = client.post(ITEMS, json={"items": items}).json()["results"]

    assert [result["id"] for result in results] == [str(number) for number in range(20)]
    assert [number for number, result in enumerate(results) if "error" in result] == [7]


def test_the_last_of_equal_ids_in_a_batch_wins(client: TestClient) -> None:
    items = [{"id": "a", "text": "red"}, {"id": "a", "text": "blue"}]

    results = client.post(ITEMS, json={"items": items}).json()["results"]

    assert [result["status"] for result in results] == ["created", "updated"]
    assert client.get(f"{ITEMS}/a").json()["text"] == "blue"


def test_ready_vectors_are_stored_instead_of_embedding(client: TestClient, encoder: FakeEncoder) -> None:
    vector = [1.0] + [0.0] * 15
    body = {"vectors": {"image": vector}, "fingerprint": encoder.fingerprint}

    assert client.put(f"{ITEMS}/a", json=body).status_code == 201
    assert encoder.encoded_images == 0
    [hit] = client.post(SEARCH, json={"query": {"vector": vector}}).json()["hits"]
    assert hit["scores"]["image"] == pytest.approx(1, abs=1e-3)


def test_vectors_of_another_model_are_a_conflict(client: TestClient) -> None:
    answer = client.put(f"{ITEMS}/a", json={"vectors": {"image": [1.0] * 16}, "fingerprint": "0" * 64})

    assert (answer.status_code, answer.json()["type"]) == (409, "fingerprint-mismatch")


def test_items_are_listed_page_by_page(client: TestClient) -> None:
    client.post(ITEMS, json={"items": [{"id": str(number), "text": "red"} for number in range(5)]})

    seen, cursor = [], None
    while True:
        page = client.get(ITEMS, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == ["0", "1", "2", "3", "4"]


def test_items_are_deleted_one_by_one_and_together(client: TestClient) -> None:
    client.post(ITEMS, json={"items": [{"id": name, "text": "red"} for name in "abc"]})

    assert client.delete(f"{ITEMS}/a").status_code == 204
    assert client.delete(f"{ITEMS}/a").json()["type"] == "item-not-found"
    assert client.post(f"{ITEMS}/delete", json={"ids": ["a", "b"]}).json() == {"deleted": 1}
    assert [hit["id"] for hit in client.get(SEARCH, params={"q": "red"}).json()["hits"]] == ["c"]


def test_a_thumbnail_has_the_width_asked_for(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"image": data_uri(picture("red", (400, 200)))})

    answer = client.get(f"{ITEMS}/a/image", params={"width": 100})

    with Image.open(io.BytesIO(answer.content)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (100, 50))


def test_a_thumbnail_is_made_once(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"image": data_uri(picture("red", (400, 200)))})

    first, second = (client.get(f"{ITEMS}/a/image", params={"width": 100}).content for _ in range(2))

    assert first == second
    counted = client.get("/metrics").text
    assert 'sightline_thumbnail_lookups_total{result="miss"} 1.0' in counted
    assert 'sightline_thumbnail_lookups_total{result="hit"} 1.0' in counted


def test_a_thumbnail_is_never_enlarged(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"image": data_uri(picture("red"))})

    with Image.open(io.BytesIO(client.get(f"{ITEMS}/a/image?width=2048").content)) as thumbnail:
        assert thumbnail.size == (24, 16)


def test_an_unchanged_picture_is_not_sent_again(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"image": data_uri(picture("red"))})
    full = client.get(f"{ITEMS}/a/image")
    headers = {"If-None-Match": f'"other", W/{full.headers["etag"]}'}

    again = client.get(f"{ITEMS}/a/image", headers=headers)
    client.put(f"{ITEMS}/a", json={"image": data_uri(picture("blue"))})
    changed = client.get(f"{ITEMS}/a/image", headers=headers)

    assert (again.status_code, again.content) == (304, b"")
    assert (changed.status_code, changed.content) == (200, picture("blue"))


def test_a_picture_that_was_not_kept_has_no_address(settings: Settings, encoder: FakeEncoder) -> None:
    with client_of(settings, encoder) as client:
        client.put("/v1/collections/lean", json={"store_originals": False})
        path = "/v1/collections/lean/items/a"
        client.put(path, json={"image": data_uri(picture("red"))})

        assert client.get(path).json()["image_url"] is None
        assert client.get(f"{path}/image").json()["type"] == "original-missing"


def test_a_batch_tells_of_duplicates_when_asked(client: TestClient) -> None:
    client.put(f"{ITEMS}/old", json={"image": data_uri(picture("red"))})
    items = [{"id": id_, "image": data_uri(picture("red"))} for id_ in ("a", "b")] + [{"id": "c", "text": "red"}]

    plain = client.post(ITEMS, json={"items": items}).json()["results"]
    told = client.post(ITEMS, params={"duplicates": True}, json={"items": items}).json()["results"]

    assert all("duplicates" not in result for result in plain)
    assert [[other["id"] for other in result["duplicates"]] for result in told] == [["b", "old"], ["a", "old"], []]
    assert client.post(ITEMS, params={"duplicate": True}, json={"items": items}).status_code == 422
