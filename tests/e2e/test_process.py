"""What a server process promises to those who start, stop and kill it."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from app.schemas.base import MAX_URL_FILTER_LENGTH, MAX_URL_TEXT_LENGTH
from indexer.collections import Collections
from models.store import ModelStore
from tests.e2e.conftest import Server, spawn, wait_until_ready
from tests.fakes import FakeEncoder
from tests.pictures import picture
from tests.waiting import WAIT_S

ITEMS = "/v1/collections/default/items"
SEARCH = "/v1/collections/default/search"

Start = Callable[[], Server]


def found(server: Server, query: str, limit: int = 1) -> list[str]:
    answer = httpx.get(server.url + SEARCH, params={"q": query, "limit": limit}, timeout=60)
    return [hit["id"] for hit in answer.raise_for_status().json()["hits"]]


def test_sigterm_ends_it_in_good_order(start: Start) -> None:
    server = start()

    assert server.stop(signal.SIGTERM) == 0
    assert "Traceback" not in server.log.read_text()


def test_ctrl_c_ends_it_in_good_order(start: Start) -> None:
    server = start()

    assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in server.log.read_text()


def test_what_was_acknowledged_is_found_after_kill_9(start: Start) -> None:
    server = start()
    form = {"text": "red summer dress"}
    stored = httpx.put(f"{server.url}{ITEMS}/dress", files={"image": picture("red")}, data=form, timeout=60)
    httpx.put(f"{server.url}{ITEMS}/shoe", json={"text": "black leather shoe"}, timeout=60).raise_for_status()
    assert stored.status_code == 201
    server.stop(signal.SIGKILL)

    server = start()

    assert found(server, "red summer dress") == ["dress"]
    assert httpx.get(f"{server.url}{ITEMS}/dress/image").content == picture("red")


def test_nothing_acknowledged_is_lost_when_it_is_killed_while_writing(start: Start, tmp_path: Path) -> None:
    server = start()
    acknowledged: list[str] = []
    killer = threading.Timer(1.5, server.process.kill)
    killer.start()
    try:
        for number in range(10_000):
            answer = httpx.put(f"{server.url}{ITEMS}/{number}", json={"text": f"thing {number}"}, timeout=60)
            assert answer.status_code == 201
            acknowledged.append(str(number))
    except httpx.TransportError:
        pass  # it was killed
    killer.join()
    server.process.wait()

    model = ModelStore(tmp_path).manifest("default")
    encoder = FakeEncoder(model.dimension, model.fingerprint)
    with Collections(tmp_path / "data", lambda _: encoder) as collections:
        collection = collections.get("default")
        stored = {item.id for item in collection.items(10_000)[0]}
        assert set(acknowledged) <= stored
        assert len(stored) <= len(acknowledged) + 1
        assert collection.verify() == []
    assert acknowledged


def test_a_data_folder_has_one_server(start: Start, tmp_path: Path) -> None:
    start()
    log = tmp_path / "second.log"

    second = spawn(log, "serve", "--port", 0, "--data-dir", tmp_path / "data")

    assert second.wait(WAIT_S) == 1
    assert log.read_text().startswith("error: ")
    assert len(log.read_text().strip().splitlines()) == 1


def test_the_demo_answers_searches_and_serves(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "red.png").write_bytes(picture("red"))
    (pictures / "blue.png").write_bytes(picture("blue"))
    log = tmp_path / "demo.log"

    demo = spawn(log, "demo", "--images", pictures, "--port", 0)
    try:
        url = wait_until_ready(demo, log)
        page = httpx.get(url).text
        info = httpx.get(f"{url}/v1/collections/default").json()
    finally:
        demo.send_signal(signal.SIGINT)
        code = demo.wait(WAIT_S)

    assert code == 0
    assert "<html" in page
    assert info["items"] == 2
    said = log.read_text()
    assert "2 created" in said
    assert said.count("red.png") == 3  # one table for each of the three searches


def test_a_second_demo_embeds_nothing(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "red.png").write_bytes(picture("red"))
    arguments = ("demo", "--images", tmp_path / "pictures", "--port", 0, "--no-serve")
    assert spawn(tmp_path / "first.log", *arguments).wait(WAIT_S) == 0

    assert spawn(tmp_path / "second.log", *arguments).wait(WAIT_S) == 0

    assert "1 unchanged" in (tmp_path / "second.log").read_text()


def test_sighup_reads_the_settings_anew_and_refuses_nobody(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "sightline.toml"
    config.write_text("max_body_bytes = 1000\n")
    server = start()
    statuses: list[int] = []

    def put_until(status: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while not statuses or statuses[-1] != status:
            assert time.monotonic() < deadline, statuses
            with suppress(httpx.ReadError, httpx.RemoteProtocolError):  # connected, and closed before it had asked
                answer = httpx.put(f"{server.url}{ITEMS}/dress", json={"text": "red " * 100}, timeout=60)
                statuses.append(answer.status_code)

    put_until(200)
    config.write_text("max_body_bytes = 100\n")
    server.process.send_signal(signal.SIGHUP)
    put_until(413)
    config.write_text("max_body_bytes = 'many'\n")
    server.process.send_signal(signal.SIGHUP)
    while "not read anew" not in server.log.read_text():
        assert server.process.poll() is None
    put_until(413)

    assert set(statuses) <= {200, 201, 413}
    assert found(server, "red") == ["dress"]
    assert server.stop(signal.SIGTERM) == 0


def test_before_it_stops_it_is_not_ready_and_still_answers(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sightline.toml").write_text("shutdown_delay_s = 600\nlog_format = 'json'\n")
    server = start()
    httpx.put(f"{server.url}{ITEMS}/dress", json={"text": "red summer dress"}, timeout=60).raise_for_status()

    server.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + WAIT_S
    while httpx.get(f"{server.url}/readyz").status_code == 200:
        assert time.monotonic() < deadline
    assert found(server, "red summer dress") == ["dress"]
    assert server.stop(signal.SIGTERM) == 0  # a second one waits no longer

    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    searches = [line for line in lines if line.get("path") == SEARCH]
    assert [(line["status"], len(line["request_id"])) for line in searches] == [(200, 32)]
    assert "summer" not in server.log.read_text()


def test_what_is_no_request_is_answered_with_a_problem(start: Start) -> None:
    server = start()
    address = urlsplit(server.url)
    for target in ("/v1/collections?" + "a" * 70_000, "/\x7f \x00"):
        with socket.create_connection((str(address.hostname), address.port or 0)) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = HTTPResponse(connection)
            answer.begin()
            problem = json.loads(answer.read())
        assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
        assert problem["type"] == "bad-request"


def test_an_address_holds_the_longest_text_and_filter(start: Start) -> None:
    server = start()
    longest = {"q": "#" * MAX_URL_TEXT_LENGTH, "filter": json.dumps({"a": "#" * (MAX_URL_FILTER_LENGTH - 9)})}
    answer = httpx.get(server.url + SEARCH, params=longest, timeout=60)
    assert (answer.status_code, len(longest["filter"])) == (200, MAX_URL_FILTER_LENGTH)
    for name in longest:
        problem = httpx.get(server.url + SEARCH, params=longest | {name: longest[name] + "#"}).json()
        assert (problem["errors"][0]["location"], problem["errors"][0]["pointer"]) == ("query", f"/{name}")
