"""The quality report over HTTP; its numbers are tested in tests/indexer/test_quality.py."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.conftest import ITEMS, QUALITY
from tests.pictures import data_uri, picture


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    """30 red pictures with fitting texts, one with another's text, three of them alike, and a text alone."""
    items = [{"id": f"red {n}", "image": data_uri(picture((255, 2 * n, 0))), "text": f"red {n}"} for n in range(30)]
    wrong = {"id": "wrong/one", "image": data_uri(picture("blue")), "text": "red"}
    copies = [{"id": f"copy {n}", "image": data_uri(picture("green"))} for n in range(3)]
    answer = client.post(ITEMS, json={"items": [*items, wrong, *copies, {"id": "text", "text": "white"}]})
    assert all("error" not in result for result in answer.json()["results"])
    return client


def quality(client: TestClient, **parameters: float) -> dict[str, Any]:
    answer = client.get(QUALITY, params=parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_report_names_what_is_wrong(stocked: TestClient) -> None:
    report = quality(stocked, limit=2, duplicate_threshold=1)

    assert report["coverage"] == {"items": 35, "image": 34, "text": 32, "both": 31, "neither": 0}
    alignment = report["alignment"]
    worst = alignment["worst"][0]
    assert (alignment["count"], len(alignment["worst"])) == (31, 2)
    assert worst["alignment"] < alignment["flagged_below"] < alignment["median"]
    assert (worst["id"], worst["misaligned"], worst["text"]) == ("wrong/one", True, "red")
    assert stocked.get(worst["image_url"]).status_code == 200
    assert sum(alignment["histogram"]["counts"]) == 31
    assert 0 < report["modality_gap"] < 2
    counts = report["modality_histogram"]
    assert (sum(counts["image"]), sum(counts["text"]), len(counts["edges"])) == (34, 32, len(counts["text"]) + 1)
    assert report["duplicates"] == {
        "threshold": 1,
        "exact": True,
        "groups": 1,
        "items": 3,
        "largest": [{"ids": ["copy 0", "copy 1", "copy 2"], "size": 3, "min_score": 1, "identical": True}],
    }
    assert report["suspicious"] == []
    assert report["measured_at"].endswith("Z")


def test_a_report_is_read_page_by_page(stocked: TestClient) -> None:
    whole = quality(stocked, limit=100)["alignment"]["worst"]

    pages = [quality(stocked, limit=8, offset=offset)["alignment"]["worst"] for offset in range(0, 40, 8)]

    assert [pair for page in pages for pair in page] == whole
    assert len(whole) == 31


def test_a_report_shows_the_last_write(stocked: TestClient) -> None:
    before = quality(stocked)

    assert quality(stocked) == before
    stocked.delete(f"{ITEMS}/copy%200")
    stocked.delete(f"{ITEMS}/wrong%2Fone")

    after = quality(stocked)
    assert after["coverage"]["items"] == 33
    assert after["alignment"]["worst"][0]["id"] != "wrong/one"


def test_an_empty_collection_has_a_report(client: TestClient) -> None:
    report = quality(client)

    assert report["coverage"]["items"] == 0
    assert report["alignment"]["histogram"] is report["alignment"]["flagged_below"] is None
    assert report["modality_gap"] is report["modality_histogram"] is None


def test_pictures_that_are_not_kept_have_no_address(client: TestClient) -> None:
    client.put("/v1/collections/bare", json={"store_originals": False})
    client.put("/v1/collections/bare/items/a", json={"image": data_uri(picture("red")), "text": "red"})

    [pair] = client.get("/v1/collections/bare/quality").json()["alignment"]["worst"]

    assert (pair["id"], pair["image_url"]) == ("a", None)
