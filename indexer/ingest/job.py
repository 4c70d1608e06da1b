"""The job that takes a catalogue in, and for `sync` lets go what the catalogue no longer holds."""

import time
from collections.abc import Callable
from collections.abc import Mapping as ReadOnlyMapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection

from indexer.collection import DELETED_AT_ONCE
from indexer.errors import DeletesUnconfirmed, SourceChanged, SourceInvalid, StorageUnavailable
from indexer.ingest.locations import Locations, Place
from indexer.ingest.pipeline import LoadImage, ingest
from indexer.ingest.stages import Stages
from indexer.jobs.runner import Cancelled, Interrupted, Run
from indexer.jobs.store import ChunkReport, Job
from indexer.sources import Mapping, Source, read_source

KIND = "ingest"

FREE_DELETES = 0.1
"""Share of a collection that a sync may delete without being told how many."""


@dataclass(frozen=True)
class IngestRequest:
    """What an ingest is asked to do; `mapping` names the columns, which are guessed without it."""

    source: str
    mapping: ReadOnlyMapping[str, Any] | None = None
    on_error: Literal["skip", "fail"] = "skip"
    mode: Literal["upsert", "sync"] = "upsert"
    expect_deletes: int | None = None
    upload_sha256: str | None = None
    """Of an uploaded catalogue, by which it is known when it comes again."""

    def to_json(self) -> dict[str, Any]:
        """What is stored of it with its job."""
        return asdict(self)


class IngestJob:
    """The work of jobs of the kind `ingest`; begins after the last row that was committed.

    Args:
        remember: Called in the transaction of each chunk, to keep what `load_image` learned.
    """

    def __init__(
        self, locations: Locations, load_image: LoadImage, remember: Callable[[Connection], None] = lambda _: None
    ) -> None:
        self._locations, self._load_image, self._remember = locations, load_image, remember

    def __call__(self, run: Run) -> None:
        """Run one job; see `indexer.jobs.runner.Work`."""
        request = IngestRequest(**run.job.request)
        place = self._locations.open(request.source, run.job.id, run.check)
        source = _open(run, request, place)
        with Stages() as stages:
            stages.aside(partial(_count, run, source), "count")
            self._ingest(run, request, source)
        run.change(total=run.store.get(run.job.id).progress.done)
        if request.mode == "sync":
            _delete_unnamed(run, request.expect_deletes)

    def clean_up(self, job: Job) -> None:
        """Remove what was brought here for a job that has ended."""
        self._locations.forget(job.request["source"], job.id)

    def _ingest(self, run: Run, request: IngestRequest, source: Source) -> None:
        def record(chunk: ChunkReport, connection: Connection) -> None:
            run.record(chunk if request.mode == "sync" else replace(chunk, ids=()), connection)
            self._remember(connection)

        rows = source.rows(run.job.progress.done)
        ingest(run.collection, rows, self._load_image, record, strict=request.on_error == "fail", check=run.check)


def _open(run: Run, request: IngestRequest, place: Place) -> Source:
    """Open the catalogue and note what it is; of one that changed since, row numbers mean other rows."""
    if run.job.version not in (None, place.version):
        raise SourceChanged(
            f"the catalogue changed after {run.job.progress.done:,} of its rows were taken in; start the job again"
        )
    mapping = Mapping(**request.mapping) if request.mapping else None
    source = read_source(
        place.path,
        mapping,
        name=place.name,
        base_url=place.base_url,
        within=place.picture_folders,
        check=run.check,
    )
    run.change(version=place.version, mapping=asdict(source.mapping))
    return source


def _count(run: Run, source: Source, check: Callable[[], None]) -> None:
    """Tell the number of rows as soon as it is known; the rows go in meanwhile.

    Where the catalogue breaks off, nothing can be stored or the job is to end, the rows themselves come to it.
    """
    if run.job.progress.total is None:
        with suppress(SourceInvalid, StorageUnavailable, Interrupted, Cancelled):
            total = source.count(check)
            check()
            run.change(total=total)


def _delete_unnamed(run: Run, expected: int | None) -> None:
    """Delete what no row named, a chunk per transaction.

    Raises:
        DeletesUnconfirmed: It is more than the request expects, and more than a tenth of the collection or perhaps
            what rows name that cannot be read.
    """
    job = run.store.get(run.job.id)
    deleted = job.progress.deleted
    count, before = run.store.count_unnamed(job) + deleted, run.collection.info().items + deleted
    nameless = run.store.count_nameless(job)
    if count > (0 if nameless else FREE_DELETES * before) and count > (expected or 0):
        unread = f" ({nameless:,} of its rows cannot be read, and may be about some of them)" if nameless else ""
        raise DeletesUnconfirmed(
            f"the catalogue no longer holds {count:,} of the collection's {before:,} items{unread}; its rows were "
            f"taken in, and nothing was deleted. If that is meant, send it again with expect_deletes {count}"
        )
    last: str | None = ""
    while last is not None:
        run.check()
        last = _delete_chunk(run, job.progress.done, last)


def _delete_chunk(run: Run, position: int, after: str) -> str | None:
    """Delete some of what no row named, in the order of their ids; the last one, or None where there is no more."""
    started = time.monotonic()
    ids: list[str] = []

    def unnamed() -> list[str]:
        # An item that is stored just now is not among them.
        ids.extend(run.store.unnamed(run.job, after, DELETED_AT_ONCE))
        return ids

    run.collection.delete(unnamed, lambda connection: _note(run, connection, position, len(ids), started))
    return ids[-1] if ids else None


def _note(run: Run, connection: Connection, position: int, deleted: int, started: float) -> None:
    run.record(ChunkReport(position, time.monotonic() - started, {"deleted": deleted}), connection)
