"""Embedding on upload, from the examples as they stand."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from examples import s3_events
from examples.fastapi_background import app
from sightline_client import Client
from tests.object_store import BUCKET, ObjectStore, configure, serve_objects
from tests.pictures import picture


def stored(sightline: Client) -> dict[str, str | None]:
    return {item.id: item.text for item in sightline.items()}


def test_a_fastapi_service_embeds_what_is_uploaded(sightline: Client) -> None:
    with TestClient(app) as service:
        answer = service.put("/products/1042", data={"title": "red dress"}, files={"photo": picture("red")})
        assert answer.status_code == 202
    assert stored(sightline) == {"1042": "red dress"}
    assert sightline.image("1042") == picture("red")


def test_a_fastapi_service_answers_although_sightline_cannot_take_it(
    sightline: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(app) as service:
        answer = service.put("/products/1042", data={"title": "red dress"}, files={"photo": b"no picture"})
        assert answer.status_code == 202
    assert "product 1042 cannot be found by search yet" in caplog.text
    assert stored(sightline) == {}


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectStore]:
    with serve_objects() as store:
        store.reset()
        yield store


def event(name: str, key: str) -> dict[str, Any]:
    """What S3 sends, as far as the example reads it."""
    return {"Records": [{"eventName": name, "s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}}]}


def test_an_s3_handler_follows_a_bucket(
    sightline: Client, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, bucket.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3_events._clients.cache_clear()
    bucket.put("new/red dress.png", picture("red"))

    for _ in range(2):  # it may be delivered twice
        s3_events.handler(json.loads(json.dumps(event("ObjectCreated:Put", "new/red+dress.png"))))
    assert stored(sightline) == {"new/red dress.png": None}
    assert sightline.item("new/red dress.png").metadata == {"bucket": BUCKET}

    bucket.delete("new/red dress.png")
    for name in ("ObjectCreated:Put", "ObjectRemoved:Delete"):  # the older one comes late
        s3_events.handler(event(name, "new/red+dress.png"))
        assert stored(sightline) == {}
    for client in s3_events._clients():
        client.close()
    s3_events._clients.cache_clear()
