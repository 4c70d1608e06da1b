"""A server killed at random moments of ingest and uploads has, whenever it starts again, all that it acknowledged."""

import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from models.store import ModelStore
from tests.faults.catalogue import ROWS, content, row_id, states, write_edition, write_pictures
from tests.faults.ledger import Client, Ledger
from tests.faults.processes import fake_encoder
from tests.faults.trial import Trial
from tests.faults.uploads import running

log = logging.getLogger(__name__)

LIFE_S = 0.7
"""A server lives at most so long under load."""
START_S = 0.5
"""Some are killed within so long after their start."""

JOURNAL = """
CREATE TABLE chunks (job, before, after, rows);
CREATE TRIGGER journal AFTER UPDATE OF position ON jobs BEGIN
    INSERT INTO chunks VALUES (new.id, old.position, new.position,
        new.created + new.updated + new.unchanged + new.failed
        - old.created - old.updated - old.unchanged - old.failed);
END;
"""
"""Notes each chunk in the transaction that commits it."""


class CatalogueTrial(Trial):
    """Editions of one catalogue go in, beside uploads."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.encoder = fake_encoder(ModelStore(folder).folder("default"))
        self.edition = 1
        (folder / "sightline.toml").write_text(f'ingest_roots = ["{folder / "shop"}"]\n')
        write_pictures(folder / "shop")
        process = self.serve()  # makes the database
        process.ready()
        assert process.stop() == 0
        with self.database() as database:
            database.executescript(JOURNAL)

    # Processes

    def kill_while_starting(self) -> None:
        """Now and then, at a moment when a job goes on already, or not yet."""
        if self.random.random() < 0.25:
            process = self.serve()
            time.sleep(self.random.uniform(0, START_S))
            process.kill()
            self.figures["killed while starting"] += 1

    def kill_under_load(self) -> None:
        """Start, check what an earlier process acknowledged, and kill while everything is written to."""
        process = self.serve()
        url = process.ready()
        with Client.to(url) as client:
            self.check(client)
        life_s = self.random.uniform(0, LIFE_S)
        log.info("killed after %.3f s under load", life_s)
        with running(url, [self.uploads.put_items, self.uploads.post_batches, self.ingest]):
            time.sleep(life_s)
            process.kill()
        self.verify()
        self.check_journal()

    def finish(self) -> None:
        """Let the job end, and compare everything with what the file says."""
        process = self.serve()
        with Client.to(process.ready()) as client:
            self.ingest_edition(client)
            self.check(client)
        assert process.stop() == 0
        self.verify()
        self.check_journal()
        self.check_vectors()

    # Ingest

    def ingest(self, client: Client) -> None:
        """Edition after edition."""
        while True:
            self.ingest_edition(client)
            self.job = None
            self.edition += 1

    def ingest_edition(self, client: Client) -> None:
        """The present edition to its end."""
        job = self.submit(client)
        with client.http.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
            events.read()
        self.check_counts(client.send("GET", f"/v1/jobs/{job['id']}"))
        self.figures["jobs ended"] += 1

    def submit(self, client: Client) -> dict[str, Any]:
        """The job of the present edition, which is made once only; odd ones are read in place, even ones uploaded."""
        path = write_edition(self.folder / "shop", self.edition)
        upload: dict[str, Any] = {"files": {"file": (path.name, path.read_bytes())}}
        body = {"json": {"source": str(path)}} if self.edition % 2 else upload
        key = {"Idempotency-Key": f"edition {self.edition}"}
        job: dict[str, Any] = client.send("POST", f"{client.collection}/ingest", headers=key, **body)
        self.keep_job(job)
        assert job["error"] is None
        return job

    # Checks

    def check(self, client: Client) -> None:
        """All that was acknowledged is there, equal, and found; what was deleted is not."""
        first = self.submit(client)["progress"]["done"]
        told = client.items()
        last = self.submit(client)["progress"]["done"]
        rows = Ledger(states(self.edition, first, last))
        self.check_items(told, rows)
        self.figures["jobs gone on with"] += 0 < first < ROWS
        sure = {row_id(number) for number in range(1, first + 1)} & set(rows.states)
        sure.discard(row_id(first + 1))  # the job goes on meanwhile
        self.check_searches(client, rows, sure, {"default": self.encoder})

    def check_counts(self, job: dict[str, Any]) -> None:
        """Each row of a job that ended is accounted for, once."""
        progress = job["progress"]
        named = {row_id(number) for number in range(1, ROWS + 1) if content(self.edition, number)}
        accounted = sum(progress[name] for name in ("created", "updated", "unchanged", "failed"))
        assert job["state"] == "succeeded"
        assert progress["done"] == progress["total"] == accounted == ROWS
        assert progress["created"] == (len(named) if self.edition == 1 else 0)

    def check_journal(self) -> None:
        """The chunks of each job follow upon each other: none was committed twice, none was left out."""
        with self.database() as database:
            chunks = database.execute("SELECT * FROM chunks ORDER BY rowid").fetchall()
        ends: Counter[str] = Counter()
        for job, before, after, rows in chunks:
            assert ends[job] == before < after == before + rows
            ends[job] = after
        self.figures["chunks"] = len(chunks)

    def check_vectors(self) -> None:
        """All that are stored; that the index has the same ones is what `verify` says."""
        expected: dict[tuple[str, str], bytes] = {}
        for id_, (state,) in (states(self.edition, ROWS, ROWS) | self.uploads.ledger.states).items():
            made = {} if state is None else state.vectors(self.encoder)
            expected |= {(id_, modality): vector.astype("<f2").tobytes() for modality, vector in made.items()}
        with self.database() as database:
            stored = database.execute("SELECT id, modality, vector FROM vectors JOIN items ON items.pk = item_pk")
            assert {(id_, modality): vector for id_, modality, vector in stored} == expected


@pytest.mark.parametrize(("kills", "seed"), [(5, 11), pytest.param(100, 12, marks=pytest.mark.faults)])
def test_what_was_acknowledged_outlives_kill_9(
    kills: int, seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, __name__)
    trial, started = CatalogueTrial(tmp_path, seed), time.monotonic()
    for _ in range(kills):
        trial.kill_while_starting()
        trial.kill_under_load()
    trial.finish()
    trial.figures["items acknowledged"] = trial.uploads.ledger.acknowledged
    log.info("%d kills, %s, in %.0f s", kills, dict(trial.figures), time.monotonic() - started)
