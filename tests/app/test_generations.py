"""A change of model over HTTP, under attack while it runs."""

import gc
import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from app.server import create_app
from app.settings import Settings
from models.encoder import TextEmbeddings
from models.manifest import MANIFEST
from models.store import EMBEDDED
from tests.app.conftest import GENERATIONS, ITEMS, LOCAL, NEW, REEMBED, SEARCH, client_of
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture
from tests.waiting import WAIT_S

COLLECTION = "/v1/collections/default"
ITEM_COUNT = 24


class Gate(FakeEncoder):
    """Another model, that lets no batch of texts through until it is opened; single ones it does."""

    def __init__(self, dimension: int = 8, fingerprint: str = NEW) -> None:
        super().__init__(dimension, fingerprint)
        self.reached, self.open = threading.Event(), threading.Event()

    def encode_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        if len(texts) > 1:
            self.reached.set()
            assert self.open.wait(WAIT_S)
        return super().encode_texts(texts)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def gated(settings: Settings, encoder: FakeEncoder, gate: Gate) -> Iterator[TestClient]:
    """A client of a stocked server whose model `new` waits at the gate; `third` does not."""
    with client_of(settings, encoder, new=gate, third=FakeEncoder(4, "3" * 64)) as client:
        stock(client)
        yield client
        gate.open.set()


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    stock(client)
    return client


def stock(client: TestClient) -> None:
    """Items with a text each, every other with a picture."""
    colours = ("red", "green", "blue", "yellow")
    items: list[dict[str, Any]] = [{"id": f"i{n}", "text": f"{colours[n % 4]} {n}"} for n in range(ITEM_COUNT)]
    for number in range(0, ITEM_COUNT, 2):
        items[number]["image"] = data_uri(picture((number, 99, 200)))
    assert all("error" not in one for one in client.post(ITEMS, json={"items": items}).json()["results"])


def begin(client: TestClient, **body: Any) -> Any:
    answer = client.post(REEMBED, json={"model": "new"} | body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def ended(client: TestClient, job: Any) -> Any:
    """The job as it ended."""
    deadline = time.monotonic() + WAIT_S
    while (job := client.get(f"/v1/jobs/{job['id']}").json())["finished_at"] is None:
        assert time.monotonic() < deadline, job
        time.sleep(0.01)
    return job


def reembed(client: TestClient, **body: Any) -> Any:
    job = ended(client, begin(client, **body))
    assert (job["state"], job["error"]) == ("succeeded", None)
    return job


def states(client: TestClient) -> list[str]:
    return [one["state"] for one in client.get(GENERATIONS).json()["generations"]]


def found(client: TestClient, **body: Any) -> tuple[int, str, set[str]]:
    """Generation and model of a search's answer, and what it found."""
    answer = client.post(SEARCH, json={"query": "red", "limit": 1000} | body)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    return result["generation"], result["model"], {hit["id"] for hit in result["hits"]}


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"]


EVERYTHING = {f"i{n}" for n in range(ITEM_COUNT)}


def test_a_job_changes_the_model_and_tells_what_it_found(stocked: TestClient) -> None:
    job = begin(stocked)
    assert (job["kind"], job["collection"], job["report"]) == ("reembed", "default", None)
    job = ended(stocked, job)

    assert (job["state"], job["progress"]["done"], job["progress"]["total"]) == ("succeeded", ITEM_COUNT, ITEM_COUNT)
    report = job["report"]
    assert (report["active"]["model"], report["candidate"]["model"]) == ("default", "new")
    assert report["candidate"]["vectors"] == {"image": ITEM_COUNT // 2, "text": ITEM_COUNT}
    assert 0 <= report["overlap_at_10"] <= 1
    assert found(stocked) == (2, "new", EVERYTHING)
    info = stocked.get(COLLECTION).json()
    assert (info["model"], info["fingerprint"], info["dimension"], info["generation"]) == ("new", NEW, 8, 2)
    assert (info["items"], info["vectors"]) == (ITEM_COUNT, {"image": ITEM_COUNT // 2, "text": ITEM_COUNT})


def test_the_documentation_shows_how_to_ask(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    paths, schemas = document["paths"], document["components"]["schemas"]
    base = "/v1/collections/{name}"
    for path, body in {
        "/reembed": "ReembedBody",
        "/generations/{number}/activate": "Activation",
        "/generations/{number}/canary": "CanaryBody",
    }.items():
        operation = paths[base + path]["post"]
        assert body in json.dumps(operation["requestBody"])
        assert schemas[body]["examples"]
        assert {"400", "404", "409", "413", "415", "422", "507"} <= set(operation["responses"])
    activate = paths[f"{base}/generations/{{number}}/activate"]["post"]["responses"]
    shown = {status: activate[status]["content"]["application/json"]["schema"]["$ref"] for status in ("200", "202")}
    assert shown == {"200": "#/components/schemas/Generation", "202": "#/components/schemas/Job"}
    assert {"204", "404", "409", "507"} <= set(paths[f"{base}/generations/{{number}}"]["delete"]["responses"])


def test_generations_are_listed_oldest_first(stocked: TestClient, encoder: FakeEncoder) -> None:
    reembed(stocked)
    first, second = stocked.get(GENERATIONS).json()["generations"]

    assert (first["number"], first["state"], first["model"], first["missing"]) == (1, "resting", "default", 0)
    assert (second["number"], second["state"], second["model"], second["missing"]) == (2, "active", "new", 0)
    assert (first["fingerprint"], second["fingerprint"]) == (encoder.fingerprint, NEW)
    assert (first["dimension"], second["dimension"], second["canary"]) == (16, 8, 0)
    assert second["vectors"] == {"image": ITEM_COUNT // 2, "text": ITEM_COUNT}


def test_the_model_that_is_in_use_is_no_change(stocked: TestClient) -> None:
    refused = stocked.post(REEMBED, json={"model": "default"})

    assert problem(refused) == (409, "generation-conflict")
    assert refused.json()["errors"][0]["pointer"] == "/model"
    assert stocked.get("/v1/jobs").json()["jobs"] == []


def test_a_request_that_is_sent_again_makes_one_job_whatever_became_of_it(stocked: TestClient) -> None:
    def send(model: str = "new") -> httpx.Response:
        return stocked.post(REEMBED, json={"model": model}, headers={"Idempotency-Key": "k"})

    job = send().json()
    assert send().json()["id"] == job["id"]
    assert ended(stocked, job)["state"] == "succeeded"
    again = send()
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (202, job["id"], "succeeded")
    assert problem(send("default")) == (409, "job-conflict")
    assert len(stocked.get("/v1/jobs").json()["jobs"]) == 1


def test_a_job_stops_before_the_flip_where_it_is_told_to(stocked: TestClient) -> None:
    reembed(stocked, activate=False)
    assert states(stocked) == ["active", "following"]
    assert found(stocked) == (1, "default", EVERYTHING)
    stocked.put(f"{ITEMS}/later", json={"text": "red"})

    activated = stocked.post(f"{GENERATIONS}/2/activate")

    assert (activated.status_code, activated.json()["state"]) == (200, "active")
    assert found(stocked) == (2, "new", EVERYTHING | {"later"})
    assert stocked.post(f"{GENERATIONS}/2/activate").status_code == 200


def test_the_way_back_fills_what_was_written_since(stocked: TestClient) -> None:
    reembed(stocked)
    assert stocked.post(f"{GENERATIONS}/1/activate", json={}).status_code == 200
    assert stocked.post(f"{GENERATIONS}/2/activate", json={}).status_code == 200
    stocked.put(f"{ITEMS}/later", json={"text": "red"})

    back = stocked.post(f"{GENERATIONS}/1/activate")

    assert (back.status_code, back.json()["kind"]) == (202, "reembed")
    assert ended(stocked, back.json())["progress"]["done"] == 1
    assert found(stocked) == (1, "default", EVERYTHING | {"later"})


def test_what_cannot_be_filled_is_lost_only_if_that_is_meant(stocked: TestClient, encoder: FakeEncoder) -> None:
    vectors = {"vectors": {"image": [1.0] + [0.0] * 15}, "fingerprint": encoder.fingerprint}
    assert stocked.put(f"{ITEMS}/bare", json=vectors).status_code == 201
    failed = ended(stocked, begin(stocked))
    assert (failed["state"], failed["error"]["code"]) == ("failed", "generation-incomplete")
    [row] = stocked.get(f"/v1/jobs/{failed['id']}/errors").text.splitlines()
    assert (json.loads(row)["id"], json.loads(row)["code"]) == ("bare", "original-missing")

    job = ended(stocked, stocked.post(f"{GENERATIONS}/2/activate").json())
    assert (job["state"], job["error"]["code"]) == ("failed", "generation-incomplete")
    assert found(stocked)[0] == 1
    assert stocked.post(f"{GENERATIONS}/2/activate", json={"expect_missing": 1}).status_code == 200
    assert found(stocked) == (2, "new", EVERYTHING)


def test_a_collection_is_confirmed_by_the_model_it_has_now(stocked: TestClient) -> None:
    assert stocked.put(COLLECTION, json={"model": "default"}).status_code == 200
    reembed(stocked)

    assert stocked.put(COLLECTION, json={"model": "new"}).status_code == 200
    assert stocked.put(COLLECTION, json={}).status_code == 200
    other = stocked.put(COLLECTION, json={"model": "default"})
    assert problem(other) == (409, "collection-conflict")
    assert "/reembed" in other.json()["detail"]


# Canaries


def test_a_canary_answers_its_share_and_says_so(stocked: TestClient) -> None:
    assert problem(stocked.post(f"{GENERATIONS}/1/canary", json={"share": 0.5})) == (409, "generation-conflict")
    reembed(stocked, activate=False)

    told = stocked.post(f"{GENERATIONS}/2/canary", json={"share": 1})

    assert (told.status_code, told.json()["canary"], told.json()["state"]) == (200, 1.0, "following")
    assert found(stocked) == (2, "new", EVERYTHING)
    assert found(stocked, generation=1) == (1, "default", EVERYTHING)
    assert stocked.post(f"{GENERATIONS}/2/canary", json={"share": 0}).json()["canary"] == 0
    assert found(stocked)[0] == 1


def test_a_canary_can_always_be_ended(stocked: TestClient, encoder: FakeEncoder) -> None:
    reembed(stocked, activate=False)
    stocked.post(f"{GENERATIONS}/2/canary", json={"share": 1})
    vectors = {"vectors": {"image": [1.0] + [0.0] * 15}, "fingerprint": encoder.fingerprint}
    assert stocked.put(f"{ITEMS}/bare", json=vectors).status_code == 201

    assert problem(stocked.post(f"{GENERATIONS}/2/canary", json={"share": 0.5})) == (409, "generation-incomplete")
    accepted = stocked.post(f"{GENERATIONS}/2/canary", json={"share": 0.5, "expect_missing": 1})
    assert (accepted.status_code, accepted.json()["canary"]) == (200, 0.5)
    assert stocked.post(f"{GENERATIONS}/2/canary", json={"share": 0}).status_code == 200
    assert found(stocked)[0] == 1


def test_a_generation_that_is_asked_for_answers_or_nobody(stocked: TestClient) -> None:
    reembed(stocked, activate=False)
    assert found(stocked, generation=2) == (2, "new", EVERYTHING)
    batch = {"query": {"vector": [1.0] * 16}}
    assert stocked.post(SEARCH, json=batch | {"generation": 1}).status_code == 200
    assert problem(stocked.post(SEARCH, json=batch | {"generation": 2})) == (422, "vector-invalid")
    stocked.post(f"{GENERATIONS}/2/activate")

    refused = stocked.post(SEARCH, json=batch | {"generation": 1})
    assert problem(refused) == (409, "generation-conflict")
    assert refused.json()["errors"][0]["pointer"] == "/generation"


def test_a_page_or_a_vector_of_another_generation_is_refused_and_a_list_goes_on(
    stocked: TestClient, encoder: FakeEncoder
) -> None:
    first = stocked.post(SEARCH, json={"query": "red", "limit": 5}).json()
    listed = stocked.get(ITEMS, params={"limit": 5}).json()
    given = {"vectors": {"image": [1.0] + [0.0] * 15}, "fingerprint": encoder.fingerprint}
    reembed(stocked)

    page = stocked.post(SEARCH, json={"query": "red", "limit": 5, "offset": 5, "generation": first["generation"]})
    by_link = stocked.get(SEARCH, params={"q": "red", "offset": 5, "generation": first["generation"]})
    written = stocked.put(f"{ITEMS}/given", json=given)

    assert [problem(answer) for answer in (page, by_link)] == [(409, "generation-conflict")] * 2
    assert "these do: 2" in page.json()["detail"]
    assert problem(written) == (409, "fingerprint-mismatch")
    assert encoder.fingerprint in written.json()["detail"]
    assert NEW in written.json()["detail"]
    rest = stocked.get(ITEMS, params={"cursor": listed["next_cursor"], "limit": 100}).json()  # of items, not of vectors
    assert {item["id"] for item in listed["items"] + rest["items"]} == EVERYTHING


def test_a_model_is_in_memory_while_a_generation_needs_it(settings: Settings) -> None:
    """The embedded model, and the same with another resize, which is another model."""
    shutil.copytree(EMBEDDED, settings.models_dir / "new")
    manifest = json.loads((EMBEDDED / MANIFEST).read_text())
    manifest["preprocessing"]["interpolation"] = "bilinear"
    (settings.models_dir / "new" / MANIFEST).write_text(json.dumps(manifest))

    def opened() -> int:
        gc.collect()
        return len(client.app_state["resources"].encoders.opened)

    with TestClient(create_app(settings), base_url=LOCAL) as client:
        stock(client)
        assert opened() == 1
        reembed(client, activate=False)
        assert opened() == 2
        assert client.post(f"{GENERATIONS}/2/activate").status_code == 200
        assert client.get(f"{SEARCH}?q=red").json()["model"] == "new"
        assert opened() == 1
        assert client.post(f"{GENERATIONS}/1/activate").status_code == 200
        assert client.delete(f"{GENERATIONS}/2").status_code == 204
        assert opened() == 1
        assert client.get(f"{SEARCH}?q=red").json()["model"] == "default"


def test_a_dropped_generation_is_gone(stocked: TestClient) -> None:
    reembed(stocked)
    assert problem(stocked.delete(f"{GENERATIONS}/2")) == (409, "generation-conflict")

    assert stocked.delete(f"{GENERATIONS}/1").status_code == 204

    assert states(stocked) == ["active"]
    assert problem(stocked.delete(f"{GENERATIONS}/1")) == (404, "generation-not-found")
    assert problem(stocked.post(f"{GENERATIONS}/1/activate")) == (404, "generation-not-found")
    assert found(stocked) == (2, "new", EVERYTHING)
    reembed(stocked, model="default")
    assert [one["number"] for one in stocked.get(GENERATIONS).json()["generations"]] == [2, 3]


def test_the_number_of_a_dropped_generation_is_not_that_of_another_model(gated: TestClient, gate: Gate) -> None:
    gate.open.set()
    reembed(gated, activate=False)
    gated.delete(f"{GENERATIONS}/2")
    reembed(gated, model="third", activate=False)

    assert problem(gated.post(SEARCH, json={"query": "red", "generation": 2})) == (409, "generation-conflict")
    assert found(gated, generation=3)[1] == "third"


# While a job runs


def test_a_generation_that_is_filled_is_not_dropped_nor_a_canary(gated: TestClient, gate: Gate) -> None:
    job = begin(gated)
    assert gate.reached.wait(WAIT_S)

    dropped = gated.delete(f"{GENERATIONS}/2")
    tried = gated.post(f"{GENERATIONS}/2/canary", json={"share": 0.5})

    assert (problem(dropped), job["id"] in dropped.json()["detail"]) == ((409, "generation-conflict"), True)
    assert problem(tried) == (409, "generation-incomplete")
    assert gated.get(GENERATIONS).json()["generations"][1]["missing"] == ITEM_COUNT
    gate.open.set()
    assert ended(gated, job)["state"] == "succeeded"
    assert found(gated) == (2, "new", EVERYTHING)


def test_a_generation_that_is_activated_while_it_is_filled_is_when_it_is_full(gated: TestClient, gate: Gate) -> None:
    first = begin(gated, activate=False)
    assert gate.reached.wait(WAIT_S)

    second = gated.post(f"{GENERATIONS}/2/activate")

    assert second.status_code == 202
    assert found(gated)[0] == 1
    gate.open.set()
    assert [ended(gated, job)["state"] for job in (first, second.json())] == ["succeeded", "succeeded"]
    assert found(gated) == (2, "new", EVERYTHING)


def test_a_cancelled_job_leaves_a_generation_that_rests(gated: TestClient, gate: Gate) -> None:
    job = begin(gated)
    assert gate.reached.wait(WAIT_S)
    gated.post(f"/v1/jobs/{job['id']}/cancel")
    gate.open.set()

    assert ended(gated, job)["state"] == "cancelled"
    wait_until(lambda: states(gated) == ["active", "resting"])
    assert gated.delete(f"{GENERATIONS}/2").status_code == 204
    reembed(gated)
    assert found(gated) == (3, "new", EVERYTHING)


def test_a_job_that_is_cancelled_in_the_queue_takes_nothing_from_the_one_that_runs(
    gated: TestClient, gate: Gate
) -> None:
    first, second = begin(gated), begin(gated)
    assert gate.reached.wait(WAIT_S)

    assert gated.post(f"/v1/jobs/{second['id']}/cancel").json()["state"] == "cancelled"

    assert states(gated) == ["active", "following"]
    gated.put(f"{ITEMS}/later", json={"text": "red"})
    gate.open.set()
    assert ended(gated, first)["progress"]["done"] == ITEM_COUNT
    assert found(gated) == (2, "new", EVERYTHING | {"later"})


def test_two_changes_happen_one_after_the_other(gated: TestClient, gate: Gate) -> None:
    first, second = begin(gated), begin(gated, model="third")
    gate.open.set()

    assert [ended(gated, job)["state"] for job in (first, second)] == ["succeeded", "succeeded"]
    assert found(gated) == (3, "third", EVERYTHING)
    assert states(gated) == ["resting", "resting", "active"]


def test_the_way_back_is_open_while_a_job_fills_another(gated: TestClient, gate: Gate) -> None:
    reembed(gated, model="third")
    job = begin(gated, activate=False)
    assert gate.reached.wait(WAIT_S)
    assert gated.post(f"{GENERATIONS}/1/activate").status_code == 200
    gated.put(f"{ITEMS}/later", json={"text": "red"})
    gated.put(f"{ITEMS}/i1", json={"text": "blue now"})
    gate.open.set()

    assert ended(gated, job)["state"] == "succeeded"
    assert states(gated) == ["active", "resting", "following"]
    assert found(gated, generation=3) == (3, "new", EVERYTHING | {"later"})
    assert found(gated) == (1, "default", EVERYTHING | {"later"})


def test_a_catalogue_that_goes_in_meanwhile_is_in_both_generations(gated: TestClient, gate: Gate) -> None:
    job = begin(gated)
    assert gate.reached.wait(WAIT_S)
    rows = "id,title\n" + "\n".join(f"r{n},a red thing {n}" for n in range(500)) + "\ni0,now red\n"
    ingest = gated.post(f"{COLLECTION}/ingest", files={"file": ("catalogue.csv", rows.encode())}).json()
    gate.open.set()

    assert [ended(gated, one)["state"] for one in (job, ingest)] == ["succeeded", "succeeded"]
    everything = EVERYTHING | {f"r{n}" for n in range(500)}
    assert found(gated) == (2, "new", everything)
    assert [one["missing"] for one in gated.get(GENERATIONS).json()["generations"]][1] == 0
    back = gated.post(f"{GENERATIONS}/1/activate").json()
    assert "id" not in back or ended(gated, back)["state"] == "succeeded"
    assert found(gated) == (1, "default", everything)


def test_a_collection_is_deleted_under_its_job(gated: TestClient, gate: Gate) -> None:
    job = begin(gated)
    assert gate.reached.wait(WAIT_S)
    assert gated.delete(COLLECTION).status_code == 204
    gate.open.set()

    assert ended(gated, job)["state"] == "cancelled"
    assert states(gated) == ["active"]
    stock(gated)
    reembed(gated)
    assert found(gated) == (2, "new", EVERYTHING)


def test_a_job_of_a_deleted_collection_leaves_the_next_of_its_name_alone(gated: TestClient, gate: Gate) -> None:
    first = begin(gated)
    assert gate.reached.wait(WAIT_S)
    gated.delete(COLLECTION)
    gated.put(f"{ITEMS}/only", json={"text": "red"})
    reembed(gated, activate=False)  # one text passes the gate
    assert states(gated) == ["active", "following"]
    gate.open.set()

    assert ended(gated, first)["state"] == "cancelled"
    gated.put(f"{ITEMS}/later", json={"text": "red"})
    assert found(gated, generation=2) == (2, "new", {"only", "later"})


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
