"""Selection over HTTP; which items are chosen is tested in tests/indexer/test_selection.py."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.conftest import ITEMS, SELECT
from tests.pictures import data_uri, picture


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    """Many reds, few greens, and a blue text."""
    reds = [{"id": f"red {n}", "image": data_uri(picture((255, n, 0)))} for n in range(12)]
    greens = [{"id": f"green/{n}", "image": data_uri(picture((0, 255, n))), "metadata": {"n": n}} for n in range(4)]
    answer = client.post(ITEMS, json={"items": [*reds, *greens, {"id": "text", "text": "blue"}]})
    assert all("error" not in result for result in answer.json()["results"])
    return client


def select(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    answer = client.post(SELECT, json=body)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def kinds(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"].replace("/", " ").split()[0] for item in items]


def test_representative_items_tell_how_many_they_stand_for(stocked: TestClient) -> None:
    items = select(stocked, k=3, method="representative")

    assert kinds(items) == ["red", "green", "text"]
    assert [item["cluster_size"] for item in items] == [12, 4, 1]


def test_diverse_items_differ(stocked: TestClient) -> None:
    items = select(stocked, k=3)

    assert sorted(kinds(items)) == ["green", "red", "text"]
    assert set(items[0]) == {"id", "text", "metadata", "image_url"}


def test_selected_items_carry_what_a_landing_page_shows(stocked: TestClient) -> None:
    _, green, text = select(stocked, k=3, method="representative")

    assert green["metadata"] == {"n": int(green["id"][-1])}
    assert stocked.get(green["image_url"]).status_code == 200
    assert (text["text"], text["image_url"]) == ("blue", None)


def test_a_selection_shows_the_last_write(stocked: TestClient) -> None:
    stocked.delete(f"{ITEMS}/text")

    assert sorted(kinds(select(stocked, k=2))) == ["green", "red"]
    assert sum(item["cluster_size"] for item in select(stocked, k=2, method="representative")) == 16


def test_a_filter_says_among_which(stocked: TestClient) -> None:
    few = select(stocked, k=9, method="representative", filter={"n": {"$lt": 3}})

    assert {item["id"] for item in select(stocked, k=9, filter={"n": {"$lt": 3}})} <= {f"green/{n}" for n in range(3)}
    assert sum(item["cluster_size"] for item in few) == 3
    assert select(stocked, k=9, filter={"n": 99}) == []


@pytest.mark.parametrize("method", ["diverse", "representative"])
def test_an_empty_collection_has_nothing_to_select(client: TestClient, method: str) -> None:
    assert select(client, k=5, method=method) == []
