"""When a call is sent again, and when not."""

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from sightline_client import ConnectionFailed, NotFound, RequestRefused, Retry, calls
from sightline_client.retrying import Attempts, asked_pause_s
from tests.client.conftest import Connect
from tests.servers import Request, answer, serve

DELETED = answer(b'{"deleted": 1}')
DELETE = "/v1/collections/default/items/delete"
SEARCH = "/v1/collections/default/search"
READ, DELETING = calls.models(), calls.delete_items(["a"])


class Script:
    """Answers one after the other; None ends the connection instead."""

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = iter(answers)

    def __call__(self, request: Request, connection: socket.socket) -> bytes | None:
        return next(self._answers)


def busy(status: int, retry_after: str = "0") -> bytes:
    return answer(b"{}", status=status, retry_after=retry_after)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(connect: Connect, status: int) -> None:
    with serve({DELETE: Script(busy(status), busy(status), DELETED)}) as server:
        assert connect(server.url).delete_items(["a"]) == 1
    assert len({request.body for request in server.requests}) == 1
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_given_up(connect: Connect) -> None:
    with serve({"/v1/models": busy(503)}) as server:
        with pytest.raises(RequestRefused):
            connect(server.url, retry=Retry(attempts=3, first_pause_s=0)).models()
        assert len(server.requests) == 3


def test_a_server_that_asks_for_too_much_patience_is_given_up_at_once(connect: Connect) -> None:
    with serve({"/v1/models": busy(429, "3600")}) as server:
        with pytest.raises(RequestRefused):
            connect(server.url).models()
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 507])
def test_what_would_be_refused_again_is_not_sent_again(connect: Connect, status: int) -> None:
    with serve({"/v1/models": busy(status)}) as server:
        with pytest.raises(RequestRefused):
            connect(server.url).models()
        assert len(server.requests) == 1


@pytest.mark.parametrize("lost", [None, busy(502), busy(504)], ids=["connection", "502", "504"])
def test_only_what_may_be_done_twice_is_sent_again_after_a_lost_answer(connect: Connect, lost: bytes | None) -> None:
    with serve({"/v1/models": Script(lost, answer(b'{"data": []}')), DELETE: Script(lost)}) as server:
        assert connect(server.url).models() == []
        with pytest.raises((ConnectionFailed, RequestRefused)):
            connect(server.url).delete_items(["a"])
    assert [request.target for request in server.requests] == ["/v1/models"] * 2 + [DELETE]


@pytest.mark.parametrize("lost", [None, busy(502)], ids=["connection", "502"])
def test_what_is_gone_by_an_attempt_before_is_deleted(connect: Connect, lost: bytes | None) -> None:
    gone = answer(b"{}", status=404)
    with serve({"/v1/collections/a": Script(lost, gone, busy(503), gone)}) as server:
        assert connect(server.url).delete_collection("a") is None
        with pytest.raises(NotFound):  # it was refused before, and so was not there at all
            connect(server.url).delete_collection("a")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost"])
def test_what_is_no_address_is_told_at_once(connect: Connect, url: str) -> None:
    with pytest.raises(ConnectionFailed):
        connect(url, retry=Retry(first_pause_s=3600)).models()


def test_a_broken_answer_is_asked_for_again(connect: Connect) -> None:
    whole = answer(b'{"data": []}')
    with serve({"/v1/models": Script(whole[:-3] + b"", None, whole)}) as server:  # its last bytes never come
        assert connect(server.url, timeout_s=0.2).models() == []


@pytest.mark.parametrize("call", [READ, DELETING], ids=["reading", "deleting"])
def test_what_was_never_sent_is_sent_again(call: Any) -> None:
    assert Attempts(Retry(), call).after_error(httpx.ConnectError("refused")) >= 0


def test_nobody_there_is_told_with_the_address(connect: Connect) -> None:
    with serve({}) as server:
        url = server.url
    with pytest.raises(ConnectionFailed, match="GET /v1/models"):
        connect(url).models()


def test_pauses_grow_up_to_a_limit_and_differ() -> None:
    retry = Retry(attempts=1000, first_pause_s=1.0, longest_pause_s=8.0)
    drawn = [Attempts(retry, READ) for _ in range(200)]
    for longest in (1.0, 2.0, 4.0, 8.0, 8.0):
        pauses = [attempts.after_error(httpx.ConnectError("refused")) for attempts in drawn]
        assert 0 <= min(pauses) < 0.2 * longest
        assert 0.8 * longest < max(pauses) <= longest


def test_no_pause_is_shorter_than_the_server_asks_for() -> None:
    attempts = Attempts(Retry(attempts=1000, first_pause_s=0.5), READ)
    pauses = [attempts.after_refusal(httpx.Response(503, headers={"Retry-After": "7"})) for _ in range(50)]
    assert min(pauses) >= 7
    assert len(set(pauses)) == 50


def test_a_pause_is_asked_for_in_seconds_or_by_a_date() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert asked_pause_s("7") == 7
    assert 95 < asked_pause_s(format_datetime(soon, usegmt=True)) <= 100
    assert 95 < asked_pause_s(soon.strftime("%a, %d %b %Y %H:%M:%S -0000")) <= 100
    assert asked_pause_s("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    for nonsense in ("", "soon", "-5", "\xb2", "1e3"):
        assert asked_pause_s(nonsense) == 0
