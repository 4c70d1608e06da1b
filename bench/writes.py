"""What writes and compactions cost the searches beside them, and whether each write is found by the next search.

`python -m bench.writes [ITEMS [DIMENSION [FOLDER]]]`: a server process, its encoder costing nothing, is searched at a
constant rate by another process, in turns alone, while a third one writes items, and while it writes them and all
segments are merged. With a folder the catalogue is kept there for the next run.
"""

import asyncio
import itertools
import json
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import repeat
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from app.cli.serve import address, leave_on_sigterm, listen, run_server
from app.settings import Settings
from app.state import open_resources
from bench.http import process, store
from bench.index import World
from bench.stub import RandomEncoder
from indexer.collections import Collections
from indexer.index.exact import step_back

ITEMS, DIMENSION = 100_000, 512
ROUNDS = 3
SECONDS = 10.0
SEARCHES_PER_S = 20.0
WRITES_PER_S, BATCH = 20.0, 10
"""Requests that write, and items in each: 200 items per second."""
COLLECTION = "/v1/collections/default"
JSON = {"Content-Type": "application/json"}
PHASES = {"quiet": (False, False), "writes": (True, False), "writes and compaction": (True, True)}
"""Whether items are written, and whether segments are merged."""


@dataclass
class Seen:
    """What became of the requests of one kind of phase."""

    search_s: list[float] = field(default_factory=list)
    write_s: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Seen") -> None:
        """What was seen by another client, too."""
        self.search_s += other.search_s
        self.write_s += other.write_s
        self.counts.update(other.counts)  # a sum of counters would leave out what is 0


def run(count: int = ITEMS, dimension: int = DIMENSION, folder: Path | None = None) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        data = (folder or Path(name)) / "data"
        _fill(data, _world(dimension), count, dimension)
        merging = multiprocessing.get_context("spawn").Event()
        with process(_serve, data, dimension, merging) as url:
            seen = _take_turns(url, dimension, merging)
    _report(seen, count, dimension)


def _fill(data: Path, world: World, count: int, dimension: int) -> None:
    if data.exists():
        return
    with Collections(data, lambda _: RandomEncoder(dimension)) as collections:
        for start in range(0, count, 4096):
            store(collections.get("default"), world.pictures(min(4096, count - start), seed=start), start)
    with Collections(data, lambda _: RandomEncoder(dimension)) as collections:
        collections.get("default").compact()


def _serve(data: Path, dimension: int, merging: Event, sender: Connection) -> None:
    encoder, settings = RandomEncoder(dimension), Settings(data_dir=data, port=0)
    with leave_on_sigterm(), listen(settings) as listener, open_resources(settings, lambda _: encoder) as made:
        collection = made.collections.get("default")

        def merge() -> None:
            step_back()
            while merging.wait():
                collection.compact()

        threading.Thread(target=merge, daemon=True).start()
        sender.send(address(listener))
        run_server(made, listener, access_log=False)


def _take_turns(url: str, dimension: int, merging: Event) -> dict[str, Seen]:
    seen = {phase: Seen() for phase in PHASES}
    numbers = itertools.count(1)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as clients:
        list(clients.map(_keep, ["search", "write"], repeat(url), repeat(dimension), [0, 0], [5.0, 1.0]))
        for _ in range(ROUNDS):
            for phase, (writes, merges) in PHASES.items():
                merging.set() if merges else merging.clear()
                kinds = ["search"] + ["write"] * writes
                for one in clients.map(_keep, kinds, repeat(url), repeat(dimension), numbers, repeat(SECONDS)):
                    seen[phase].add(one)
    return seen


def _keep(kind: str, url: str, dimension: int, number: int, seconds: float) -> Seen:
    """In a process of its own, for what a client does for one request must not hold up the next."""
    return asyncio.run(_ask_at_rate(kind, url, dimension, number, seconds))


async def _ask_at_rate(kind: str, url: str, dimension: int, number: int, seconds: float) -> Seen:
    """Requests that come by chance, as people's do, whether those before are answered or not."""
    seen, draw = Seen(), random.Random()
    async with httpx.AsyncClient(base_url=f"{url}{COLLECTION}", timeout=60) as http:
        requests = _Requests(http, _world(dimension), seen, itertools.count(number * 10**6))
        way, rate = (requests.search, SEARCHES_PER_S) if kind == "search" else (requests.write, WRITES_PER_S)
        due = time.perf_counter()
        ends = due + seconds
        async with asyncio.TaskGroup() as tasks:
            while (due := due + draw.expovariate(rate)) < ends:
                await asyncio.sleep(due - time.perf_counter())
                tasks.create_task(way(due))
    return seen


_world = cache(World)


class _Requests:
    def __init__(self, http: httpx.AsyncClient, world: World, seen: Seen, numbers: Iterator[int]) -> None:
        self._http, self._seen, self._numbers = http, seen, numbers
        self._world, self._bodies = world, [_body(query, 10) for query in world.texts(512, seed=3)]

    async def search(self, due: float) -> None:
        await self._ask(random.choice(self._bodies))
        self._seen.search_s.append(time.perf_counter() - due)

    async def write(self, due: float) -> None:
        """Some items, of which the next search finds each."""
        number = next(self._numbers)
        vectors = self._world.pictures(BATCH, seed=10**8 + number)
        ids = [f"written-{number}-{place}" for place in range(BATCH)]
        items = [_item(id_, vector) for id_, vector in zip(ids, vectors, strict=True)]
        answer = await self._http.post("/items", json={"items": items})
        self._seen.write_s.append(time.perf_counter() - due)
        self._seen.counts["written"] += BATCH
        self._seen.counts["errors"] += not answer.is_success or "error" in answer.text
        place = random.randrange(BATCH)
        hits = await self._ask(_body(vectors[place], 1))
        self._seen.counts["searched for"] += 1
        self._seen.counts["not found"] += hits != [ids[place]]

    async def _ask(self, body: bytes) -> list[str]:
        answer = await self._http.post("/search", content=body, headers=JSON)
        self._seen.counts["errors"] += not answer.is_success
        return [hit["id"] for hit in answer.json().get("hits", [])]


def _item(id_: str, vector: NDArray[np.float32]) -> dict[str, object]:
    return {"id": id_, "vectors": {"image": vector.tolist()}, "fingerprint": RandomEncoder.fingerprint}


def _body(vector: NDArray[np.float32], limit: int) -> bytes:
    return json.dumps({"query": {"vector": vector.tolist()}, "limit": limit, "target": {"image": 1.0}}).encode()


def _report(seen: dict[str, Seen], count: int, dimension: int) -> None:
    print(
        f"\n{SEARCHES_PER_S:.0f} searches/s beside {WRITES_PER_S * BATCH:.0f} items/s written, over HTTP, "
        f"{count:,} x {dimension}; ms, median and p99"
    )
    quiet = np.percentile(seen["quiet"].search_s, [50, 99])
    for phase, one in seen.items():
        p50, p99 = np.percentile(one.search_s, [50, 99])
        ratios = f"{p50 / quiet[0]:.1f}, {p99 / quiet[1]:.1f} of quiet"
        writes = "{:.1f}, {:.1f}".format(*1000 * np.percentile(one.write_s, [50, 99])) if one.write_s else "-"
        print(f"{phase:<24}{1000 * p50:>8.1f}{1000 * p99:>8.1f}   {ratios:<20} writes {writes:<14} {dict(one.counts)}")


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:3]]
    run(*numbers, **({"folder": Path(sys.argv[3])} if len(sys.argv) > 3 else {}))
