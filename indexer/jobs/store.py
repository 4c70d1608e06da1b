"""Jobs in the catalogue's database: what is to be done, how far it is, and what became of every row."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from indexer.errors import CollectionNotFound, JobConflict, JobNotFound
from indexer.jobs.states import UNFINISHED, State
from indexer.stores.database import Database, items, job_errors, job_items, jobs
from indexer.stores.keys import ANY

_ERRORS_READ = 1000
"""Rows of a report read at a time: whoever they are for may take them slowly, and holds up nothing meanwhile."""

COUNTS = ("created", "updated", "unchanged", "failed", "warnings", "deleted")


@dataclass(frozen=True)
class NewJob:
    """What somebody asks for; `request` is JSON."""

    kind: str
    collection: str
    collection_pk: int
    request: Mapping[str, Any]
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Progress:
    """What became of the rows so far; `seconds` leaves out pauses and restarts."""

    done: int
    total: int | None
    created: int
    updated: int
    unchanged: int
    failed: int
    warnings: int
    deleted: int
    seconds: float

    @property
    def per_second(self) -> float | None:
        """Rows per second of running."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at this rate, where the number of rows is known."""
        if self.total is None or not self.per_second:
            return None
        return max(0, self.total - self.done) / self.per_second


@dataclass(frozen=True)
class Job:
    """A durable background task; times are UTC."""

    pk: int
    id: str
    kind: str
    collection: str
    collection_pk: int | None
    state: State
    request: dict[str, Any]
    cancel_requested: bool
    version: str | None
    mapping: dict[str, Any] | None
    progress: Progress
    error: dict[str, str] | None
    report: dict[str, Any] | None
    """What it found out."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class JobCount:
    """The jobs of a kind that are in a state, and what became of their rows so far."""

    kind: str
    state: State
    jobs: int
    rows: Mapping[str, int]


@dataclass(frozen=True)
class RowReport:
    """A row that was not stored (`error`), or only in part (`warning`), and why."""

    level: Literal["error", "warning"]
    row: int
    id: str
    code: str
    detail: str


@dataclass(frozen=True)
class ChunkReport:
    """What a committed chunk adds to its job."""

    position: int
    """Rows of the source that are dealt with, all of them up to here."""
    seconds: float
    counts: Mapping[str, int]
    rows: Sequence[RowReport] = ()
    ids: Sequence[str] = field(default=(), repr=False)
    """Ids that its rows name, where the job is to know them at its end."""


class JobStore:
    """The tables `jobs`, `job_errors` and `job_items`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: NewJob) -> Job:
        """Queue a job; the same idempotency key with the same request gives the job that it made before.

        Raises:
            CollectionNotFound: It was deleted meanwhile.
            JobConflict: The key was used for another request.
        """
        try:
            with self._database.write() as connection:
                earlier = self._by_key(connection, new.idempotency_key)
                if earlier is None:
                    return _job(connection.execute(insert(jobs).returning(jobs), _new_row(new)).one())
        except IntegrityError as error:
            raise CollectionNotFound(f"collection {new.collection!r} was deleted") from error
        same_work = (earlier.kind, earlier.collection) == (new.kind, new.collection)
        if not same_work or _essence(earlier.request) != _essence(new.request):
            raise JobConflict(f"the idempotency key was used for another request, which made job {earlier.id}")
        return earlier

    def knows_key(self, idempotency_key: str | None) -> bool:
        """Whether a job was made with this key."""
        with self._database.read() as connection:
            return self._by_key(connection, idempotency_key) is not None

    def get(self, id_: str) -> Job:
        """A job by id; raises `JobNotFound`."""
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == id_)).one_or_none()
        if row is None:
            raise JobNotFound(f"no job {id_!r}; GET /v1/jobs lists them")
        return _job(row)

    def page(
        self,
        limit: int,
        before_pk: int | None = None,
        state: str | None = None,
        collection: str | None = None,
        patterns: Sequence[str] = (ANY,),
    ) -> list[Job]:
        """Jobs, newest first, of collections whose names match one of the patterns."""
        query = select(jobs).order_by(jobs.c.pk.desc()).limit(limit)
        if before_pk is not None:
            query = query.where(jobs.c.pk < before_pk)
        if state is not None:
            query = query.where(jobs.c.state == state)
        if collection is not None:
            query = query.where(jobs.c.collection == collection)
        if ANY not in patterns:
            query = query.where(or_(*(jobs.c.collection.op("GLOB")(pattern) for pattern in patterns)))
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def waiting(self) -> list[tuple[int, str]]:
        """Primary keys of the collections that have something to do, with the kinds of their jobs."""
        query = select(jobs.c.collection_pk, jobs.c.kind).distinct().where(jobs.c.state.in_(UNFINISHED))
        with self._database.read() as connection:
            return [(pk, kind) for pk, kind in connection.execute(query) if pk is not None]

    def unfinished(self) -> list[Job]:
        """The jobs that have something to do, in a collection that is still there."""
        query = select(jobs).where(jobs.c.state.in_(UNFINISHED), jobs.c.collection_pk.is_not(None))
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def begun(self, kind: str) -> list[Job]:
        """The jobs of a kind that ever ran, in a collection that is still there, in order."""
        mine = (jobs.c.kind == kind) & jobs.c.started_at.is_not(None) & jobs.c.collection_pk.is_not(None)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(select(jobs).where(mine).order_by(jobs.c.pk))]

    def next_of(self, collection_pk: int, kind: str) -> Job | None:
        """The oldest job of a kind of a collection that is not finished."""
        mine = (jobs.c.collection_pk == collection_pk) & (jobs.c.kind == kind) & jobs.c.state.in_(UNFINISHED)
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(mine).order_by(jobs.c.pk).limit(1)).one_or_none()
        return None if row is None else _job(row)

    def change(self, job: Job, **values: Any) -> Job:
        """Set columns of a job."""
        with self._database.write() as connection:
            return _job(connection.execute(update(jobs).where(_is(job)).values(**values).returning(jobs)).one())

    def begin(self, job: Job) -> Job:
        """Note that a job runs, unless it has ended since it was read."""
        now = datetime.now(UTC)
        beginning = update(jobs).where(_is(job), jobs.c.state.in_(UNFINISHED))
        with self._database.write() as connection:
            connection.execute(beginning.values(state="running", started_at=func.coalesce(jobs.c.started_at, now)))
        return self.get(job.id)

    def finish(self, job: Job, state: State, error: dict[str, str] | None = None) -> Job:
        """End a job that has not ended; what it kept to know its rows by goes."""
        with self._database.write() as connection:
            connection.execute(delete(job_items).where(job_items.c.job_pk == job.pk))
            ending = update(jobs).where(_is(job), jobs.c.state.in_(UNFINISHED))
            connection.execute(ending.values(state=state, error=error, finished_at=datetime.now(UTC)))
        return self.get(job.id)

    def request_cancel(self, id_: str) -> Job:
        """End a queued job, tell a running one to end, leave one that has ended; raises `JobNotFound`."""
        mine = update(jobs).where(jobs.c.id == id_)
        with self._database.write() as connection:
            connection.execute(mine.where(jobs.c.state == "running").values(cancel_requested=True))
            ended = {"state": "cancelled", "finished_at": datetime.now(UTC)}
            connection.execute(mine.where(jobs.c.state == "queued").values(ended))
        return self.get(id_)

    def record(self, connection: Connection, job: Job, chunk: ChunkReport) -> None:
        """Note, in the transaction that commits a chunk, what it adds: no chunk is ever done twice or half told."""
        counts = {name: jobs.c[name] + chunk.counts.get(name, 0) for name in COUNTS}
        progress = update(jobs).where(_is(job)).values(position=chunk.position, **counts)
        connection.execute(progress.values(seconds=jobs.c.seconds + chunk.seconds, error=None))
        if chunk.rows:
            connection.execute(insert(job_errors), [{"job_pk": job.pk, **vars(row)} for row in chunk.rows])
        if chunk.ids:
            named = select(literal(job.pk), items.c.pk).where(
                items.c.collection_pk == job.collection_pk, items.c.id.in_(chunk.ids)
            )
            connection.execute(insert(job_items).prefix_with("OR IGNORE").from_select(["job_pk", "item_pk"], named))

    def counts(self) -> list[JobCount]:
        """All jobs by kind and state."""
        sums = [func.sum(jobs.c[name]).label(name) for name in COUNTS]
        query = select(jobs.c.kind, jobs.c.state, func.count().label("jobs"), *sums).group_by(jobs.c.kind, jobs.c.state)
        with self._database.read() as connection:
            return [
                JobCount(row.kind, row.state, row.jobs, {name: getattr(row, name) for name in COUNTS})
                for row in connection.execute(query)
            ]

    def errors(self, job: Job) -> Iterator[RowReport]:
        """Every row that was not, or not wholly, stored, streamed in order."""
        query = select(job_errors).where(job_errors.c.job_pk == job.pk).order_by(job_errors.c.pk).limit(_ERRORS_READ)
        last = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.where(job_errors.c.pk > last)).all()
            if not rows:
                return
            yield from (RowReport(row.level, row.row, row.id, row.code, row.detail) for row in rows)
            last = rows[-1].pk

    def count_nameless(self, job: Job) -> int:
        """Rows that could not be read so far as to tell which item they name."""
        mine = (job_errors.c.job_pk == job.pk) & (job_errors.c.id == "")
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(job_errors).where(mine)).scalar_one()

    def count_unnamed(self, job: Job) -> int:
        """Items of the collection, older than the job's start, that none of its rows named."""
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(items).where(_unnamed(job))).scalar_one()

    def unnamed(self, job: Job, after: str, limit: int) -> list[str]:
        """The ids of such items that come after one, in order."""
        query = select(items.c.id).where(_unnamed(job), items.c.id > after).order_by(items.c.id).limit(limit)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    @staticmethod
    def _by_key(connection: Connection, key: str | None) -> Job | None:
        if key is None:
            return None
        row = connection.execute(select(jobs).where(jobs.c.idempotency_key == key)).one_or_none()
        return None if row is None else _job(row)


def _essence(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a request asks for: of an upload it is the content, wherever that was put."""
    left_out = {"source"} if request.get("upload_sha256") else set()
    return {name: value for name, value in request.items() if name not in left_out}


def _is(job: Job) -> Any:
    return jobs.c.pk == job.pk


def _unnamed(job: Job) -> Any:
    # What somebody stored while the job ran is not what the catalogue no longer holds.
    # `exists`, since for `in` all that are named would be listed anew whenever it is asked.
    named = exists().where(job_items.c.job_pk == job.pk, job_items.c.item_pk == items.c.pk)
    return (items.c.collection_pk == job.collection_pk) & (items.c.updated_at < job.started_at) & ~named


def _new_row(new: NewJob) -> dict[str, Any]:
    counts: dict[str, Any] = dict.fromkeys((*COUNTS, "position"), 0)
    return counts | {
        "id": uuid.uuid4().hex,
        "kind": new.kind,
        "collection": new.collection,
        "collection_pk": new.collection_pk,
        "state": "queued",
        "request": dict(new.request),
        "idempotency_key": new.idempotency_key,
        "cancel_requested": False,
        "seconds": 0.0,
        "created_at": datetime.now(UTC),
    }


def _job(row: Row[Any]) -> Job:
    counts = {name: getattr(row, name) for name in COUNTS}
    return Job(
        pk=row.pk,
        id=row.id,
        kind=row.kind,
        collection=row.collection,
        collection_pk=row.collection_pk,
        state=row.state,
        request=row.request,
        cancel_requested=row.cancel_requested,
        version=row.version,
        mapping=row.mapping,
        progress=Progress(done=row.position, total=row.total, seconds=row.seconds, **counts),
        error=row.error,
        report=row.report,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
