"""What operators see: metrics, logs, readiness, and what is refused before the disk is full."""

import json
import logging
import sys
import time
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.observation.logs import JsonFormatter, TextFormatter, request_id
from app.settings import Settings
from app.state import Resources
from indexer.stores.database import Database
from indexer.stores.keys import KeyStore, NewKey
from tests.app.conftest import ITEMS, SEARCH, SEARCH_BATCH, client_of
from tests.fakes import FakeEncoder
from tests.waiting import WAIT_S

SECRET = "a secret wish in red"


def metrics(client: TestClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def resources_of(client: TestClient) -> Resources:
    resources = client.app_state["resources"]
    assert isinstance(resources, Resources)
    return resources


def test_searches_are_measured_by_mode_part_and_plan(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"text": "red", "metadata": {"size": 1}})
    client.post(SEARCH, json={"query": "red"})
    client.post(SEARCH, json={"query": "red", "filter": {"size": 2}})
    client.post(SEARCH_BATCH, json={"searches": [{"query": "red", "mode": "hybrid"}] * 3})

    found = metrics(client)

    for part in ("embed", "search", "hydrate", "wait"):
        assert found[f'sightline_search_seconds_count{{mode="vector",part="{part}"}}'] == 2
        assert found[f'sightline_search_seconds_count{{mode="hybrid",part="{part}"}}'] == 1  # answered together
    assert found['sightline_search_candidates_count{mode="hybrid"}'] == 3
    assert found['sightline_filter_matches_count{mode="vector"}'] == 1
    assert found['sightline_filter_matches_bucket{le="0.0",mode="vector"}'] == 1


def test_the_index_and_the_disk_are_measured(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"text": "red"})

    found = metrics(client)

    assert found['sightline_index_delta_vectors{collection="default"}'] == 1
    assert found['sightline_index_segments{collection="default",kind="flat",modality="text"}'] == 0
    assert found['sightline_model_present{collection="default"}'] == 1
    assert found["sightline_disk_free_bytes"] > 0


def test_jobs_are_measured_by_kind_state_and_what_became_of_rows(client: TestClient) -> None:
    catalogue = ("rows.csv", b"id,text\na,red\nb,blue\n,nameless\n", "text/csv")
    job = client.post("/v1/collections/default/ingest", files={"file": catalogue}).json()
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        events.read()

    found = metrics(client)

    assert found['sightline_jobs{kind="ingest",state="succeeded"}'] == 1
    assert found['sightline_job_rows_total{kind="ingest",outcome="created"}'] == 2
    assert found['sightline_job_rows_total{kind="ingest",outcome="failed"}'] == 1


def test_problems_are_counted_by_type(
    client: TestClient, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get(f"{ITEMS}/nobody")
    client.post(SEARCH, json={"query": ""})
    monkeypatch.delattr(FakeEncoder, "encode_texts")
    client.post(SEARCH, json={"query": "red"})

    found = metrics(client)

    assert found['sightline_problems_total{type="item-not-found"}'] == 1
    assert found['sightline_problems_total{type="internal-error"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("sightline_problems_total")) == 3


def test_no_line_tells_what_was_looked_for(
    settings: Settings, encoder: FakeEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sightline")
    with client_of(settings.model_copy(update={"slow_search_ms": 0}), encoder) as client:
        client.put(f"{ITEMS}/a", json={"text": SECRET, "metadata": {"size": 1}})
        client.get(SEARCH, params={"q": SECRET})
        client.post(SEARCH, json={"query": SECRET, "mode": "hybrid", "filter": {"brand": SECRET}, "limit": 3})
        client.post(SEARCH_BATCH, json={"searches": [{"query": SECRET}]})
        client.get(f"/nowhere%0A?{SECRET}")

    assert len(caplog.records) >= 8
    assert not [record for record in caplog.records if "secret" in JsonFormatter().format(record)]
    assert not [record for record in caplog.records if "\n" in record.getMessage()]


def test_a_line_of_a_request_tells_who_sent_it(
    settings: Settings, encoder: FakeEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sightline.access")
    with client_of(settings, encoder) as client:
        client.get("/v1/models")
        with closing(Database(settings.data_dir / "catalogue.db")) as database:
            key, secret = KeyStore(database).create(NewKey("", ("read",)))
        client.get("/v1/models", headers={"Authorization": f"Bearer {secret}"})
        client.get("/v1/models")

    by = [record.__dict__["fields"]["by"] for record in caplog.records if record.name == "sightline.access"]
    assert by == ["testclient", key.id, "testclient"]


def test_a_slow_search_is_logged_with_its_plan(
    settings: Settings, encoder: FakeEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(settings.model_copy(update={"slow_search_ms": 0}), encoder) as client:
        client.put(f"{ITEMS}/a", json={"text": "red", "metadata": {"size": 1}})
        client.post(SEARCH, json={"query": "red", "mode": "hybrid", "filter": {"size": 1}, "limit": 3})
        assert metrics(client)["sightline_slow_searches_total"] == 1

    [record] = [record for record in caplog.records if record.name == "sightline.slow"]
    told: Any = record.__dict__["fields"]
    assert (told["collection"], told["mode"], told["terms"], told["limit"]) == ("default", "hybrid", "text", 3)
    assert (told["matches"], told["rounds"], told["hits"]) == (1, 1, 1)
    assert told["total_ms"] >= told["search_ms"] > 0


def test_searches_that_are_not_slow_are_not_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    client.post(SEARCH, json={"query": "red"})

    assert not [record for record in caplog.records if record.name == "sightline.slow"]


def test_lines_of_a_request_carry_its_id_in_its_threads_too(
    settings: Settings, encoder: FakeEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(request_id.get())

    handler, slow = Handler(), logging.getLogger("sightline.slow")
    slow.addHandler(handler)
    try:
        with client_of(settings.model_copy(update={"slow_search_ms": 0}), encoder) as client:
            hybrid = {"q": "red", "mode": "hybrid"}  # of which each has a thread of its own
            client.get(SEARCH, params=hybrid, headers={"X-Request-ID": "mine"})
    finally:
        slow.removeHandler(handler)

    assert seen == ["mine"]
    assert request_id.get() == ""


def test_a_line_of_json_is_one_object() -> None:
    record = logging.LogRecord("sightline", logging.ERROR, "", 0, "%s failed\nbadly", ("it",), None)
    record.fields = {"path": "/v1"}
    try:
        raise ValueError("why")
    except ValueError:
        record.exc_info = sys.exc_info()
    token = request_id.set("mine")
    try:
        line, text = JsonFormatter().format(record), TextFormatter().format(record)
    finally:
        request_id.reset(token)

    told = json.loads(line)
    assert "\n" not in line
    assert (told["level"], told["message"], told["request_id"], told["path"]) == (
        "error",
        "it failed\nbadly",
        "mine",
        "/v1",
    )
    assert "ValueError: why" in told["exception"]
    assert "[mine]" in text


def test_a_server_that_is_about_to_stop_is_not_ready_and_answers(client: TestClient) -> None:
    resources_of(client).jobs.stop()

    assert (client.get("/readyz").status_code, client.get("/healthz").status_code) == (503, 200)
    assert client.post(SEARCH, json={"query": "red"}).status_code == 200


def test_below_the_limit_of_free_space_nothing_is_added_and_what_is_there_can_go(
    settings: Settings, encoder: FakeEncoder
) -> None:
    with client_of(settings, encoder) as client:
        client.put(f"{ITEMS}/a", json={"text": "red"}).raise_for_status()
    with client_of(settings.model_copy(update={"min_free_bytes": 2**62}), encoder) as client:
        item = client.put(f"{ITEMS}/b", json={"text": "blue"})
        catalogue = client.post("/v1/collections/default/ingest", files={"file": ("rows.csv", b"id,text\na,red\n")})
        found = client.post(SEARCH, json={"query": "red"}).json()["hits"]
        deleted = client.delete(f"{ITEMS}/a")

    for refused in (item, catalogue):
        assert (refused.status_code, refused.json()["type"]) == (507, "storage-unavailable")
        assert "free" in refused.json()["detail"]
    assert [hit["id"] for hit in found] == ["a"]
    assert deleted.status_code == 204


def test_a_job_waits_for_space(settings: Settings, encoder: FakeEncoder, tmp_path: Any) -> None:
    (tmp_path / "rows.csv").write_text("id,text\na,red\n")
    limits = {"min_free_bytes": 2**62, "ingest_roots": (str(tmp_path),)}
    with client_of(settings.model_copy(update=limits), encoder) as client:
        source = {"source": str(tmp_path / "rows.csv")}
        job = client.post("/v1/collections/default/ingest", json=source).json()
        deadline = time.monotonic() + WAIT_S
        while not (waits := client.get(f"/v1/jobs/{job['id']}").json())["error"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    assert (waits["state"], waits["error"]["code"]) == ("running", "storage-unavailable")
