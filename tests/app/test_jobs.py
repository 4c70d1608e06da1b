"""Jobs over HTTP: made, followed, reported, cancelled."""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from app.routes import jobs as routes
from app.settings import Settings
from models.encoder import TextEmbeddings
from tests.app.conftest import ITEMS, client_of
from tests.fakes import FakeEncoder
from tests.waiting import WAIT_S

INGEST = "/v1/collections/default/ingest"


class Gate:
    """Lets no text through to the encoder until it is opened."""

    def __init__(self, encoder: FakeEncoder) -> None:
        self._encode, self._open = encoder.encode_texts, threading.Event()
        self.reached = threading.Event()
        encoder.encode_texts = self._wait  # type: ignore[method-assign]

    def open(self) -> None:
        self._open.set()

    def _wait(self, texts: Sequence[str]) -> TextEmbeddings:
        self.reached.set()
        assert self._open.wait(WAIT_S)
        return self._encode(texts)


@pytest.fixture
def gate(encoder: FakeEncoder) -> Iterator[Gate]:
    gate = Gate(encoder)
    yield gate
    gate.open()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, ingest_roots=(str(tmp_path / "shop"),))


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "EVENT_INTERVAL_S", 0.02)


@pytest.fixture(autouse=True)
def _nothing_kept(settings: Settings) -> Iterator[None]:
    """When the server has ended, nothing is left of the uploads whose jobs have."""
    yield
    assert list(settings.data_dir.glob("spool/*")) == []


@pytest.fixture
def server(gate: Gate, server_url: str) -> Iterator[httpx.Client]:
    """A client of a real server, which goes before the server does."""
    with httpx.Client(base_url=server_url, timeout=WAIT_S) as client:
        yield client
        gate.open()


def catalogue(*rows: str) -> bytes:
    return "\n".join(("id,title,image", *rows)).encode()


def upload(client: TestClient | httpx.Client, content: bytes, *, name: str = "catalog.csv", **options: Any) -> Any:
    headers = {"Idempotency-Key": options.pop("key")} if "key" in options else {}
    answer = client.post(INGEST, files={"file": (name, content)}, data=options, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


def events(client: TestClient | httpx.Client, job: Any) -> list[tuple[str, Any]]:
    """Name and data of each event of a job, until the server ends the stream."""
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(parsed(answer))


def parsed(answer: httpx.Response) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def finished(client: TestClient | httpx.Client, job: Any) -> Any:
    """The job as it ended."""
    name, ended = events(client, job)[-1]
    assert name == "finished"
    return ended


def test_an_uploaded_catalogue_goes_in(client: TestClient) -> None:
    made = upload(client, catalogue("a,red dress,", "b,blue shoe,"))
    assert (made["kind"], made["collection"], made["progress"]["done"]) == ("ingest", "default", 0)

    job = finished(client, made)

    progress = job["progress"]
    assert (job["state"], job["error"], progress["created"], progress["done"], progress["total"]) == (
        "succeeded",
        None,
        2,
        2,
        2,
    )
    assert progress["per_second"] > 0
    assert progress["eta_seconds"] == 0
    assert job["mapping"] == {"id": "id", "image": "image", "text": "title", "metadata": []}
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert client.get(f"/v1/jobs/{made['id']}").json() == job
    assert client.get(f"{ITEMS}/a").json()["text"] == "red dress"


def test_a_catalogue_of_an_allowed_folder_goes_in(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "products.csv").write_bytes(b"sku;name;colour\n7;red dress;red\n")
    mapping = {"id": "sku", "text": "name", "metadata": ["colour"]}

    made = client.post(INGEST, json={"source": str(tmp_path / "shop" / "products.csv"), "mapping": mapping})
    job = finished(client, made.json())

    assert (made.status_code, job["state"], job["source"]) == (
        202,
        "succeeded",
        str(tmp_path / "shop" / "products.csv"),
    )
    assert job["mapping"] == {"id": "sku", "image": None, "text": "name", "metadata": ["colour"]}
    assert client.get(f"{ITEMS}/7").json()["metadata"] == {"colour": "red"}


def test_a_job_is_followed_from_its_queue_to_its_end(server: httpx.Client, gate: Gate) -> None:
    job = upload(server, catalogue(*(f"p{number},thing {number}," for number in range(300))))
    assert gate.reached.wait(WAIT_S)

    with server.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
        stream = parsed(answer)
        told = [next(stream)]
        gate.open()
        told += stream

    assert (told[0][0], told[0][1]["state"], told[0][1]["progress"]["done"]) == ("progress", "running", 0)
    assert [name for name, _ in told] == ["progress"] * (len(told) - 1) + ["finished"]
    done = [state["progress"]["done"] for _, state in told]
    assert done == sorted(done)
    assert (told[-1][1]["state"], done[-1]) == ("succeeded", 300)


def test_a_job_that_has_ended_is_told_in_one_event(client: TestClient) -> None:
    job = finished(client, upload(client, catalogue("a,red,")))

    assert events(client, job) == [("finished", job)]


def test_a_follower_that_goes_away_costs_the_job_and_others_nothing(server: httpx.Client, gate: Gate) -> None:
    job = upload(server, catalogue("a,red,"))
    assert gate.reached.wait(WAIT_S)
    for _ in range(60):  # more than the server has threads
        with server.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
            assert next(parsed(answer))[0] == "progress"

    assert server.get("/healthz").status_code == 200
    gate.open()

    assert finished(server, job)["state"] == "succeeded"


def test_bad_rows_are_told_as_json_lines(client: TestClient) -> None:
    strange = "x\u2028y\u0085z"
    job = finished(client, upload(client, catalogue("a,red,gone.png", "b,,", f"{strange},,gone.png", "c,blue,")))

    answer = client.get(f"/v1/jobs/{job['id']}/errors")

    assert answer.headers["content-type"].startswith("application/jsonl")
    rows = [json.loads(line) for line in answer.text.split("\n")[:-1]]
    assert answer.text.endswith("\n")
    assert [(row["level"], row["row"], row["id"], row["code"]) for row in rows] == [
        ("warning", 1, "a", "row-invalid"),
        ("error", 2, "b", "item-invalid"),
        ("error", 3, strange, "row-invalid"),
    ]
    assert all(set(row) == {"level", "row", "id", "code", "detail"} and row["detail"] for row in rows)
    assert "'gone.png' did not come with the catalogue: upload both in a zip file" in rows[0]["detail"]
    assert (job["progress"]["failed"], job["progress"]["warnings"], job["progress"]["created"]) == (2, 1, 2)


def test_thousands_of_bad_rows_are_all_told(client: TestClient) -> None:
    job = finished(client, upload(client, catalogue(*(f"p{number},," for number in range(1200)))))

    lines = client.get(f"/v1/jobs/{job['id']}/errors").text.splitlines()

    assert [json.loads(line)["row"] for line in lines] == list(range(1, 1201))


def test_a_job_without_bad_rows_has_an_empty_report(client: TestClient) -> None:
    job = finished(client, upload(client, catalogue("a,red,")))

    assert client.get(f"/v1/jobs/{job['id']}/errors").text == ""


def test_the_first_bad_row_ends_a_job_that_is_told_so(client: TestClient) -> None:
    job = finished(client, upload(client, catalogue("a,red,", "b,,"), on_error="fail"))

    assert (job["state"], job["error"]["code"]) == ("failed", "row-refused")
    assert job["error"]["detail"].startswith("row 2 (b): ")
    assert client.get(ITEMS).json()["items"] == []


def test_a_sync_asks_for_the_number_of_its_deletes(client: TestClient) -> None:
    rows = [f"p{number},thing {number}," for number in range(10)]
    upload(client, catalogue(*rows))

    refused = finished(client, upload(client, catalogue(*rows[:6]), mode="sync"))
    assert (refused["state"], refused["error"]["code"]) == ("failed", "deletes-unconfirmed")
    assert refused["error"]["detail"].endswith("expect_deletes 4")

    confirmed = finished(client, upload(client, catalogue(*rows[:6]), mode="sync", expect_deletes=4))
    assert (confirmed["progress"]["deleted"], confirmed["progress"]["unchanged"]) == (4, 6)
    assert len(client.get(ITEMS).json()["items"]) == 6


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "catalog.csv", "empty"),
        (b"%PDF-1.7", "catalog.pdf", "PDF"),
        (b"\x89PNG\r\n", "a.png", "picture"),
        (b"PK\x03\x04 broken", "shop.zip", "zip"),
        (b"PAR1 broken PAR1", "catalog.parquet", "Parquet"),
        (b"\x1f\x8b\x08 broken", "catalog.csv.gz", "catalog.csv.gz"),
        (b"a,b\n1,2\n", "catalog.csv", "column"),
    ],
)
def test_what_is_no_catalogue_fails_its_job_with_words(
    client: TestClient, content: bytes, name: str, words: str
) -> None:
    job = finished(client, upload(client, content, name=name))

    assert (job["state"], job["error"]["code"]) == ("failed", "source-invalid")
    assert words.lower() in job["error"]["detail"].lower()


def test_columns_are_guessed_before_a_catalogue_is_sent(client: TestClient) -> None:
    guess = client.post("/v1/mapping", json={"columns": ["SKU", "Photo URL", "Product name", "", "colour"]})

    assert guess.json() == {"id": "SKU", "image": "Photo URL", "text": "Product name", "metadata": ["colour"]}
    assert client.post("/v1/mapping", json={"columns": []}).json()["metadata"] == []


def test_a_mapping_of_columns_that_are_not_there_fails_the_job(client: TestClient) -> None:
    job = finished(client, upload(client, catalogue("a,red,"), mapping='{"id": "sku", "text": "title"}'))

    assert (job["state"], job["error"]["code"]) == ("failed", "source-invalid")
    assert "sku" in job["error"]["detail"]


def test_a_name_that_leads_to_a_forbidden_address_fails_the_job(client: TestClient) -> None:
    job = finished(client, client.post(INGEST, json={"source": "http://localhost:9/catalog.csv"}).json())

    assert (job["state"], job["error"]["code"]) == ("failed", "url-forbidden")


def test_an_allowed_folder_without_the_catalogue_fails_the_job(client: TestClient, tmp_path: Path) -> None:
    job = finished(client, client.post(INGEST, json={"source": str(tmp_path / "shop" / "gone.csv")}).json())

    assert (job["state"], job["error"]["code"]) == ("failed", "source-invalid")
    assert "does not exist" in job["error"]["detail"]


def test_a_queued_and_a_running_job_are_cancelled(server: httpx.Client, gate: Gate, settings: Settings) -> None:
    running, queued = upload(server, catalogue("a,red,")), upload(server, catalogue("b,blue,"))
    assert gate.reached.wait(WAIT_S)
    assert len(list(settings.data_dir.glob("spool/*"))) == 2

    second = server.post(f"/v1/jobs/{queued['id']}/cancel").json()
    assert (second["state"], second["started_at"], second["finished_at"] is None) == ("cancelled", None, False)
    assert len(list(settings.data_dir.glob("spool/*"))) == 1
    assert server.post(f"/v1/jobs/{running['id']}/cancel").json()["state"] == "running"
    gate.open()

    assert finished(server, running)["state"] == "cancelled"
    assert server.get(ITEMS).json()["items"] == []
    assert server.post(f"/v1/jobs/{running['id']}/cancel").json()["state"] == "cancelled"


def test_a_job_that_has_succeeded_is_not_cancelled(client: TestClient) -> None:
    job = finished(client, upload(client, catalogue("a,red,")))

    answer = client.post(f"/v1/jobs/{job['id']}/cancel")

    assert (answer.status_code, answer.json()["type"]) == (409, "job-finished")
    assert "has succeeded already" in answer.json()["detail"]
    assert client.get(f"/v1/jobs/{job['id']}").json() == job


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("GET", "/errors"), ("POST", "/cancel")])
def test_a_job_that_is_not_there_is_a_problem(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, f"/v1/jobs/none{path}")

    assert (answer.status_code, answer.json()["type"]) == (404, "job-not-found")


def test_the_jobs_of_a_deleted_collection_end(server: httpx.Client, gate: Gate, settings: Settings) -> None:
    jobs = [upload(server, catalogue("a,red,")), upload(server, catalogue("b,blue,"))]
    assert gate.reached.wait(WAIT_S)

    assert server.delete("/v1/collections/default").status_code == 204
    assert [finished(server, job)["state"] for job in jobs] == ["cancelled", "cancelled"]
    assert len(list(settings.data_dir.glob("spool/*"))) == 1  # what the first one reads just now
    gate.open()
    finished(server, upload(server, catalogue("c,green,")))

    assert [item["id"] for item in server.get(ITEMS).json()["items"]] == ["c"]


def test_jobs_are_listed_newest_first_by_pages_and_filtered(client: TestClient) -> None:
    client.put("/v1/collections/other", json={})
    made = [upload(client, catalogue("a,red,"))["id"] for _ in range(4)]
    failed = upload(client, b"")
    made.append(failed["id"])
    finished(client, failed)

    pages, cursor = [], None
    while True:
        page = client.get("/v1/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        pages.append([job["id"] for job in page["jobs"]])
        if (cursor := page["next_cursor"]) is None:
            break

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [id_ for page in pages for id_ in page] == made[::-1]
    listed = client.get("/v1/jobs", params={"state": "failed"}).json()["jobs"]
    assert [job["id"] for job in listed] == [failed["id"]]
    assert client.get("/v1/jobs", params={"collection": "other"}).json() == {"jobs": [], "next_cursor": None}
    assert len(client.get("/v1/jobs", params={"collection": "default"}).json()["jobs"]) == 5


@pytest.mark.parametrize(
    ("query", "status", "type_"),
    [
        ({"limit": 0}, 422, "invalid-request"),
        ({"limit": 501}, 422, "invalid-request"),
        ({"limit": "many"}, 422, "invalid-request"),
        ({"state": "lost"}, 422, "invalid-request"),
        ({"cursor": "%%%"}, 400, "cursor-invalid"),
        ({"cursor": "x" * 101}, 422, "invalid-request"),
        ({"order": "name"}, 422, "invalid-request"),
    ],
)
def test_a_wrong_question_for_jobs_is_a_problem(
    client: TestClient, query: dict[str, str], status: int, type_: str
) -> None:
    answer = client.get("/v1/jobs", params=query)

    assert (answer.status_code, answer.json()["type"]) == (status, type_)


def test_a_key_makes_an_upload_safe_to_send_again(client: TestClient, tmp_path: Path) -> None:
    first = upload(client, catalogue("a,red,"), key="monday")
    job = finished(client, first)

    assert upload(client, catalogue("a,red,"), key="monday") == job
    assert upload(client, catalogue("a,red,"), name="other.csv", key="monday") == job
    assert finished(client, upload(client, catalogue("a,red,"), key="tuesday"))["id"] != first["id"]
    for content, options in ((catalogue("a,blue,"), {}), (catalogue("a,red,"), {"mode": "sync"})):
        answer = client.post(INGEST, files={"file": content}, data=options, headers={"Idempotency-Key": "monday"})
        assert (answer.status_code, answer.json()["type"]) == (409, "job-conflict")
        assert first["id"] in answer.json()["detail"]
    path = {"source": str(tmp_path / "shop" / "catalog.csv")}
    assert client.post(INGEST, json=path, headers={"Idempotency-Key": "monday"}).status_code == 409
    assert len(client.get("/v1/jobs").json()["jobs"]) == 2


def test_an_upload_that_comes_again_while_its_job_runs_is_kept_once(
    server: httpx.Client, gate: Gate, settings: Settings
) -> None:
    first = upload(server, catalogue("a,red,"), key="monday")
    assert gate.reached.wait(WAIT_S)

    again = upload(server, catalogue("a,red,"), key="monday")

    assert again["id"] == first["id"]
    assert len(list(settings.data_dir.glob("spool/*"))) == 1
    gate.open()
    assert finished(server, first)["progress"]["created"] == 1


def test_an_upload_goes_on_after_a_restart(settings: Settings, encoder: FakeEncoder) -> None:
    gate = Gate(encoder)
    with client_of(settings, encoder) as client:
        jobs = [upload(client, catalogue("a,red,")), upload(client, catalogue("b,blue,"))]
        assert gate.reached.wait(WAIT_S)
        stopping = threading.Timer(0.2, gate.open)  # the server is stopped while it embeds
        stopping.start()
    stopping.join()

    with client_of(settings, encoder) as client:
        assert [finished(client, job)["progress"]["created"] for job in jobs] == [1, 1]
        assert client.get(f"{ITEMS}/b").json()["text"] == "blue"
