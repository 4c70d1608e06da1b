"""A server killed at random moments of a change of model, the flip included, has one whole generation that answers."""

import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from models.manifest import MANIFEST, Manifest
from models.store import ModelStore
from tests.faults.ledger import Client, Content, Ledger
from tests.faults.processes import fake_encoder
from tests.faults.trial import Trial
from tests.faults.uploads import running

log = logging.getLogger(__name__)

ITEMS = 1500
WITH_PICTURE = 3
BATCH = 500
LIFE_S = 1.5
"""A server lives at most so long under load."""
FLIP_S = 0.5
"""Half of the kills come within so long after the generations were compared, most of them soon."""

_COMPARED = "SELECT 1 FROM jobs WHERE state = 'running' AND report LIKE '{%'"
_FLIPPED = """
SELECT 1 FROM jobs JOIN collections ON collections.pk = jobs.collection_pk JOIN generations
ON generations.collection_pk = collections.pk AND number = active_generation
WHERE state = 'running' AND fingerprint = json_extract(request, '$.fingerprint')
"""


class ReembedTrial(Trial):
    """Its model changes there and back, beside uploads."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        models = ModelStore(folder / "data" / "models")
        _add_model(folder / "data" / "models" / "other", models.manifest("default"))
        self.encoders = {name: fake_encoder(models.folder(name)) for name in ("default", "other")}
        self.items = Ledger()
        self.changes = 0
        process = self.serve()
        with Client.to(process.ready()) as client:
            self._fill(client)
        assert process.stop() == 0

    def _fill(self, client: Client) -> None:
        for first in range(0, ITEMS, BATCH):
            batch = {f"item {number}": _content(number) for number in range(first, first + BATCH)}
            with self.items.writing(batch):
                items = [{"id": id_, **content.body()} for id_, content in batch.items()]
                client.send("POST", f"{client.collection}/items", json={"items": items})

    # Processes

    def kill_under_load(self) -> None:
        """Start, check what an earlier process acknowledged, and kill while models change under uploads."""
        process = self.serve()
        url = process.ready()
        with Client.to(url) as client:
            self.check(client)
        at_the_flip = self.random.random() < 0.5
        with running(url, [self.uploads.put_items, self.uploads.post_batches, self.change_models]):
            time.sleep(self.random.uniform(0, LIFE_S))
            if at_the_flip:
                self.wait_for_the_flip()
                time.sleep(FLIP_S * 10 ** self.random.uniform(-3, 0))
            process.kill()
        self.figures["killed near a flip"] += at_the_flip
        self.figures["killed after a flip, before its job ended"] += bool(self.ask(_FLIPPED))
        self.verify()

    def wait_for_the_flip(self) -> None:
        """Until a job has compared the generations: all that is left to do is the flip."""
        while not self.ask(_COMPARED):
            time.sleep(0.001)

    def ask(self, query: str) -> list[Any]:
        """Of the database, past the server."""
        with self.database() as database:
            return database.execute(query).fetchall()

    def finish(self) -> None:
        """The job ends by itself, and nothing is lost."""
        process = self.serve()
        with Client.to(process.ready()) as client:
            if self.job:
                self.end(client, self.job)
            self.check(client)
        assert process.stop() == 0
        self.verify()

    # Changes of the model

    def change_models(self, client: Client) -> None:
        """There and back; now and then the other generation is dropped, so that all of it is to be made again."""
        while True:
            self.end(client, self.submit(client))
            self.job = None
            self.changes += 1
            if self.random.random() < 0.7:
                self.drop_resting(client)

    def submit(self, client: Client) -> str:
        """The job of the present change, which is made once only."""
        body = {"model": ("other", "default")[self.changes % 2]}
        key = {"Idempotency-Key": f"change {self.changes}"}
        job = client.send("POST", f"{client.collection}/reembed", headers=key, json=body)
        self.keep_job(job)
        return str(job["id"])

    def end(self, client: Client, job: str) -> None:
        """Wait for it."""
        with client.http.stream("GET", f"/v1/jobs/{job}/events") as events:
            events.read()
        ended = client.send("GET", f"/v1/jobs/{job}")
        assert (ended["state"], ended["error"]) == ("succeeded", None)
        assert ended["progress"]["failed"] == 0
        self.figures["jobs ended"] += 1

    def drop_resting(self, client: Client) -> None:
        for generation in generations(client):
            if generation["state"] == "resting":
                client.send("DELETE", f"{client.collection}/generations/{generation['number']}")
                self.figures["generations dropped"] += 1

    # Checks

    def check(self, client: Client) -> None:
        """All that was acknowledged is there, equal, and found by vectors of one model, whatever the job does."""
        self.check_generations(client)
        self.check_items(client.items(), self.items)
        self.check_searches(client, self.items, self.items.states, self.encoders)

    def check_generations(self, client: Client) -> None:
        """One is active, and has a vector of each picture and each text."""
        found = generations(client)
        [active] = [one for one in found if one["state"] == "active"]
        modalities = Counter(modality for item in client.items().values() for modality in item["modalities"])
        assert active["vectors"] == dict(modalities)
        self.figures["jobs gone on with"] += any(0 < one["missing"] < ITEMS for one in found)


def generations(client: Client) -> list[dict[str, Any]]:
    """All of them, oldest first."""
    found: list[dict[str, Any]] = client.send("GET", f"{client.collection}/generations")["generations"]
    return found


def _add_model(folder: Path, manifest: Manifest) -> None:
    """Another model, whose vectors have another length."""
    folder.mkdir(parents=True)
    other = manifest.model_copy(update={"name": "other", "dimension": 64, "clean": "canonicalize"})
    (folder / MANIFEST).write_text(other.model_dump_json())


def _content(number: int) -> Content:
    return Content(f"item {number}", (number % 251, number // 251, 3) if number % WITH_PICTURE == 0 else None, number)


@pytest.mark.parametrize(("kills", "seed"), [(3, 21), pytest.param(30, 22, marks=pytest.mark.faults)])
def test_a_change_of_model_outlives_kill_9(
    kills: int, seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, __name__)
    trial, started = ReembedTrial(tmp_path, seed), time.monotonic()
    for _ in range(kills):
        trial.kill_under_load()
    trial.finish()
    trial.figures["items acknowledged"] = trial.uploads.ledger.acknowledged
    log.info("%d kills, %s, in %.0f s", kills, dict(trial.figures), time.monotonic() - started)
