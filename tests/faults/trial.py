"""A data folder whose server is killed and started again, and what must be in it then."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.fakes import FakeEncoder
from tests.faults.ledger import Client, Ledger
from tests.faults.processes import Process, start
from tests.faults.uploads import Uploads

SAMPLE = 8
"""Items of a catalogue that are searched for after each restart; the uploads are, all of them."""


class Trial:
    """One data folder; what there is to tell of it is in `figures`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random, self.uploads = folder, random.Random(seed), Uploads(seed)
        self.job: str | None = None
        """The job that was acknowledged last, until it has ended."""
        self.figures: Counter[str] = Counter()

    def serve(self) -> Process:
        """A new process on the same folder."""
        self.figures["starts"] += 1
        log_file = self.folder / f"server-{self.figures['starts']}.log"
        return start(log_file, "serve", "--port", 0, "--data-dir", self.folder / "data")

    def verify(self) -> None:
        """`sightline index verify`, which wants no server on the folder."""
        process = start(self.folder / "verify.log", "index", "verify", "--data-dir", self.folder / "data")
        assert process.wait() == 0, process.log.read_text()

    def database(self) -> closing[sqlite3.Connection]:
        """The catalogue's, past the server."""
        return closing(sqlite3.connect(self.folder / "data" / "catalogue.db"))

    def keep_job(self, job: Mapping[str, Any]) -> None:
        """An acknowledged job is there until it has ended, and the same request makes no other."""
        assert self.job in (None, job["id"]), "an acknowledged job was lost"
        self.job = str(job["id"])

    def check_items(self, told: Mapping[str, Any], rows: Ledger) -> None:
        """All that was acknowledged is there, equal; what was deleted is not."""
        for ledger in (rows, self.uploads.ledger):
            ledger.settle(told)
        assert set(told) <= {*rows.states, *self.uploads.ledger.states}
        self.figures["items compared"] += len(told)

    def check_searches(
        self, client: Client, rows: Ledger, sure: Iterable[str], encoders: Mapping[str, FakeEncoder]
    ) -> None:
        """All uploads are found, and some of the rows that are `sure` to be there."""
        candidates = sorted(sure)
        sample = self.random.sample(candidates, min(SAMPLE, len(candidates)))
        sought = self.uploads.ledger.states | {id_: rows.states[id_] for id_ in sample}
        for id_, (state,) in sought.items():
            if state is not None:  # a job goes on meanwhile: the answer says which model it is from
                client.check_searchable(id_, state, encoders)
                self.figures["items searched for"] += 1
