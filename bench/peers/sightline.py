"""Sightline in the contest: its server over a collection, and what its graphs do by themselves."""

import itertools
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cache, partial
from http.client import HTTPConnection
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from app.cli.serve import address, leave_on_sigterm, listen, run_server, shared_folder
from app.settings import Settings
from app.state import open_resources
from bench.clients import ask, request, upload
from bench.http import process
from bench.peers.contest import Inputs, Rate
from bench.peers.peers import Ways
from bench.start import fill
from models.imaging import ImageLimits, decode_image
from models.manifest import read_manifest
from models.sessions import Session, usable_cores
from models.tokenizing import TextTokenizer

MODEL = "bench"
COLLECTION = "/v1/collections/default"
WRITTEN = "/v1/collections/written"
"""What is put goes here: the other one keeps its size, and no picture is in it a thousand times."""
SEARCH = {"limit": 10, "target": {"image": 1.0}}
BATCHES = (1, 8, 32)
"""Of which the graphs may take the best where many clients ask."""
CHOICE_S, TURNS = 0.5, 3
"""Seconds and times that each of these is looked at, by turns."""
POLL_S = 0.1
"""Each look at a job takes the cores from it for some milliseconds."""
JOB_S = 8.0
"""A shorter job would be its beginning and its end, for the most part."""


def prepare(data: Path, model: Path, items: int) -> float:
    """A collection of drawn vectors for the model; median seconds of its index alone for one query."""
    (data / "models").mkdir(parents=True)
    (data / "models" / MODEL).symlink_to(model.resolve(), target_is_directory=True)
    return fill(data, items, model, MODEL)


@contextmanager
def served_by_readers(data: Path, inputs: Inputs) -> Iterator[Ways]:
    """Searches by as many readers as there are cores, over a copy of a folder that is prepared."""
    readers, copy = usable_cores(), data.with_name(f"{data.name}-readers")
    shutil.copytree(data, copy, symlinks=True)
    with process(partial(serve, readers=readers), copy) as url:
        yield {f"texts, search, {readers} readers": ways_of(url, inputs)["texts, search"]}


def serve(data: Path, sender: Connection, readers: int = 0) -> None:
    """Serve a folder that is prepared; the address is sent."""
    settings = Settings(data_dir=data, model=MODEL, port=0, device="cpu", query_cache_size=0, workers=readers)
    with (
        leave_on_sigterm(),
        listen(settings) as listener,
        shared_folder(settings) as folder,
        open_resources(settings) as made,
    ):
        sender.send(address(listener))
        run_server(made, listener, access_log=False, folder=folder)


class Lone(NamedTuple):
    """Seconds of a lone search, medians: all that its client waits, and what the server tells of it."""

    whole: float
    encoder: float
    index: float


def ask_alone(url: str, inputs: Inputs, searches: int = 200) -> Lone:
    """One after the other, on one connection."""
    seen = []
    with closing(HTTPConnection(url.removeprefix("http://"))) as connection:
        for text in itertools.islice(itertools.cycle(inputs.texts), searches):
            body = inputs.json(SEARCH | {"query": text})
            begun = time.perf_counter()
            connection.request("POST", f"{COLLECTION}/search", body, {"Content-Type": "application/json"})
            answer = connection.getresponse().read()
            whole = time.perf_counter() - begun
            took = json.loads(answer)["took_ms"]
            seen.append(Lone(whole, took["embed"] / 1000, took["search"] / 1000))
    return Lone(*map(median, zip(*seen, strict=True)))


def ways_of(url: str, inputs: Inputs) -> Ways:
    """What can be asked of a server."""
    httpx.put(f"{url}{WRITTEN}", json={}, timeout=60).raise_for_status()  # readers answer when all is loaded
    numbers = itertools.count()
    texts = [request("/v1/embeddings", inputs.json({"input": [text]})) for text in inputs.texts]
    searches = [request(f"{COLLECTION}/search", inputs.json(SEARCH | {"query": text})) for text in inputs.texts]
    pictures = [request("/v1/embeddings", inputs.json({"input": [{"image": uri}]})) for uri in inputs.uris]
    return {
        "texts, embeddings": _asking(url, itertools.cycle(texts)),
        "texts, search": _asking(url, itertools.cycle(searches)),
        "pictures, embeddings": _asking(url, itertools.cycle(pictures)),
        "pictures, items": _asking(url, _items(inputs, numbers)),
        "pictures, a job": lambda _, seconds: _run_job(url, inputs, numbers, max(seconds, JOB_S)),
    }


def _asking(url: str, requests: Iterator[bytes]) -> Callable[[int, float], Rate]:
    return lambda clients, seconds: Rate.of(ask(url, requests, clients, seconds))


def _items(inputs: Inputs, numbers: Iterator[int]) -> Iterator[bytes]:
    for number, picture in zip(numbers, itertools.cycle(inputs.pictures), strict=False):
        yield upload(f"{WRITTEN}/items/written-{number}", picture, "PUT")


def _run_job(url: str, inputs: Inputs, numbers: Iterator[int], seconds: float) -> Rate:
    """Upload pictures in a tar, as many as take about so long, and wait until the job has taken them in."""
    count = 16
    while True:
        started = time.perf_counter()
        _take_in(url, _tar(inputs, numbers, count))
        took = time.perf_counter() - started
        if took > 0.6 * seconds:
            return Rate(count / took)
        count = round(count * min(8.0, 1.2 * seconds / took))


def _take_in(url: str, archive: bytes) -> None:
    with httpx.Client(base_url=url, timeout=600) as http:
        job = http.post(f"{WRITTEN}/ingest", files={"file": ("pictures.tar", archive)}).raise_for_status().json()
        while job["state"] in ("queued", "running"):
            time.sleep(POLL_S)
            job = http.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    if job["state"] != "succeeded" or job["progress"]["failed"]:
        raise SystemExit(f"the job {job['state']}: {job}")


def _tar(inputs: Inputs, numbers: Iterator[int], count: int) -> bytes:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number, picture in zip(itertools.islice(numbers, count), itertools.cycle(inputs.pictures), strict=False):
            member = tarfile.TarInfo(f"shipped-{number}.jpg")
            member.size = len(picture)
            archive.addfile(member, BytesIO(picture))
    return file.getvalue()


def tokenize(model: Path, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Ids of each text."""
    manifest = read_manifest(model)
    tokenizer = TextTokenizer(model / "tokenizer.json", context_length=manifest.context_length, clean=manifest.clean)
    return tokenizer(texts)[0]


def limits(model: Path, inputs: Inputs) -> Ways:
    """The graphs with ids and pixels that are ready; texts also on one core, as a lone one is served."""
    preprocessing = read_manifest(model).preprocessing
    decoded = (decode_image(picture, ImageLimits()) for picture in inputs.pictures[: max(BATCHES)])
    ready = {
        "text": np.stack(tokenize(model, inputs.texts[: max(BATCHES)])),
        "image": np.stack([preprocessing.pixels(image) for image in decoded]),
    }
    texts, pictures = (
        [Session(model / f"{tower}.onnx", device="cpu", threads=threads) for threads in (0, 1)] for tower in ready
    )
    return {
        "texts": _running(texts, ready["text"]),
        "texts, one core": _running(texts[1:], ready["text"]),
        "pictures": _running(pictures, ready["image"]),
    }


def _running(sessions: Sequence[Session], rows: NDArray[np.generic]) -> Callable[[int, float], Rate]:
    """Rows one by one in the first session; for many clients by the batches and the session that are the fastest.

    They are chosen when they are first asked for: looked for in each round, they would be the luckiest.
    """

    @cache
    def fastest(many: bool) -> Callable[[float], Rate]:
        ways = [
            partial(_run_for, session, rows[:batch], session.parallel if many else 1)
            for session, batch in (itertools.product(sessions, BATCHES) if many else [(sessions[0], 1)])
        ]
        turns = [[way(CHOICE_S).per_s for way in ways] for _ in range(TURNS)]
        return ways[int(np.median(turns, axis=0).argmax())]

    return lambda clients, seconds: fastest(clients > 1)(seconds)


def _run_for(session: Session, rows: NDArray[np.generic], at_once: int, seconds: float) -> Rate:
    """`at_once` runs at a time, for about `seconds`."""
    ends = time.perf_counter() + seconds

    def run_on(_: int) -> list[float]:
        times: list[float] = []
        while not times or time.perf_counter() < ends:
            started = time.perf_counter()
            session.run(rows)
            times.append(time.perf_counter() - started)
        return times

    with ThreadPoolExecutor(at_once) as threads:
        times = list(threads.map(run_on, range(at_once)))
    return Rate(sum(len(rows) * len(some) / sum(some) for some in times), float(np.median(np.concatenate(times))))
