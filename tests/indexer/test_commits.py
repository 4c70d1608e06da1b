"""What is written at the same time is committed together, each write with its own outcome."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection

from indexer import commits
from indexer.collection import Collection
from indexer.errors import CollectionNotFound, StorageUnavailable
from indexer.preparation import prepare
from indexer.stores.catalogue import Catalogue
from indexer.types import Failed, NewItem, NewRule, Outcome, Term, Upserted
from tests.fakes import FakeEncoder
from tests.indexer.test_collection import find, put
from tests.pictures import picture

WAIT_S = 10


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
    group, patience = collection._group_commit, threading.Event()
    for _ in range(1000):
        if len(group._waiting) == writes:
            return
        patience.wait(WAIT_S / 1000)
    raise AssertionError(f"{len(group._waiting)} wait, not {writes}")


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


def test_a_write_that_fails_fails_alone(collection: Collection, pool: ThreadPoolExecutor) -> None:
    def store(id_: str) -> Mapping[str, Outcome]:
        new = [NewItem(id_, text="a red thing")]

        def also(_: Mapping[str, Outcome], connection: Connection) -> None:
            if id_ == "bad":
                raise StorageUnavailable("the disk is full")

        prepared = prepare(new, {}, collection.generations.encoders, collection.limits)
        return collection.store(new, {}, prepared, also)

    with collection._writes:
        writes = {id_: pool.submit(store, id_) for id_ in ("good", "bad", "fine")}
        wait_for(collection, 3)
    with pytest.raises(StorageUnavailable, match="disk is full"):
        writes["bad"].result(WAIT_S)
    assert [writes[id_].result(WAIT_S) for id_ in ("good", "fine")] == [{"good": "created"}, {"fine": "created"}]
    assert set(find(collection, "red")) == {"good", "fine"}
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
    assert [one.status for one in late.result(WAIT_S) if isinstance(one, Upserted)] == ["created"]
    assert [one.status for one in other.result(WAIT_S) if isinstance(one, Upserted)] == ["created"]
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
