"""Jobs: one at a time per collection, in order, cancelled at any moment, resumed behind what is committed."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest

from indexer.collections import Collections
from indexer.errors import (
    CollectionNotFound,
    JobConflict,
    JobFinished,
    JobNotFound,
    SourceInvalid,
    StorageUnavailable,
)
from indexer.jobs import runner as module
from indexer.jobs.runner import Jobs, Run
from indexer.jobs.store import ChunkReport, Job, RowReport
from indexer.types import CollectionSettings
from models.errors import EncoderOverloaded
from tests.waiting import WAIT_S

ROWS = 3

OpenJobs = Callable[..., Jobs]


class Rows:
    """Work of three rows, each let through by the test."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections
        self.begun: Queue[str] = Queue()
        self.committed: Queue[tuple[str, int]] = Queue()
        self.gate = threading.Semaphore(0)
        self.running, self.most_running = 0, 0

    def __call__(self, run: Run) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.begun.put(run.job.collection)
        try:
            for position in range(run.job.progress.done + 1, ROWS + 1):
                self._row(run, position)
        finally:
            self.running -= 1

    def let(self, rows: int) -> None:
        self.gate.release(rows)

    def _row(self, run: Run, position: int) -> None:
        while not self.gate.acquire(timeout=0.01):
            run.check()
        with self._collections.database.write() as connection:
            run.record(ChunkReport(position, 0.5, {"created": 1}), connection)
        self.committed.put((run.job.id, position))


@pytest.fixture
def collections(open_folder: Callable[[], Collections]) -> Collections:
    collections = open_folder()
    for name in ("a", "b", "c"):
        collections.put(name, CollectionSettings())
    return collections


@pytest.fixture
def rows(collections: Collections) -> Rows:
    return Rows(collections)


@pytest.fixture
def ended() -> Queue[Job]:
    """The jobs that have ended."""
    return Queue()


@pytest.fixture
def open_jobs(collections: Collections, rows: Rows, ended: Queue[Job]) -> Iterator[OpenJobs]:
    """Open the jobs of the folder, closing what was opened before: a restart."""
    opened: list[Jobs] = []

    def open_(running_at_once: int = 2, work: Callable[[Run], None] = rows) -> Jobs:
        if opened:
            opened.pop().close()
        opened.append(Jobs(collections, {"rows": work}, running_at_once, ended.put).__enter__())
        return opened[-1]

    yield open_
    for jobs in opened:
        jobs.close()


def take(jobs: Jobs, ended: Queue[Job]) -> Job:
    """The next job that ends."""
    return jobs.store.get(ended.get(timeout=WAIT_S).id)


def take_until(job: Job, jobs: Jobs, ended: Queue[Job]) -> None:
    """Jobs end until this one does; one that was cancelled ends again where its worker had it in hand already."""
    while take(jobs, ended).id != job.id:
        pass


def test_jobs_of_one_collection_run_one_at_a_time_in_the_order_of_their_coming(
    open_jobs: OpenJobs, rows: Rows, ended: Queue[Job]
) -> None:
    jobs = open_jobs(running_at_once=4)
    queued = [jobs.submit("rows", "a", {}) for _ in range(4)]
    rows.let(4 * ROWS)

    finished = [take(jobs, ended) for _ in queued]

    assert [job.id for job in finished] == [job.id for job in queued]
    assert {job.state for job in finished} == {"succeeded"}
    assert rows.most_running == 1


def test_jobs_of_several_collections_run_at_a_time_as_many_as_are_allowed(
    open_jobs: OpenJobs, rows: Rows, ended: Queue[Job]
) -> None:
    jobs = open_jobs(running_at_once=2)
    for name in ("a", "b", "c"):
        jobs.submit("rows", name, {})
    first = {rows.begun.get(timeout=WAIT_S), rows.begun.get(timeout=WAIT_S)}
    assert sorted(job.state for job in jobs.store.page(9)) == ["queued", "running", "running"]

    rows.let(3 * ROWS)

    assert {take(jobs, ended).state for _ in range(3)} == {"succeeded"}
    assert rows.begun.get(timeout=WAIT_S) not in first
    assert rows.most_running == 2


def test_a_job_tells_how_far_it_is(open_jobs: OpenJobs, rows: Rows) -> None:
    jobs = open_jobs()
    job = jobs.submit("rows", "a", {})
    assert (job.state, job.started_at, job.progress.done, job.progress.per_second) == ("queued", None, 0, None)
    rows.let(2)
    rows.committed.get(timeout=WAIT_S)
    rows.committed.get(timeout=WAIT_S)

    running = jobs.store.change(job, total=10)

    assert (running.state, running.finished_at) == ("running", None)
    assert running.started_at is not None
    assert (running.progress.done, running.progress.created, running.progress.seconds) == (2, 2, 1.0)
    assert (running.progress.per_second, running.progress.eta_seconds) == (2.0, 4.0)


def test_a_queued_job_is_cancelled_at_once(open_jobs: OpenJobs, rows: Rows, ended: Queue[Job]) -> None:
    jobs = open_jobs()
    first, second = jobs.submit("rows", "a", {}), jobs.submit("rows", "a", {})
    rows.begun.get(timeout=WAIT_S)

    cancelled = jobs.cancel(second.id)

    assert (cancelled.state, cancelled.started_at, cancelled.finished_at is None) == ("cancelled", None, False)
    assert take(jobs, ended).id == second.id
    rows.let(ROWS)
    assert take(jobs, ended).id == first.id
    assert rows.begun.empty()


def test_a_job_cancelled_while_it_waits_for_its_turn_never_runs(
    open_jobs: OpenJobs, rows: Rows, ended: Queue[Job]
) -> None:
    """Its thread knows it already, and waits for the job of another collection."""
    jobs = open_jobs(running_at_once=1)
    jobs.submit("rows", "a", {})
    assert rows.begun.get(timeout=WAIT_S) == "a"
    waiting = jobs.submit("rows", "b", {})
    jobs.cancel(waiting.id)
    assert take(jobs, ended).state == "cancelled"
    after = jobs.submit("rows", "b", {})

    rows.let(2 * ROWS)

    take_until(after, jobs, ended)
    assert jobs.store.get(waiting.id).state == "cancelled"
    assert rows.committed.qsize() == 2 * ROWS


def test_a_running_job_is_cancelled_between_its_chunks_and_keeps_what_is_committed(
    open_jobs: OpenJobs, rows: Rows, ended: Queue[Job]
) -> None:
    jobs = open_jobs()
    job = jobs.submit("rows", "a", {})
    rows.let(1)
    rows.committed.get(timeout=WAIT_S)

    assert jobs.cancel(job.id).state == "running"
    cancelled = take(jobs, ended)

    assert (cancelled.state, cancelled.error, cancelled.progress.done) == ("cancelled", None, 1)
    assert cancelled.finished_at is not None


def test_a_job_that_has_ended_is_not_cancelled(open_jobs: OpenJobs, rows: Rows, ended: Queue[Job]) -> None:
    jobs = open_jobs()
    job = jobs.submit("rows", "a", {})
    rows.let(ROWS)
    take(jobs, ended)

    with pytest.raises(JobFinished, match="has succeeded already"):
        jobs.cancel(job.id)
    assert jobs.store.get(job.id).state == "succeeded"
    with pytest.raises(JobNotFound):
        jobs.cancel("none")


def test_cancelling_twice_is_the_same_as_once(open_jobs: OpenJobs, ended: Queue[Job]) -> None:
    jobs = open_jobs()
    job = jobs.submit("rows", "a", {})
    jobs.cancel(job.id)
    ended_at = take(jobs, ended).finished_at

    assert jobs.cancel(job.id).finished_at == ended_at


def test_a_job_goes_on_after_a_restart_behind_what_is_committed(
    open_jobs: OpenJobs, rows: Rows, ended: Queue[Job]
) -> None:
    jobs = open_jobs()
    job = jobs.submit("rows", "a", {})
    second = jobs.submit("rows", "a", {})
    rows.let(1)
    assert rows.committed.get(timeout=WAIT_S) == (job.id, 1)
    started_at = jobs.store.get(job.id).started_at

    jobs = open_jobs()
    assert ended.empty()
    rows.let(2 * ROWS - 1)

    finished = take(jobs, ended)
    assert (finished.id, finished.state, finished.progress.created) == (job.id, "succeeded", ROWS)
    assert finished.started_at == started_at
    assert take(jobs, ended).id == second.id
    committed = [rows.committed.get(timeout=WAIT_S) for _ in range(2 * ROWS - 1)]
    assert committed == [(job.id, 2), (job.id, 3), (second.id, 1), (second.id, 2), (second.id, 3)]


def test_a_job_cancelled_while_the_server_stops_does_not_go_on(
    open_jobs: OpenJobs, rows: Rows, ended: Queue[Job]
) -> None:
    jobs = open_jobs()
    job = jobs.submit("rows", "a", {})
    rows.begun.get(timeout=WAIT_S)
    jobs.close()
    jobs.cancel(job.id)
    assert jobs.store.get(job.id).state == "running"

    open_jobs()

    assert take(jobs, ended).state == "cancelled"
    assert rows.begun.empty()


def test_a_job_queued_while_the_server_stops_runs_after_the_restart(
    open_jobs: OpenJobs, rows: Rows, ended: Queue[Job]
) -> None:
    jobs = open_jobs()
    jobs.close()
    job = jobs.submit("rows", "a", {})
    assert rows.begun.empty()
    rows.let(ROWS)

    assert take(open_jobs(), ended).id == job.id


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SourceInvalid("shop.csv does not exist"), {"code": "source-invalid", "detail": "shop.csv does not exist"}),
        (ZeroDivisionError("secret"), {"code": "internal-error"}),
    ],
)
def test_a_job_that_fails_says_why_and_the_next_one_runs(
    open_jobs: OpenJobs,
    rows: Rows,
    ended: Queue[Job],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    told: dict[str, str],
) -> None:
    def fail_if_asked(run: Run) -> None:
        if run.job.request:
            raise error
        rows(run)

    jobs = open_jobs(work=fail_if_asked)
    jobs.submit("rows", "a", {"fail": True})
    jobs.submit("rows", "a", {})
    rows.let(ROWS)

    failed = take(jobs, ended)

    assert failed.error is not None
    assert (failed.state, {name: failed.error[name] for name in told}) == ("failed", told)
    assert "secret" not in failed.error["detail"]
    assert take(jobs, ended).state == "succeeded"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageUnavailable("the disk is full"), "storage-unavailable"),
        (EncoderOverloaded("too much waits"), "encoder-overloaded"),
    ],
)
def test_a_job_waits_while_nothing_can_be_stored_or_embedded(
    error: StorageUnavailable | EncoderOverloaded,
    code: str,
    open_jobs: OpenJobs,
    rows: Rows,
    ended: Queue[Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STORAGE_PAUSE_S", 0.01)
    waited: list[object] = []

    def fail_twice(run: Run) -> None:
        if len(waited) < 2:
            waited.append(run.job.error)
            raise error
        waited.append(run.job.error)
        rows(run)

    jobs = open_jobs(work=fail_twice)
    jobs.submit("rows", "a", {})
    rows.let(ROWS)

    finished = take(jobs, ended)

    reason = {"code": code, "detail": error.detail}
    assert waited == [None, reason, reason]
    assert (finished.state, finished.error) == ("succeeded", None)


def test_a_job_waits_while_its_end_cannot_be_stored(
    open_jobs: OpenJobs, rows: Rows, ended: Queue[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept for it is still needed then: nothing may be removed before it has ended."""
    monkeypatch.setattr(module, "STORAGE_PAUSE_S", 0.01)
    jobs = open_jobs()
    finish, kept = jobs.store.finish, []

    def fail_first(*arguments):  # type: ignore[no-untyped-def]
        kept.append(ended.empty())
        if len(kept) == 1:
            raise StorageUnavailable("the disk is full")
        return finish(*arguments)

    monkeypatch.setattr(jobs.store, "finish", fail_first)
    jobs.submit("rows", "a", {})
    rows.let(ROWS)

    assert take(jobs, ended).state == "succeeded"
    assert kept == [True, True]
    assert rows.committed.qsize() == ROWS


def test_the_jobs_of_a_collection_that_is_deleted_end(
    open_jobs: OpenJobs, collections: Collections, rows: Rows, ended: Queue[Job]
) -> None:
    jobs = open_jobs()
    mine = [jobs.submit("rows", "a", {}), jobs.submit("rows", "a", {})]
    other = jobs.submit("rows", "b", {})
    rows.begun.get(timeout=WAIT_S)

    jobs.cancel_all("a")
    collections.delete("a")

    left = {job.id for job in mine}
    while left:
        left.discard(take(jobs, ended).id)
    assert {jobs.store.get(job.id).state for job in mine} == {"cancelled"}
    rows.let(ROWS)
    take_until(other, jobs, ended)
    with pytest.raises(CollectionNotFound):
        jobs.submit("rows", "a", {})


def test_jobs_do_nothing_to_a_collection_that_took_the_name_of_theirs(
    open_jobs: OpenJobs, collections: Collections, rows: Rows, ended: Queue[Job]
) -> None:
    jobs = open_jobs(running_at_once=1)
    jobs.submit("rows", "b", {})
    rows.begun.get(timeout=WAIT_S)
    waiting = jobs.submit("rows", "a", {})
    collections.delete("a")
    collections.put("a", CollectionSettings())
    new = jobs.submit("rows", "a", {})

    rows.let(2 * ROWS)

    take_until(new, jobs, ended)
    assert jobs.store.get(waiting.id).state == "cancelled"
    assert rows.committed.qsize() == 2 * ROWS


def test_a_key_makes_a_request_safe_to_send_again(open_jobs: OpenJobs) -> None:
    jobs = open_jobs()
    job = jobs.submit("rows", "a", {"source": "x"}, "key")

    assert jobs.submit("rows", "a", {"source": "x"}, "key").id == job.id
    assert jobs.submit("rows", "a", {"source": "x"}, "other").id != job.id
    for collection, request in (("a", {"source": "y"}), ("b", {"source": "x"})):
        with pytest.raises(JobConflict, match=job.id):
            jobs.submit("rows", collection, request, "key")
    assert len(jobs.store.page(9)) == 2


def test_a_worker_that_cannot_be_started_is_started_for_the_next_job(
    open_jobs: OpenJobs, rows: Rows, ended: Queue[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    jobs = open_jobs()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            jobs.submit("rows", "a", {})
    jobs.submit("rows", "a", {})
    rows.let(2 * ROWS)
    assert [take(jobs, ended).state for _ in range(2)] == ["succeeded", "succeeded"]


def test_who_reads_a_report_slowly_does_not_hold_up_the_database(
    open_jobs: OpenJobs, collections: Collections, ended: Queue[Job], tmp_path: Path
) -> None:
    bad = [RowReport("error", row, str(row), "row-invalid", "no id") for row in range(1, 2501)]

    def report_all(run: Run) -> None:
        with collections.database.write() as connection:
            run.record(ChunkReport(2500, 0.5, {"failed": 2500}, bad), connection)

    jobs = open_jobs(work=report_all)
    jobs.submit("rows", "a", {})
    report = jobs.store.errors(take(jobs, ended))

    assert next(report) == bad[0]
    with sqlite3.connect(tmp_path / "data" / "catalogue.db", timeout=0) as connection:
        is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    assert not is_busy
    assert list(report) == bad[1:]
