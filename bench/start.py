"""How soon a server answers `/readyz`, and what of it is imports.

`python -m bench.start [ITEMS]`: the embedded model and a collection of so many pictures. All has been started
once before, so its files are in the page cache and its modules compiled. Seconds of CPU tell more than those of the
clock where others use the machine, too.
"""

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np

from bench.encoder import median_s
from bench.http import store
from bench.index import World
from bench.stub import RandomEncoder
from indexer.collections import Collections
from models.manifest import read_manifest
from models.store import EMBEDDED

ITEMS = 100_000
ROUNDS = 5
POLL_S = 0.02
ASKED_S = 2.0


class Took(NamedTuple):
    """Seconds by the clock, and of CPU."""

    clock: float
    cpu: float


def run(items: int = ITEMS, rounds: int = ROUNDS) -> None:
    """Print the table: medians of rounds in which all take their turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "full", items)
        ways = {
            "Python alone": lambda: _execute(folder, "pass"),
            "imports of the server": lambda: _execute(folder, "import app.cli.serve, app.state, app.server"),
            "serve, no items": lambda: _serve(folder, folder / "empty"),
            f"serve, {items:,} items": lambda: _serve(folder, folder / "full"),
        }
        _time(ways)  # compiles the modules, makes the empty collection
        seen = [_time(ways) for _ in range(rounds)]
    print(f"\nUntil /readyz answers (asked: {ASKED_S:g} s)\n{'':<26}{'seconds':>10}{'of CPU':>10}")
    for way in ways:
        clock, cpu = np.median([took[way] for took in seen], axis=0)
        print(f"{way:<26}{clock:>10.2f}{cpu:>10.2f}")


def _time(ways: dict[str, Callable[[], float]]) -> dict[str, Took]:
    """All once; CPU of a child counts when it has ended."""
    took = {}
    for way, call in ways.items():
        started, used = time.perf_counter(), _cpu_s()
        took[way] = Took(call() - started, _cpu_s() - used)
    return took


def fill(data: Path, items: int, model: Path = EMBEDDED, name: str = "default") -> float:
    """A collection of a model whose vectors are drawn; median seconds of its index alone for one query."""
    manifest = read_manifest(model)
    encoder, world = RandomEncoder(manifest.dimension), World(manifest.dimension)
    encoder.fingerprint = manifest.fingerprint
    with Collections(data, lambda _: encoder, default_model=name) as collections:
        for start in range(0, items, 4096):
            store(collections.get("default"), world.pictures(min(4096, items - start), seed=start), start)
    with Collections(data, lambda _: encoder) as collections:  # what the catalogue alone was told is indexed now
        collection = collections.get("default")
        collection.compact()
        selected, query = collection.generations.active.indexes["image"].select(), world.texts(1, seed=3)
        return median_s(lambda: selected.search_many(query, 10), 50)


def _execute(folder: Path, code: str) -> float:
    """Let Python run the code; when it had ended, without the end of its modules, which no answer waits for."""
    subprocess.run([sys.executable, "-c", f"import os; {code}; os._exit(0)"], check=True, env=_environment(folder))
    return time.perf_counter()


def _serve(folder: Path, data: Path) -> float:
    """Serve as the command line does, end it at once; when it was ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "app", "serve", "--port", str(port), "--data-dir", str(data)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment(folder)
    ) as process:
        while not _is_ready(f"http://127.0.0.1:{port}"):
            time.sleep(POLL_S)
        ready = time.perf_counter()
        process.terminate()
    return ready


def _environment(folder: Path) -> dict[str, str]:
    """With compiled modules in a folder of ours, whatever those of the interpreter are like."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=60).is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    run(*map(int, sys.argv[1:2]))
