"""Hostile pictures over REST: each is stored or searched by, or refused in words; none is too much for the server."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import httpx
import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from models.errors import ImageError, ImageTooLarge
from models.imaging import decode_image
from tests.app.conftest import ITEMS, client_of
from tests.fakes import FakeEncoder
from tests.hostile_pictures import LIMITS, crafted, mutated, polyglots, whole
from tests.hostile_uploads import WAYS
from tests.pictures import data_uri

PICTURES = {**crafted(), **polyglots(), **whole(), **dict(mutated(300, seed=7))}


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    limits = {f"max_image_{name.removeprefix('max_')}": value for name, value in vars(LIMITS).items()}
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), **limits)  # type: ignore[arg-type]
    with client_of(settings, FakeEncoder()) as client:
        yield client


def verdict(data: bytes) -> tuple[int, str | None]:
    """What the decoder says, as REST does."""
    try:
        decode_image(data, LIMITS)
    except ImageTooLarge:
        return 413, "image-too-large"
    except ImageError:
        return 422, "image-undecodable"
    return 200, None


@pytest.mark.parametrize("way", WAYS)
def test_every_picture_is_taken_or_refused_in_words(shared_client: TestClient, way: str) -> None:
    seen: Counter[str | None] = Counter()
    for name, data in islice(PICTURES.items(), list(WAYS).index(way), None, len(WAYS)):
        answer = WAYS[way](shared_client, data)
        expected, type_ = verdict(data)
        assert (200 if answer.is_success else answer.status_code) == expected, f"{name}: {answer.text[:300]}"
        seen[type_] += 1
        if type_ is not None:
            assert_problem(answer, expected, type_)
    assert set(seen) == {None, "image-undecodable", "image-too-large"}


def test_in_a_batch_each_is_answered_for_itself(shared_client: TestClient) -> None:
    names = list(PICTURES)
    for start in range(0, len(names), 150):
        part = {name: PICTURES[name] for name in names[start : start + 50] if len(PICTURES[name]) < 100_000}
        items = [{"id": str(number), "image": data_uri(data)} for number, data in enumerate(part.values())]
        results = shared_client.post(ITEMS, json={"items": items}).json()["results"]
        found = [(result.get("error") or {}).get("type") for result in results]
        assert found == [verdict(data)[1] for data in part.values()]


def test_what_was_stored_can_be_shown(shared_client: TestClient) -> None:
    item = f"{ITEMS}/shown"
    good = [(name, data) for name, data in PICTURES.items() if verdict(data)[0] == 200]
    assert len(good) > 50
    for name, data in good[::2]:
        assert shared_client.put(item, files={"image": data}).is_success, name
        original, thumbnail = (shared_client.get(f"{item}/image", params=ask) for ask in ({}, {"width": 16}))
        assert (original.content, thumbnail.status_code) == (data, 200), name
        assert original.headers["content-type"].startswith("image/")
        assert thumbnail.content.startswith(b"\xff\xd8\xff")


def assert_problem(answer: httpx.Response, status: int, type_: str) -> None:
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["type"], problem["status"], bool(problem["detail"])) == (type_, status, True)
    assert [error["pointer"] for error in problem["errors"]]
