"""Catalogues over HTTP: what is refused, and what becomes of what is not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.bad_ingests import CASES, INGEST, ROOT
from tests.app.bad_requests import Bad
from tests.app.conftest import client_of
from tests.fakes import FakeEncoder

MAX_UPLOAD = 3_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An allowed folder, and one beside it that two links lead to."""
    folder = tmp_path_factory.mktemp("folders")
    for name in ("shop", "shop2", "secret"):
        (folder / name).mkdir()
        (folder / name / "catalog.csv").write_text("id,title\na,red\n")
    (folder / "shop" / "out").symlink_to(folder / "secret")
    (folder / "shop" / "out.csv").symlink_to(folder / "secret" / "catalog.csv")
    return folder


@pytest.fixture(scope="module")
def shared_client(folder: Path) -> Iterator[TestClient]:
    """One app for all cases: each must leave it as it was."""
    settings = Settings(
        data_dir=folder / "data",
        max_body_bytes=1_000_000,
        max_catalogue_bytes=MAX_UPLOAD,
        ingest_roots=(str(folder / "shop"), "s3://allowed/shop"),
    )
    with client_of(settings, FakeEncoder()) as client:
        yield client


def placed(value: Any, root: Path) -> Any:
    """A request with its paths in the folder."""
    if isinstance(value, str):
        return value.replace(ROOT, str(root))
    return {name: placed(part, root) for name, part in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_request_makes_no_job_and_is_answered_with_a_problem(
    shared_client: TestClient, folder: Path, case: Bad
) -> None:
    case = replace(case, body=placed(case.body, folder / "shop"), data=placed(case.data, folder / "shop"))
    answer = case.is_refused(shared_client)
    assert "secret" not in answer.text or "secret" in json.dumps(case.body)
    assert shared_client.get("/v1/jobs").json()["jobs"] == []
    assert not list((folder / "data").glob("spool/*"))


@pytest.mark.parametrize("key", ["", "x" * 257])
def test_a_key_of_the_wrong_length_is_refused(shared_client: TestClient, folder: Path, key: str) -> None:
    body = {"source": str(folder / "shop" / "catalog.csv")}

    answer = shared_client.post(INGEST, json=body, headers={"Idempotency-Key": key})

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-request")
    assert answer.json()["errors"][0]["location"] == "header"


def test_too_large_an_upload_leaves_nothing_behind(shared_client: TestClient, folder: Path) -> None:
    file = b"x" * MAX_UPLOAD

    answer = shared_client.post(INGEST, files={"file": ("catalog.csv", file)})

    assert (answer.status_code, answer.json()["type"]) == (413, "body-too-large")
    assert not list((folder / "data").glob("spool/*"))


@pytest.mark.parametrize("files", [None, {"file": b"id,title\n"}])
def test_a_collection_that_is_not_there_takes_nothing_in(shared_client: TestClient, files: Any) -> None:
    body = None if files else {"source": "/etc/passwd"}

    answer = shared_client.post("/v1/collections/none/ingest", json=body, files=files)

    assert (answer.status_code, answer.json()["type"]) == (404, "collection-not-found")
