"""A reader beside its writer, both in this process: what it answers itself, and what it sends on."""

import asyncio
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from app.access.scopes import SCOPES
from app.cli.console import CommandFailed
from app.cli.serve import address, listen, shared_folder
from app.readers import group
from app.readers.accepting import SharingServer
from app.readers.following import Following
from app.readers.forwarding import Forward
from app.readers.process import answering
from app.readers.reader import is_read
from app.server import compose_app
from app.serving import configure
from app.settings import Settings
from app.state import Resources, open_resources
from indexer.reembed.bridge import Bridge, Recall
from indexer.stores.database import CATALOGUE, Database
from indexer.stores.keys import KeyStore, NewKey
from models.encoder import TextEmbeddings
from tests.app.conftest import GENERATIONS, ITEMS, REEMBED, SEARCH
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture

WRITER_S = {
    "GET /readyz",
    "GET /metrics",
    "GET /v1/collections/{name}/quality",
    "GET /v1/collections/{name}/rules",
    "GET /v1/collections/{name}/rules/{rule}",
    "GET /v1/collections/{name}/flags",
    "GET /v1/collections/{name}/generations",
    "POST /v1/mapping",
    "GET /v1/jobs",
    "GET /v1/jobs/{job_id}",
    "GET /v1/jobs/{job_id}/events",
    "GET /v1/jobs/{job_id}/errors",
    "GET /v1/models",
    "GET /v1/models/{model}",
}
"""What changes nothing and is sent on all the same."""


@pytest.fixture
def models(encoder: FakeEncoder, new: FakeEncoder) -> dict[str, FakeEncoder]:
    return {"default": encoder, "new": new}


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, body_timeout_s=1, **getattr(request, "param", {}))


@pytest.fixture
def writer_socket() -> Iterator[Path]:
    with TemporaryDirectory() as folder:  # its path may not be long
        yield Path(folder) / "writer"


@pytest.fixture
def writer(settings: Settings, models: dict[str, FakeEncoder], writer_socket: Path) -> Iterator[httpx.Client]:
    """A client of the writer itself."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(writer_socket))
    listener.listen(100)
    transport = httpx.HTTPTransport(uds=str(writer_socket))
    with (
        open_resources(settings, models.__getitem__) as resources,
        running(_writing(resources, writer_socket.parent), settings, listener, behind_readers=True),
        httpx.Client(transport=transport, base_url="http://127.0.0.1", timeout=20) as client,
    ):
        yield client


@pytest.fixture
def reader(
    writer: httpx.Client, settings: Settings, models: dict[str, FakeEncoder], writer_socket: Path
) -> Iterator[httpx.Client]:
    """A client of the reader."""
    with (
        listen(settings) as listener,
        open_resources(settings, models.__getitem__, read_only=True) as resources,
        running(answering(resources, writer_socket), settings, listener),
        httpx.Client(base_url=address(listener), timeout=20) as client,
    ):
        yield client


def _writing(resources: Resources, folder: Path) -> ASGIApp:
    return compose_app(resources.settings, lambda: nullcontext(resources), folder)


@contextmanager
def running(
    app: ASGIApp, settings: Settings, listener: socket.socket, *, behind_readers: bool = False
) -> Iterator[None]:
    server = uvicorn.Server(configure(app, settings, behind_readers=behind_readers))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join()


def found(client: httpx.Client, query: str = "red", **options: Any) -> list[str]:
    answer = client.post(SEARCH, json={"query": query, "limit": 100, **options}).raise_for_status()
    return [hit["id"] for hit in answer.json()["hits"]]


def head(length: int) -> bytes:
    """Of a request that stores an item."""
    lines = f"PUT {ITEMS}/a HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {length}"
    return "\r\n".join((*lines, "", "")).encode()


def test_every_route_is_answered_where_it_belongs() -> None:
    values = {"name": "a", "item_id": "b%2Fc", "rule": "r", "number": "1", "job_id": "j", "model": "m"}

    def is_answered(operation: str) -> bool:
        method, path = operation.format(**values).split(" ")
        return is_read({"type": "http", "method": method, "path": path, "raw_path": path.encode()})

    reading = {operation for operation, scope in SCOPES.items() if scope in ("read", None)}
    assert {operation for operation in SCOPES if is_answered(operation)} == reading - WRITER_S - {"GET /healthz"}
    assert not is_answered("DELETE /v1/collections/{name}/items/{item_id}")
    assert is_answered("GET /v1/collections/{name}/items/a/b/image")


def test_what_is_written_through_a_reader_is_found_by_it_and_read_by_it_alone(
    reader: httpx.Client, writer: httpx.Client
) -> None:
    for number in range(20):
        stored = reader.put(f"{ITEMS}/{number}", json={"text": f"red {number}", "metadata": {"n": number}})
        assert stored.status_code == 201
        assert str(number) in found(reader)
        assert found(reader, filter={"n": number}) == [str(number)]
    assert reader.delete(f"{ITEMS}/7").status_code == 204
    assert "7" not in found(reader)
    assert reader.get(f"{ITEMS}/7").status_code == 404

    counted = reader.get("/metrics").text
    assert (
        'sightline_requests_total{method="PUT",route="/v1/collections/{name}/items/{item_id}",status="201"} 20.0'
        in counted
    )
    assert 'route="/v1/collections/{name}/search"' not in counted  # the writer searched for nothing


def test_pictures_pass_both_ways(reader: httpx.Client) -> None:
    stored = reader.put(f"{ITEMS}/dress", files={"image": picture("red")}, data={"text": "red dress"})

    assert stored.json()["modalities"] == ["image", "text"]
    assert reader.get(f"{ITEMS}/dress/image").content == picture("red")
    assert found(reader, {"image": data_uri(picture("red"))}) == ["dress"]


def test_a_body_of_unknown_length_is_streamed_to_the_writer(reader: httpx.Client) -> None:
    lines = (json.dumps({"id": str(n), "text": f"red {n} " + "x" * 1000}).encode() + b"\n" for n in range(300))
    boundary = b"--b\r\n"
    field = boundary + b'Content-Disposition: form-data; name="file"; filename="shop.jsonl"\r\n\r\n'
    body = (part for part in (field, *lines, b"\r\n--b--\r\n"))
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    job = reader.post("/v1/collections/default/ingest", content=body, headers=headers).raise_for_status().json()
    with reader.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        told = events.read()

    assert b"succeeded" in told
    assert len(found(reader)) == 100
    assert reader.get("/v1/collections/default").json()["items"] == 300


def test_a_generation_answers_as_soon_as_it_is_active(reader: httpx.Client) -> None:
    reader.put(f"{ITEMS}/dress", json={"text": "red dress"}).raise_for_status()
    job = reader.post(REEMBED, json={"model": "new", "activate": False}).raise_for_status().json()
    with reader.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        events.read()
    assert reader.post(SEARCH, json={"query": "red"}).json()["generation"] == 1

    for number in (2, 1, 2, 1):
        assert reader.post(f"{GENERATIONS}/{number}/activate").status_code == 200
        answer = reader.post(SEARCH, json={"query": "red"}).json()
        assert (answer["generation"], [hit["id"] for hit in answer["hits"]]) == (number, ["dress"])


@pytest.mark.parametrize("settings", [{"clip_retrieval": True}], indirect=True)
def test_while_the_writer_bridges_two_models_it_embeds_the_texts(
    reader: httpx.Client, new: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        reader.put(f"{ITEMS}/{number}", json={"text": f"red {number}"}).raise_for_status()
    bridged, go_on = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        bridged.set()
        assert go_on.wait(20)

    monkeypatch.setattr(Bridge, "measure", lambda self, check: wait() or Recall(0, 0, None, None))
    job = reader.post(REEMBED, json={"model": "new", "bridge": True}).raise_for_status().json()
    assert bridged.wait(20)
    before = new.encoded_texts
    while_it_runs = reader.post(SEARCH, json={"query": "blue"}).json()
    of_clip_retrieval = {"text": "green", "modality": "text", "num_images": 1, "indice_name": "default"}
    reader.post("/knn-service", json=of_clip_retrieval).raise_for_status()
    embedded = new.encoded_texts - before
    go_on.set()
    with reader.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        events.read()

    assert (while_it_runs["generation"], while_it_runs["bridged"], embedded) == (1, True, 2)
    assert reader.post(SEARCH, json={"query": "blue"}).json()["generation"] == 2


def test_a_key_is_known_and_revoked_at_once(reader: httpx.Client, settings: Settings) -> None:
    database = Database(settings.data_dir / CATALOGUE)
    keys = KeyStore(database)
    for scope in ("read", "write"):
        key, secret = keys.create(NewKey("shop", (scope,)))
        headers = {"Authorization": f"Bearer {secret}"}
        asked: dict[str, Callable[[], httpx.Response]] = {
            "read": lambda headers=headers: reader.get(SEARCH, params={"q": "red"}, headers=headers),  # type: ignore[misc]
            "write": lambda headers=headers: reader.put(f"{ITEMS}/a", json={"text": "a"}, headers=headers),  # type: ignore[misc]
        }
        assert {name: ask().status_code for name, ask in asked.items() if name != scope} == (
            {"write": 403} if scope == "read" else {"read": 403}
        )
        assert asked[scope]().status_code in (200, 201)
        keys.revoke(key.id)
        assert asked[scope]().status_code == 401
    assert reader.get(SEARCH, params={"q": "red"}).status_code == 401
    assert reader.get("/readyz").status_code == 200
    database.close()


def test_the_writer_knows_who_asked_and_believes_only_its_readers(reader: httpx.Client, settings: Settings) -> None:
    lie = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "one"}
    made = reader.put("/v1/collections/shoes", json={}, headers=lie)

    assert (made.status_code, made.headers["x-request-id"]) == (201, "one")
    audit, until = settings.data_dir / "audit.jsonl", time.monotonic() + 20
    while not audit.exists() or not audit.read_text():  # it is noted once the answer was sent
        assert time.monotonic() < until
    [entry] = map(json.loads, audit.read_text().splitlines())
    assert (entry["address"], entry["request_id"]) == ("127.0.0.1", "one")


@pytest.mark.parametrize("settings", [{"requests_per_minute": 2}], indirect=True)
def test_a_quota_is_one_for_both(reader: httpx.Client) -> None:
    paths = [f"{ITEMS}?limit=1", "/v1/jobs"]

    assert [reader.get(path).status_code for path in (*paths, *paths)] == [200, 200, 429, 429]


def test_answers_are_as_the_writer_gives_them(reader: httpx.Client, writer: httpx.Client) -> None:
    for path in ("/v1/jobs", "/v1/jobs/none", "/readyz", "/v1/none"):
        sent_on, own = reader.get(path), writer.get(path)
        assert (sent_on.status_code, sent_on.content) == (own.status_code, own.content)
        assert sorted(sent_on.headers) == sorted(own.headers)
    assert len(reader.get("/v1/jobs").headers.get_list("date")) == 1


def test_bodies_that_stop_coming_or_are_too_large_are_refused(reader: httpx.Client) -> None:
    url = reader.base_url
    with socket.create_connection((url.host, url.port or 0)) as connection:
        connection.sendall(head(50))
        assert b" 408 " in connection.recv(1000)
    with socket.create_connection((url.host, url.port or 0)) as connection:
        connection.sendall(head(2**40))
        assert b" 413 " in connection.recv(1000)


def test_the_writer_is_told_when_a_client_goes_away(
    reader: httpx.Client, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.batching import is_abandoned

    left, reached = threading.Event(), threading.Event()
    encode = encoder.encode_texts

    def wait_until_it_leaves(texts: Sequence[str]) -> TextEmbeddings:
        reached.set()
        until = time.monotonic() + 20
        while not is_abandoned.get()() and time.monotonic() < until:
            time.sleep(0.01)
        if is_abandoned.get()():
            left.set()
        return encode(texts)

    monkeypatch.setattr(encoder, "encode_texts", wait_until_it_leaves)
    with socket.create_connection((reader.base_url.host, reader.base_url.port or 0)) as connection:
        body = b'{"text": "red"}'
        connection.sendall(head(len(body)) + body)
        assert reached.wait(20)
    assert left.wait(20)


def test_a_client_that_goes_away_amid_its_body_is_no_fault_of_the_server(
    reader: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection((reader.base_url.host, reader.base_url.port or 0)) as connection:
        connection.sendall(head(50) + b'{"text":')
    until = time.monotonic() + 20
    while '"request-abandoned"} 1.0' not in reader.get("/metrics").text:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_what_cannot_be_sent_on_is_no_request(reader: httpx.Client) -> None:
    with socket.create_connection((reader.base_url.host, reader.base_url.port or 0)) as connection:
        connection.sendall(b"GET /v1/jobs/\xc3\xa4 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 400 " in connection.recv(1000)


def test_without_a_writer_nothing_is_sent_on(
    settings: Settings, models: dict[str, FakeEncoder], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(listen(settings))
        stack.enter_context(running(Forward(tmp_path / "none"), settings, listener))
        answer = httpx.put(f"{address(listener)}{ITEMS}/a", json={"text": "a"})
    assert (answer.status_code, answer.json()["type"], answer.headers["retry-after"]) == (503, "not-ready", "5")


def test_a_reader_that_cannot_follow_answers_nothing_but_that_it_lives(
    reader: httpx.Client, writer: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.put(f"{ITEMS}/a", json={"text": "red"}).raise_for_status()

    async def fail(_: Following) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(Following, "catch_up", fail)
    assert reader.get("/healthz").status_code == 200
    for path in ("/readyz", f"{ITEMS}/a"):
        answer = reader.get(path, headers={"X-Request-ID": "one"})
        assert (answer.status_code, answer.json()["type"]) == (503, "not-ready")
        assert answer.headers["x-request-id"] == "one"


def test_what_the_writer_answers_does_not_wait_for_the_reader(
    reader: httpx.Client, writer: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.put("/v1/collections/shoes", json={}).raise_for_status()

    async def wait(_: Following) -> None:
        await asyncio.sleep(60)  # as a model may take to be opened

    monkeypatch.setattr(Following, "catch_up", wait)
    assert reader.put(f"{ITEMS}/a", json={"text": "red"}, timeout=10).status_code == 201
    assert reader.get("/v1/jobs", timeout=10).status_code == 200


def test_readers_that_end_again_and_again_are_started_ever_less_often(
    settings: Settings, writer_socket: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read, write = os.pipe()
    os.close(write)
    ended = Mock(sentinel=read, exitcode=1)  # a process takes a second to start
    ended.is_alive.return_value = False
    monkeypatch.setattr(group.Readers, "_start", lambda _: ended)
    monkeypatch.setattr(group, "LOOK_S", 0.01)
    settings = settings.model_copy(update={"workers": 1})

    with listen(settings) as listener, group.Readers(settings, listener, writer_socket.parent, access_log=False):
        time.sleep(1)

    os.close(read)
    times = [record.created for record in caplog.records if "ended with exit code 1" in record.message]
    rests = [after - before for before, after in pairwise(times)]
    assert 2 <= len(rests) <= 7
    assert all(rest >= 0.02 * 2**turn for turn, rest in enumerate(rests))


def test_readers_accept_on_a_unix_socket_of_systemd_s(writer_socket: Path, settings: Settings) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(writer_socket))
    listener.listen()
    server = SharingServer(configure(compose_app(settings, nullcontext), settings))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(writer_socket)), base_url="http://127.0.0.1") as client:
        assert client.get("/healthz").status_code == 200
    server.should_exit = True
    thread.join()


def test_a_folder_whose_path_is_too_long_for_a_socket_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    with (
        pytest.raises(CommandFailed, match="TMPDIR"),
        shared_folder(settings.model_copy(update={"workers": 1})),
    ):
        pass

    assert not list(folder.iterdir())
