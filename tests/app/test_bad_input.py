"""Whatever comes, it is answered with a problem document that names the field, and nothing stored is lost."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.bad_requests import CASES, JSON_TYPE, Bad
from tests.app.conftest import ITEMS, SEARCH, client_of
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One app for all cases: each must leave it as it was."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), max_image_bytes=200_000, max_body_bytes=1_000_000)
    with client_of(settings, FakeEncoder()) as client:
        client.put(f"{ITEMS}/before", json={"image": data_uri(picture("red")), "text": "red dress"})
        yield client


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_answered_with_a_problem(shared_client: TestClient, case: Bad) -> None:
    content = case.content if case.body is None else json.dumps(case.body).encode()
    headers = case.headers if case.body is None else JSON_TYPE

    answer = shared_client.request(
        case.method, case.path, content=content, headers=headers, files=case.files, data=case.data
    )

    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (case.status, case.type), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], bool(problem["title"]), bool(problem["detail"])) == (case.status, True, True)
    if case.pointer is not None:
        assert case.pointer in [error["pointer"] for error in problem["errors"]]
    hits = shared_client.get(SEARCH, params={"q": "red"}).json()["hits"]
    assert [hit["id"] for hit in hits] == ["before"]
