"""A reader in another process finds what the writer has written, whatever happens between two looks at it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import CollectionNotFound, DataFolderInUse, StorageUnavailable
from indexer.index import vector_index
from indexer.index.vector_index import VectorIndex
from indexer.search.filters import parse_filter
from indexer.stores import changes
from indexer.stores.database import CATALOGUE
from indexer.types import CollectionSettings, NewItem, SearchRequest, Term
from tests.fakes import FakeEncoder
from tests.pictures import picture

Open = Callable[[], Collections]


@pytest.fixture
def new() -> FakeEncoder:
    """Another model."""
    return FakeEncoder(dimension=8, fingerprint="0" * 64)


@pytest.fixture
def writer(tmp_path: Path, encoder: FakeEncoder, new: FakeEncoder) -> Iterator[Collections]:
    with Collections(tmp_path / "data", {"default": encoder, "new": new}.__getitem__) as collections:
        yield collections


@pytest.fixture
def reader(writer: Collections, tmp_path: Path, encoder: FakeEncoder, new: FakeEncoder) -> Iterator[Collections]:
    models = {"default": encoder, "new": new}
    with Collections(tmp_path / "data", models.__getitem__, read_only=True) as collections:
        yield collections


def things(first: int, last: int) -> list[NewItem]:
    return [NewItem(f"thing-{n}", text=f"thing {n}", metadata={"n": n}) for n in range(first, last)]


def found(collections: Collections, name: str = "default", condition: object = None) -> set[str]:
    request = SearchRequest((Term(text="thing"),), limit=1000, filter=parse_filter(condition) if condition else None)
    return {hit.id for hit in collections.get(name).search(request).hits}


def assert_follows(reader: Collections, writer: Collections) -> None:
    """What the reader holds is what the catalogue has, and what it answers is what the writer answers."""
    reader.follow()
    for info in writer.infos():
        followed, written = reader.get(info.name), writer.get(info.name)
        with followed._writes:
            assert [problem for index in followed._open_indexes() for problem in index.problems()] == []
        assert followed.info().items == info.items == written.info().items
        assert followed.info().vectors == info.vectors
        assert followed.info().generation == info.generation
        assert found(reader, info.name) == found(writer, info.name)
        for condition in ({"n": {"$lt": 3}}, {"n": {"$gte": 3}}):
            assert found(reader, info.name, condition) == found(writer, info.name, condition)


def test_it_sees_what_was_stored_changed_and_deleted(reader: Collections, writer: Collections) -> None:
    collection = writer.get("default")
    collection.upsert(things(0, 6))
    assert_follows(reader, writer)

    collection.upsert([NewItem("thing-2", text="another text", metadata={"n": 9})])
    collection.upsert([NewItem("thing-3", image=picture("red"), metadata={"n": 3})])
    collection.delete(["thing-4"])
    assert_follows(reader, writer)

    assert found(reader) == {"thing-0", "thing-1", "thing-2", "thing-3", "thing-5"}
    assert found(reader, condition={"n": 9}) == {"thing-2"}


def test_what_came_and_went_between_two_looks_is_not_seen(reader: Collections, writer: Collections) -> None:
    writer.get("default").upsert(things(0, 3))
    writer.get("default").delete(["thing-1"])
    writer.get("default").upsert([NewItem("thing-2", text="changed")])
    writer.get("default").upsert([NewItem("thing-2", text="changed again")])

    assert_follows(reader, writer)


def test_it_takes_over_the_segments_that_the_writer_builds(
    reader: Collections, writer: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "MAX_FOLLOWED", 0)
    collection = writer.get("default")
    for first in range(0, 60, 10):
        collection.upsert(things(first, first + 10))
        collection.delete([f"thing-{first}"])
        reader.follow()
        collection.compact()
        before = found(reader)
        reader.renew()
        assert found(reader) == before
        assert_follows(reader, writer)

    index = reader.get("default").generations.active.indexes["text"]
    assert index.sizes[:2] == writer.get("default").generations.active.indexes["text"].sizes[:2]


def test_it_goes_on_with_segments_that_the_writer_removed(
    reader: Collections, writer: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "MAX_FOLLOWED", 0)
    collection = writer.get("default")
    collection.upsert(things(0, 10))
    collection.compact()
    reader.follow()
    reader.renew()
    collection.upsert(things(10, 20))
    collection.compact()

    assert_follows(reader, writer)


def test_it_takes_over_no_segment_that_is_ahead_of_it(
    reader: Collections, writer: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "MAX_FOLLOWED", 0)
    collection = writer.get("default")
    collection.upsert(things(0, 10))
    collection.compact()
    reader.follow()
    reader.renew()
    collection.upsert([NewItem("thing-5", text="changed"), *things(10, 20)])
    collection.delete(["thing-1"])
    collection.compact()
    reader.renew()

    assert found(reader) == {f"thing-{n}" for n in range(10)} - {"thing-1"}  # which the catalogue has no more
    index = reader.get("default").generations.active.indexes["text"]
    assert index.sizes[:2] == (10, 0)  # and nothing is copied into memory
    assert_follows(reader, writer)
    reader.renew()
    assert index.sizes[:2] == (19, 0)
    assert_follows(reader, writer)


def test_it_holds_no_more_in_memory_than_the_writer_leaves_it(
    reader: Collections, writer: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "MAX_FOLLOWED", 20)
    collection, index = writer.get("default"), reader.get("default").generations.active.indexes["text"]
    for first in range(0, 300, 10):
        collection.upsert(things(first, first + 10))
        if first % 20:
            collection.compact()
        reader.follow()
        reader.renew()
        assert index.sizes[1] <= 30

    assert_follows(reader, writer)


@pytest.mark.parametrize("limit", ["KEPT", "MOST_NAMED", "MOST_ADDED"])
def test_it_reads_anew_what_the_log_does_not_tell(
    limit: str, reader: Collections, writer: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = writer.get("default")
    collection.upsert(things(0, 4))
    assert_follows(reader, writer)
    monkeypatch.setattr(changes, limit, 3)

    collection.upsert(things(4, 12))
    for number in range(5):
        collection.delete([f"thing-{number}"])

    assert_follows(reader, writer)
    with writer.database.read() as connection:
        kept = connection.exec_driver_sql("SELECT count(*) FROM changes").scalar_one()
    assert kept == (3 if limit == "KEPT" else 7)


def test_a_collection_that_nobody_writes_to_stays_as_it_is(
    reader: Collections, writer: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "KEPT", 3)
    writer.put("shoes", CollectionSettings())
    writer.get("shoes").upsert(things(0, 3))
    assert_follows(reader, writer)
    monkeypatch.setattr(Collection, "_read_anew", lambda _: pytest.fail("it was read anew"))

    for number in range(10):
        writer.get("default").upsert(things(number, number + 1))
        reader.follow()
    writer.get("shoes").upsert(things(3, 4))

    assert_follows(reader, writer)


def test_collections_come_and_go(reader: Collections, writer: Collections) -> None:
    writer.put("shoes", CollectionSettings())
    writer.get("shoes").upsert(things(0, 3))
    assert_follows(reader, writer)
    first = reader.get("shoes").pk

    writer.delete("shoes")
    writer.put("shoes", CollectionSettings())
    assert_follows(reader, writer)
    assert reader.get("shoes").pk != first
    assert found(reader, "shoes") == set()

    writer.delete("shoes")
    writer.delete("default")
    assert_follows(reader, writer)
    with pytest.raises(CollectionNotFound):
        reader.get("shoes")


def test_generations_are_filled_tried_activated_and_dropped(
    reader: Collections, writer: Collections, new: FakeEncoder
) -> None:
    collection, followed = writer.get("default"), reader.get("default")
    collection.upsert(things(0, 5))
    generation = collection.generations.follow("new", new)
    assert_follows(reader, writer)
    assert [one.number for one in followed.generations.open] == [1, 2]
    collection.upsert([NewItem(f"thing-{n}", text=f"changed {n}") for n in range(5)])
    assert_follows(reader, writer)

    collection.generations.set_canary(generation.number, 0.25)
    reader.follow()
    assert [one.canary for one in followed.generations.open] == [0, 0.25]
    collection.generations.activate(generation.number)
    assert_follows(reader, writer)
    assert followed.encoder is new
    assert [one.number for one in followed.generations.open] == [2]

    collection.upsert(things(5, 8))
    collection.generations.drop(1)
    assert_follows(reader, writer)


@pytest.mark.parametrize("is_large", [False, True])
def test_what_it_could_not_take_over_it_reads_anew(
    is_large: bool, reader: Collections, writer: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = writer.get("default")
    collection.upsert([NewItem(f"thing-{n}", text=f"thing {n}", image=picture("red")) for n in range(5)])
    assert_follows(reader, writer)

    def fail(*_: object) -> None:
        raise OSError("too many open files")

    if is_large:
        monkeypatch.setattr(changes, "MOST_NAMED", 0)
    collection.delete(["thing-1"])
    with monkeypatch.context() as broken:
        broken.setattr(VectorIndex, "apply", fail)
        broken.setattr(VectorIndex, "reload", fail)
        with pytest.raises(OSError, match="too many"):
            reader.follow()

    assert_follows(reader, writer)


def test_many_items_that_are_deleted_by_a_filter_are_not_too_much_at_a_time(
    reader: Collections, writer: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = writer.get("default")
    for first in range(0, 3000, 1000):
        collection.upsert(things(first, first + 1000))
    reader.follow()
    monkeypatch.setattr(Collection, "_read_anew", lambda _: pytest.fail("it was read anew"))

    assert collection.delete_matching(parse_filter({"n": {"$gte": 10}})) == 2990

    assert_follows(reader, writer)


def test_it_follows_while_the_writer_writes_and_compacts(reader: Collections, writer: Collections) -> None:
    collection, rng, ended = writer.get("default"), np.random.default_rng(0), threading.Event()

    def write() -> None:
        for turn in range(40):
            numbers = rng.integers(0, 50, 5).tolist()
            collection.upsert([NewItem(f"thing-{n}", text=f"{turn} {n}") for n in dict.fromkeys(numbers)])
            collection.delete([f"thing-{n}" for n in rng.integers(0, 50, 2)])
            if turn % 5 == 0:
                collection.compact()
        ended.set()

    writing = threading.Thread(target=write)
    writing.start()
    while not ended.is_set():
        reader.follow()
        reader.renew()
        hits = reader.get("default").search(SearchRequest((Term(text="thing"),), limit=100)).hits
        assert len({hit.id for hit in hits}) == len(hits)
    writing.join()

    assert_follows(reader, writer)


def test_a_reader_writes_nothing(reader: Collections, writer: Collections, tmp_path: Path) -> None:
    collection: Collection = reader.get("default")
    with pytest.raises(StorageUnavailable):
        collection.upsert(things(0, 1))
    with pytest.raises(DataFolderInUse):
        Collections(tmp_path / "data", lambda _: FakeEncoder())

    writer.get("default").upsert(things(0, 5))
    writer.get("default").compact()
    reader.follow()
    found(reader)
    files = sorted((tmp_path / "data" / "index").rglob("*"))
    reader.close()
    assert sorted((tmp_path / "data" / "index").rglob("*")) == files
    assert (tmp_path / "data" / CATALOGUE).exists()
