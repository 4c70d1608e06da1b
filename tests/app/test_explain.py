"""Heat maps over HTTP; the numbers are tested in tests/models/test_saliency.py."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.heatmaps import make_heatmap
from models.preprocessing import Region
from tests.app.conftest import ITEMS, SEARCH
from tests.pictures import data_uri, picture

RED_CORNER = f"{ITEMS}/red%20%2F%20corner"


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    """A black picture with a red square at the top right, an item without a picture, and one whose is not kept."""
    image, file = Image.new("RGB", (80, 160)), io.BytesIO()
    image.paste((255, 0, 0), (50, 0, 80, 60))
    image.save(file, "PNG")
    client.put("/v1/collections/bare", json={"store_originals": False})
    for path, body in {
        RED_CORNER: {"image": data_uri(file.getvalue())},
        f"{ITEMS}/text": {"text": "red"},
        "/v1/collections/bare/items/a": {"image": data_uri(picture("red"))},
    }.items():
        assert client.put(path, json=body).status_code == 201
    return client


def explain(client: TestClient, query: Any) -> dict[str, Any]:
    answer = client.post(f"{RED_CORNER}/explain", json={"query": query})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("query", ["red", {"image": data_uri(picture("red"))}, [{"text": "red"}, {"text": "scarlet"}]])
def test_the_hottest_cell_is_where_the_query_matches(stocked: TestClient, query: Any) -> None:
    found = explain(stocked, query)

    grid = np.array(found["grid"])
    row, column = np.unravel_index(grid.argmax(), grid.shape)
    assert grid.shape == (found["rows"], found["columns"])
    assert row < found["rows"] / 2 <= column
    assert found["box"] == {"left": 0, "top": 0, "right": 1, "bottom": 1}


def test_the_score_is_the_cosine_that_search_tells(stocked: TestClient) -> None:
    query = [{"text": "red"}, {"text": "blue", "weight": -0.5}]
    [hit] = stocked.post(SEARCH, json={"query": query, "target": {"image": 1}}).json()["hits"]

    assert explain(stocked, query)["score"] == pytest.approx(hit["scores"]["image"], abs=1e-3)


def test_an_item_and_a_vector_are_queries(stocked: TestClient) -> None:
    vector = stocked.post("/v1/embeddings", json={"input": "red"}).json()["data"][0]["embedding"]

    assert explain(stocked, {"vector": vector})["grid"] == explain(stocked, "red")["grid"]
    assert explain(stocked, {"item": "red / corner"})["score"] == pytest.approx(1, abs=1e-3)


def test_the_png_is_the_upright_picture_under_the_heat(stocked: TestClient) -> None:
    answer = stocked.post(f"{RED_CORNER}/explain", json={"query": "red"}, headers={"Accept": "image/png"})
    told = explain(stocked, "red")["image"]

    assert answer.headers["content-type"] == "image/png"
    assert told == f"data:image/png;base64,{base64.b64encode(answer.content).decode()}"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.size, image.format) == ((80, 160), "PNG")
        light = np.asarray(image.convert("L"))
    assert light[:60, 50:].mean() > 2 * light[100:, :30].mean()


@pytest.mark.parametrize(
    ("path", "status", "type_"),
    [
        (f"{ITEMS}/text", 404, "original-missing"),
        ("/v1/collections/bare/items/a", 404, "original-missing"),
        (f"{ITEMS}/nobody", 404, "item-not-found"),
        ("/v1/collections/nothing/items/a", 404, "collection-not-found"),
    ],
)
def test_what_has_no_picture_has_no_heat_map(stocked: TestClient, path: str, status: int, type_: str) -> None:
    answer = stocked.post(f"{path}/explain", json={"query": "red"})

    assert (answer.status_code, answer.json()["type"]) == (status, type_)


@pytest.mark.parametrize(("size", "shown"), [((3000, 1000), (512, 171)), ((1, 5000), (1, 512)), ((40, 30), (40, 30))])
def test_large_pictures_are_shown_small(size: tuple[int, int], shown: tuple[int, int]) -> None:
    heat = make_heatmap(Image.new("RGB", size, "white"), np.eye(3, dtype=np.float32), Region(0, 0, 1, 1))

    with Image.open(io.BytesIO(heat)) as image:
        assert image.size == shown


def test_the_heat_lies_where_the_model_looked() -> None:
    """A grid over the middle third of the width, and one that is padded above and below."""
    picture, hot = Image.new("RGB", (90, 30), "black"), np.ones((3, 3), dtype=np.float32)

    def lit(region: Region) -> np.ndarray:
        with Image.open(io.BytesIO(make_heatmap(picture, hot, region))) as image:
            return np.asarray(image.convert("L")) > 60

    cropped, padded = lit(Region(1 / 3, 0, 2 / 3, 1)), lit(Region(0, -1, 1, 2))
    assert cropped[:, 33:57].all()
    assert not cropped[:, :27].any()
    assert not cropped[:, 63:].any()
    assert padded.all()


def test_a_picture_where_nothing_counts_is_cold() -> None:
    image = Image.new("RGB", (30, 30), "black")

    cold = make_heatmap(image, np.full((3, 3), -0.1, dtype=np.float32), Region(0, 0, 1, 1))

    with Image.open(io.BytesIO(cold)) as shown:
        assert np.asarray(shown).max() < 10
