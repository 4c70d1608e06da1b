"""64 clients that ask for twice as much as a server can do: what it refuses, how long the rest waits, its memory.

`python -m bench.soak [MINUTES [MODEL_FOLDER]]`: ten minutes of searches by text and by picture, embeddings of many
pictures, and items with pictures; before that 8 clients find out how much the server can do. The exit code is 1 where
something is not as asked.
"""

import itertools
import math
import multiprocessing
import random
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from app.sample.catalogue import draw_sample
from bench.clients import Answer, Answers, ask, ask_at_rate, request, upload
from bench.http import process
from bench.memory import memory_of
from bench.peers.contest import Inputs
from bench.peers.sightline import COLLECTION, prepare, serve
from models.store import EMBEDDED

MINUTES = 10.0
ITEMS = 20_000
CLIENTS, FEW = 64, 8
OVERLOAD = 2.0
MANY = 16
"""Pictures in one request for embeddings."""
DRAWN = 1024
"""Pictures that are put: of few, each would be in the collection a thousand times, and searches be about that."""
PARTS = 5
"""Of the time; the first is for warming up, the second is what the last is compared with."""
GROWTH = 1.05
"""Of memory, beside the index of what is put, that passes for none."""
PATIENCE = 2.0
"""So many times what a queue of all clients takes at full speed may the p99 of what is served be."""
SAMPLE_S = 1.0
MIB = 2**20


class Memory(NamedTuple):
    """Bytes of the server at one moment."""

    whole: int
    """Its own and mapped ones."""
    index: int
    """Of the collection, which grows with what is put; mapped files count whole, so it is lenient after a merge."""


def run(minutes: float = MINUTES, model: Path = EMBEDDED, items: int = ITEMS) -> bool:
    """Print what happened; whether all is as asked."""
    seconds = 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        data, inputs = Path(name) / "data", _draw(Path(name) / "inputs")
        prepare(data, model, items)
        with process(serve, data) as url:
            requests = _mixed(inputs)
            capacity = ask(url, requests, FEW, seconds / 10).per_s
            print(
                f"\n{FEW} clients: {capacity:.1f} requests/s; {CLIENTS} ask for {OVERLOAD * capacity:.1f}/s", flush=True
            )
            with _sampled_memory(url) as memory:
                seen = ask_at_rate(url, requests, CLIENTS, seconds, OVERLOAD * capacity)
    _report(seen)
    return _judge(seen, memory, PATIENCE * CLIENTS / capacity)


def _draw(folder: Path) -> Inputs:
    draw_sample(folder, items=DRAWN)
    (folder / "images").rename(folder / "pictures")
    return Inputs(folder)


def _mixed(inputs: Inputs) -> Iterator[bytes]:
    """Every kind as often; each text is another one."""
    draw = random.Random(0)
    embeddings = request("/v1/embeddings", inputs.json({"input": [{"image": uri} for uri in inputs.uris[:MANY]]}))
    for number in itertools.count():
        picture = draw.choice(inputs.pictures)
        kinds = [
            request(f"{COLLECTION}/search", inputs.json({"query": f"red shirt number {number}"})),
            upload(f"{COLLECTION}/search/upload", picture),
            upload(f"{COLLECTION}/items/written-{number}", picture, "PUT"),
            embeddings,
        ]
        yield draw.choice(kinds)


@contextmanager
def _sampled_memory(url: str) -> Iterator[list[Memory]]:
    """The list grows as long as the block runs."""
    [server] = multiprocessing.active_children()
    samples: list[Memory] = []
    ended = threading.Event()

    def sample() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not ended.wait(SAMPLE_S):
                with suppress(httpx.HTTPError):  # of a server that has too much to do, as is meant
                    index = client.get(COLLECTION).raise_for_status().json()["index"]["memory_bytes"]
                    samples.append(Memory(sum(memory_of(server.pid or 0)), index))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _report(seen: Answers) -> None:
    print(f"{'':<28}{'served':>10}{'refused':>10}{'p50 ms':>10}{'p99 ms':>10}")
    kinds: dict[str, list[Answer]] = defaultdict(list)
    for answer in seen.answers:
        kinds[_kind(answer)].append(answer)
    for kind, answers in [*sorted(kinds.items()), ("all", seen.answers)]:
        served = [answer.seconds for answer in answers if answer.status < 300]
        p50, p99 = 1000 * np.percentile(served, [50, 99]) if served else (0, 0)
        print(f"{kind:<28}{len(served):>10}{len(answers) - len(served):>10}{p50:>10.0f}{p99:>10.0f}")


def _kind(answer: Answer) -> str:
    method, path, _ = answer.line.decode().split(" ")
    return f"{method} {'items' if method == 'PUT' else path.removeprefix(COLLECTION).removeprefix('/v1')}"


def _judge(seen: Answers, memory: list[Memory], patience_s: float) -> bool:
    """Print and return whether the server did as asked."""
    statuses = Counter(answer.status for answer in seen.answers)
    refused = [answer for answer in seen.answers if answer.status == 503]
    p99 = [_p99(part) for part in _parts(sorted(seen.answers, key=lambda answer: answer.asked))]
    whole, beside = (
        [float(np.median(part)) / MIB if part else math.nan for part in _parts(kind)]
        for kind in ([one.whole for one in memory], [one.whole - one.index for one in memory])
    )
    in_flight = sum(answer.seconds for answer in seen.answers) / seen.seconds
    verdicts = {
        f"overload: {len(refused)} refused, {in_flight:.1f} in flight": bool(refused) or in_flight > CLIENTS / 2,
        f"no error but 503: {dict(statuses)}": set(statuses) <= {200, 201, 503},
        f"Retry-After with each of {len(refused)}": all(b"retry-after:" in one.head.lower() for one in refused),
        f"memory in MiB, by fifths of the time: {_list(whole)}, beside the index {_list(beside)}": (
            beside[-1] <= GROWTH * beside[1]
        ),
        f"p99 of the served in s: {_list(p99)}, at most {patience_s:.1f}": max(p99[1:]) <= patience_s,
    }
    for verdict, good in verdicts.items():
        print(f"{'as asked' if good else 'NOT AS ASKED':<14}{verdict}")
    return all(verdicts.values())


def _parts(whole: list[Any]) -> list[list[Any]]:
    size = max(1, len(whole) // PARTS)
    return [whole[start : start + size] for start in range(0, size * PARTS, size)]


def _p99(answers: list[Answer]) -> float:
    served = [answer.seconds for answer in answers if answer.status < 300]
    return float(np.percentile(served, 99)) if served else 0.0


def _list(numbers: list[float]) -> str:
    return ", ".join(f"{number:.1f}" for number in numbers)


if __name__ == "__main__":
    sys.exit(not run(*map(float, sys.argv[1:2]), *map(Path, sys.argv[2:3])))
