"""Jobs run here: one of a kind at a time per collection, resumed after a restart from the last committed chunk."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeAlias

from sqlalchemy import Connection

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import CollectionNotFound, IndexerError, JobFinished, StorageUnavailable, error_code
from indexer.jobs.states import UNFINISHED, State
from indexer.jobs.store import ChunkReport, Job, JobStore, NewJob
from indexer.stores.keys import ANY
from models.errors import EncoderOverloaded, ModelError

log = logging.getLogger(__name__)

STORAGE_PAUSE_S = 5.0
"""Rest of a job while the disk is full or cannot be written to, or the model is overloaded."""


class Interrupted(Exception):
    """The server stops; the job goes on when it starts again."""


class Cancelled(Exception):
    """Somebody cancelled the job."""


class Run:
    """One job while it runs."""

    def __init__(self, job: Job, collection: Collection, store: JobStore, stopping: threading.Event) -> None:
        self.job, self.collection, self.store = job, collection, store
        self._stopping = stopping
        self.cancelled = threading.Event()
        self.trouble: dict[str, str] | None = None
        """Why it rests, or did before it came any further; the database may be what is in trouble."""

    def begin(self) -> None:
        """Note that it runs; raises `Cancelled` if somebody cancelled it before."""
        self.job = self.store.begin(self.job)
        if self.job.state == "cancelled" or self.job.cancel_requested:
            raise Cancelled

    def check(self) -> None:
        """Raise `Interrupted` or `Cancelled` if it is to end; called wherever it may."""
        if self._stopping.is_set():
            raise Interrupted
        if self.cancelled.is_set():
            raise Cancelled

    def record(self, chunk: ChunkReport, connection: Connection) -> None:
        """Note what a chunk adds, in the transaction that commits it."""
        self.check()
        self.store.record(connection, self.job, chunk)

    def change(self, **values: Any) -> None:
        """Set columns of the job."""
        self.job = self.store.change(self.job, **values)


Work: TypeAlias = Callable[[Run], None]
"""What a kind of job does, from where `run.job.progress` says it is; it returns when all is done."""


class Jobs:
    """The jobs of one data folder. Thread-safe; used as a context manager.

    Args:
        work: What each kind of job does.
        running_at_once: Most jobs that run at a time; of one kind and collection it is one.
        on_end: Called after a job has ended, to remove what was kept for it; perhaps more than once.
    """

    def __init__(
        self,
        collections: Collections,
        work: Mapping[str, Work],
        running_at_once: int = 2,
        on_end: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self._collections, self._work, self._on_end = collections, work, on_end
        self.store = JobStore(collections.database)
        self._slots = threading.Semaphore(running_at_once)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._workers: dict[tuple[int, str], threading.Thread] = {}

    def __enter__(self) -> Self:
        for collection_pk, kind in self.store.waiting():
            self._wake(collection_pk, kind)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def stopping(self) -> bool:
        """Whether no more is done until the next start."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Commit no more chunks; the next start goes on with the jobs."""
        self._stopping.set()

    def close(self) -> None:
        """Stop, and wait until running jobs have come to rest."""
        self.stop()
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.join()

    def submit(self, kind: str, collection: str, request: Mapping[str, Any], idempotency_key: str | None = None) -> Job:
        """Queue a job.

        Raises:
            CollectionNotFound: No such collection.
            JobConflict: The key was used for another request.
            StorageUnavailable: It cannot be stored.
        """
        pk = self._collections.get(collection).pk
        job = self.store.add(NewJob(kind, collection, pk, request, idempotency_key))
        self._wake(pk, kind)
        return job

    def get(self, id_: str) -> Job:
        """A job by id, with the reason if it waits; raises `JobNotFound`."""
        return self._with_trouble(self.store.get(id_))

    def page(
        self,
        limit: int,
        before_pk: int | None = None,
        state: str | None = None,
        collection: str | None = None,
        patterns: Sequence[str] = (ANY,),
    ) -> list[Job]:
        """Jobs, newest first, with the reason if they wait; see `JobStore.page`."""
        return [self._with_trouble(job) for job in self.store.page(limit, before_pk, state, collection, patterns)]

    def cancel(self, id_: str) -> Job:
        """End a job, at once if it is queued, else before its next chunk; what is committed stays.

        Raises:
            JobNotFound: No job of that id.
            JobFinished: It has succeeded or failed.
        """
        job = self.store.request_cancel(id_)
        with self._lock:
            run = self._runs.get(job.id)
        if run:
            run.cancelled.set()
        if job.state == "cancelled":
            self._on_end(job)
        elif job.state != "running":
            raise JobFinished(f"job {job.id} has {job.state} already")
        return job

    def cancel_all(self, collection: str) -> None:
        """End what a collection has to do."""
        for job in self.store.unfinished():
            if job.collection == collection:
                with suppress(JobFinished):
                    self.cancel(job.id)

    def _with_trouble(self, job: Job) -> Job:
        with self._lock:
            run = self._runs.get(job.id)
        if run is None or job.state not in UNFINISHED or job.progress != run.job.progress:
            return job
        return replace(job, error=run.trouble)

    def _wake(self, collection_pk: int, kind: str) -> None:
        """See to it that somebody works on what a collection has to do of a kind."""
        with self._lock:
            if (collection_pk, kind) in self._workers or self._stopping.is_set():
                return
            worker = threading.Thread(
                target=self._work_off, args=(collection_pk, kind), name=f"{kind}-{collection_pk}", daemon=True
            )
            worker.start()  # first: one that cannot be started is not there for the next job either
            self._workers[collection_pk, kind] = worker

    def _work_off(self, collection_pk: int, kind: str) -> None:
        while not self._stopping.is_set():
            try:
                with self._lock:  # a job queued from now on finds this worker gone and starts another
                    job = self.store.next_of(collection_pk, kind)
                    if job is None:
                        del self._workers[collection_pk, kind]
                        return
                if not self._take_slot():
                    return
                try:
                    self._run(job)
                finally:
                    self._slots.release()
            except Interrupted:
                return
            except Exception:
                log.exception("jobs of collection %s rest for a while", collection_pk)
                self._stopping.wait(STORAGE_PAUSE_S)

    def _take_slot(self) -> bool:
        while not self._stopping.is_set():
            if self._slots.acquire(timeout=0.2):
                return True
        return False

    def _run(self, job: Job) -> None:
        collection: Collection | None
        try:
            collection = self._collections.get(job.collection)
        except CollectionNotFound:
            collection = None
        if collection is None or collection.pk != job.collection_pk:
            self._finish(job, "cancelled")
            return
        run = Run(job, collection, self.store, self._stopping)
        with self._lock:
            self._runs[job.id] = run
        try:
            self._execute(run)
        finally:
            with self._lock:
                del self._runs[job.id]

    def _execute(self, run: Run) -> None:
        """Run a job to its end; while nothing can be stored or embedded it waits, and goes on from its last chunk."""
        while True:
            try:
                run.begin()
                self._work[run.job.kind](run)
                self._finish(run.job, "succeeded")
                return
            except Interrupted:
                raise
            except Cancelled:
                self._finish(run.job, "cancelled")
                return
            except (StorageUnavailable, EncoderOverloaded) as error:
                log.error("job %s waits: %s", run.job.id, error)
                self._pause(run, error)
            except (IndexerError, ModelError) as error:
                self._finish(run.job, "failed", {"code": error_code(error), "detail": error.detail})
                return
            except Exception:
                log.exception("job %s failed", run.job.id)
                detail = f"the server failed; its log tells more under job {run.job.id}"
                self._finish(run.job, "failed", {"code": "internal-error", "detail": detail})
                return

    def _finish(self, job: Job, state: State, error: dict[str, str] | None = None) -> None:
        self._on_end(self.store.finish(job, state, error))  # in this order: until it has ended, it may go on

    def _pause(self, run: Run, error: StorageUnavailable | EncoderOverloaded) -> None:
        """Rest, and say why, in the database where even that can be stored."""
        run.job = self.store.get(run.job.id)
        run.trouble = {"code": error_code(error), "detail": error.detail}
        with suppress(StorageUnavailable):
            run.change(error=run.trouble)
        if self._stopping.wait(STORAGE_PAUSE_S):
            raise Interrupted
