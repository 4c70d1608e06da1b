"""The ingest job: modes, resumption behind the last committed chunk, and what ends it."""

import csv
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Queue

import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.fetching.fetcher import Fetcher
from indexer.fetching.objects import ObjectStores
from indexer.ingest import job as ingest_job
from indexer.ingest import pipeline as ingest
from indexer.ingest.job import KIND, IngestJob, IngestRequest
from indexer.ingest.loading import PictureLoader
from indexer.ingest.locations import Locations
from indexer.jobs.runner import Jobs
from indexer.jobs.store import Job, JobStore
from indexer.stores.url_versions import UrlVersions
from indexer.types import NewItem
from models.imaging import ImageLimits
from tests.fakes import FakeEncoder
from tests.pictures import picture
from tests.waiting import WAIT_S

Cells = tuple[str, str, str]
"""Id, text and picture of a row."""


class Shop:
    """A server's jobs over a folder with a catalogue, restarted at will."""

    def __init__(self, folder: Path, open_folder: Callable[[], Collections]) -> None:
        self.folder, self._open_folder = folder, open_folder
        self.collections = open_folder()
        self.path = folder / "catalog.csv"
        self.ended: Queue[Job] = Queue()
        self.on_chunk: Callable[[], None] = lambda: None
        self.jobs: Jobs | None = None
        self._interrupted = threading.Event()

    @property
    def collection(self) -> Collection:
        return self.collections.get("default")

    @property
    def ids(self) -> list[str]:
        return [item.id for item in self.collection.items(1000)[0]]

    @property
    def store(self) -> JobStore:
        assert self.jobs
        return self.jobs.store

    def write(self, rows: Sequence[Cells]) -> None:
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows([("id", "title", "image"), *rows])

    def start(self) -> None:
        self.stop()
        self.collections = collections = self._open_folder()
        objects, fetcher = ObjectStores(()), Fetcher()
        locations = Locations(self.folder / "spool", [str(self.folder)], fetcher, objects, 2**20)
        limits = ImageLimits()
        load = PictureLoader(fetcher, objects, collections.originals, UrlVersions(collections.database), limits)
        work = IngestJob(locations, load, lambda _: self.on_chunk())
        self.jobs = Jobs(collections, {KIND: work}, on_end=self.ended.put).__enter__()

    def stop(self) -> None:
        if self.jobs:
            self.jobs.close()

    def submit(self, **options: object) -> Job:
        assert self.jobs
        request = IngestRequest(str(self.path), **options)  # type: ignore[arg-type]
        return self.jobs.submit(KIND, "default", request.to_json())

    def end(self) -> Job:
        """The next job that ends, as it ended."""
        return self.store.get(self.ended.get(timeout=WAIT_S).id)

    def run(self, rows: Sequence[Cells], **options: object) -> Job:
        """Take in a catalogue of these rows."""
        self.write(rows)
        self.submit(**options)
        return self.end()

    def interrupt(self) -> None:
        """Let the server stop, from within what it does."""
        assert self.jobs
        self.jobs.stop()
        self._interrupted.set()

    def run_until_interrupted(self, after_chunks: int = 0, **options: object) -> Job:
        """Begin with the catalogue; the server stops after so many chunks, or else when it is interrupted."""
        chunks = itertools.count(1)
        self.on_chunk = lambda: self.interrupt() if next(chunks) == after_chunks else None
        job = self.submit(**options)
        assert self._interrupted.wait(WAIT_S)
        self.stop()
        self.on_chunk = lambda: None
        return self.store.get(job.id)


@pytest.fixture
def shop(tmp_path: Path, open_folder: Callable[[], Collections], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 4)
    folder = tmp_path / "shop"
    folder.mkdir()
    for colour in ("red", "green", "blue"):
        (folder / f"{colour}.png").write_bytes(picture(colour))
    shop = Shop(folder, open_folder)
    shop.start()
    yield shop
    shop.stop()


def texts(first: int, last: int) -> list[Cells]:
    return [(f"p{number}", f"thing {number}", "") for number in range(first, last + 1)]


def counts(job: Job) -> dict[str, int]:
    """What became of the rows, without the zeros."""
    names = ("created", "updated", "unchanged", "failed", "warnings", "deleted")
    return {name: count for name in names if (count := getattr(job.progress, name))}


def test_a_catalogue_goes_in_and_its_mapping_and_total_are_told(shop: Shop) -> None:
    job = shop.run([("a", "red thing", "red.png"), ("b", "", "green.png"), *texts(1, 7)])

    assert (job.state, job.error, counts(job)) == ("succeeded", None, {"created": 9})
    assert (job.progress.done, job.progress.total) == (9, 9)
    assert job.mapping == {"id": "id", "image": "image", "text": "title", "metadata": []}
    assert shop.collection.get("a").modalities == ("image", "text")
    assert shop.collection.verify() == []


def test_rows_that_did_not_change_cost_no_embedding(shop: Shop, encoder: FakeEncoder) -> None:
    rows = [("a", "red thing", "red.png"), ("b", "", "green.png"), *texts(1, 7)]
    shop.run(rows)
    embedded = encoder.encoded_images, encoder.encoded_texts
    assert embedded == (2, 8)

    again = shop.run(rows)
    assert counts(again) == {"unchanged": 9}
    assert (encoder.encoded_images, encoder.encoded_texts) == embedded

    changed = shop.run([("a", "blue thing", "red.png"), ("b", "", "blue.png"), *texts(1, 7)])
    assert counts(changed) == {"updated": 2, "unchanged": 7}
    assert (encoder.encoded_images, encoder.encoded_texts) == (embedded[0] + 1, embedded[1] + 1)


def test_upsert_deletes_nothing(shop: Shop) -> None:
    shop.run(texts(1, 10))

    assert counts(shop.run(texts(9, 12))) == {"created": 2, "unchanged": 2}
    assert len(shop.ids) == 12


@pytest.mark.parametrize("interrupted_after", [1, 2, 5])
def test_a_job_goes_on_behind_the_last_committed_chunk(
    shop: Shop, encoder: FakeEncoder, interrupted_after: int
) -> None:
    """A row of a chunk that ran again would count as unchanged."""
    shop.write(texts(1, 23))
    job = shop.run_until_interrupted(interrupted_after)
    assert job.state == "running"
    assert job.progress.done == len(shop.ids) == interrupted_after * 4

    shop.start()
    finished = shop.end()

    assert (finished.id, finished.state, counts(finished)) == (job.id, "succeeded", {"created": 23})
    assert (finished.progress.done, finished.progress.total) == (23, 23)
    assert shop.ids == [f"p{number}" for number in range(1, 24)]
    assert shop.collection.verify() == []


def test_pictures_may_lie_anywhere_under_the_folders_that_jobs_read_from(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture("red"))
    (shop.folder / "feeds").mkdir()
    shop.path = shop.folder / "feeds" / "catalog.csv"
    inside = [("a", "", "../red.png"), ("b", "", str(shop.folder / "green.png"))]
    job = shop.run([*inside, ("c", "text", "../../secret.png"), ("d", "text", str(tmp_path / "secret.png"))])

    assert counts(job) == {"created": 4, "warnings": 2}
    assert [item.modalities for item in shop.collection.items(10)[0]] == [("image",)] * 2 + [("text",)] * 2


def test_a_sync_deletes_what_the_catalogue_no_longer_holds(shop: Shop) -> None:
    shop.run(texts(1, 20))

    job = shop.run(texts(3, 21), mode="sync")

    assert (job.state, counts(job)) == ("succeeded", {"created": 1, "unchanged": 18, "deleted": 2})
    assert shop.ids == [f"p{number}" for number in range(3, 22)]
    assert shop.collection.verify() == []


@pytest.mark.parametrize("interrupted_after", [1, 3, 5])
def test_a_sync_that_goes_on_after_a_restart_knows_the_rows_before_it(shop: Shop, interrupted_after: int) -> None:
    shop.run(texts(1, 20))
    shop.write(texts(3, 21))
    shop.run_until_interrupted(interrupted_after, mode="sync")
    assert shop.ids[:20] == [f"p{number}" for number in range(1, 21)]

    shop.start()

    assert counts(shop.end()) == {"created": 1, "unchanged": 18, "deleted": 2}
    assert shop.ids == [f"p{number}" for number in range(3, 22)]


def test_a_sync_goes_on_with_its_deletes_after_a_restart(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_job, "DELETED_AT_ONCE", 2)
    shop.run(texts(1, 20))
    shop.write(texts(1, 10))
    delete = Collection.delete

    def delete_and_stop(*arguments):  # type: ignore[no-untyped-def]
        deleted = delete(*arguments)
        shop.interrupt()
        return deleted

    with monkeypatch.context() as patch:
        patch.setattr(Collection, "delete", delete_and_stop)
        job = shop.run_until_interrupted(mode="sync", expect_deletes=10)
    assert (counts(job), len(shop.ids)) == ({"unchanged": 10, "deleted": 2}, 18)

    shop.start()

    assert counts(shop.end()) == {"unchanged": 10, "deleted": 10}
    assert shop.ids == [f"p{number}" for number in range(1, 11)]


@pytest.mark.parametrize(("left", "is_free"), [(18, True), (17, False), (0, False)])
def test_more_than_a_tenth_is_deleted_only_by_its_number(shop: Shop, left: int, is_free: bool) -> None:
    shop.run(texts(1, 20))
    gone = 20 - left

    job = shop.run(texts(1, left), mode="sync")
    if is_free:
        assert (job.state, counts(job)) == ("succeeded", {"unchanged": left, "deleted": gone})
        return

    assert job.error is not None
    assert (job.state, job.error["code"], len(shop.ids)) == ("failed", "deletes-unconfirmed", 20)
    assert f"{gone} of the collection's 20 items" in job.error["detail"]
    assert job.error["detail"].endswith(f"with expect_deletes {gone}")
    assert shop.run(texts(1, left), mode="sync", expect_deletes=gone - 1).state == "failed"
    assert counts(shop.run(texts(1, left), mode="sync", expect_deletes=gone))["deleted"] == gone
    assert len(shop.ids) == left


@pytest.mark.parametrize("damaged", ['{"id": "p20", "title": "red thi', "[]", '{"title": "red thing 20"}'])
def test_a_sync_does_not_delete_what_a_row_that_cannot_be_read_may_be_about(shop: Shop, damaged: str) -> None:
    shop.path = shop.folder / "catalog.jsonl"
    lines = [f'{{"id": "p{number}", "title": "red thing {number}"}}' for number in range(1, 21)]
    shop.path.write_text("\n".join(lines))
    shop.submit()
    assert shop.end().progress.created == 20

    shop.path.write_text("\n".join([*lines[:19], damaged]))
    shop.submit(mode="sync")
    job = shop.end()

    assert job.error is not None
    assert (job.error["code"], len(shop.ids)) == ("deletes-unconfirmed", 20)
    assert "1 of its rows cannot be read" in job.error["detail"]
    shop.submit(mode="sync", expect_deletes=1)
    assert (shop.end().progress.deleted, len(shop.ids)) == (1, 19)


def test_a_catalogue_that_ends_within_a_quote_deletes_nothing(shop: Shop) -> None:
    shop.run(texts(1, 20))
    shop.path.write_text(shop.path.read_text().replace("p19,", 'p19,"'))

    shop.submit(mode="sync")
    job = shop.end()

    assert job.error is not None
    assert (job.error["code"], len(shop.ids)) == ("source-invalid", 20)
    assert "up to row 18 only: the file ends within a quoted cell" in job.error["detail"]


def test_a_sync_keeps_what_was_stored_while_it_ran(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run(texts(1, 20))
    count_unnamed = JobStore.count_unnamed

    def store_another_first(store: JobStore, job: Job) -> int:
        shop.collection.upsert([NewItem("meanwhile", None, "red", {})])
        return count_unnamed(store, job)

    monkeypatch.setattr(JobStore, "count_unnamed", store_another_first)
    job = shop.run(texts(2, 20), mode="sync")

    assert counts(job) == {"unchanged": 19, "deleted": 1}
    assert shop.ids == [*(f"p{number}" for number in range(2, 21)), "meanwhile"]


def test_a_row_that_could_not_be_stored_still_names_its_item(shop: Shop) -> None:
    shop.run([("a", "", "red.png"), *texts(1, 9)])

    job = shop.run([("a", "", "gone.png"), ("p1", "", ""), *texts(2, 9)], mode="sync")

    assert counts(job) == {"unchanged": 9, "failed": 1, "warnings": 1}
    assert shop.ids == ["a", *(f"p{number}" for number in range(1, 10))]
    assert shop.collection.get("a").modalities == ("image",)


def test_a_catalogue_that_breaks_off_deletes_nothing(shop: Shop) -> None:
    shop.run(texts(1, 10))
    shop.path = shop.folder / "catalog.jsonl.gz"
    shop.path.write_bytes(b"\x1f\x8b\x08\x00 broken")
    shop.submit(mode="sync", expect_deletes=10)

    job = shop.end()

    assert job.error is not None
    assert (job.state, job.error["code"], len(shop.ids)) == ("failed", "source-invalid", 10)


def test_the_first_bad_row_ends_a_job_that_is_told_so(shop: Shop) -> None:
    job = shop.run([*texts(1, 5), ("bad", "", "gone.png"), *texts(6, 20)], on_error="fail")

    assert job.error is not None
    assert (job.state, job.error["code"]) == ("failed", "row-refused")
    assert job.error["detail"].startswith("row 6 (bad): ")
    assert shop.ids == ["p1", "p2", "p3", "p4"]


def test_bad_rows_are_reported_in_order_and_stop_nothing(shop: Shop) -> None:
    (shop.folder / "broken.png").write_bytes(b"no picture")
    job = shop.run([("a", "text", "broken.png"), *texts(1, 5), ("b", "", "gone.png"), ("", "", ""), ("c", "", "")])

    report = list(shop.store.errors(job))

    assert counts(job) == {"created": 6, "failed": 3, "warnings": 1}
    assert [(row.level, row.row, row.id, row.code) for row in report] == [
        ("warning", 1, "a", "image-undecodable"),
        ("error", 7, "b", "row-invalid"),
        ("error", 8, "", "row-invalid"),
        ("error", 9, "c", "item-invalid"),
    ]
    assert all(row.detail for row in report)


def test_a_catalogue_that_is_gone_fails_its_job(shop: Shop) -> None:
    shop.submit()

    job = shop.end()

    assert job.error == {"code": "source-invalid", "detail": f"{shop.path} does not exist"}
    assert job.state == "failed"


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [([], "source-invalid", "does not exist"), (texts(100, 140), "source-changed", "after 8 of its rows")],
)
def test_a_catalogue_that_changed_during_a_restart_fails_its_job(
    shop: Shop, rows: list[Cells], code: str, words: str
) -> None:
    shop.write(texts(1, 23))
    shop.run_until_interrupted(after_chunks=2)
    shop.write(rows) if rows else shop.path.unlink()

    shop.start()
    job = shop.end()

    assert job.error is not None
    assert (job.state, job.error["code"], words in job.error["detail"]) == ("failed", code, True)
    assert shop.ids == [f"p{number}" for number in range(1, 9)]


def test_a_job_over_a_collection_that_is_deleted_meanwhile_ends(shop: Shop) -> None:
    collections, chunks = shop.collections, itertools.count(1)
    deleting = threading.Thread(target=collections.delete, args=("default",))
    shop.on_chunk = lambda: deleting.start() if next(chunks) == 2 else None

    job = shop.run(texts(1, 2000))
    deleting.join()

    assert (job.state, job.error) == ("cancelled", None)
    assert 8 <= job.progress.done < 2000
    assert shop.ids == []
    assert shop.collection.verify() == []


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"id": "sku", "image": None, "text": "title", "metadata": ()}, "sku"),
        ({"id": "id", "image": None, "text": None, "metadata": ("price",)}, "price"),
        ({"id": "id", "image": None, "text": None, "metadata": ()}, "image"),
    ],
)
def test_a_mapping_that_does_not_fit_fails_the_job_and_names_the_column(
    shop: Shop, mapping: dict[str, object], words: str
) -> None:
    job = shop.run(texts(1, 3), mapping=mapping)

    assert job.error is not None
    assert (job.state, job.error["code"]) == ("failed", "source-invalid")
    assert words in job.error["detail"]
