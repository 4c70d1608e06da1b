"""What is written at the same time is committed together, each write with its own outcome."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from indexer import commits
from indexer.collection import Collection
from indexer.errors import CollectionNotFound, StorageUnavailable
from indexer.preparation import prepare
from indexer.stores.catalogue import Catalogue
from indexer.types import Failed, NewItem, NewRule, Outcome, Term, Upserted
from tests.fakes import FakeEncoder
from tests.indexer.test_collection import find, put
from tests.pictures import picture
from tests.waiting import WAIT_S


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The ids of each transaction."""
    transactions: list[set[str]] = []
    write = Catalogue.write

    def noted(self: Catalogue, row: Any, changes: Sequence[Any], *also: Any) -> Any:
        done = write(self, row, changes, *also)
        transactions.append({change.id for change in changes})
        return done

    monkeypatch.setattr(Catalogue, "write", noted)
    return transactions


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as made:
        yield made


def wait_for(collection: Collection, writes: int) -> None:
    """Until so many wait."""
    ends = time.monotonic() + WAIT_S
    while len(collection._group_commit._waiting) < writes:
        assert time.monotonic() < ends
        time.sleep(0.001)


def statuses(written: Future[list[Upserted | Failed]]) -> list[str]:
    return [one.status for one in written.result(WAIT_S) if isinstance(one, Upserted)]


def test_what_waits_is_committed_in_one_transaction(
    collection: Collection, pool: ThreadPoolExecutor, committed: list[set[str]]
) -> None:
    items = [NewItem(f"item-{n}", text=f"a red thing {n}", image=picture("red")) for n in range(8)]
    with collection._writes:
        puts = [pool.submit(collection.upsert, [item]) for item in items]
        wait_for(collection, 8)
    results = [one for put_ in puts for one in put_.result(WAIT_S)]
    assert [(one.id, one.status) for one in results if isinstance(one, Upserted)] == [
        (item.id, "created") for item in items
    ]
    assert committed == [{item.id for item in items}]
    assert set(find(collection, "red", limit=20)) == {item.id for item in items}
    assert collection.info().items == 8
    assert collection.verify() == []


def test_an_id_that_waits_twice_is_written_in_turn(
    collection: Collection, pool: ThreadPoolExecutor, committed: list[set[str]]
) -> None:
    with collection._writes:
        puts = [pool.submit(collection.upsert, [NewItem("twice", text=text)]) for text in ("red", "green", "blue")]
        wait_for(collection, 3)
    outcomes = [one.status for put_ in puts for one in put_.result(WAIT_S) if isinstance(one, Upserted)]
    assert sorted(outcomes, key=str) == ["created", "updated", "updated"]
    assert committed == [{"twice"}] * 3
    assert collection.verify() == []


def test_a_write_that_fails_fails_alone(
    collection: Collection, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Catalogue.write

    def fail(self: Catalogue, row: Any, changes: Sequence[Any], *also: Any) -> Any:
        if any(change.id == "bad" for change in changes):
            raise StorageUnavailable("the disk is full")
        return write(self, row, changes, *also)

    monkeypatch.setattr(Catalogue, "write", fail)
    with collection._writes:
        puts = {id_: pool.submit(collection.upsert, [NewItem(id_, text="red")]) for id_ in ("good", "bad", "fine")}
        wait_for(collection, 3)
    with pytest.raises(StorageUnavailable, match="disk is full"):
        puts["bad"].result(WAIT_S)
    assert [statuses(puts[id_]) for id_ in ("good", "fine")] == [["created"], ["created"]]
    assert set(find(collection, "red")) == {"good", "fine"}
    assert collection.verify() == []


def test_what_fails_once_it_is_committed_is_told_to_all_of_the_group(
    collection: Collection, pool: ThreadPoolExecutor, committed: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OSError("the index cannot be read")

    with collection._writes, monkeypatch.context() as patch:
        patch.setattr(collection, "_take_over", fail)
        puts = [pool.submit(collection.upsert, [NewItem(id_, text="red")]) for id_ in "ab"]
        wait_for(collection, 2)
        group = collection._group_commit
        group._settle(group._take(group._waiting[0]))
    for put_ in puts:
        with pytest.raises(OSError, match="cannot be read"):
            put_.result(WAIT_S)
    assert committed == [{"a", "b"}]


def test_a_chunk_of_a_job_is_committed_by_itself(
    collection: Collection, pool: ThreadPoolExecutor, committed: list[set[str]]
) -> None:
    told: list[Mapping[str, Outcome]] = []

    def store(id_: str) -> Mapping[str, Outcome]:
        new = [NewItem(id_, text="red")]
        prepared = prepare(new, {}, collection.generations.encoders, collection.limits)
        return collection.store(new, {}, prepared, lambda outcomes, _: told.append(outcomes))

    with collection._writes:
        chunks = [pool.submit(store, id_) for id_ in ("chunk 1", "chunk 2")]
        puts = [pool.submit(collection.upsert, [NewItem(id_, text="red")]) for id_ in "ab"]
        wait_for(collection, 4)
    for write in (*chunks, *puts):
        write.result(WAIT_S)
    assert sorted(committed, key=sorted) == [{"a", "b"}, {"chunk 1"}, {"chunk 2"}]
    assert sorted(told, key=str) == [{"chunk 1": "created"}, {"chunk 2": "created"}]


def test_all_of_a_group_may_have_been_overtaken(
    collection: Collection, pool: ThreadPoolExecutor, committed: list[set[str]]
) -> None:
    for id_ in "ab":
        put(collection, id_, text="red")
    with collection._writes:
        puts = [pool.submit(collection.upsert, [NewItem(id_, text="green")]) for id_ in "ab"]
        wait_for(collection, 2)
        collection.delete(["a", "b"])
    assert [statuses(put_) for put_ in puts] == [["created"], ["created"]]
    assert set().union(*committed) == {"a", "b"}
    assert collection.verify() == []


def test_one_that_was_overtaken_is_prepared_anew_and_holds_up_nobody(
    collection: Collection, encoder: FakeEncoder, pool: ThreadPoolExecutor, committed: list[set[str]]
) -> None:
    put(collection, "old", text="a red thing")
    with collection._writes:
        late = pool.submit(collection.upsert, [NewItem("old", text="a green thing")])
        other = pool.submit(collection.upsert, [NewItem("new", text="a blue thing")])
        wait_for(collection, 2)
        # Stands for another write of the same item, which the lock lets through as it is this thread's.
        collection.delete(["old"])
    assert statuses(late) == statuses(other) == ["created"]
    assert committed == [{"old"}, {"new"}, {"old"}]
    assert find(collection, "green", limit=1) == ["old"]


def test_groups_are_bounded(
    collection: Collection, pool: ThreadPoolExecutor, committed: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "MOST_ITEMS", 3)
    with collection._writes:
        puts: list[Future[Any]] = [
            pool.submit(collection.upsert, [NewItem(f"{batch}-{n}", text="a red thing") for n in range(size)])
            for batch, size in enumerate((1, 2, 4, 1))
        ]
        wait_for(collection, 4)
    for put_ in puts:
        put_.result(WAIT_S)
    assert sum(len(ids) for ids in committed) == 8
    assert all(len(ids) <= 3 or len(ids) == 4 == sum(id_.startswith("2-") for id_ in ids) for ids in committed)


def test_flags_of_a_group_are_those_of_each_item(collection: Collection, pool: ThreadPoolExecutor) -> None:
    collection.rules.put(NewRule("reds", (Term(text="red"),), {"text": 0.8}, "reject"))
    with collection._writes:
        puts = [pool.submit(collection.upsert, [NewItem(colour, text=colour)]) for colour in ("red", "green")]
        wait_for(collection, 2)
    [red], [green] = (put_.result(WAIT_S) for put_ in puts)
    assert isinstance(red, Failed)
    assert isinstance(green, Upserted)
    assert [flag.item for flag in collection.rules.flags(9)[0]] == ["red"]
    assert collection.info().items == 1


def test_what_waits_when_the_collection_is_closed_is_refused(collection: Collection, pool: ThreadPoolExecutor) -> None:
    with collection._writes:
        puts = [pool.submit(collection.upsert, [NewItem(str(n), text="red")]) for n in range(3)]
        wait_for(collection, 3)
        collection._closed.set()
    for put_ in puts:
        with pytest.raises(CollectionNotFound):
            put_.result(WAIT_S)
    assert collection._group_commit._waiting == []
