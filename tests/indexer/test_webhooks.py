"""Webhooks: what was stored is told, signed, at least once, and whoever listens slows nothing."""

import base64
import hashlib
import hmac
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy import select

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import UrlForbidden
from indexer.fetching.fetcher import Fetcher
from indexer.rules import outbox
from indexer.rules.webhooks import RETRY_AFTER_S, WORKERS, Webhooks
from indexer.stores.database import deliveries
from indexer.types import Failed, NewItem, NewRule, Term
from tests.servers import answer, serve
from tests.waiting import WAIT_S

Open = Callable[[], Collections]
URL = "https://shop.example/hook"


class Killed(BaseException):
    """Stands for the end of the process: nothing below it may tidy up."""


@dataclass
class Call:
    url: str
    body: bytes
    headers: dict[str, str]

    @property
    def data(self) -> dict[str, Any]:
        data = json.loads(self.body)["data"]
        assert isinstance(data, dict)
        return data


@dataclass
class Receiver:
    """Answers calls as it is told, and keeps them."""

    answer: Callable[[str], int] = lambda url: 204
    calls: list[Call] = field(default_factory=list)

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.calls.append(Call(url, body, dict(headers)))
        return self.answer(url)


class Clock:
    """The time, which passes when it is told to."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC) + timedelta(seconds=1)

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def collections(open_folder: Open) -> Collections:
    return open_folder()


@pytest.fixture
def collection(collections: Collections) -> Collection:
    return collections.get("default")


def watch(collection: Collection, name: str = "red", url: str | None = URL, action: Any = "flag") -> str | None:
    terms = (Term(text=name.partition(" ")[0]),)
    return collection.rules.put(NewRule(name, terms, {"text": 0.8}, action, url)).secret


def put(collection: Collection, *ids: str, text: str = "red") -> None:
    collection.upsert([NewItem(id_, text=text) for id_ in ids])


def pending(collections: Collections) -> int:
    with collections.database.read() as connection:
        return len(connection.execute(select(deliveries.c.pk)).all())


@contextmanager
def running(collections: Collections, post: Any) -> Iterator[None]:
    with Webhooks(collections.database, post):
        yield


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


# What is told


def test_a_flag_is_told_with_its_item_and_score(collections: Collections, collection: Collection) -> None:
    receiver = Receiver()
    watch(collection)
    put(collection, "a")

    Webhooks(collections.database, receiver, Clock()).deliver_due()

    [call] = receiver.calls
    [flag] = collection.rules.flags(10)[0]
    event = json.loads(call.body)
    assert call.url == URL
    assert event["type"] == "item.flagged"
    assert datetime.fromisoformat(event["timestamp"]) == flag.created_at
    data = {"collection": "default", "rule": "red", "item": "a", "modality": "text", "score": flag.score}
    assert event["data"] == data
    assert call.headers["content-type"] == "application/json"
    assert pending(collections) == 0


def test_a_rejection_is_told(collections: Collections, collection: Collection) -> None:
    receiver = Receiver()
    watch(collection, action="reject")
    put(collection, "a")

    Webhooks(collections.database, receiver, Clock()).deliver_due()

    assert [json.loads(call.body)["type"] for call in receiver.calls] == ["item.rejected"]


def test_a_rule_without_a_webhook_tells_nobody(collections: Collections, collection: Collection) -> None:
    watch(collection, url=None)
    put(collection, "a")
    assert pending(collections) == 0


def test_what_was_not_stored_is_not_told(
    collections: Collections, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    watch(collection)
    monkeypatch.setattr("indexer.stores.catalogue.Catalogue.write", _dying_after(die))
    with pytest.raises(Killed):
        put(collection, "a")

    assert pending(collections) == 0
    assert collection.rules.flags(10)[0] == []


def _dying_after(die: Callable[..., None]) -> Any:
    from indexer.stores.catalogue import Catalogue

    write = Catalogue.write

    def write_and_die(self: Catalogue, row: Any, changes: Any, also: Any) -> Any:
        def record_and_die(connection: Any) -> None:
            also(connection)
            assert connection.execute(select(deliveries.c.pk)).all()
            die()

        return write(self, row, changes, record_and_die)

    return write_and_die


# Signatures


def signature(secret: str, call: Call) -> str:
    """The specification's sentence, written down: HMAC-SHA256 over `id.timestamp.body`, by the decoded secret."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = b".".join([call.headers["webhook-id"].encode(), call.headers["webhook-timestamp"].encode(), call.body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def test_calls_are_signed_by_the_secret_that_was_shown(collections: Collections, collection: Collection) -> None:
    receiver, clock = Receiver(), Clock()
    secret = watch(collection)
    put(collection, "a")

    Webhooks(collections.database, receiver, clock).deliver_due()

    [call] = receiver.calls
    assert secret
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    assert call.headers["webhook-signature"] == signature(secret, call)
    assert call.headers["webhook-timestamp"] == str(int(clock.time.timestamp()))
    assert "." not in call.headers["webhook-id"]


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the specification's reference libraries."""
    from indexer.rules.signing import signed_headers

    now = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', now
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_shown_once_and_changes_with_the_url(collections: Collections, collection: Collection) -> None:
    receiver = Receiver()
    first = watch(collection)
    again = watch(collection)
    put(collection, "a")
    other = watch(collection, url="https://other.example/")
    Webhooks(collections.database, receiver, Clock()).deliver_due()

    assert first
    assert again is None
    assert other
    assert other != first
    [call] = receiver.calls
    assert call.url == "https://other.example/"
    assert call.headers["webhook-signature"] == signature(other, call)
    assert watch(collection, url=None) is None
    assert watch(collection, url="https://other.example/") not in (None, other)


# Delivery


def test_what_was_committed_before_a_crash_is_told_after_it(open_folder: Open) -> None:
    def die(_: str) -> int:
        raise Killed

    collections, dying, receiver = open_folder(), Receiver(die), Receiver()
    watch(collections.get("default"))
    put(collections.get("default"), "a")
    with pytest.raises(Killed):
        Webhooks(collections.database, dying, Clock()).deliver_due()

    Webhooks(open_folder().database, receiver, Clock()).deliver_due()

    assert [call.data["item"] for call in receiver.calls] == ["a"]
    assert receiver.calls[0].headers["webhook-id"] == dying.calls[0].headers["webhook-id"]


def test_a_failed_call_is_made_again_with_the_same_id_and_body(
    collections: Collections, collection: Collection
) -> None:
    receiver, clock = Receiver(lambda url: 500), Clock()
    webhooks = Webhooks(collections.database, receiver, clock)
    watch(collection)
    put(collection, "a")

    webhooks.deliver_due()
    webhooks.deliver_due()
    assert len(receiver.calls) == 1
    receiver.answer = lambda url: 200
    clock.pass_(20)
    webhooks.deliver_due()

    first, second = receiver.calls
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert pending(collections) == 0


def test_a_call_is_tried_eight_times_in_about_a_day_and_given_up(
    collections: Collections, collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(url: str) -> int:
        raise UrlForbidden("the URL leads to an address that is not public")

    receiver, clock = Receiver(refuse), Clock()
    webhooks = Webhooks(collections.database, receiver, clock)
    watch(collection)
    put(collection, "a")
    start, times = clock.time, []
    while pending(collections):
        before = len(receiver.calls)
        webhooks.deliver_due()
        times += [(clock.time - start).total_seconds()] * (len(receiver.calls) - before)
        with collections.database.read() as connection:
            if due := connection.execute(select(deliveries.c.due_at)).scalar():
                clock.time = due

    rests = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert len(times) == 8
    assert all(0.8 * plan <= rest <= 1.2 * plan for plan, rest in zip(RETRY_AFTER_S, rests, strict=True))
    assert 18 * 3600 < times[-1] < 30 * 3600
    assert "is given up: the URL leads to an address that is not public" in caplog.text


@pytest.mark.parametrize("status", [301, 400, 404, 429, 503])
def test_whatever_is_not_a_success_is_tried_again(
    collections: Collections, collection: Collection, status: int
) -> None:
    watch(collection)
    put(collection, "a")
    Webhooks(collections.database, Receiver(lambda url: status), Clock()).deliver_due()

    with collections.database.read() as connection:
        [row] = connection.execute(select(deliveries)).all()
    assert (row.attempts, row.failure) == (1, f"answered with status {status}")


def test_a_receiver_that_is_gone_is_called_no_more(
    collections: Collections, collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    receiver, clock = Receiver(lambda url: 410), Clock()
    watch(collection)
    put(collection, "a", "b", "c")
    webhooks = Webhooks(collections.database, receiver, clock)
    webhooks.deliver_due()
    clock.pass_(100_000)
    put(collection, "d")
    webhooks.deliver_due()

    assert len(receiver.calls) == 1
    assert pending(collections) == 0
    assert collection.rules.get("red").webhook is None
    assert "gone" in caplog.text


def test_a_new_receiver_is_not_taken_off_for_what_the_old_one_answered(
    collections: Collections, collection: Collection
) -> None:
    def move(url: str) -> int:
        if url == URL:
            watch(collection, url="https://new.example/")
            return 410
        return 200

    receiver, clock = Receiver(move), Clock()
    watch(collection)
    put(collection, "a", "b")
    webhooks = Webhooks(collections.database, receiver, clock)
    webhooks.deliver_due()
    clock.pass_(60)
    webhooks.deliver_due()

    assert collection.rules.get("red").webhook == "https://new.example/"
    assert [call.url for call in receiver.calls] == [URL, "https://new.example/"]


def test_a_deleted_rule_and_a_removed_webhook_take_their_calls_with_them(
    collections: Collections, collection: Collection
) -> None:
    watch(collection)
    watch(collection, "green")
    put(collection, "a")
    put(collection, "b", text="green")
    collection.rules.delete("red")
    assert pending(collections) == 1
    watch(collection, "green", url=None)
    assert pending(collections) == 0


def test_calls_that_wait_are_bounded_and_the_oldest_are_kept(
    collections: Collections,
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(outbox, "MAX_PENDING", 3)
    receiver = Receiver()
    watch(collection)
    put(collection, "0", "1")
    put(collection, "2", "3", "4")
    Webhooks(collections.database, receiver, Clock()).deliver_due()

    assert [call.data["item"] for call in receiver.calls] == ["0", "1", "2"]
    assert len(collection.rules.flags(10)[0]) == 5
    assert "2 webhook calls of rule red of default dropped" in caplog.text


# Beside the server's other work


def test_a_running_thread_delivers_what_comes(collections: Collections, collection: Collection) -> None:
    receiver = Receiver()
    watch(collection)
    with running(collections, receiver):
        put(collection, *map(str, range(40)))
        wait_until(lambda: pending(collections) == 0)

    assert sorted(int(call.data["item"]) for call in receiver.calls) == list(range(40))


def test_a_receiver_that_hangs_slows_neither_writes_nor_searches(
    collections: Collections, collection: Collection
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hang(url: str) -> int:
        entered.set()
        leave.wait(WAIT_S)
        return 200

    watch(collection)
    with running(collections, Receiver(hang)):
        try:
            put(collection, "a")
            assert entered.wait(WAIT_S)
            started = time.perf_counter()
            for number in range(20):
                put(collection, f"b{number}")
            assert time.perf_counter() - started < WAIT_S
            assert collection.info().items == 21
        finally:
            leave.set()


def test_hosts_that_hang_do_not_keep_others_waiting(
    collections: Collections, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.rules.webhooks.VISIT_S", 0.1)
    leave, told = threading.Event(), []

    def answer(url: str) -> int:
        if "slow" in url:
            leave.wait(0.3)
            return 200
        told.append(url)
        return 200

    for number in range(2 * WORKERS):
        watch(collection, f"red-{number}", url=f"https://slow-{number}.example/")
    collection.rules.put(NewRule("quick", (Term(text="red"),), {"text": 0.8}, "flag", "https://quick.example/"))
    with running(collections, Receiver(answer)):
        try:
            put(collection, *map(str, range(20)))
            wait_until(lambda: bool(told))
        finally:
            leave.set()


def test_a_host_that_fails_rests_whatever_waits_for_it(collections: Collections, collection: Collection) -> None:
    receiver, clock = Receiver(lambda url: 500), Clock()
    webhooks = Webhooks(collections.database, receiver, clock)
    watch(collection)
    put(collection, *map(str, range(10)))
    webhooks.deliver_due()
    assert len(receiver.calls) == 1
    clock.pass_(5)
    webhooks.deliver_due()
    assert [call.data["item"] for call in receiver.calls] == ["0", "1"]


def test_a_fault_on_this_side_does_not_repeat_a_call_without_end(
    collections: Collections,
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    receiver, clock = Receiver(), Clock()
    webhooks = Webhooks(collections.database, receiver, clock)
    watch(collection)
    put(collection, "a")
    with monkeypatch.context() as patched:
        patched.setattr("indexer.rules.webhooks.remove", fail)
        webhooks.deliver_due()
    webhooks.deliver_due()
    assert len(receiver.calls) == 1
    clock.pass_(11)
    webhooks.deliver_due()

    assert len(receiver.calls) == 2
    assert pending(collections) == 0
    assert "could not be made" in caplog.text


def test_closing_ends_after_the_call_that_runs_and_leaves_the_rest(
    collections: Collections, collection: Collection
) -> None:
    entered = threading.Event()

    def answer(url: str) -> int:
        entered.set()
        time.sleep(0.2)
        return 200

    receiver = Receiver(answer)
    watch(collection)
    put(collection, *map(str, range(10)))
    with running(collections, receiver):
        assert entered.wait(WAIT_S)

    made = len(receiver.calls)
    assert 1 <= made < 10
    assert pending(collections) == 10 - made
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("webhook")]


def test_a_real_server_is_reached(collections: Collections, collection: Collection) -> None:
    with (
        serve({"/hook": answer(status=204)}) as server,
        Fetcher([ip_network("127.0.0.0/8")]) as fetcher,
        running(collections, fetcher.post),
    ):
        secret = watch(collection, url=f"{server.url}/hook")
        put(collection, "a")
        wait_until(lambda: pending(collections) == 0)

    [request] = server.requests
    call = Call(request.target, request.body, dict(request.headers))
    assert secret
    assert (request.method, call.data["item"]) == ("POST", "a")
    assert call.headers["webhook-signature"] == signature(secret, call)


def test_an_item_that_failed_for_another_reason_is_not_told(collections: Collections, collection: Collection) -> None:
    watch(collection)
    [result] = collection.upsert([NewItem("a", text="red", image=b"x")])
    assert isinstance(result, Failed)
    assert pending(collections) == 0
