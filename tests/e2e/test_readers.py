"""What a server with readers promises: nothing of it can be told from one process, whichever of them dies."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from indexer.stores.database import CATALOGUE, Database
from indexer.stores.keys import KeyStore, NewKey
from tests.e2e.conftest import Server, wait_until_ready

ITEMS = "/v1/collections/default/items"
SEARCH = "/v1/collections/default/search"
CONNECTIONS = 8
WAIT_S = 120

Start = Callable[..., Server]


@pytest.fixture
def server(start: Start) -> Server:
    server = start("--workers", 2)
    wait_for(lambda: len(readers(server)) == 2)
    return server


@pytest.fixture
def clients(server: Server) -> Iterator[list[httpx.Client]]:
    """Each on a connection of its own, so that both readers are asked."""
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=server.url, timeout=WAIT_S)) for _ in range(CONNECTIONS)]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(lambda client: client.get("/healthz").raise_for_status(), clients))
        yield clients


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def readers(server: Server) -> list[int]:
    """Process ids of the readers that have started, those that ended left out."""
    started = map(int, re.findall(r"Started server process \[(\d+)\]", server.log.read_text()))
    return [pid for pid in started if pid != server.process.pid and is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def found(client: httpx.Client, query: str, limit: int = 1) -> list[str]:
    answer = client.get(SEARCH, params={"q": query, "limit": limit}).raise_for_status()
    return [hit["id"] for hit in answer.json()["hits"]]


def test_the_next_search_of_anybody_sees_each_write(server: Server, clients: list[httpx.Client]) -> None:
    for number in range(200):
        writing, asking = clients[number % CONNECTIONS], clients[(number * 3 + 1) % CONNECTIONS]
        item, text = f"{ITEMS}/{number}", f"thing number {number}"
        assert writing.put(item, json={"text": text}).status_code == 201
        assert str(number) in found(asking, text, limit=200)
        if number % 4 == 0:
            assert writing.delete(item).status_code == 204
            assert str(number) not in found(asking, text, limit=200)
            assert asking.get(item).status_code == 404

    for client in clients:
        assert client.get("/v1/collections/default").json()["items"] == 150
    route = 'route="/v1/collections/{name}/search",status="200"'
    assert f'sightline_requests_total{{method="GET",{route}}} 250.0' in clients[0].get("/metrics").text


def test_a_key_works_until_it_is_revoked(server: Server, clients: list[httpx.Client], tmp_path: Path) -> None:
    database = Database(tmp_path / "data" / CATALOGUE)
    key, secret = KeyStore(database).create(NewKey("shop", ("read",)))
    for client in clients:
        assert client.get(SEARCH, params={"q": "red"}).status_code == 401
        client.headers["Authorization"] = f"Bearer {secret}"
        assert client.get(SEARCH, params={"q": "red"}).status_code == 200

    KeyStore(database).revoke(key.id)

    assert {client.get(SEARCH, params={"q": "red"}).status_code for client in clients} == {401}
    database.close()


def test_a_reader_that_is_killed_comes_back(server: Server) -> None:
    first = readers(server)
    for number in range(30):
        httpx.put(f"{server.url}{ITEMS}/{number}", json={"text": f"thing {number}"}, timeout=WAIT_S).raise_for_status()
        if number == 10:
            os.kill(first[0], signal.SIGKILL)
    wait_for(lambda: len(readers(server)) == 2 and readers(server) != first)

    assert f"reader {first[0]} ended with exit code -9" in server.log.read_text()
    os.kill(first[1], signal.SIGKILL)  # so that the new one answers
    wait_for(lambda: not is_alive(first[1]))
    with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
        assert sorted(found(client, "thing", limit=100), key=int) == [str(number) for number in range(30)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_good_order(number: signal.Signals, server: Server) -> None:
    alive = readers(server)

    assert server.stop(number) == 0

    assert not any(map(is_alive, alive))
    assert "Traceback" not in server.log.read_text()


def test_a_second_signal_waits_for_no_reader(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sightline.toml").write_text("shutdown_timeout_s = 600\nbody_timeout_s = 600\n")
    server = start("--workers", 1)
    url = httpx.URL(server.url)
    wait_for(lambda: readers(server))
    with socket.create_connection((url.host, url.port or 0)) as connection:
        head = f"PUT {ITEMS}/a HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", "Content-Length: 50"
        connection.sendall("\r\n".join((*head, "", "{")).encode())
        time.sleep(1)  # so that it is being answered
        server.process.send_signal(signal.SIGINT)
        wait_for(lambda: server.log.read_text().count("Shutting down"))
        assert server.stop(signal.SIGINT) == 0


def test_when_the_writer_is_killed_its_readers_end_and_nothing_is_lost(start: Start, server: Server) -> None:
    httpx.put(f"{server.url}{ITEMS}/dress", json={"text": "red dress"}, timeout=WAIT_S).raise_for_status()
    alive = readers(server)

    server.stop(signal.SIGKILL)

    wait_for(lambda: not any(map(is_alive, alive)))
    with httpx.Client(base_url=start("--workers", 1).url, timeout=WAIT_S) as client:
        assert found(client, "red dress") == ["dress"]


def test_sighup_begins_anew_and_refuses_nobody(server: Server, tmp_path: Path) -> None:
    config, before = tmp_path / "sightline.toml", readers(server)
    config.write_text("max_body_bytes = 100\n")
    server.process.send_signal(signal.SIGHUP)
    statuses = set()

    def put() -> int:
        try:
            answer = httpx.put(f"{server.url}{ITEMS}/dress", json={"text": "red " * 100}, timeout=WAIT_S)
        except (httpx.ReadError, httpx.RemoteProtocolError):  # connected, and closed before it had asked
            return 0
        statuses.add(answer.status_code)
        return answer.status_code

    wait_for(lambda: put() == 413)

    assert statuses <= {200, 201, 413}
    assert not any(map(is_alive, before))
    assert wait_until_ready(server.process, server.log) == server.url
    assert server.stop(signal.SIGTERM) == 0
