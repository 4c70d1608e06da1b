"""Which searches are short enough to be answered where they are asked, and that they wait for nobody."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.index import vector_index
from indexer.search.filters import parse_filter
from indexer.types import NewItem, SearchRequest, Term
from tests.fakes import FakeEncoder
from tests.pictures import picture
from tests.waiting import WAIT_S


@pytest.fixture
def stocked(collection: Collection) -> Collection:
    collection.upsert([NewItem(colour, picture(colour), colour) for colour in ("red", "green", "blue")])
    return collection


@pytest.fixture
def vector(encoder: FakeEncoder) -> list[float]:
    red: list[float] = encoder.encode_texts(["red"]).vectors[0].tolist()
    return red


def test_one_vector_in_one_modality_is_quick(stocked: Collection, vector: list[float]) -> None:
    assert stocked.is_quick(SearchRequest((Term(vector=vector),), target={"image": 1.0}))


@pytest.mark.parametrize(
    "options",
    [
        {"terms": (Term(text="red"),)},
        {"terms": (Term(item="red"),)},
        {"terms": (Term(image=b""),)},
        {"target": None},
        {"limit": 1000},
        {"offset": 1000},
        {"explain": True},
        {"diversity": 0.5},
        {"facets": ("brand",)},
        {"group_by": "brand"},
        {"collapse_duplicates": 0.95},
        {"filter": parse_filter({"brand": "Puma"})},
        {"mode": "hybrid"},
        {"fusion": "rrf"},
    ],
)
def test_what_embeds_reads_or_ranks_more_is_not(
    stocked: Collection, vector: list[float], options: dict[str, Any]
) -> None:
    plain: dict[str, Any] = {"terms": (Term(vector=vector),), "target": {"image": 1.0}}

    assert not stocked.is_quick(SearchRequest(**plain | options))


def test_nor_is_what_scans_much(
    stocked: Collection, vector: list[float], encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SearchRequest((Term(vector=vector),), target={"image": 1.0})

    monkeypatch.setattr(vector_index, "QUICK_SCAN", 3 * encoder.dimension)
    assert stocked.is_quick(request)
    monkeypatch.setattr(vector_index, "QUICK_SCAN", 3 * encoder.dimension - 1)
    assert not stocked.is_quick(request)


def test_a_quick_search_waits_for_no_change_of_the_index(stocked: Collection, vector: list[float]) -> None:
    request = SearchRequest((Term(vector=vector),), target={"image": 1.0})
    held, done = threading.Event(), threading.Event()

    def change() -> None:
        with stocked.generations.active.indexes["image"]._lock:
            held.set()
            assert done.wait(WAIT_S)

    with ThreadPoolExecutor(2) as pool:
        changing = pool.submit(change)
        assert held.wait(WAIT_S)
        try:
            assert stocked.is_quick(request)
            result = pool.submit(stocked.search, request).result(WAIT_S)
        finally:
            done.set()
        changing.result(WAIT_S)
    assert result.hits[0].id == "red"


def test_every_write_deletion_and_compaction_shows_in_the_next_search(
    stocked: Collection, open_folder: Callable[[], Collections], vector: list[float]
) -> None:
    request = SearchRequest((Term(vector=vector),), target={"image": 1.0})

    def found(collection: Collection) -> set[str]:
        assert collection.is_quick(request)
        return {hit.id for hit in collection.search(request).hits}

    assert found(stocked) == {"red", "green", "blue"}
    stocked.delete(["red"])
    assert found(stocked) == {"green", "blue"}
    stocked.upsert([NewItem("yellow", picture("yellow"))])
    assert found(stocked) == {"green", "blue", "yellow"}
    stocked.compact()
    assert found(stocked) == {"green", "blue", "yellow"}
    stocked.delete(["blue"])
    stocked.rebuild()
    assert found(stocked) == {"green", "yellow"}
    assert found(open_folder().get("default")) == {"green", "yellow"}
