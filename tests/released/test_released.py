"""A data folder of every older schema opens, migrates and answers the same; `record.py` made them."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, inspect

from app.server import create_app
from app.settings import Settings
from indexer.stores.database import READABLE_VERSIONS, SCHEMA_VERSION, Database
from tests.app.conftest import LOCAL, client_of
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture

HERE = Path(__file__).parent
DEFAULT = "/v1/collections/default"
model_is_gone = pytest.mark.parametrize("release", ["first"], indirect=True)


@pytest.fixture(params=sorted(path.parent.name for path in HERE.glob("*/catalogue.db.gz")))
def release(request: pytest.FixtureRequest) -> Path:
    return HERE / str(request.param)


@pytest.fixture
def answers(release: Path) -> Any:
    return json.loads((release / "answers.json").read_text())


@pytest.fixture
def settings(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of a server on the folder as that version left it."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    shutil.copytree(release / "originals", data / "originals")
    restore(release, data / "catalogue.db")
    return Settings(data_dir=data)


@pytest.fixture
def client(settings: Settings, answers: Any) -> Iterator[TestClient]:
    """A client of a server that has the model of those days, as far as stored vectors need one."""
    with client_of(settings, FakeEncoder(256, answers["fingerprint"])) as client:
        yield client


@pytest.fixture
def without_model(settings: Settings) -> Iterator[TestClient]:
    """A client of a server that has the embedded model of today only."""
    with TestClient(create_app(settings), base_url=LOCAL) as client:
        yield client


def restore(release: Path, path: Path) -> None:
    path.write_bytes(gzip.decompress((release / "catalogue.db.gz").read_bytes()))


def ask(client: TestClient, recorded: Any, vectors: list[list[float]]) -> Any:
    query = [term | {"vector": vectors[term["vector"]]} if "vector" in term else term for term in recorded["query"]]
    answer = client.post(recorded["path"], json={"query": query, **recorded["options"]})
    assert answer.status_code == 200, answer.text
    return answer.json()


def assert_same_answers(client: TestClient, answers: Any) -> None:
    searches = [one for one in answers["searches"] if not any("text" in term for term in one["query"])]
    assert len(searches) == 24
    for recorded in searches:
        found = ask(client, recorded, answers["vectors"])
        assert found["total"] == recorded["total"]
        assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in recorded["hits"]]
        for hit, before in zip(found["hits"], recorded["hits"], strict=True):
            assert hit["score"] == pytest.approx(before["score"], abs=2e-6)
            assert hit["scores"] == pytest.approx(before["scores"], abs=2e-6)


def test_every_older_schema_that_opens_has_a_folder_here() -> None:
    headers = [gzip.decompress(catalogue.read_bytes())[:100] for catalogue in HERE.glob("*/catalogue.db.gz")]
    versions = {int.from_bytes(header[60:64], "big") for header in headers}  # where SQLite keeps it
    assert versions >= set(READABLE_VERSIONS) - {SCHEMA_VERSION}


def test_searches_find_what_they_found(client: TestClient, answers: Any) -> None:
    assert_same_answers(client, answers)


def test_items_and_collections_read_the_same(client: TestClient, answers: Any) -> None:
    for path, recorded in answers["reads"].items():
        found = client.get(path).json()
        recorded.pop("index", None)  # which tells more by now
        assert {name: found[name] for name in recorded} == recorded


def test_pictures_are_there(client: TestClient, answers: Any) -> None:
    urls = [item["image_url"] for item in answers["reads"].values() if item.get("image_url")]
    assert len(urls) == 7
    assert {client.get(url).status_code for url in urls} == {200}


def test_what_is_new_since_works_on_it(client: TestClient) -> None:
    words = client.post(f"{DEFAULT}/search", json={"query": "navy", "mode": "lexical"}).json()
    filtered = client.post(f"{DEFAULT}/search", json={"query": "navy", "filter": {"color": "pink"}}).json()
    client.put(f"{DEFAULT}/items/new", json={"text": "a new square"}).raise_for_status()

    assert [hit["id"] for hit in words["hits"]] == ["blue-square"]
    assert [hit["id"] for hit in filtered["hits"]] == ["pink-square"]
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_the_schema_becomes_that_of_a_new_folder(release: Path, tmp_path: Path) -> None:
    restore(release, tmp_path / "old.db")

    assert schema(tmp_path / "old.db") == schema(tmp_path / "new.db")


def schema(path: Path) -> Any:
    """Tables with their columns and indexes, and the version, once it was opened."""
    Database(path).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        triggers = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
    found = inspect(engine)
    tables = {
        table: (
            {column["name"]: (str(column["type"]), column["nullable"]) for column in found.get_columns(table)},
            sorted(str(sorted(index.items(), key=str)) for index in found.get_indexes(table)),
            found.get_pk_constraint(table)["constrained_columns"],
        )
        for table in found.get_table_names()
        if not table.startswith("texts_")  # of a collection, made with it
    }
    engine.dispose()
    return version, sorted(map(tuple, triggers)), tables


@model_is_gone
def test_without_its_model_a_collection_answers_what_needs_none(without_model: TestClient, answers: Any) -> None:
    assert_same_answers(without_model, answers)
    assert without_model.get("/readyz").status_code == 200
    assert without_model.get(DEFAULT).json()["model_present"] is False


@model_is_gone
def test_without_its_model_nothing_is_embedded_and_the_answer_says_what_to_do(without_model: TestClient) -> None:
    asked = [
        without_model.get(f"{DEFAULT}/search", params={"q": "red"}),
        without_model.post(f"{DEFAULT}/search/batch", json={"searches": [{"query": "red"}]}),
        without_model.put(f"{DEFAULT}/items/new", json={"text": "red"}),
        without_model.put(f"{DEFAULT}/items/new", json={"image": data_uri(picture("red"))}),
        without_model.post(f"{DEFAULT}/search", json={"query": {"image": data_uri(picture("red"))}}),
        without_model.post(f"{DEFAULT}/items", json={"items": [{"id": "new", "text": "red"}]}),
    ]

    for answer in asked:
        assert (answer.status_code, answer.json()["type"]) == (409, "model-absent"), answer.text
        assert f"POST {DEFAULT}/reembed" in answer.json()["detail"]
    assert without_model.get(f"{DEFAULT}/items/new").status_code == 404
    assert without_model.delete(f"{DEFAULT}/items/text%20only").status_code == 204


@model_is_gone
def test_reembedding_brings_it_to_the_model_of_today(without_model: TestClient) -> None:
    job = without_model.post(f"{DEFAULT}/reembed", json={"model": "default"}).json()
    with without_model.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        assert events.read()  # which ends with the job
    assert without_model.get(f"/v1/jobs/{job['id']}").json()["state"] == "succeeded"

    found = without_model.get(f"{DEFAULT}/search", params={"q": "a pink square"}).json()

    assert found["generation"] == 2
    assert found["hits"][0]["id"] == "pink-square"
    assert without_model.get(DEFAULT).json()["model_present"] is True
    back = without_model.post(f"{DEFAULT}/generations/1/activate")
    assert (back.status_code, back.json()["type"]) == (409, "collection-conflict")
