"""Searches and writes at a constant rate from another process, whether they are answered or not."""

import base64
import itertools
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple

import httpx
import numpy as np

COLLECTION = "/v1/collections/default"
THREADS = 32
"""Requests that may wait for their answers at a time."""


class Sent(NamedTuple):
    """One request; times in seconds since the epoch."""

    kind: str
    due: float
    """When it was to be sent; what it waited since then is part of `seconds`."""
    seconds: float
    status: int
    """0 where there was no answer."""
    answer: dict[str, Any]
    """What is worth knowing of it."""


@dataclass(frozen=True)
class Load:
    """What is sent."""

    url: str
    texts: list[str]
    pictures: list[bytes]
    searches_per_s: float
    writes_per_s: float
    probes_per_s: float
    """Searches whose answers carry vectors."""


@contextmanager
def apply_load(load: Load) -> Iterator[list[Sent]]:
    """Send for as long as the block runs; the list is filled when it ends."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    stop = context.Event()
    process = context.Process(target=_send, args=(load, stop, sender))
    process.start()
    sent: list[Sent] = []
    try:
        yield sent
    finally:
        stop.set()
        sent += receiver.recv()
        process.join()


def print_latencies(quiet: Sequence[Sent], during: Sequence[Sent]) -> None:
    """Median and 99th percentile of searches and of writes in ms, without a job and beside it."""
    print(f"{'ms':<24}{'quiet p50':>12}{'p99':>8}{'job p50':>12}{'p99':>8}{'p99 ratio':>12}")
    for kind in ("search", "write"):
        latencies = [[1000 * one.seconds for one in part if one.kind == kind] for part in (quiet, during)]
        (p50, p99), (job_p50, job_p99) = (np.percentile(found, (50, 99)) for found in latencies)
        print(f"{kind:<24}{p50:>12.0f}{p99:>8.0f}{job_p50:>12.0f}{job_p99:>8.0f}{job_p99 / p99:>12.2f}")


def _send(load: Load, stop: Event, sender) -> None:  # type: ignore[no-untyped-def]
    limits = httpx.Limits(max_connections=THREADS, max_keepalive_connections=THREADS)
    with httpx.Client(base_url=load.url, timeout=60, limits=limits) as http, ThreadPoolExecutor(THREADS) as pool:
        requests = _Requests(load, http)
        ways = [
            (requests.search, load.searches_per_s),
            (requests.write, load.writes_per_s),
            (requests.probe, load.probes_per_s),
        ]
        sent = []
        for due, way in _schedule(ways):
            if stop.wait(max(0.0, due - time.time())):
                break
            sent.append(pool.submit(_timed, way, due))
        sender.send([future.result() for future in sent])


def _schedule(ways: list[tuple[Callable[[], Any], float]]) -> Iterator[tuple[float, Callable[[], Any]]]:
    """When each is to be sent: by chance, as people do, each as often as its rate says in the mean."""
    draw, due = random.Random(0), time.time()
    rates = [rate for _, rate in ways]
    while True:
        due += draw.expovariate(sum(rates))
        yield due, draw.choices([way for way, _ in ways], rates)[0]


def _timed(way: Callable[[], tuple[int, dict[str, Any]]], due: float) -> Sent:
    try:
        status, answer = way()
    except httpx.HTTPError as error:
        status, answer = 0, {"error": repr(error)}
    return Sent(way.__name__, due, time.time() - due, status, answer)


class _Requests:
    def __init__(self, load: Load, http: httpx.Client) -> None:
        self._load, self._http = load, http
        self._numbers = itertools.count()

    def search(self) -> tuple[int, dict[str, Any]]:
        return self._search(include=["text", "metadata"])

    def probe(self) -> tuple[int, dict[str, Any]]:
        return self._search(include=["vector"])

    def write(self) -> tuple[int, dict[str, Any]]:
        """A new item, with a picture and a text."""
        number = next(self._numbers)
        picture = self._load.pictures[number % len(self._load.pictures)]
        uri = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
        id_, text = f"written-{number}", f"{self._load.texts[number % len(self._load.texts)]}, number {number}"
        answer = self._http.put(f"{COLLECTION}/items/{id_}", json={"image": uri, "text": text})
        return answer.status_code, {"id": id_, "text": text}

    def _search(self, include: list[str]) -> tuple[int, dict[str, Any]]:
        texts = self._load.texts
        query = f"{texts[next(self._numbers) % len(texts)]} {random.random():.3f}"
        answer = self._http.post(f"{COLLECTION}/search", json={"query": query, "include": include})
        told = answer.json() if answer.is_success else {}
        vectors = {hit["id"]: hit["vectors"] for hit in told.get("hits", []) if "vectors" in hit}
        problem = None if answer.is_success else answer.text
        return answer.status_code, {"generation": told.get("generation"), "vectors": vectors, "problem": problem}
