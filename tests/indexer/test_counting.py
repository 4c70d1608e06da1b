"""The rows of a catalogue are counted while they go in, and that never stands in a job's way."""

import gzip
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import SourceInvalid, StorageUnavailable
from indexer.fetching.fetcher import Fetcher
from indexer.fetching.objects import ObjectStores
from indexer.ingest.job import KIND, IngestJob, IngestRequest
from indexer.ingest.locations import Locations
from indexer.jobs.runner import Cancelled, Interrupted, Run
from indexer.jobs.store import JobStore, NewJob
from indexer.sources import ImageReference
from tests.pictures import data_uri, picture
from tests.waiting import WAIT_S

HEAD = f'id,title,image\n1,red,"{data_uri(picture("red"))}"\n'
UNENDING_BYTES = 2**40


class Loader:
    """Lets a picture through when the test does."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def __call__(self, reference: ImageReference) -> bytes:
        self.asked.set()
        assert self.go_on.wait(WAIT_S)
        return picture("red")


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    loader.go_on.set()


@pytest.fixture
def run_of(tmp_path: Path, open_folder: Callable[[], Collections]) -> Callable[[str], Run]:
    collections = open_folder()
    collection: Collection = collections.get("default")
    store = JobStore(collections.database)

    def of(source: str) -> Run:
        request = IngestRequest(source).to_json()
        return Run(store.add(NewJob(KIND, "default", collection.pk, request)), collection, store, threading.Event())

    return of


@pytest.fixture
def work(tmp_path: Path, loader: Loader) -> Iterator[IngestJob]:
    with Fetcher() as fetcher:
        roots = [str(tmp_path)]
        yield IngestJob(Locations(tmp_path / "spool", roots, fetcher, ObjectStores(roots), 2**20), loader)


class Working(threading.Thread):
    """A job at work."""

    def __init__(self, work: IngestJob, run: Run) -> None:
        super().__init__()
        self._do, self._run = work, run
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._do(self._run)
        except Exception as error:
            self.error = error

    def ended(self) -> Exception | None:
        self.join(WAIT_S)
        assert not self.is_alive()
        return self.error


def unending(path: Path) -> str:
    """A row, and after it a line that nobody reads to its end; the disk holds none of it."""
    path.write_text(HEAD)
    with path.open("r+b") as file:
        file.truncate(UNENDING_BYTES)
    return str(path)


def test_the_total_is_told_before_the_rows_are_in(
    tmp_path: Path, run_of: Callable[[str], Run], work: IngestJob, loader: Loader
) -> None:
    (tmp_path / "a.csv").write_text(HEAD + "2,blue,\n3,green,\n")
    run, told = run_of(str(tmp_path / "a.csv")), threading.Event()
    change = run.change

    def changed(**values: object) -> None:
        change(**values)
        if "total" in values:
            told.set()

    run.change = changed  # type: ignore[method-assign]
    working = Working(work, run)
    assert told.wait(WAIT_S)
    progress = run.store.get(run.job.id).progress
    assert (progress.total, progress.done) == (3, 0)
    loader.go_on.set()
    assert working.ended() is None
    assert run.store.get(run.job.id).progress.done == 3


@pytest.mark.parametrize("end", ["cancelled", "stopping"])
def test_a_job_that_is_to_end_waits_for_no_count(
    tmp_path: Path,
    run_of: Callable[[str], Run],
    work: IngestJob,
    loader: Loader,
    caplog: pytest.LogCaptureFixture,
    end: str,
) -> None:
    threads = threading.active_count()
    run = run_of(unending(tmp_path / "a.csv"))
    working = Working(work, run)
    assert loader.asked.wait(WAIT_S)
    loader.go_on.set()
    (run.cancelled if end == "cancelled" else run._stopping).set()
    assert isinstance(working.ended(), Cancelled if end == "cancelled" else Interrupted)
    assert threading.active_count() == threads
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_catalogue_that_breaks_off_is_told_once(
    tmp_path: Path, run_of: Callable[[str], Run], work: IngestJob, loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(HEAD.encode() + b"2,blue,\n" * 1000)[:-20])
    loader.go_on.set()
    error = Working(work, run_of(str(tmp_path / "a.csv.gz"))).ended()
    assert isinstance(error, SourceInvalid)
    assert not caplog.records


def test_where_the_total_cannot_be_stored_the_rows_go_in(
    tmp_path: Path, run_of: Callable[[str], Run], work: IngestJob, loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_text(HEAD)
    run, refused = run_of(str(tmp_path / "a.csv")), threading.Event()
    change = run.change

    def full(**values: object) -> None:
        if "total" in values and not refused.is_set():
            refused.set()
            raise StorageUnavailable("the disk is full")
        change(**values)

    run.change = full  # type: ignore[method-assign]
    working = Working(work, run)
    assert refused.wait(WAIT_S)
    loader.go_on.set()
    assert working.ended() is None
    assert run.store.get(run.job.id).progress.total == 1
    assert not caplog.records
