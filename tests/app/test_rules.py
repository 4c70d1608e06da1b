"""Watch rules over REST: put and read, items flagged and kept out, flags listed, webhooks called."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import select

from app.settings import Settings
from indexer.fetching.fetcher import Fetcher
from indexer.rules.outbox import Receiver
from indexer.rules.webhooks import Webhooks
from indexer.stores.database import deliveries
from tests.app.conftest import FLAGS, ITEMS, RULES, SEARCH, client_of
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture
from tests.servers import answer, serve
from tests.waiting import WAIT_S

HOOK = "https://shop.example/hook"


def put_rule(client: TestClient, name: str = "red", **changes: Any) -> httpx.Response:
    body = {"query": "red", "threshold": 0.8, "action": "flag"} | changes
    return client.put(f"{RULES}/{name}", json=body)


def test_a_rule_is_created_unchanged_updated_read_listed_and_deleted(client: TestClient) -> None:
    answers = [put_rule(client), put_rule(client), put_rule(client, action="reject")]

    rule = answers[2].json()
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert rule.pop("created_at") == answers[0].json()["created_at"]
    assert rule == {
        "name": "red",
        "query": [{"text": "red", "weight": 1.0}],
        "threshold": 0.8,
        "action": "reject",
        "webhook": None,
    }
    assert client.get(f"{RULES}/red").json() == answers[2].json()
    assert client.get(RULES).json() == {"rules": [answers[2].json()]}
    assert client.delete(f"{RULES}/red").status_code == 204
    assert client.delete(f"{RULES}/red").json()["type"] == "rule-not-found"
    assert client.get(RULES).json() == {"rules": []}


def test_what_a_rule_answers_can_be_put_again(client: TestClient) -> None:
    client.put(f"{ITEMS}/seen", json={"text": "red"})
    query = [
        "red",
        {"image": data_uri(picture("red")), "weight": 0.5},
        {"item": "seen", "weight": -0.25},
        {"vector": [1.0] * 16},
    ]
    put_rule(client, query=query, threshold={"image": 0.27})
    told = client.get(f"{RULES}/red").json()

    again = put_rule(client, query=told["query"], threshold=told["threshold"])

    assert told["threshold"] == {"image": 0.27}
    assert told["query"] == [
        {"text": "red", "weight": 1.0},
        {"image": data_uri(picture("red")), "weight": 0.5},
        {"item": "seen", "weight": -0.25},
        {"vector": [1.0] * 16, "weight": 1.0},
    ]
    assert (again.status_code, again.json()) == (200, told)


def test_a_stored_item_is_told_its_flags(client: TestClient) -> None:
    put_rule(client, threshold={"text": 0.8})

    first = client.put(f"{ITEMS}/a", json={"text": "red"}).json()
    again = client.put(f"{ITEMS}/a", json={"text": "red"}).json()
    other = client.put(f"{ITEMS}/b", json={"image": data_uri(picture("red"))}).json()

    [flag] = first["flags"]
    [hit] = client.post(SEARCH, json={"query": "red", "target": {"text": 1.0}}).json()["hits"]
    assert flag == {"rule": "red", "modality": "text", "score": pytest.approx(hit["scores"]["text"], abs=1e-6)}
    assert again["flags"] == [flag]
    assert other["flags"] == []


def test_a_rejected_item_is_a_problem_that_names_the_rule_and_the_score(client: TestClient) -> None:
    put_rule(client, action="reject")
    client.put(f"{ITEMS}/old", json={"text": "blue"})

    answers = [client.put(f"{ITEMS}/{id_}", json={"text": "red"}) for id_ in ("new", "old")]

    flags = client.get(FLAGS).json()["flags"]
    for refused, flag in zip(answers, reversed(flags), strict=True):
        assert (refused.status_code, refused.json()["type"]) == (422, "item-rejected")
        assert "'red'" in refused.json()["detail"]
        assert f"{flag['score']:.4f}" in refused.json()["detail"]
        assert (flag["rule"], flag["action"], flag["modality"]) == ("red", "reject", "text")
    assert client.get(f"{ITEMS}/new").status_code == 404
    assert client.get(f"{ITEMS}/old").json()["text"] == "blue"


def test_each_item_of_a_batch_is_judged_for_itself(client: TestClient) -> None:
    put_rule(client, "blue", query="blue")
    put_rule(client, action="reject")
    items = [{"id": text, "text": text} for text in ("green", "blue", "red")]

    results = client.post(ITEMS, json={"items": items}).json()["results"]

    assert [flag["rule"] for flag in results[1]["flags"]] == ["blue"]
    assert results[0]["flags"] == []
    assert results[2]["error"]["type"] == "item-rejected"
    assert results[2]["error"]["errors"][0]["pointer"] == "/items/2"


def test_flags_are_listed_newest_first_page_by_page(client: TestClient) -> None:
    put_rule(client)
    put_rule(client, "also")
    client.post(ITEMS, json={"items": [{"id": str(number), "text": "red"} for number in range(5)]})

    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(FLAGS, params={"rule": "also", "limit": 2} | cursor).json()
        seen += [flag["item"] for flag in page["flags"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert seen == ["4", "3", "2", "1", "0"]
    assert len(client.get(FLAGS).json()["flags"]) == 10
    client.delete(f"{ITEMS}/3")
    client.delete(f"{RULES}/also")
    assert [flag["item"] for flag in client.get(FLAGS).json()["flags"]] == ["4", "2", "1", "0"]


def test_the_secret_is_told_once(client: TestClient) -> None:
    first = put_rule(client, webhook=HOOK).json()
    again = put_rule(client, webhook=HOOK, action="reject").json()
    moved = put_rule(client, webhook="https://other.example/").json()

    assert first["secret"].startswith("whsec_")
    assert moved["secret"] not in (None, first["secret"])
    for told in (again, client.get(f"{RULES}/red").json(), client.get(RULES).json()["rules"][0]):
        assert "secret" not in told
        assert told["webhook"].startswith("https://")


def test_a_server_calls_webhooks_from_start_to_end(
    settings: Settings, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[dict[str, Any]] = []

    def post(_: Fetcher, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        bodies.append(json.loads(body))
        return 200

    def begin_none(_: Webhooks) -> list[Receiver]:
        return []

    with monkeypatch.context() as patched, client_of(settings, encoder) as client:  # nothing is sent, but waits
        patched.setattr(Webhooks, "_begin_visits", begin_none)
        put_rule(client, webhook=HOOK)
        client.put(f"{ITEMS}/before", json={"text": "red"})
    monkeypatch.setattr(Fetcher, "post", post)
    with client_of(settings, encoder) as client:
        client.put(f"{ITEMS}/after", json={"text": "red"})
        wait_until(lambda: len(bodies) == 2)

    assert [body["data"]["item"] for body in bodies] == ["before", "after"]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def test_a_server_calls_webhooks_where_it_may(settings: Settings, encoder: FakeEncoder) -> None:
    allowed = settings.model_copy(update={"url_ranges": (ip_network("127.0.0.0/8"),)})
    with serve({"/hook": answer(status=204)}) as receiver, client_of(allowed, encoder) as client:
        secret = put_rule(client, webhook=f"{receiver.url}/hook").json()["secret"]
        client.put(f"{ITEMS}/a", json={"text": "red"})
        wait_until(lambda: bool(receiver.requests))

    [call] = receiver.requests
    assert (call.method, json.loads(call.body)["data"]["item"]) == ("POST", "a")
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256)
    assert call.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_a_webhook_that_leads_into_this_machine_is_not_called(client: TestClient, settings: Settings) -> None:
    def failure() -> str | None:
        query = select(deliveries.c.failure)
        with client.app_state["resources"].collections.database.read() as connection:  # type: ignore[attr-defined]
            return connection.execute(query).scalar()

    with serve({"/hook": answer()}) as receiver:
        put_rule(client, webhook=f"{receiver.url}/hook")
        client.put(f"{ITEMS}/a", json={"text": "red"})
        wait_until(lambda: failure() is not None)

    assert "not public" in str(failure())
    assert receiver.requests == []


@pytest.fixture
def locked(settings: Settings, encoder: FakeEncoder) -> Iterator[TestClient]:
    with client_of(settings.model_copy(update={"api_key": SecretStr("a-key-of-some-length")}), encoder) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", f"{RULES}/a"), ("GET", RULES), ("GET", f"{RULES}/a"), ("DELETE", f"{RULES}/a"), ("GET", FLAGS)],
)
def test_rules_and_flags_need_the_key(locked: TestClient, method: str, path: str) -> None:
    assert locked.request(method, path).json()["type"] == "unauthorized"


def test_the_document_describes_rules_and_flags(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    put = document["paths"]["/v1/collections/{name}/rules/{rule}"]["put"]
    assert {"200", "201", "401", "404", "422"} <= put["responses"].keys()
    assert document["components"]["schemas"]["RuleBody"]["examples"]
    assert "flags" in document["components"]["schemas"]["PutItem"]["required"]
