"""The job that changes the model of a collection while it is searched and written to."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import CollectionNotFound, GenerationIncomplete, GenerationUnfit, OriginalChanged, OriginalMissing
from indexer.generation import Generation
from indexer.ingest.pipeline import CHUNK_ROWS, LoadImage
from indexer.jobs.runner import Run
from indexer.jobs.store import ChunkReport, Job
from indexer.reembed.backfill import Original, fill
from indexer.reembed.bridge import Bridge
from indexer.reembed.comparison import compare
from indexer.stores.catalogue import StoredItem
from indexer.stores.generations import GenerationStore
from indexer.types import Modality
from models.encoder import Encoder

KIND = "reembed"

PASSES = 5
"""How often what is missing is looked for; what writes add meanwhile is there already."""

MIN_SELF_RETRIEVAL = 0.99
"""Share of a sample whose vectors must find themselves first."""


@dataclass(frozen=True)
class ReembedRequest:
    """What a change of model is asked to do."""

    model: str
    fingerprint: str
    activate: bool = True
    expect_missing: int = 0
    """Items that may lose a vector, because neither their original nor its address is there."""
    bridge: bool = False
    """Let the new model embed what is searched for already while the generation is filled."""

    def to_json(self) -> dict[str, Any]:
        """What is stored of it with its job."""
        return asdict(self)


class ReembedJob:
    """The work of jobs of the kind `reembed`; begins with what the generation lacks.

    Args:
        load_image: Fetches a picture from where it came from.
    """

    def __init__(self, collections: Collections, open_encoder: Callable[[str], Encoder], load_image: LoadImage) -> None:
        self._collections, self._open_encoder, self._load_image = collections, open_encoder, load_image
        self._store = GenerationStore(collections.database)

    def __call__(self, run: Run) -> None:
        """Run one job; see `indexer.jobs.runner.Work`."""
        request, generations = ReembedRequest(**run.job.request), run.collection.generations
        if generations.active.row.fingerprint == request.fingerprint:
            return  # it was activated, and the server was killed before it could say so
        encoder = self._open_encoder(request.model)
        if encoder.fingerprint != request.fingerprint:
            raise GenerationUnfit(f"model {request.model!r} is not what it was when this was asked for; ask again")
        generation = generations.follow(request.model, encoder)
        bridge = Bridge(run.collection, generation) if request.bridge else None
        with bridge or nullcontext():
            self._change(run, generation, request, bridge)

    def _change(self, run: Run, generation: Generation, request: ReembedRequest, bridge: Bridge | None) -> None:
        generations = run.collection.generations
        missing = self._fill(run, generation, bridge)
        if missing > request.expect_missing:
            raise GenerationIncomplete(
                f"{missing:,} items would lose a vector, since their originals are gone (the job's errors name them); "
                f"nothing was changed. If that is meant, ask again with expect_missing {missing}"
            )

        report = compare(run.collection, generations.active, generation, run.check)
        run.change(report=report.to_json() | ({"bridge": bridge.measure(run.check).to_json()} if bridge else {}))
        if report.candidate.self_retrieval < MIN_SELF_RETRIEVAL or report.candidate.zero_vectors:
            raise GenerationUnfit("the vectors of the new model do not tell items apart; the job's report says more")
        run.check()
        if request.activate:
            generations.activate(generation.number, missing)

    def clean_up(self, job: Job) -> None:
        """A generation whose job did not succeed takes in no more writes; what never ran has no part in any."""
        if job.state not in ("failed", "cancelled") or job.started_at is None:
            return
        with suppress(CollectionNotFound):
            collection = self._collections.get(job.collection)
            if collection.pk != job.collection_pk:  # another one of the same name
                return
            for info in collection.generations.infos():
                if info.fingerprint == job.request["fingerprint"] and info.state == "following":
                    collection.generations.rest(info.number)

    def sweep(self, begun: Iterable[Job]) -> None:
        """Clean up for a server that was killed between the end of a job and that.

        Args:
            begun: All jobs of this kind that ever ran, in order; the last of each generation says how it was left.
        """
        last = {(job.collection_pk, job.request["fingerprint"]): job for job in begun}
        for job in last.values():
            self.clean_up(job)

    def _fill(self, run: Run, generation: Generation, bridge: Bridge | None) -> int:
        """Fill what is missing until nothing is left that can be; gives how many items still lack a vector."""
        collection, row = run.collection, generation.row

        def missing(after: int) -> list[tuple[StoredItem, set[Modality]]]:
            pks = self._store.missing(row, collection.generations.active.row, after, CHUNK_ROWS, run.job.pk)
            return _lacking(collection, self._store.modalities(row, pks), pks)

        def record(chunk: ChunkReport, connection: Connection) -> None:
            self._collections.disk.check()
            run.record(chunk, connection)

        done = run.job.progress.done
        for _ in range(PASSES):
            left = self._store.count_missing(row, collection.generations.active.row)
            run.change(total=done + left, report=None)
            before = done
            done = fill(
                collection,
                generation,
                missing,
                self._read_original,
                self._fetch_original,
                record,
                done=done,
                after_chunk=bridge.fit_if_due if bridge else lambda: None,
                check=run.check,
            )
            if done == before:
                break
        run.change(total=done)
        return self._store.count_missing(row, collection.generations.active.row)

    def _read_original(self, stored: StoredItem) -> Original | None:
        sha256 = stored.item.image_sha256
        data = self._collections.originals.read(sha256) if sha256 else None
        return None if data is None else Original(data)

    def _fetch_original(self, stored: StoredItem) -> Original:
        if stored.item.image_sha256 is None:
            raise OriginalMissing("its image vector was given by a client, and there is no picture")
        if stored.source_url is None:
            raise OriginalMissing("its picture is not stored, and did not come from an address")
        data = self._load_image(stored.source_url)
        changed = hashlib.sha256(data).hexdigest() != stored.item.image_sha256
        return Original(data, OriginalChanged("its address gives another picture now") if changed else None)


def _lacking(
    collection: Collection, have: dict[int, set[Modality]], pks: list[int]
) -> list[tuple[StoredItem, set[Modality]]]:
    stored = collection.stored(pks)
    return [(stored[pk], set(stored[pk].item.modalities) - have.get(pk, set())) for pk in pks if pk in stored]
