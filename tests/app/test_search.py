import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from tests.app.conftest import ITEMS, SEARCH
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture

COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    items = [
        {"id": colour, "image": data_uri(picture(colour)), "text": f"a {colour} thing", "metadata": {"n": number}}
        for number, colour in enumerate(COLOURS)
    ]
    client.post(ITEMS, json={"items": items})
    return client


def best(client: TestClient, query: Any, **options: Any) -> str:
    answer = client.post(SEARCH, json={"query": query} | options)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["hits"][0]["id"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("green", "green"),
        ({"text": "blue"}, "blue"),
        (["blue"], "blue"),
        ({"image": data_uri(picture("yellow"))}, "yellow"),
        ([{"text": "red", "weight": 0.5}, {"text": "yellow"}], "yellow"),
        ([{"item": "yellow"}, {"text": "red", "weight": -1}], "green"),
        ([{"item": "yellow"}, {"image": data_uri(picture("green")), "weight": -1}], "red"),
    ],
)
def test_a_query_is_text_picture_item_or_several_weighted(stocked: TestClient, query: Any, expected: str) -> None:
    assert best(stocked, query) == expected


def test_an_item_does_not_find_itself(stocked: TestClient) -> None:
    hits = stocked.post(SEARCH, json={"query": {"item": "red"}}).json()["hits"]

    assert "red" not in [hit["id"] for hit in hits]


def test_a_vector_of_the_embeddings_route_is_a_query(stocked: TestClient) -> None:
    vector = stocked.post("/v1/embeddings", json={"input": "blue"}).json()["data"][0]["embedding"]

    assert best(stocked, {"vector": vector}) == "blue"


def test_hits_carry_scores_text_metadata_and_the_address_of_the_picture(stocked: TestClient) -> None:
    answer = stocked.post(SEARCH, json={"query": "red", "limit": 1}).json()
    [hit] = answer["hits"]

    assert set(hit["scores"]) == {"image", "text"}
    assert (hit["text"], hit["metadata"]) == ("a red thing", {"n": 0})
    assert stocked.get(hit["image_url"]).content == picture("red")
    assert (answer["total"], answer["model"], answer["generation"], answer["truncated"]) == (4, "default", 1, False)
    assert set(answer["took_ms"]) == {"embed", "search", "hydrate", "total"}


def test_include_decides_what_hits_carry(stocked: TestClient, encoder: FakeEncoder) -> None:
    bare = stocked.post(SEARCH, json={"query": "red", "include": []}).json()["hits"][0]
    full = stocked.post(SEARCH, json={"query": "red", "include": ["vector", "text"]}).json()["hits"][0]

    assert set(bare) == {"id", "score", "scores", "image_url"}
    assert set(full) == {"id", "score", "scores", "image_url", "text", "vectors"}
    assert {name: len(vector) for name, vector in full["vectors"].items()} == {"image": 16, "text": 16}


def test_an_explanation_tells_what_made_the_score(stocked: TestClient) -> None:
    body = {"query": ["red", {"text": "blue", "weight": -0.5}], "include": ["explain"], "filter": {"n": {"$lt": 3}}}
    answer = stocked.post(SEARCH, json=body).json()

    for hit in answer["hits"]:
        explain = hit["explain"]
        assert explain["base"] + sum(term["contribution"] for term in explain["terms"]) == pytest.approx(hit["score"])
        assert {name: part["score"] for name, part in explain["signals"].items()} == hit["scores"]
        assert [term["share"] for term in explain["terms"]] == pytest.approx([2 / 3, -1 / 3])
    assert answer["plan"] == {"vectors": {"image": 3, "text": 3}, "matches": 3, "rounds": 1, "candidates": 3}


def test_pages_of_a_search_fit_together(stocked: TestClient) -> None:
    whole = [hit["id"] for hit in stocked.get(SEARCH, params={"q": "red", "limit": 4}).json()["hits"]]
    parts = [
        hit["id"]
        for offset in (0, 2)
        for hit in stocked.get(SEARCH, params={"q": "red", "limit": 2, "offset": offset}).json()["hits"]
    ]

    assert parts == whole
    assert len(set(whole)) == 4


def test_target_decides_which_vectors_are_searched(stocked: TestClient) -> None:
    stocked.put(f"{ITEMS}/liar", json={"image": data_uri(picture("red")), "text": "blue"})

    only_text = stocked.post(SEARCH, json={"query": "blue", "target": {"text": 1}, "limit": 5}).json()["hits"]

    assert {"liar", "blue"} == {hit["id"] for hit in only_text[:2]}
    assert all(set(hit["scores"]) == {"text"} for hit in only_text)


def test_hits_below_min_score_are_left_out(stocked: TestClient) -> None:
    every = stocked.post(SEARCH, json={"query": "red"}).json()["hits"]
    threshold = every[0]["score"] - 1e-6

    some = stocked.post(SEARCH, json={"query": "red", "min_score": threshold}).json()["hits"]

    assert [hit["id"] for hit in some] == ["red"]


def test_an_uploaded_picture_is_a_query(stocked: TestClient) -> None:
    form = {"limit": "1", "include": '["text"]', "target": '{"image": 1}'}

    answer = stocked.post(f"{SEARCH}/upload", files={"image": picture("blue")}, data=form)

    [hit] = answer.json()["hits"]
    assert (hit["id"], hit["text"]) == ("blue", "a blue thing")
    assert "metadata" not in hit


def test_an_uploaded_picture_goes_together_with_a_text(stocked: TestClient) -> None:
    def best_two(**fields: str) -> set[str]:
        answer = stocked.post(f"{SEARCH}/upload", files={"image": picture("red")}, data=fields)
        return {hit["id"] for hit in answer.json()["hits"][:2]}

    assert best_two() == {"red", "yellow"}
    assert best_two(query="blue") == {"red", "blue"}


def test_a_long_text_is_cut_and_reported(stocked: TestClient) -> None:
    assert stocked.post(SEARCH, json={"query": "red " * 200}).json()["truncated"] is True


def test_an_empty_collection_answers_with_no_hits(client: TestClient) -> None:
    answer = client.get(SEARCH, params={"q": "red"}).json()

    assert (answer["hits"], answer["total"]) == ([], 0)


def test_a_filter_holds_in_every_form_of_search(stocked: TestClient) -> None:
    low = {"n": {"$lt": 2}}

    posted = stocked.post(SEARCH, json={"query": "yellow", "filter": low}).json()
    short = stocked.get(SEARCH, params={"q": "yellow", "filter": json.dumps(low)}).json()
    upload = stocked.post(
        f"{SEARCH}/upload", files={"image": picture("yellow")}, data={"filter": json.dumps(low)}
    ).json()

    for answer in (posted, short, upload):
        assert {hit["id"] for hit in answer["hits"]} == {"red", "green"}
        assert answer["total"] == 2
        assert "facets" not in answer


def test_a_filter_changes_no_score(stocked: TestClient) -> None:
    every = {hit["id"]: hit["score"] for hit in stocked.post(SEARCH, json={"query": "red"}).json()["hits"]}

    [hit] = stocked.post(SEARCH, json={"query": "red", "filter": {"n": 3}}).json()["hits"]

    assert hit["score"] == every["yellow"]


def test_facets_count_what_matches_the_filter(client: TestClient) -> None:
    for number, (brand, tags) in enumerate([("Puma", ["a", "b"]), ("Nike", ["a"]), ("Puma", []), (None, ["c"])]):
        client.put(f"{ITEMS}/{number}", json={"text": "red", "metadata": {"brand": brand, "tags": tags, "n": number}})

    answer = client.post(
        SEARCH, json={"query": "red", "limit": 1, "filter": {"n": {"$lt": 3}}, "facets": ["brand", "tags", "none"]}
    ).json()

    assert answer["facets"] == {
        "brand": [{"value": "Puma", "count": 2}, {"value": "Nike", "count": 1}],
        "tags": [{"value": "a", "count": 2}, {"value": "b", "count": 1}],
        "none": [],
    }
    assert (len(answer["hits"]), answer["total"]) == (1, 3)


def test_groups_show_their_best_items(client: TestClient) -> None:
    for number, product in enumerate(["p", "p", "p", "q", None]):
        metadata = {"product_id": product} if product else {}
        client.put(f"{ITEMS}/{number}", json={"text": "red", "metadata": metadata})

    def found(**options: Any) -> list[str]:
        body = {"query": "red", "group_by": "product_id"} | options
        return [hit["id"] for hit in client.post(SEARCH, json=body).json()["hits"]]

    assert found() == ["0", "3", "4"]
    assert found(group_size=2) == ["0", "1", "3", "4"]
    assert found(limit=1, offset=1) == ["3"]


def test_items_are_listed_and_deleted_by_a_filter(stocked: TestClient) -> None:
    def listed(**params: Any) -> Any:
        answer = stocked.get(ITEMS, params=params).json()
        return [item["id"] for item in answer["items"]], answer["next_cursor"]

    high = json.dumps({"n": {"$gte": 1}})
    first, cursor = listed(filter=high, limit=2)
    rest = listed(filter=high, limit=2, cursor=cursor)
    deleted = stocked.post(f"{ITEMS}/delete", json={"filter": {"n": {"$in": [0, 2]}}}).json()

    assert (first, rest) == (["green", "blue"], (["yellow"], None))
    assert deleted == {"deleted": 2}
    assert listed() == (["green", "yellow"], None)


def test_a_problem_says_that_it_is_in_the_address(client: TestClient) -> None:
    for params in ({"filter": "{"}, {"filter": '{"$what": 1}'}, {"q": " "}, {"generation": 0}):
        [fault] = client.get(SEARCH, params={"q": "red"} | params).json()["errors"]
        assert (fault["location"], fault["pointer"].split("/")[1]) == ("query", next(iter(params)))
    [fault] = client.get(ITEMS, params={"cursor": "?"}).json()["errors"]
    assert (fault["location"], fault["pointer"]) == ("query", "/cursor")


@pytest.mark.parametrize(
    ("name", "content", "status", "location"),
    [
        ("default", b"", 422, "body"),
        ("default", b"[]", 422, "body"),
        ("default", b'{"query": "red", "limit": -1}', 422, "body"),
        ("%FF", b'{"query": "red"}', 422, "path"),
        ("nowhere", b'{"query": "red", "limit": -1}', 404, None),
    ],
)
def test_what_is_not_valid_is_told(
    stocked: TestClient, name: str, content: bytes, status: int, location: str | None
) -> None:
    answer = stocked.post(
        f"/v1/collections/{name}/search", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    assert [error["location"] for error in answer.json().get("errors", [])] == ([location] if location else [])


@pytest.mark.parametrize("type_", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"])
def test_a_valid_search_needs_no_handler_of_fastapi(
    stocked: TestClient, monkeypatch: pytest.MonkeyPatch, type_: str
) -> None:
    monkeypatch.delattr("fastapi.routing.solve_dependencies")

    answers = [
        stocked.post(f"/v1/collections/{name}/search", content=b'{"query": "red"}', headers={"Content-Type": type_})
        for name in ("default", "%64efault", "nowhere")
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 404]


def test_a_search_that_breaks_off_is_told_apart_from_one_that_is_wrong(stocked: TestClient) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b'{"que', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"16")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": SEARCH,
        "raw_path": SEARCH.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "state": dict(stocked.app_state),
    }

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    assert stocked.portal
    stocked.portal.call(stocked.app, scope, receive, send)

    assert sent[0]["status"] == 499
