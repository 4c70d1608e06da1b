"""What HTTP and the rest of the service cost beside the index: searches by a vector, one by one and in batches.

`python -m bench.http [ITEMS [DIMENSION]]`: a server process, loaded over loopback by another process, beside a FastAPI
handler with the same request and response that does nothing; and batches beside the index by itself.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI

from app.cli.serve import address, leave_on_sigterm, listen, run_server
from app.responses import encode_vector
from app.schemas.search import SearchBody, SearchResults
from app.settings import Settings
from app.state import open_resources
from bench.clients import ask, request
from bench.index import World
from bench.stub import RandomEncoder
from indexer.collection import Collection
from indexer.collections import Collections
from indexer.stores.writing import Change

ITEMS, DIMENSION = 100_000, 512
ROUNDS = 5
SECONDS = 3.0
CONNECTIONS = 16
BATCH = 256
QUERIES = 512
K = 10
IN_BATCHES = f"batches of {BATCH}, queries"
IN_BASE64 = f"{IN_BATCHES} in base64"
PATH = "/v1/collections/default/search"


def run(count: int = ITEMS, dimension: int = DIMENSION) -> None:
    """Print the table: medians of rounds in which all take their turn."""
    world = World(dimension)
    queries = world.texts(QUERIES, seed=3)
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        bare = _measure(fill(data, world, count, dimension), dimension, queries)
        with process(_serve, data, dimension) as url:
            answer = _ask(url, PATH, _body(queries[0]))
            with process(_serve_nothing, answer) as empty:
                _report(count, dimension, queries, url, empty, bare)


def fill(data: Path, world: World, count: int, dimension: int) -> Path:
    """Make the collection; gives its folder."""
    encoder = RandomEncoder(dimension)
    with Collections(data, lambda _: encoder) as collections:
        collection = collections.get("default")
        for start in range(0, count, 4096):
            store(collection, world.pictures(min(4096, count - start), seed=start), start)
    with Collections(data, lambda _: encoder) as collections:
        collections.get("default").compact()
    return data


def _measure(data: Path, dimension: int, queries: np.ndarray) -> float:
    """Queries per second of the index alone, in batches."""
    encoder = RandomEncoder(dimension)
    with Collections(data, lambda _: encoder) as collections:
        collection = collections.get("default")
        index = collection.generations.active.indexes["image"]
        selected, batch = index.select(), queries[:BATCH]
        took = [_time(lambda: selected.search_many(batch, K)) for _ in range(ROUNDS)]
        print(f"index: {[f'{one.kind}, {one.vectors:,} vectors' for one in index.segments]}")
        return BATCH / median(took)


def store(collection: Collection, vectors: np.ndarray, first: int) -> None:
    row = collection.generations.active.row
    changes = [
        Change(
            id=f"sku-{first + number:08d}",
            text=None,
            metadata={"price": number % 977},
            image_sha256=None,
            image_type=None,
            source_url=None,
            content_hash=str(first + number),
            vectors={row.generation_pk: {"image": vector}},
            kept=(),
        )
        for number, vector in enumerate(vectors)
    ]
    collection._catalogue.write(row, changes)


def _report(count: int, dimension: int, queries: np.ndarray, url: str, empty: str, bare: float) -> None:
    bodies = [_body(query) for query in queries]
    batches, encoded = (
        [_batch(queries[start : start + BATCH], write) for start in range(0, len(queries), BATCH)]
        for write in (_body, _encoded_body)
    )
    ways: dict[str, Callable[[], float]] = {
        "empty handler": lambda: _load(empty, PATH, bodies, CONNECTIONS),
        "search": lambda: _load(url, PATH, bodies, CONNECTIONS),
        "search, one connection": lambda: _load(url, PATH, bodies, 1),
        IN_BATCHES: lambda: BATCH * _load(url, f"{PATH}/batch", batches, 2),
        IN_BASE64: lambda: BATCH * _load(url, f"{PATH}/batch", encoded, 2),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rates[name].append(way())
    found = {name: median(rate) for name, rate in rates.items()}
    beside = {"search": found["empty handler"], IN_BATCHES: bare, IN_BASE64: bare}
    print(f"\nSearches by a vector over HTTP, {count:,} x {dimension}, {K} hits, {CONNECTIONS} connections")
    print(f"{'':<36}{'per second':>12}{'ratio':>14}")
    for name, rate in found.items():
        share = f"{rate / beside[name]:>14.0%}" if name in beside else ""
        print(f"{name:<36}{rate:>12.0f}{share}")
    print(f"{'the index alone, batches':<36}{bare:>12.0f}")


def _body(query: np.ndarray) -> bytes:
    return _search(query.tolist())


def _encoded_body(query: np.ndarray) -> bytes:
    return _search(encode_vector(query, "base64"))


def _search(vector: list[float] | str) -> bytes:
    return json.dumps({"query": {"vector": vector}, "limit": K, "target": {"image": 1.0}}).encode()


def _batch(queries: np.ndarray, write: Callable[[np.ndarray], bytes]) -> bytes:
    return b'{"searches": [' + b", ".join(map(write, queries)) + b"]}"


def _ask(url: str, path: str, body: bytes) -> str:
    answer = httpx.post(f"{url}{path}", content=body, headers={"Content-Type": "application/json"}, timeout=60)
    return answer.raise_for_status().text


@contextmanager
def process(target: Callable[..., None], *arguments: object) -> Iterator[str]:
    """The address of a server in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments, sender))
    process.start()
    sender.close()  # else nobody would notice that the process ended
    try:
        yield receiver.recv()
    finally:
        process.terminate()
        process.join()


def _serve(data: Path, dimension: int, sender: Connection) -> None:
    settings = Settings(data_dir=data, port=0, query_cache_size=0)
    encoder = RandomEncoder(dimension)
    with leave_on_sigterm(), listen(settings) as listener, open_resources(settings, lambda _: encoder) as made:
        sender.send(address(listener))
        run_server(made, listener, access_log=False)


def _serve_nothing(answer: str, sender: Connection) -> None:
    app, results = FastAPI(), SearchResults.model_validate_json(answer)

    @app.post(PATH)
    async def search(body: SearchBody) -> SearchResults:
        return results

    with leave_on_sigterm(), listen(Settings(port=0)) as listener:
        sender.send(address(listener))
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


def _load(url: str, path: str, bodies: Sequence[bytes], connections: int) -> float:
    """Requests answered per second."""
    return ask(url, cycle([request(path, body) for body in bodies]), connections, SECONDS).per_s


def _time(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    run(*map(int, sys.argv[1:3]))
