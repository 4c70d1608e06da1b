"""clip-retrieval's own client, unchanged, and what its front end sends."""

import base64
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from app.schemas.clip_retrieval import DUPLICATES
from app.settings import Settings
from tests.app.conftest import ITEMS, client_of
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture

FRONT = {"content-type": "text/plain;charset=UTF-8"}
"""What a browser declares a string to be."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, clip_retrieval=True)


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    """The module of their client; their package as a whole would load torch."""
    package = importlib.util.find_spec("clip_retrieval")
    assert package
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "clip_client.py"
    spec = importlib.util.spec_from_file_location("clip_client", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shop(server_url: str) -> str:
    for colour, price in (("red", 5), ("green", 6), ("blue", 7)):
        item = {"image": data_uri(picture(colour)), "text": f"a {colour} thing", "metadata": {"price": price}}
        httpx.put(f"{server_url}{ITEMS}/{colour}", json=item).raise_for_status()
    return server_url


@pytest.fixture
def front(client: TestClient) -> Iterator[TestClient]:
    """A client as a front end is one, over three items, two of which have the same picture."""
    for id_, colour in (("a", "red"), ("b", "red"), ("c", "blue")):
        body = {"image": data_uri(picture(colour)), "text": id_, "metadata": {"url": "https://shop.example/", "id": 7}}
        assert client.put(f"{ITEMS}/{id_}", json=body).status_code == 201
    return client


def knn(front: TestClient, **asked: Any) -> Any:
    body = {"modality": "image", "num_images": 10, "indice_name": "default"} | asked
    return front.post("/knn-service", content=json.dumps(body), headers=FRONT).raise_for_status().json()


def test_their_client_searches_by_text_picture_and_vector(
    shop: str, theirs: ModuleType, tmp_path: Path, encoder: FakeEncoder
) -> None:
    client = theirs.ClipClient(url=f"{shop}/knn-service", indice_name="default", num_images=2)
    (tmp_path / "green.png").write_bytes(picture("green"))
    vector = encoder.encode_texts(["blue"]).vectors[0].tolist()

    for results, colour in (
        (client.query(text="red"), "red"),
        (client.query(image=str(tmp_path / "green.png")), "green"),
        (client.query(embedding_input=vector), "blue"),
    ):
        assert len(results) == 2
        assert results[0]["id"] == colour
        assert results[0]["caption"] == f"a {colour} thing"
        assert results[0]["price"] in (5, 6, 7)
        assert results[0]["similarity"] > results[1]["similarity"]
        assert httpx.get(results[0]["url"]).content == picture(colour)


def test_their_client_searches_texts(shop: str, theirs: ModuleType, encoder: FakeEncoder) -> None:
    client = theirs.ClipClient(f"{shop}/knn-service", "default", modality=theirs.Modality.TEXT, deduplicate=False)
    results = client.query(text="a red thing")
    assert len(results) == 3
    assert results[0]["id"] == "red"
    assert results[0]["similarity"] == pytest.approx(1, abs=1e-3)


def test_their_client_is_told_what_is_wrong(shop: str, theirs: ModuleType) -> None:
    assert theirs.ClipClient(f"{shop}/knn-service", "missing").query(text="red")["type"] == "collection-not-found"
    problem = theirs.ClipClient(f"{shop}/knn-service", "default").query(image="http://10.0.0.1/a.jpg")
    assert (problem["type"], problem["errors"][0]["pointer"]) == ("url-forbidden", "/image_url")


def test_a_front_end_gets_names_results_and_metadata(front: TestClient) -> None:
    assert front.get("/indices-list").json() == ["default"]
    first, second, third = knn(front, text="red", num_images=1, num_result_ids=3000)
    assert set(first) == {"id", "similarity", "caption", "url"}
    assert first["url"] == f"{str(front.base_url).rstrip('/')}{ITEMS}/{first['id']}/image"
    assert set(second) == set(third) == {"id", "similarity"}

    body = {"ids": ["c", "missing", "a"], "indice_name": "default"}
    described = front.post("/metadata", content=json.dumps(body), headers=FRONT).json()
    url = f"{str(front.base_url).rstrip('/')}{ITEMS}/c/image"
    assert described[0] == {"id": "c", "metadata": {"id": 7, "caption": "c", "url": url}}
    assert [one["id"] for one in described] == ["c", "a"]


def test_duplicates_are_left_out_where_asked(front: TestClient) -> None:
    assert [result["caption"] for result in knn(front, text="red")] in (["a", "b", "c"], ["b", "a", "c"])
    assert len(knn(front, text="red", deduplicate=True)) == 2
    assert DUPLICATES >= 0.9


@pytest.mark.parametrize("num_images", [1, 100_000])
def test_a_number_of_results_is_taken_as_far_as_a_search_goes(front: TestClient, num_images: int) -> None:
    found = knn(front, text="red", num_images=num_images, num_result_ids=10**9, deduplicate=True)
    assert len(found) == 2


def test_the_first_of_what_is_given_counts(front: TestClient) -> None:
    blue = base64.b64encode(picture("blue")).decode()
    assert knn(front, text="", image=blue, image_url=None, embedding_input=None, num_images=1)[0]["id"] == "c"
    assert knn(front, text="red", image=blue, num_images=1)[0]["id"] != "c"


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({}, ""),
        ({"text": "  "}, ""),
        ({"image": "?"}, "/image"),
        ({"image": base64.b64encode(b"no picture").decode()}, "/image"),
        ({"image_url": "file:///etc/passwd"}, "/image_url"),
        ({"embedding_input": [1.0]}, "/embedding_input"),
        ({"embedding_input": []}, "/embedding_input"),
        ({"text": "red", "modality": "sound"}, "/modality"),
        ({"text": "red", "num_images": 0}, "/num_images"),
    ],
)
def test_a_bad_query_is_told_where_it_is_bad(front: TestClient, asked: Any, pointer: str) -> None:
    answer = front.post("/knn-service", content=json.dumps({"indice_name": "default"} | asked), headers=FRONT)
    assert answer.status_code == 422, answer.text
    errors = answer.json().get("errors", [{"pointer": ""}])
    assert errors[0]["pointer"] == pointer


def test_what_is_no_json_is_refused(front: TestClient) -> None:
    assert front.post("/knn-service", content="text=red", headers=FRONT).json()["type"] == "invalid-json"


def test_it_is_off_unless_it_is_asked_for(tmp_path: Path, encoder: FakeEncoder) -> None:
    with client_of(Settings(data_dir=tmp_path / "other"), encoder) as client:
        assert client.post("/knn-service", json={"text": "red"}).status_code == 404
        assert "/knn-service" not in client.get("/openapi.json").json()["paths"]
