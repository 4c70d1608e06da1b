"""Servers and commands killed while they build segments with lists and graphs."""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from models.store import ModelStore
from tests.faults.ledger import Client, Content, Ledger
from tests.faults.processes import TIMEOUT_S, Process, fake_encoder, start
from tests.faults.uploads import running

log = logging.getLogger(__name__)

ITEMS = 1500
BATCH = 250
FLAT_ITEMS = 400
"""Segments of more have lists, and a graph: vectors without clusters are in no list more than in others."""
MOMENTS_S = 0.1
"""A process is killed within so long after what it builds was seen."""
SAMPLE = 10
STEPS = {
    "columns": "vectors.f32",
    "lists": "moments.f64",
    "graph": "ivf.faiss",
    "tuning": "hnsw.faiss",
    "end": "segment.json",
}
"""What is being made once a file is there."""


class Trial:
    """A data folder whose items are written again and again, so that segments are built without a pause."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.encoder = fake_encoder(ModelStore(folder).folder("default"))
        self.ledger = Ledger()
        self.figures: Counter[str] = Counter()

    def begin(self, *arguments: object) -> Process:
        self.figures["processes"] += 1
        path = self.folder / f"process-{self.figures['processes']}.log"
        flat_components = FLAT_ITEMS * self.encoder.dimension
        return start(path, *arguments, "--data-dir", self.folder / "data", flat_components=flat_components)

    def serve(self) -> Process:
        return self.begin("serve", "--port", 0)

    def write(self, client: Client) -> None:
        """Some of the items, with new texts."""
        while True:
            numbers = self.random.sample(range(ITEMS), BATCH)
            batch = {f"item {number}": Content(f"{self.random.random()}", None, number) for number in numbers}
            with self.ledger.writing(batch):
                items = [{"id": id_, **content.body()} for id_, content in batch.items()]
                client.send("POST", f"{client.collection}/items", json={"items": items})

    def kill_server(self) -> None:
        """While it builds, under writes; then it must start, and have what it acknowledged."""
        process = self.serve()
        url = process.ready()
        with Client.to(url) as client:
            self.check(client)
        with running(url, [self.write]):
            self.kill_building(process)
        self.verify()

    def kill_command(self, *arguments: object) -> None:
        """The same for a command that builds."""
        self.kill_building(self.begin(*arguments))
        self.verify()

    def kill_building(self, process: Process) -> None:
        """Once a step of a build was seen; a command may have ended by then."""
        step = self.random.choice(list(STEPS))
        deadline = time.monotonic() + TIMEOUT_S
        while process.process.is_alive() and step not in self.steps() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(self.random.uniform(0, MOMENTS_S))
        process.kill()
        self.figures.update(f"killed in {step}" for step in self.steps())

    def steps(self) -> list[str]:
        """How far the builds are that left their folders, or are still at it."""
        found = []
        for partial in self.folder.glob("data/index/*/*/*/partial-*"):
            begun = [step for step, name in STEPS.items() if (partial / name).exists()]
            found += begun[-1:]
        return found

    def verify(self) -> None:
        process = self.begin("index", "verify")
        assert process.wait() == 0, process.log.read_text()
        assert self.steps() == []

    def check(self, client: Client) -> None:
        """What was acknowledged is there, and some of it is searched for."""
        self.ledger.settle(client.items())
        stored = {id_: state for id_, (state,) in self.ledger.states.items() if state is not None}
        for id_ in self.random.sample(sorted(stored), min(SAMPLE, len(stored))):
            client.check_searchable(id_, stored[id_], {"default": self.encoder})

    def kinds(self, client: Client) -> set[str]:
        """Of its segments."""
        segments = client.send("GET", client.collection)["index"]["segments"]
        return {segment["kind"] for segment in segments["text"]}


@pytest.mark.parametrize(("kills", "seed"), [(4, 31), pytest.param(30, 32, marks=pytest.mark.faults)])
def test_killed_builds_harm_nothing(kills: int, seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, __name__)
    trial, started = Trial(tmp_path, seed), time.monotonic()
    ways: list[Callable[[], None]] = [
        trial.kill_server,
        lambda: trial.kill_command("index", "rebuild"),
        lambda: trial.kill_command("index", "compact"),
    ]
    for number in range(kills):
        ways[number % len(ways)]()
    rebuilt = trial.begin("index", "rebuild")
    assert rebuilt.wait() == 0, rebuilt.log.read_text()
    process = trial.serve()
    with Client.to(process.ready()) as client:
        trial.check(client)
        assert trial.kinds(client) == {"hnsw"}
    assert process.stop() == 0
    log.info("%d kills, %s, in %.0f s", kills, dict(trial.figures), time.monotonic() - started)
    assert sum(trial.figures[f"killed in {step}"] for step in STEPS) >= kills // 2
