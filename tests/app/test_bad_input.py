"""Whatever comes, it is answered with a problem document that names the field, and nothing stored is lost."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.bad_requests import CASES, Bad
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
    case.is_refused(shared_client)
    hits = shared_client.get(SEARCH, params={"q": "red"}).json()["hits"]
    assert [hit["id"] for hit in hits] == ["before"]
