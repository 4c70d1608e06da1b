"""What comes over a real connection from somebody who does not mean well."""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_network
from urllib.parse import urlsplit

import httpx
import pytest

from app.observation.logs import JsonFormatter
from app.settings import Settings
from indexer.stores.database import Database
from indexer.stores.keys import KeyStore, NewKey
from models.encoder import TextEmbeddings
from tests.app.conftest import ITEMS, SEARCH, serving
from tests.app.test_access import Make
from tests.fakes import FakeEncoder
from tests.waiting import WAIT_S

HEAD = b"Host: 127.0.0.1\r\n"
PUT = f"PUT {ITEMS}/a HTTP/1.1\r\n".encode() + HEAD + b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def shared_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for many cases: each must leave it as it was."""
    with serving(Settings(data_dir=tmp_path_factory.mktemp("data"), port=0), FakeEncoder()) as url:
        yield url


@pytest.fixture
def hasty(settings: Settings, encoder: FakeEncoder) -> Iterator[str]:
    """A server that waits one second for headers, and one for a body."""
    with serving(settings.model_copy(update={"header_timeout_s": 1, "body_timeout_s": 1}), encoder) as url:
        yield url


@pytest.fixture
def make_on_disk(settings: Settings) -> Make:
    """Makes keys as another process does."""

    def make(*scopes: str) -> str:
        database = Database(settings.data_dir / "catalogue.db")
        try:
            return KeyStore(database).create(NewKey("", scopes))[1]
        finally:
            database.close()

    return make


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=WAIT_S) as connection:
        yield connection


def talk(url: str, request: bytes) -> bytes:
    """All that a server says to these bytes, until it closes the connection."""
    with connected(url) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def _send(connection: socket.socket, data: bytes) -> int:
    """How much was sent; nothing, once nobody takes it any more."""
    try:
        connection.sendall(data)
    except OSError:
        return 0
    return len(data)


@contextmanager
def dripping(connection: socket.socket, drop: bytes) -> Iterator[None]:
    """Send a little now and then."""
    stop = threading.Event()

    def drip() -> None:
        try:
            while not stop.wait(0.1):
                connection.sendall(drop)
        except OSError:
            pass

    thread = threading.Thread(target=drip)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"a"),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\r\n"),
    ],
    ids=["silence", "half a line", "a header by letters", "line ends between requests"],
)
def test_a_connection_without_headers_is_closed(hasty: str, first: bytes, drop: bytes) -> None:
    start = time.monotonic()
    with connected(hasty) as connection:
        connection.sendall(first)
        with dripping(connection, drop):
            while connection.recv(65536):
                pass

    assert 0.9 < time.monotonic() - start < 10


@pytest.mark.parametrize("drop", [b"", b" "], ids=["nothing", "drops"])
@pytest.mark.parametrize("head", [b"Content-Length: 9999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n400\r\n"])
def test_a_body_that_does_not_come_is_not_waited_for(hasty: str, head: bytes, drop: bytes) -> None:
    with connected(hasty) as connection:
        connection.sendall(PUT + head)
        with dripping(connection, drop):
            answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"type":"body-too-slow"' in answer


@pytest.mark.parametrize("path", ["/v1/collections", "/healthz"])
def test_nor_is_that_of_a_request_that_needs_none(hasty: str, path: str) -> None:
    answer = talk(hasty, f"GET {path} HTTP/1.1\r\n".encode() + HEAD + b"Content-Length: 9\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 408")


def test_a_slow_answer_is_no_slow_body(hasty: str, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    embed = encoder.encode_texts

    def embed_slowly(texts: Sequence[str]) -> TextEmbeddings:
        time.sleep(2.5)  # longer than both limits of time
        return embed(texts)

    monkeypatch.setattr(encoder, "encode_texts", embed_slowly)
    body = b'{"query": "red"}\r\n'  # with a line end that is of no request
    head = f"POST {SEARCH} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body) - 2}\r\n".encode()

    answer = talk(hasty, head + HEAD + b"\r\n" + body)

    assert answer.startswith(b"HTTP/1.1 200")


def test_a_body_without_end_ends_at_the_limit(settings: Settings, encoder: FakeEncoder) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    limited = settings.model_copy(update={"max_body_bytes": 10**6, "header_timeout_s": 1})
    with serving(limited, encoder) as url, connected(url) as connection:
        connection.sendall(PUT + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = sum(iter(lambda: _send(connection, chunk), 0))
        assert httpx.get(f"{url}/healthz").status_code == 200

    assert 10**6 < sent < 10**8


@pytest.mark.parametrize("first", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX: a\r\n", b"\r\n"])
@pytest.mark.parametrize("more", [b"a" * 0x10000, b"X: a\r\n" * 10_000, b"\r\n" * 10_000])
def test_headers_without_end_are_not_kept(shared_url: str, first: bytes, more: bytes) -> None:
    with connected(shared_url) as connection:
        connection.sendall(first)
        sent = sum(iter(lambda: _send(connection, more), 0))

    assert sent < 2 * 10**7, "what the network holds, and some"
    assert httpx.get(f"{shared_url}/healthz").status_code == 200


def test_headers_without_end_behind_a_request_that_takes_long_are_not_kept(
    server_url: str, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave, embed = threading.Event(), threading.Event(), encoder.encode_texts

    def embed_slowly(texts: Sequence[str]) -> TextEmbeddings:
        entered.set()
        assert leave.wait(WAIT_S)
        return embed(texts)

    monkeypatch.setattr(encoder, "encode_texts", embed_slowly)
    with connected(server_url) as connection:
        connection.sendall(f"GET {SEARCH}?q=red HTTP/1.1\r\n".encode() + HEAD + b"\r\n")
        assert entered.wait(WAIT_S)
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nX: ")
            sent = sum(iter(lambda: _send(connection, b"a" * 0x10000), 0))
        finally:
            leave.set()

    assert sent < 2 * 10**7


def test_a_refused_body_is_read_to_its_end_so_that_the_next_request_is_answered(
    settings: Settings, encoder: FakeEncoder
) -> None:
    body = b" " * 10**6
    next_one = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n"
    with serving(settings.model_copy(update={"max_body_bytes": 1000}), encoder) as url:
        answer = talk(url, PUT + b"Content-Length: 1000000\r\n\r\n" + body + next_one)

    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"413", b"200"]


def test_a_body_that_is_too_large_is_refused_before_it_comes(server_url: str) -> None:
    with connected(server_url) as connection:
        connection.sendall(PUT + b"Content-Length: 99999999999\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_who_has_no_key_is_refused_before_the_body_comes(server_url: str, make_on_disk: Make) -> None:
    make_on_disk("read")
    with connected(server_url) as connection:
        connection.sendall(PUT + b"Content-Length: 1000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")


def test_a_key_without_the_scope_is_refused_before_the_body_comes(server_url: str, make_on_disk: Make) -> None:
    key = make_on_disk("read")
    with connected(server_url) as connection:
        connection.sendall(PUT + f"Authorization: Bearer {key}\r\nContent-Length: 1000\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 30\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: 4, 30\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b" Folded: x\r\n",
        b"X: a\rb\r\n",
        b"X: a\x00b\r\n",
    ],
)
def test_a_request_that_two_servers_could_read_in_two_ways_is_refused(shared_url: str, headers: bytes) -> None:
    smuggled = b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n" + HEAD + b"\r\n"

    answer = talk(shared_url, b"POST /v1/embeddings HTTP/1.1\r\n" + HEAD + headers + b"\r\n" + smuggled)

    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("start", ["/static/", "/", "/v1/models/", "/v1/collections/", "/v1/jobs/", "/docs/"])
@pytest.mark.parametrize("step", ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..%c0%af", "....//", "%252e%252e/"])
def test_no_path_leads_out_of_the_server(shared_url: str, start: str, step: str) -> None:
    for name in ("pyproject.toml", "etc/passwd", "app/settings.py"):
        target = f"{start}{step * 6}{name}"
        answer = talk(shared_url, f"GET {target} HTTP/1.1\r\nConnection: close\r\n".encode() + HEAD + b"\r\n")

        assert answer.split(b" ")[1] in (b"400", b"404", b"405", b"422")
        assert not any(secret in answer for secret in (b"[project]", b"root:", b"BaseSettings"))


@pytest.mark.parametrize(
    ("trusted", "forwarded", "seen"),
    [
        ((), "203.0.113.9", "127.0.0.1"),
        (("10.0.0.0/8",), "203.0.113.9", "127.0.0.1"),
        (("127.0.0.1",), "203.0.113.9", "203.0.113.9"),
        (("127.0.0.1",), "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (("127.0.0.1", "203.0.113.9"), "198.51.100.1, 203.0.113.9", "198.51.100.1"),
    ],
)
def test_only_trusted_proxies_say_who_sends_a_request(
    settings: Settings, encoder: FakeEncoder, trusted: tuple[str, ...], forwarded: str, seen: str
) -> None:
    behind = settings.model_copy(update={"trusted_proxies": tuple(map(ip_network, trusted))})
    with serving(behind, encoder) as url:
        others = {"X-Forwarded-Host": "evil.example", "Forwarded": "for=192.0.2.1", "X-Real-IP": "192.0.2.2"}
        httpx.put(f"{url}/v1/collections/shop", json={}, headers=others | {"X-Forwarded-For": forwarded})

    assert f'"address": "{seen}"' in (settings.data_dir / "audit.jsonl").read_text()


@pytest.mark.parametrize("asked", [False, True])
def test_what_is_searched_for_is_in_the_log_only_if_asked(
    settings: Settings, encoder: FakeEncoder, make_on_disk: Make, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    caplog.set_level(logging.INFO)
    with serving(settings.model_copy(update={"log_queries": asked}), encoder) as url:
        key = make_on_disk("read")
        httpx.get(url + SEARCH, params={"q": "heartbreak"}, headers={"Authorization": f"Bearer {key}"})

    log = "\n".join(JsonFormatter().format(record) for record in caplog.records if record.name != "httpx")
    assert SEARCH in log
    assert ("heartbreak" in log) is asked
    assert key not in log
