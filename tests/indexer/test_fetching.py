"""The HTTP client for URLs from outside, where all goes well, or only slowly."""

import io
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from indexer.errors import ContentTooLarge, FetchFailed, UrlForbidden
from indexer.fetching import connections
from indexer.fetching import fetcher as fetching
from indexer.fetching.fetcher import Fetched, Fetcher
from tests.servers import Request, Server, answer, redirect, serve
from tests.waiting import WAIT_S

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
def server() -> Iterator[Server]:
    with serve({"/picture": answer(b"picture", etag='"1"', content_type="image/png; charset=x")}) as running:
        yield running


@pytest.fixture
def fetcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetcher]:
    monkeypatch.setattr(fetching, "_BACKOFF_S", 0.001)
    with Fetcher(LOOPBACK, timeout_s=5) as opened:
        yield opened


def of(*answers: bytes) -> Callable[[Request, socket.socket], bytes]:
    """One answer after the other, the last for ever."""
    left = list(answers)
    return lambda *_: left.pop(0) if len(left) > 1 else left[0]


def test_a_fetch_gives_the_body_and_what_is_told_about_it(server: Server, fetcher: Fetcher) -> None:
    url = f"{server.url}/picture"
    assert fetcher.fetch(url, max_bytes=7) == Fetched(url, b"picture", '"1"', "image/png", 7)


def test_an_unchanged_body_does_not_come_again(server: Server, fetcher: Fetcher) -> None:
    server.answers["/picture"] = lambda request, _: (
        answer(status=304) if request.headers.get("if-none-match") == '"1"' else answer(b"new", etag='"2"')
    )
    known = fetcher.fetch(f"{server.url}/picture", max_bytes=9, etag='"1"')
    assert (known.content, known.modified, known.etag) == (None, False, '"1"')
    assert fetcher.fetch(f"{server.url}/picture", max_bytes=9, etag='"0"').content == b"new"
    assert server.connections == 1


@pytest.mark.parametrize("etag", ["1", '"a\r\nx: y"', '"ä"', f'"{"x" * 300}"', '"a"b"'])
def test_what_is_no_etag_is_neither_kept_nor_sent(server: Server, fetcher: Fetcher, etag: str) -> None:
    fetcher.fetch(f"{server.url}/picture", max_bytes=9, etag=etag)
    assert "if-none-match" not in server.requests[0].headers
    if "\n" not in etag:
        server.answers["/bad"] = answer(b"x", etag=etag)
        assert fetcher.fetch(f"{server.url}/bad", max_bytes=9).etag is None


def test_the_etag_of_a_redirects_target_is_not_that_of_the_url(server: Server, fetcher: Fetcher) -> None:
    server.answers["/moved"] = redirect("/picture")
    fetched = fetcher.fetch(f"{server.url}/moved", max_bytes=9, etag='"1"')
    assert (fetched.content, fetched.etag, fetched.url) == (b"picture", None, f"{server.url}/picture")
    assert ["if-none-match" in request.headers for request in server.requests] == [True, False]


def test_a_connection_is_kept_for_the_next_fetch(server: Server, fetcher: Fetcher) -> None:
    for _ in range(3):
        fetcher.fetch(f"{server.url}/picture", max_bytes=9)
    assert (server.connections, len(server.requests)) == (1, 3)


def test_a_kept_connection_that_the_server_closed_is_made_anew(server: Server, fetcher: Fetcher) -> None:
    def close_after(_: Request, connection: socket.socket) -> None:
        connection.sendall(answer(b"picture"))
        time.sleep(0.05)  # the client has put the connection aside by then, and asks again before it is closed

    server.answers["/picture"] = close_after
    assert [fetcher.fetch(f"{server.url}/picture", max_bytes=9).content for _ in range(3)] == [b"picture"] * 3
    assert server.connections == 3


def test_a_connection_with_an_unread_rest_is_not_kept(server: Server, fetcher: Fetcher) -> None:
    server.answers["/large"] = answer(b"x" * 100)
    with pytest.raises(ContentTooLarge):
        fetcher.fetch(f"{server.url}/large", max_bytes=9)
    fetcher.fetch(f"{server.url}/picture", max_bytes=9)
    assert server.connections == 2


def test_idle_connections_to_few_hosts_are_kept(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_MAX_HOSTS", 1)
    with serve({"/": answer(b"a")}) as one, serve({"/": answer(b"b")}) as other:
        for server in (one, other, one, one):
            fetcher.fetch(server.url, max_bytes=9)
        assert (one.connections, other.connections) == (2, 1)


def test_so_many_requests_at_a_time_go_to_one_host_and_no_more(server: Server) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def slow(*_: object) -> bytes:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        return answer(b"x")

    server.answers["/slow"] = slow
    with Fetcher(LOOPBACK, per_host=2) as fetcher, ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: fetcher.fetch(f"{server.url}/slow", max_bytes=9), range(24)))
    assert (most, server.connections) == (2, 2)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(server: Server, fetcher: Fetcher, status: int) -> None:
    server.answers["/busy"] = of(answer(status=status), answer(status=status), answer(b"x"))
    assert fetcher.fetch(f"{server.url}/busy", max_bytes=9).content == b"x"
    assert len(server.requests) == 3


def test_attempts_come_to_an_end(server: Server, fetcher: Fetcher) -> None:
    server.answers["/busy"] = answer(status=503)
    with pytest.raises(FetchFailed, match="503"):
        fetcher.fetch(f"{server.url}/busy", max_bytes=9)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [204, 206, 300, 400, 401, 403, 404, 410, 418, 500, 501])
def test_other_failures_are_final(server: Server, fetcher: Fetcher, status: int) -> None:
    server.answers["/gone"] = answer(status=status)
    with pytest.raises(FetchFailed, match=str(status)):
        fetcher.fetch(f"{server.url}/gone", max_bytes=9)
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_yet_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_BACKOFF_S", 0.001)
    tried: list[object] = []
    real = socket.create_connection

    def connect(*args: object, **options: object) -> socket.socket:
        tried.append(args)
        if len(tried) < 3:
            raise ConnectionRefusedError
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", connect)
    with Fetcher(LOOPBACK) as fetcher:
        assert fetcher.fetch(f"{server.url}/picture", max_bytes=9).content == b"picture"


@pytest.mark.parametrize("given", ["1", "date"])
def test_the_pause_that_a_server_asks_for_is_kept(server: Server, fetcher: Fetcher, given: str) -> None:
    after = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if given == "date" else given
    server.answers["/busy"] = of(answer(status=429, retry_after=after), answer(b"x"))
    started = time.monotonic()
    fetcher.fetch(f"{server.url}/busy", max_bytes=9)
    assert 0.9 < time.monotonic() - started < 5


def test_a_pause_is_never_longer_than_some_seconds(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_RETRY_AFTER_S", 0.05)
    for after in ("99999", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", "-1", "1" * 5000):
        server.answers["/busy"] = of(answer(status=503, retry_after=after), answer(b"x"))
        started = time.monotonic()
        fetcher.fetch(f"{server.url}/busy", max_bytes=9)
        assert time.monotonic() - started < 4


def test_no_pause_is_begun_that_would_end_too_late(server: Server) -> None:
    server.answers["/busy"] = answer(status=503, retry_after="5")
    started = time.monotonic()
    with Fetcher(LOOPBACK, timeout_s=4.5) as fetcher, pytest.raises(FetchFailed):
        fetcher.fetch(f"{server.url}/busy", max_bytes=9)
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("busy", ["pause", "read", "wait"])
def test_closing_ends_what_is_under_way(server: Server, busy: str) -> None:
    reached = threading.Event()

    def hold(_: Request, connection: socket.socket) -> bytes:
        reached.set()
        if busy != "pause":
            connection.recv(1)
        return answer(status=503, retry_after="5")

    server.answers["/busy"] = hold
    fetcher = Fetcher(LOOPBACK, per_host=1)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(fetcher.fetch, f"{server.url}/busy", max_bytes=9) for _ in range(1 + (busy == "wait"))]
        reached.wait(WAIT_S)
        time.sleep(0.05)
        started = time.monotonic()
        fetcher.close()
        for future in running:
            with pytest.raises(FetchFailed):
                future.result()
    assert time.monotonic() - started < 4
    with pytest.raises(FetchFailed, match="shutting down"):
        fetcher.fetch(f"{server.url}/picture", max_bytes=9)


def test_a_download_goes_to_a_file_as_it_comes(server: Server, fetcher: Fetcher) -> None:
    server.answers["/catalogue"] = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\nid,te\r\n3;ext=1\r\nxt\n\r\n0\r\n\r\n"
    )
    target = io.BytesIO()
    fetched = fetcher.download(f"{server.url}/catalogue", target, max_bytes=8, total_timeout_s=5)
    assert target.getvalue() == b"id,text\n"
    assert (fetched.content, fetched.size, fetched.media_type) == (None, 8, "text/csv")
    with pytest.raises(ContentTooLarge):
        fetcher.download(f"{server.url}/catalogue", io.BytesIO(), max_bytes=7, total_timeout_s=5)


def test_a_file_that_cannot_be_written_is_no_fault_of_the_server(server: Server, fetcher: Fetcher) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fetcher.download(f"{server.url}/picture", Full(), max_bytes=9, total_timeout_s=5)


def test_a_post_gives_the_status_whatever_it_is(server: Server, fetcher: Fetcher) -> None:
    for status in (200, 204, 302, 404, 503):
        server.answers["/hook"] = answer(b"ignored", status=status, location="/picture")
        assert fetcher.post(f"{server.url}/hook", b"{}", {"Content-Type": "application/json", "X-Key": "a"}) == status
    request = server.requests[0]
    assert (request.method, request.body, request.headers["x-key"]) == ("POST", b"{}", "a")
    assert len(server.requests) == server.connections == 5


def test_a_large_body_is_posted_whole_and_an_empty_one_too(server: Server, fetcher: Fetcher) -> None:
    server.answers["/hook"] = answer()
    for body in (b"x" * 1_000_000, b""):
        assert fetcher.post(f"{server.url}/hook", body, {}) == 200
        assert server.requests[-1].body == body
        assert server.requests[-1].headers["content-length"] == str(len(body))


def test_a_post_leads_to_public_addresses_only(server: Server) -> None:
    with Fetcher() as fetcher, pytest.raises(UrlForbidden):
        fetcher.post(f"{server.url}/hook", b"{}", {})
    assert server.connections == 0


def test_the_environment_gives_neither_proxies_nor_credentials(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    (home := f"{tmp_path}/netrc")
    with open(home, "w") as netrc:
        netrc.write("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", home)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fetcher.fetch(f"{server.url}/picture", max_bytes=9)
    assert not {"authorization", "proxy-authorization", "cookie"} & set(server.requests[0].headers)
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_the_host_is_told_as_the_url_has_it(fetcher: Fetcher) -> None:
    with serve({"/": answer(b"x")}, "::1") as server, Fetcher([ipaddress.ip_network("::1")]) as six:
        assert six.fetch(f"http://[::1]:{server.port}/", max_bytes=9).content == b"x"
        assert server.requests[0].headers["host"] == f"[::1]:{server.port}"
