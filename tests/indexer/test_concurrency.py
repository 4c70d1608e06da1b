"""Writers, readers and compactions side by side: the next search finds each acknowledged write, and nothing fails."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.index import kinds, vector_index
from indexer.types import NewItem, SearchRequest, Term
from tests.fakes import FakeEncoder

WRITERS, READERS = 3, 2
WRITES = 25
IDS = 30
"""Items of each writer."""
BATCH = 5


class Writer:
    """Creates, changes and deletes items of its own, and looks for each right after it was told that it is done."""

    def __init__(self, collection: Collection, encoder: FakeEncoder, number: int, seed: int) -> None:
        self._collection, self._encoder, self._number = collection, encoder, number
        self._draw = random.Random(seed + number)
        self._rng = np.random.default_rng([seed, number])
        self.stored: dict[str, list[float]] = {}

    def run(self) -> None:
        for _ in range(WRITES):
            ids = [f"{self._number}-{place}" for place in self._draw.sample(range(IDS), BATCH)]
            if self._draw.random() < 0.3:
                self._delete(ids)
            else:
                self._upsert(ids)

    def _upsert(self, ids: list[str]) -> None:
        vectors = self._rng.normal(size=(BATCH, self._encoder.dimension))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        new = dict(zip(ids, vectors.tolist(), strict=True))
        items = [
            NewItem(id_, vectors={"image": vector}, fingerprint=self._encoder.fingerprint)
            for id_, vector in new.items()
        ]
        self._collection.upsert(items)
        replaced = [self.stored[id_] for id_ in ids if id_ in self.stored]
        self.stored |= new
        assert [nearest(self._collection, vector) for vector in new.values()] == ids
        assert not {nearest(self._collection, vector, above=0.999) for vector in replaced} & set(ids)

    def _delete(self, ids: list[str]) -> None:
        gone = [self.stored.pop(id_) for id_ in ids if id_ in self.stored]
        assert self._collection.delete(ids) == len(gone)
        assert not {nearest(self._collection, vector) for vector in gone} & set(ids)


def nearest(collection: Collection, vector: list[float], above: float | None = None) -> str | None:
    """The best item for a vector."""
    request = SearchRequest((Term(vector=vector),), limit=1, target={"image": 1.0}, min_score=above)
    return next((hit.id for hit in collection.search(request).hits), None)


@contextmanager
def repeated(*tasks: Callable[[], object]) -> Iterator[None]:
    """Tasks that are done again and again beside the block; what fails in them fails here."""
    stop = threading.Event()

    def repeat(task: Callable[[], object]) -> int:
        times = 0
        while not stop.is_set():
            task()
            times += 1
        return times

    with ThreadPoolExecutor(len(tasks)) as pool:
        running = [pool.submit(repeat, task) for task in tasks]
        try:
            yield
        finally:
            stop.set()
        assert min(one.result() for one in running) > 0


@pytest.mark.parametrize("flat_components", [kinds.FLAT_COMPONENTS, 0], ids=["flat", "lists and graphs"])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_acknowledged_is_found_beside_other_writers_readers_and_compactions(
    open_folder: Callable[[], Collections],
    encoder: FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
    flat_components: int,
    seed: int,
) -> None:
    monkeypatch.setattr(kinds, "FLAT_COMPONENTS", flat_components)
    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 20)
    monkeypatch.setattr(vector_index, "MAX_DELTA", 60)
    collection = open_folder().get("default")
    writers = [Writer(collection, encoder, number, seed) for number in range(WRITERS)]
    draw = np.random.default_rng(seed).normal(size=(100, encoder.dimension)).tolist()

    def read() -> None:
        request = SearchRequest((Term(vector=random.choice(draw)),), limit=20, target={"image": 1.0, "text": 0.3})
        hits = collection.search(request).hits
        assert len({hit.id for hit in hits}) == len(hits)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    with repeated(*[read] * READERS, collection.compact), ThreadPoolExecutor(WRITERS) as pool:
        for done in [pool.submit(writer.run) for writer in writers]:
            done.result()

    stored = {id_: vector for writer in writers for id_, vector in writer.stored.items()}
    assert collection.info().vectors["image"] == len(stored)
    assert [nearest(collection, vector) for vector in stored.values()] == list(stored)
    assert collection.verify() == []
    collection.close()
    assert open_folder().get("default").verify() == []
