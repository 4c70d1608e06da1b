"""Segments that are searched by a graph or by lists: what they find is true, and nearly all there is to find."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.index import approximate
from indexer.index.approximate import Approximate
from indexer.index.exact import scan
from indexer.index.kinds import Kind
from indexer.index.segment import Segment, View
from indexer.index.selection import ItemSet, Selection
from indexer.index.tuning import TARGET
from indexer.index.vector_index import Selected
from tests.indexer.index.segments import build, pictures, texts

COUNT = 12_000
APPROXIMATE: tuple[Kind, ...] = ("ivf", "hnsw")
SELECTIVITIES = (0.0, 0.0001, 0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0)


@pytest.fixture(scope="module", params=APPROXIMATE)
def segment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Segment:
    return build(tmp_path_factory.mktemp("built") / "segment", request.param, pictures(COUNT))


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that the structures are asked, and not the vectors themselves, where a segment is so small."""
    monkeypatch.setattr(approximate, "FEW_ROWS", 100)


def recall(view: View, selection: Selection, queries: np.ndarray, k: int = 10) -> float:
    k = min(k, selection.live)
    best = scan(view.rows.vectors, queries, k, selection).rows
    found = np.concatenate([view.search(query[None], k, selection).rows for query in queries])
    assert np.array_equal(found, view.search(queries, k, selection).rows)
    return float(np.mean([np.isin(right, own).mean() for own, right in zip(found, best, strict=True)])) if k else 1.0


@pytest.mark.parametrize("queries", [pictures(200, seed=5), texts(200, seed=6)], ids=["pictures", "texts"])
def test_recall_is_what_the_segment_was_tuned_for(segment: Segment, queries: np.ndarray) -> None:
    view = segment.view()
    assert segment.approximate
    assert min(segment.approximate.tuning.recall.values()) >= TARGET
    assert recall(view, view.select(None), queries) >= TARGET - 0.01


@pytest.mark.parametrize("selectivity", SELECTIVITIES)
def test_recall_holds_under_a_filter(segment: Segment, selectivity: float) -> None:
    view = segment.view()
    selection = view.select(ItemSet(1, np.random.default_rng(3).random(COUNT) < selectivity))
    assert recall(view, selection, texts(100, seed=7)) >= TARGET - 0.01


@pytest.mark.parametrize("k", [1, 256, 1000, 1200])
def test_many_hits_are_found_too(segment: Segment, k: int) -> None:
    view = segment.view()
    assert recall(view, view.select(None), pictures(20, seed=8), k) >= (TARGET - 0.01 if k <= 10 else 0.9)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_all_that_is_found_is_live_selected_and_exact(segment: Segment, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    numbers = np.arange(1, COUNT + 1)
    hidden = numbers[rng.random(COUNT) < data.draw(st.sampled_from([0.0, 0.01, 0.5, 0.99]))]
    copy = Segment(segment.view().rows, approximate=segment.approximate)
    copy.hide(hidden)
    view = copy.view()
    share = data.draw(st.sampled_from([None, 0.0, 0.01, 0.2, 0.6, 1.0]))
    chosen = None if share is None else rng.random(COUNT) < share
    selected = Selected([(view, view.select(None if chosen is None else ItemSet(1, chosen)))])
    k = data.draw(st.sampled_from([1, 10, 300, COUNT]))
    length = data.draw(st.sampled_from([0.1, 1.0, 30.0]))

    found = selected.search_many(length * texts(3, seed=data.draw(st.integers(0, 10**6))), k)

    wanted = np.isin(numbers, hidden, invert=True) & (True if chosen is None else chosen)
    for items, _ in found:
        assert len(items) == min(k, np.count_nonzero(wanted))
        assert len(np.unique(items)) == len(items)
        assert wanted[items - 1].all()


def test_similarities_are_exact_and_descend(segment: Segment) -> None:
    view, queries = segment.view(), 7 * texts(20, seed=9)
    for query, found in zip(queries, Selected([(view, view.select(None))]).search_many(queries, 200), strict=True):
        expected = view.rows.vectors[found.items - 1] @ query
        assert found.similarities == pytest.approx(expected, rel=1e-5, abs=1e-5)
        assert np.all(np.diff(found.similarities) <= 0)


def test_what_is_hidden_is_never_found(segment: Segment) -> None:
    copy, query = Segment(segment.view().rows, approximate=segment.approximate), pictures(1, seed=11)
    for _ in range(5):
        view = copy.view()
        nearest = view.search(query, 50, view.select(None)).rows[0]
        assert view.alive[nearest].all()
        copy.hide(np.sort(nearest + 1))


def test_a_short_answer_is_made_good_by_a_scan(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rows that a search goes through are hidden, it finds less than there is."""
    assert segment.approximate
    search = Approximate.search

    def short(self: Approximate, *arguments: object) -> object:
        found = search(self, *arguments)  # type: ignore[arg-type]
        assert found
        found.rows[1, 3:] = -1
        return found

    view, queries = segment.view(), pictures(3, seed=12)
    monkeypatch.setattr(Approximate, "search", short)
    found = view.search(queries, 10, view.select(None))
    assert found.rows[1].tolist() == scan(view.rows.vectors, queries[1:2], 10, view.select(None)).rows[0].tolist()
    assert (found.rows >= 0).all()


def test_searches_of_many_threads_are_those_of_one(segment: Segment) -> None:
    view, queries = segment.view(), texts(64, seed=13)
    selection = view.select(ItemSet(1, np.random.default_rng(4).random(COUNT) < 0.5))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: view.search(query[None], 10, selection).rows[0].tolist(), queries))
    assert found == view.search(queries, 10, selection).rows.tolist()


@pytest.mark.parametrize("kind", APPROXIMATE)
@pytest.mark.parametrize("count", [1, 3, 50])
def test_a_handful_of_vectors_can_be_of_any_kind(tmp_path: Path, kind: Kind, count: int) -> None:
    segment = build(tmp_path / "segment", kind, pictures(count))
    view = segment.view()
    assert segment.approximate
    assert list(segment.approximate.problems()) == []
    assert sorted(view.search(texts(1), 100, view.select(None)).rows[0]) == list(range(count))


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_vectors_with_many_copies_are_found(tmp_path: Path, kind: Kind) -> None:
    """In a graph the copies are linked to each other only, and a search that comes upon some finds nothing else."""
    segment = build(tmp_path / kind, kind, np.repeat(pictures(3), 500, axis=0))
    view = segment.view()
    assert segment.approximate
    assert segment.approximate.kind == "ivf"
    for number, query in enumerate(pictures(3)):
        [rows] = view.search(query[None], 10, view.select(None)).rows
        assert (rows // 500 == number).all()
