"""Snapshots that are killed at any moment, while a server writes, and a disk that is too small for them."""

import logging
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from models.store import ModelStore
from tests.fakes import FakeEncoder
from tests.faults.disks import small_disk
from tests.faults.ledger import Client, Ledger
from tests.faults.processes import Process, fake_encoder, start
from tests.faults.uploads import Uploads, running

log = logging.getLogger(__name__)

LIFE_S = 0.6
"""A command lives at most so long."""
LOAD_S = 1.0
"""The server is written to for so long before the first snapshot."""


class Trial:
    """A server that is written to without a pause, and snapshots of its folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.uploads = Uploads(seed)
        self.figures: Counter[str] = Counter()
        self.snapshot, self.restored = folder / "snapshot", folder / "restored"

    def command(self, *arguments: object) -> Process:
        """A command, which has a log of its own."""
        self.figures["commands"] += 1
        return start(self.folder / f"command-{self.figures['commands']}.log", *arguments)

    def create(self) -> Process:
        return self.command("snapshot", "create", self.snapshot, "--data-dir", self.folder / "data")

    def restore(self) -> Process:
        return self.command("snapshot", "restore", self.snapshot, "--data-dir", self.restored)

    def verify(self, data: Path) -> None:
        self.succeed(self.command("index", "verify", "--data-dir", data))

    def succeed(self, process: Process) -> None:
        assert process.wait() == 0, process.log.read_text()

    def kill(self, begin: Callable[[], Process], made: Path) -> None:
        """Kill a command at some moment: what it makes is there as a whole, or not at all."""
        process = begin()
        time.sleep(self.random.uniform(0, LIFE_S))
        process.kill()
        self.figures["killed in time"] += not made.exists()

    def round(self) -> None:
        """A snapshot and a restoration, each killed first; a killed one that was done by then is as good as any."""
        self.kill(self.create, self.snapshot)
        if not self.snapshot.exists():
            refused = self.restore()
            assert refused.wait() == 1
            assert "snapshot.json is missing" in refused.log.read_text()
            assert not self.restored.exists()
            self.succeed(self.create())
        self.kill(self.restore, self.restored)
        if not self.restored.exists():
            self.succeed(self.restore())
        self.verify(self.restored)
        assert not [path for path in self.folder.iterdir() if path.name.endswith(".partial")]
        shutil.rmtree(self.snapshot)
        shutil.rmtree(self.restored)


def check(client: Client, ledger: Ledger, encoder: FakeEncoder) -> None:
    """All that was acknowledged is there, equal, and found."""
    ledger.settle(client.items())
    for id_, (state,) in ledger.states.items():
        if state is not None:
            client.check_searchable(id_, state, {"default": encoder})


@pytest.mark.parametrize(("rounds", "seed"), [(2, 21), pytest.param(30, 22, marks=pytest.mark.faults)])
def test_killed_snapshots_harm_nothing(
    rounds: int, seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, __name__)
    trial = Trial(tmp_path, seed)
    encoder = fake_encoder(ModelStore(tmp_path).folder("default"))
    server = trial.command("serve", "--port", 0, "--data-dir", tmp_path / "data")
    url = server.ready()
    with running(url, [trial.uploads.put_items, trial.uploads.post_batches]):
        time.sleep(LOAD_S)
        for _ in range(rounds):
            trial.round()
        server.kill()
    server = trial.command("serve", "--port", 0, "--data-dir", tmp_path / "data")
    with Client.to(server.ready()) as client:
        check(client, trial.uploads.ledger, encoder)
    assert server.stop() == 0
    trial.verify(tmp_path / "data")
    trial.succeed(trial.create())
    trial.succeed(trial.restore())
    server = trial.command("serve", "--port", 0, "--data-dir", trial.restored)
    with Client.to(server.ready()) as client:
        check(client, trial.uploads.ledger, encoder)
    assert server.stop() == 0
    log.info("%s, %d items acknowledged", dict(trial.figures), trial.uploads.ledger.acknowledged)


def test_a_disk_that_is_too_small_keeps_nothing_of_a_snapshot(tmp_path: Path) -> None:
    trial = Trial(tmp_path, seed=23)
    server = trial.command("serve", "--port", 0, "--data-dir", tmp_path / "data")
    with Client.to(server.ready()) as client:
        client.send("PUT", f"{client.collection}/items/a", json={"text": "red " * 10_000})
        with small_disk(tmp_path / "disk", 1) as disk:
            disk.fill()
            trial.snapshot = disk.folder / "snapshot"
            process = trial.create()
            assert process.wait() == 1
            assert "full" in process.log.read_text() or "No space left" in process.log.read_text()
            assert [path.name for path in disk.folder.iterdir()] == ["ballast"]
    assert server.stop() == 0
