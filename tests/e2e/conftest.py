"""A real server process on a data folder, with the embedded model."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.waiting import WAIT_S

ROOT = Path(__file__).parents[2]


@dataclass
class Server:
    """A running `sightline serve`."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    def stop(self, number: signal.Signals) -> int:
        """Send a signal; give the exit code, negative where the signal itself ended the process."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)


def spawn(log: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a command of `sightline`, from a folder where nothing of this repository is."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "app", *map(str, arguments)],
            cwd=log.parent,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that a server printed, once it answers that it is ready."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"Sightline serves (\S+)", log.read_text())
        if found and is_ready(found[1]):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"the server did not become ready:\n{log.read_text()}")


def is_ready(url: str) -> bool:
    """Whether a server says that it can serve."""
    try:
        return httpx.get(f"{url}/readyz", timeout=WAIT_S).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server on the test's data folder; again after it has ended, that is a restart."""
    started: list[Server] = []

    def start(*flags: object) -> Server:
        log = tmp_path / f"server-{len(started)}.log"
        process = spawn(log, "serve", "--port", 0, "--data-dir", tmp_path / "data", *flags)
        try:
            started.append(Server(process, log, wait_until_ready(process, log)))
        except BaseException:
            process.kill()
            process.wait()
            raise
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()
