"""Jobs of a server process that stops while somebody follows them."""

import json
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.e2e.conftest import Server
from tests.servers import Request, answer, serve


def test_a_server_whose_jobs_are_followed_stops_at_once_and_goes_on_after(
    start: Callable[[], Server], tmp_path: Path
) -> None:
    """The job waits for the server of its catalogue."""
    (tmp_path / "sightline.toml").write_text('url_ranges = ["127.0.0.1/32"]\nshutdown_timeout_s = 600\n')
    ended = threading.Event()

    def never(request: Request, connection: socket.socket) -> None:
        ended.wait(600)

    with serve({"/catalog.csv": never}) as shop:
        server = start()
        source = {"source": f"{shop.url}/catalog.csv"}
        job = httpx.post(f"{server.url}/v1/collections/default/ingest", json=source).raise_for_status().json()
        with httpx.stream("GET", f"{server.url}/v1/jobs/{job['id']}/events", timeout=60) as events:
            lines = events.iter_lines()
            assert next(lines) == "event: progress"
            code = server.stop(signal.SIGTERM)  # fails long before what requests get has passed
            assert "event: finished" not in list(lines)
        ended.set()
        assert (code, "Traceback" in server.log.read_text()) == (0, False)

        shop.answers["/catalog.csv"] = answer(b"id,title\na,red dress\n")
        server = start()
        with httpx.stream("GET", f"{server.url}/v1/jobs/{job['id']}/events", timeout=60) as events:
            *_, last = (json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: "))

    assert (last["state"], last["progress"]["created"]) == ("succeeded", 1)
