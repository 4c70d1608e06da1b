"""The latest queries are kept, as many as may be, and texts are no pictures."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models.encoder import DualEncoder
from models.query_cache import QueryCache, QueryEmbedding, Tower
from models.store import EMBEDDED

ONE, TWO, THREE = (QueryEmbedding(np.full(4, value, dtype=np.float32)) for value in (1, 2, 3))


def value(cache: QueryCache, query: str | bytes) -> float | None:
    found = cache.get(query)
    return None if found is None else float(found.vector[0])


def test_what_was_asked_for_longest_ago_makes_room() -> None:
    cache = QueryCache(2)
    cache.keep("red", ONE)
    cache.keep("green", TWO)
    assert value(cache, "red") == 1
    cache.keep("blue", THREE)
    assert [value(cache, query) for query in ("red", "green", "blue")] == [1, None, 3]


def test_a_text_is_not_the_picture_of_its_bytes() -> None:
    cache = QueryCache(2)
    cache.keep("red", ONE)
    cache.keep(b"red", TWO)
    assert (value(cache, "red"), value(cache, b"red")) == (1, 2)


def test_what_is_kept_is_no_part_of_its_batch() -> None:
    cache, batch = QueryCache(1), np.ones((2, 4), dtype=np.float32)
    cache.keep("\ud800", QueryEmbedding(batch[0], truncated=True))
    batch[:] = 2
    assert cache.get("\ud800") is not None
    assert value(cache, "\ud800") == 1


def test_without_room_nothing_is_kept_or_counted() -> None:
    seen = list[tuple[Tower, bool]]()
    cache = QueryCache(0, lambda tower, hit: seen.append((tower, hit)))
    cache.keep("red", ONE)
    assert cache.get("red") is None
    assert seen == []


def test_threads_share_it_and_hits_and_misses_are_told() -> None:
    seen = list[tuple[Tower, bool]]()
    cache = QueryCache(8, lambda tower, hit: seen.append((tower, hit)))

    def ask(number: int) -> None:
        query = f"query {number % 16}"
        found = cache.get(query)
        assert found is None or found.vector[0] == number % 16
        cache.keep(query, QueryEmbedding(np.full(4, number % 16, dtype=np.float32)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(2000)))

    assert len(seen) == 2000
    assert sum(value(cache, f"query {number}") is not None for number in range(16)) == 8


def test_bulk_work_neither_asks_nor_fills_the_cache_of_a_model() -> None:
    encoder = DualEncoder.open(EMBEDDED, device="cpu", threads=1, queries=QueryCache(8))
    encoder.bulk.queries.keep("red", ONE)
    assert encoder.queries.get("red") is None
