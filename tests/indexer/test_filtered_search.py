"""Searches confined to some items find exactly what a scan of these finds."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.index.segment import Segment
from indexer.index.selection import ItemSet
from indexer.index.vector_index import Selected, VectorIndex
from indexer.search.columns import Columns
from indexer.search.filters import parse_filter
from indexer.types import NewItem, SearchRequest, Term, VectorRows
from tests.waiting import WAIT_S

COUNT, DIMENSION, SELECTIVITIES = 40_000, 12, (0.0, 0.0001, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 1.0)


@pytest.fixture(scope="module")
def rows() -> VectorRows:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(COUNT, DIMENSION)).astype(np.float32)
    return VectorRows(np.arange(1, COUNT + 1), rng.permutation(COUNT) + 1000, vectors)


@pytest.mark.parametrize("hidden", [0.0, 0.1, 0.95])
@pytest.mark.parametrize("selectivity", SELECTIVITIES)
def test_recall_under_a_filter_is_that_of_brute_force(rows: VectorRows, selectivity: float, hidden: float) -> None:
    rng = np.random.default_rng(1)
    parts = [VectorRows(*(column[cut] for column in rows)) for cut in (slice(0, 30_000), slice(30_000, None))]
    segments = [Segment(part) for part in parts]
    gone = rng.random(COUNT) < hidden
    for segment in segments:
        segment.hide(rows.seqs[gone])
    items = ItemSet(1500, rng.random(COUNT - 700) < selectivity)
    selected = Selected([(view, view.select(items)) for view in (segment.view() for segment in segments)])
    wanted = np.isin(rows.items, items.pks) & ~gone
    assert selected.live == np.count_nonzero(wanted)
    for query in rng.normal(size=(5, DIMENSION)).astype(np.float32):
        similarities = rows.vectors[wanted] @ query
        best = np.lexsort((rows.items[wanted], -similarities))[:10]
        found = selected.search(query, 10)
        assert found.items.tolist() == rows.items[wanted][best].tolist()
        assert found.similarities == pytest.approx(similarities[best], abs=1e-5)


def store(collection: Collection, *metadata: dict[str, Any]) -> None:
    """Items i0, i1, ..., each less like the first axis than the one before."""
    angles = np.linspace(0, 1.5, len(metadata))
    vectors = np.zeros((len(metadata), collection.encoder.dimension))
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    collection.upsert(
        [
            NewItem(
                f"i{n}", metadata=own, vectors={"image": vector.tolist()}, fingerprint=collection.encoder.fingerprint
            )
            for n, (own, vector) in enumerate(zip(metadata, vectors, strict=True))
        ]
    )


def find(collection: Collection, **options: Any) -> list[str]:
    first_axis = np.eye(collection.encoder.dimension)[0].tolist()
    return [hit.id for hit in collection.search(SearchRequest((Term(vector=first_axis),), **options)).hits]


def test_a_group_that_fills_all_candidates_does_not_hide_the_others(collection: Collection) -> None:
    store(collection, *({"brand": "big"} for _ in range(600)), {"brand": "small"}, {}, {}, {"brand": "small"})
    assert find(collection, limit=4, group_by="brand") == ["i0", "i600", "i601", "i602"]
    assert find(collection, limit=9, group_by="brand", group_size=2) == ["i0", "i1", "i600", "i601", "i602", "i603"]


def test_a_filter_sees_each_write_at_once(collection: Collection) -> None:
    store(collection, {"n": 0}, {"n": 1}, {"n": 2})
    low = parse_filter({"n": {"$lt": 2}})
    assert find(collection, filter=low) == ["i0", "i1"]
    store(collection, {"n": 5}, {"n": 1}, {"n": 1}, {"n": 0})
    assert find(collection, filter=low) == ["i1", "i2", "i3"]
    collection.delete(["i2"])
    assert find(collection, filter=low) == ["i1", "i3"]


def test_a_write_that_the_columns_missed_is_read_anew(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    store(collection, {"n": 0}, {"n": 1})
    low = parse_filter({"n": 0})
    assert find(collection, filter=low) == ["i0"]

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Columns, "_take_in", fail)
        store(collection, {"n": 1}, {"n": 0}, {"n": 0})
    assert find(collection, filter=low) == ["i1", "i2"]


def test_the_columns_know_a_write_that_the_index_could_not_take_over(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(collection, {"n": 0}, {"n": 1})
    zero = parse_filter({"n": 0})
    assert len(collection.items(9, None, zero)[0]) == 1

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(VectorIndex, "apply", fail)
        patched.setattr(VectorIndex, "reload", fail)
        with pytest.raises(OSError, match="space"):
            store(collection, {"n": 0}, {"n": 0})
    assert len(collection.items(9, None, zero)[0]) == 2


def test_what_changed_while_the_search_ran_is_no_hit(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    store(collection, {"n": 0}, {"n": 0}, {"n": 0})
    select = Columns.select

    def select_and_write(self: Columns, *arguments: Any) -> Any:
        found = select(self, *arguments)
        with monkeypatch.context() as patched:
            patched.setattr(Columns, "select", select)
            store(collection, {"n": 0}, {"n": 1})
        return found

    monkeypatch.setattr(Columns, "select", select_and_write)
    assert find(collection, filter=parse_filter({"n": 0})) == ["i0", "i2"]


def test_what_changed_while_matches_are_deleted_stays(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    store(collection, {"n": 0}, {"n": 0}, {"n": 0})
    select = Columns.select

    def select_and_write(self: Columns, *arguments: Any) -> Any:
        found = select(self, *arguments)
        store(collection, {"n": 0}, {"n": 1})
        return found

    monkeypatch.setattr(Columns, "select", select_and_write)
    assert collection.delete_matching(parse_filter({"n": 0})) == 2
    assert [item.id for item in collection.items(10)[0]] == ["i1"]


def test_a_page_from_which_items_went_meanwhile_is_not_the_last(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(collection, *({"n": 0} for _ in range(5)))
    zero = parse_filter({"n": 0})
    select = Columns.select

    def select_and_delete(self: Columns, *arguments: Any) -> Any:
        found = select(self, *arguments)
        collection.delete(["i0", "i1"])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Columns, "select", select_and_delete)
        page, cursor = collection.items(2, None, zero)
    assert (page, cursor is None) == ([], False)
    assert [item.id for item in collection.items(9, cursor, zero)[0]] == ["i2", "i3", "i4"]


def test_a_delete_that_chooses_under_the_lock_waits_for_no_compaction_under_it(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction needs the lock to end: who holds it must not wait for one."""
    store(collection, {}, {})
    free: list[bool] = []

    def take(writes: Any) -> bool:
        with writes:
            return True

    def flush(_: VectorIndex, writes: AbstractContextManager[object], stop: object) -> None:
        with ThreadPoolExecutor(1) as pool:
            free.append(pool.submit(take, writes).result(timeout=WAIT_S))

    monkeypatch.setattr(VectorIndex, "needs_compaction", lambda _: not free)
    monkeypatch.setattr(VectorIndex, "needs_flush", lambda _: not free)
    monkeypatch.setattr(VectorIndex, "flush", flush)
    assert collection.delete(lambda: ["i0"]) == 1
    assert free == [True]
