"""What is around the routes: health, metrics, ids, limits, the key, the page, the documentation."""

import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

import app
from app.access.scopes import SCOPES
from app.observation.logs import TextFormatter
from app.routes import page
from app.server import create_app
from app.settings import Settings
from indexer.collections import Collections
from models.batching import is_abandoned
from models.encoder import TextEmbeddings
from models.errors import RequestAbandoned
from tests.app.conftest import ITEMS, LOCAL, SEARCH, client_of
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture
from tests.waiting import WAIT_S

KEY = "a-key-of-some-length"


@pytest.fixture
def locked(settings: Settings, encoder: FakeEncoder) -> Iterator[TestClient]:
    with client_of(settings.model_copy(update={"api_key": SecretStr(KEY)}), encoder) as client:
        yield client


def test_health_and_readiness(client: TestClient, encoder: FakeEncoder) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["fingerprint"] == encoder.fingerprint


def test_a_server_that_cannot_serve_names_what_is_missing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Collections) -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr(Collections, "ready", fail)

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["type"], answer.headers["retry-after"]) == (503, "not-ready", "5")
    assert "database" in answer.json()["detail"]
    assert "secret" not in answer.text


def test_the_first_request_waits_for_no_route_to_be_made(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(**_: object) -> None:
        raise AssertionError("a route is made")

    monkeypatch.setattr("fastapi.routing.get_dependant", make)

    assert client.get(SEARCH, params={"q": "red"}).status_code == 200


def test_metrics_count_requests_by_route_and_items_by_collection(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"text": "red"})
    client.get(f"{ITEMS}/a")
    client.get(f"{ITEMS}/nobody")
    client.get("/nowhere")

    text = client.get("/metrics").text

    route = "/v1/collections/{name}/items/{item_id}"
    assert f'sightline_requests_total{{method="GET",route="{route}",status="200"}} 1.0' in text
    assert f'sightline_requests_total{{method="GET",route="{route}",status="404"}} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert 'sightline_request_seconds_count{method="PUT"' in text
    assert 'sightline_items{collection="default"} 1.0' in text
    assert 'sightline_vectors{collection="default",modality="text"} 1.0' in text


def test_metrics_tell_what_goes_through_the_towers(settings: Settings) -> None:
    with TestClient(create_app(settings), base_url=LOCAL) as client:  # with the embedded model
        client.put(f"{ITEMS}/a", json={"text": "red", "image": data_uri(picture("red"))})
        for _ in range(3):
            client.get(SEARCH, params={"q": "red"})
        text = client.get("/metrics").text

    assert 'sightline_query_cache_lookups_total{result="miss",tower="text"} 1.0' in text
    assert 'sightline_query_cache_lookups_total{result="hit",tower="text"} 2.0' in text
    assert 'sightline_batch_rows_count{lane="interactive",tower="image"} 1.0' in text
    assert 'sightline_batch_rows_sum{lane="interactive",tower="text"} 2.0' in text
    assert 'sightline_batch_wait_seconds_count{lane="interactive",tower="text"} 2.0' in text
    for tower in ("image", "text"):
        for lane in ("interactive", "bulk"):
            assert f'sightline_batch_waiting{{lane="{lane}",tower="{tower}"}} 0.0' in text


@pytest.mark.parametrize(
    ("method", "options"), [("GET", {"params": {"q": "red"}}), ("POST", {"json": {"query": "red"}})]
)
def test_what_a_client_asked_for_that_went_away_is_abandoned(
    method: str, options: dict[str, Any], server_url: str, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, looked, embed = threading.Event(), list[bool](), encoder.encode_texts

    def embed_for_somebody(texts: Sequence[str]) -> TextEmbeddings:
        deadline = time.monotonic() + WAIT_S
        while not is_abandoned.get()():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        left.set()
        raise RequestAbandoned("the client did not wait")

    def embed_and_look(texts: Sequence[str]) -> TextEmbeddings:
        looked.append(is_abandoned.get()())
        return embed(texts)

    monkeypatch.setattr(encoder, "encode_texts", embed_for_somebody)
    with pytest.raises(httpx.ReadTimeout):
        httpx.request(method, server_url + SEARCH, timeout=httpx.Timeout(20, read=0.5), **options)
    assert left.wait(WAIT_S)
    monkeypatch.setattr(encoder, "encode_texts", embed_and_look)
    assert httpx.request(method, server_url + SEARCH, **options).status_code == 200
    assert looked == [False]


def test_health_answers_while_a_search_embeds(
    server_url: str, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave, embed = threading.Event(), threading.Event(), encoder.encode_texts

    def embed_slowly(texts: Sequence[str]) -> TextEmbeddings:
        entered.set()
        assert leave.wait(WAIT_S)
        return embed(texts)

    monkeypatch.setattr(encoder, "encode_texts", embed_slowly)
    with ThreadPoolExecutor() as pool:
        searching = pool.submit(httpx.get, server_url + SEARCH, params={"q": "red"}, timeout=WAIT_S)
        try:
            assert entered.wait(WAIT_S)
            assert httpx.get(f"{server_url}/healthz", timeout=WAIT_S).status_code == 200
            assert not searching.done()
        finally:
            leave.set()
        assert searching.result().status_code == 200


@pytest.mark.parametrize(("given", "echoed"), [("job-7.a_B", True), ("", False), ("a b", False), ("x" * 129, False)])
def test_a_request_id_is_echoed_or_made(client: TestClient, given: str, echoed: bool) -> None:
    found = client.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"]

    assert (found == given) is echoed
    assert found


def test_a_failure_tells_the_log_and_not_the_client(
    client: TestClient, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(texts: object) -> None:
        raise RuntimeError("secret path")

    handler = logging.StreamHandler(log := StringIO())
    handler.setFormatter(TextFormatter())
    monkeypatch.setattr(logging.getLogger("sightline"), "handlers", [handler])
    monkeypatch.setattr(encoder, "encode_texts", fail)

    answer = client.get(SEARCH, params={"q": "red"}, headers={"X-Request-ID": "job-7"})

    assert (answer.status_code, answer.json()["type"]) == (500, "internal-error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "job-7"
    assert "job-7" in answer.json()["detail"]
    assert "secret" not in answer.text
    first, *others = log.getvalue().splitlines()
    assert (" ERROR " in first, first.count("job-7")) == (True, 1)
    assert "RuntimeError: secret path" in others


def test_a_body_that_streams_is_stopped_at_the_limit(settings: Settings, encoder: FakeEncoder) -> None:
    read = 0

    def stream() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b" " * 1000

    with client_of(settings.model_copy(update={"max_body_bytes": 10_000}), encoder) as client:
        answer = client.put(f"{ITEMS}/a", content=stream(), headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["type"]) == (413, "body-too-large")


def test_a_form_that_streams_is_stopped_at_the_limit(settings: Settings, encoder: FakeEncoder) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    stream = iter([head, *[b" " * 1000] * 100])

    with client_of(settings.model_copy(update={"max_body_bytes": 10_000}), encoder) as client:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = client.put(f"{ITEMS}/a", content=stream, headers=headers)

    assert (answer.status_code, answer.json()["type"]) == (413, "body-too-large")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}])
@pytest.mark.parametrize(
    "path", ["/v1/collections", "/metrics", "/nowhere", "//v1/collections", "/%761/models", "/behind/a/proxy/v1/models"]
)
def test_without_the_key_the_api_is_closed(locked: TestClient, path: str, headers: dict[str, str]) -> None:
    answer = locked.get(f"{LOCAL}{path}", headers=headers)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["type"] == "unauthorized"


def test_with_the_key_the_api_is_open(locked: TestClient) -> None:
    assert locked.get("/v1/collections", headers={"Authorization": f"bearer {KEY}"}).status_code == 200


def test_health_needs_no_key(locked: TestClient) -> None:
    assert [locked.get(path).status_code for path in ("/healthz", "/readyz", "/openapi.json")] == [200, 200, 200]


def test_the_page_may_run_only_what_is_its_own(client: TestClient) -> None:
    answer = client.get("/")

    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", [path.name for path in page.FOLDER.iterdir()] if page.FOLDER.exists() else [])
def test_the_pages_files_are_served(client: TestClient, name: str) -> None:
    answer = client.get(f"/static/{name}")

    assert answer.content == (page.FOLDER / name).read_bytes()
    assert answer.headers["cache-control"] == "no-cache"  # modules of two versions do not fit together
    unchanged = client.get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert (unchanged.status_code, unchanged.headers["cache-control"]) == (304, "no-cache")


@pytest.fixture
def operations(client: TestClient) -> dict[str, Any]:
    document = client.get("/openapi.json").json()
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_declares_each_problem_as_one(operations: dict[str, Any]) -> None:
    wrong = [
        (name, status)
        for name, operation in operations.items()
        for status, response in operation["responses"].items()
        if int(status) >= 400
        and response["content"] != {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    ]

    assert wrong == []


def test_the_document_tells_what_an_operation_answers_and_no_more(operations: dict[str, Any]) -> None:
    contents = {
        name: set(operation["responses"]["200"].get("content", ()))
        for name, operation in operations.items()
        if "200" in operation["responses"]
    }
    assert contents["GET /v1/jobs/{job_id}/errors"] == {"application/jsonl"}
    for name in ("GET /v1/collections/{name}/search", "POST /v1/collections/{name}/search", "POST /v1/classify"):
        assert {"400", "409", "503"} <= set(operations[name]["responses"])
    written = {name for name in operations if SCOPES[name] in ("write", "admin")}
    assert [name for name in written if "507" not in operations[name]["responses"]] == []


def test_every_reference_of_the_document_leads_somewhere(client: TestClient) -> None:
    text = client.get("/openapi.json").text
    schemas = client.get("/openapi.json").json()["components"]["schemas"]

    references = re.findall(r'"\$ref":"([^"]*)"', text)

    assert references
    assert {
        reference for reference in references if reference.removeprefix("#/components/schemas/") not in schemas
    } == set()


def test_each_operation_has_a_summary_and_a_described_body(operations: dict[str, Any]) -> None:
    assert [name for name, operation in operations.items() if not operation.get("summary")] == []
    writing = [name for name in operations if name.startswith(("PUT", "POST")) and not name.endswith("/cancel")]
    assert [name for name in writing if not operations[name]["requestBody"]["content"]] == []
    assert set(operations["PUT /v1/collections/{name}/items/{item_id}"]["requestBody"]["content"]) == {
        "application/json",
        "multipart/form-data",
    }


def test_how_threads_wait_is_set_before_anything_is_loaded_that_has_some() -> None:
    check = "import app, sys; print(*{'numpy', 'faiss'} & sys.modules.keys())"
    folder = Path(app.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", check], cwd=folder, capture_output=True, check=True).stdout == b"\n"
