"""Search against brute force, through any sequence of writes, compactions and restarts."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.typing import NDArray

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.search import limits, query
from indexer.search.filters import Filter, matches, parse_filter
from indexer.types import MODALITIES, Modality, NewItem, SearchRequest, Term, Upserted
from tests.fakes import FakeEncoder

DIMENSION = 6
IDS = st.sampled_from([f"i{number}" for number in range(8)])
# A small pool, so that equal vectors, and with them ties, are common.
POOL = np.random.default_rng(0).normal(size=(7, DIMENSION)) + 0.3
VECTORS = st.integers(0, len(POOL) - 1).map(lambda number: POOL[number] / np.linalg.norm(POOL[number]))
WEIGHTS = st.sampled_from([-1.0, -0.4, 0.5, 1.0, 2.0])
TARGETS = st.sampled_from([{"image": 1.0}, {"text": 1.0}, {"image": 1.0, "text": 0.3}, {"image": 0.2, "text": 1.0}])

METADATA = st.fixed_dictionaries(
    {}, optional={"a": st.sampled_from([1, 2, "x", None, ["x", 3]]), "b": st.integers(0, 3)}
)
FILTERS = st.none() | st.sampled_from(
    [{}, {"a": 1}, {"a": "x"}, {"a": {"$contains": "x"}}, {"b": {"$lt": 2}}, {"b": {"$ne": 1}}, {"$not": {"a": None}}]
).map(parse_filter)

COUNTS = st.sampled_from([1, 2, 3, 100])

Stored = Mapping[Modality, NDArray[np.float64]]


def naive_scores(
    items: Mapping[str, Stored], terms: list[tuple[NDArray[np.float64], float]], target: Mapping[Modality, float]
) -> dict[str, float]:
    """The fusion formula, written down term by term and item by item."""
    total = sum(abs(weight) for _, weight in terms)
    z: dict[str, dict[Modality, float]] = {id_: {} for id_ in items}
    scale: dict[Modality, tuple[float, float]] = {}
    spread: set[Modality] = set()
    for modality in target:
        owners = [id_ for id_ in items if modality in items[id_]]
        if not owners:
            continue
        mean_sum = std_sum = 0.0
        for vector, weight in terms:
            similarities = np.array([vector @ items[id_][modality] for id_ in owners])
            mean, std = similarities.mean(), similarities.std()
            if len(owners) < 2:
                mean, std = 0.0, 1.0
            elif std <= 1e-3:
                std = 1.0
            else:
                spread.add(modality)
            mean_sum += weight * mean / total
            std_sum += abs(weight) * std / total
            for id_, similarity in zip(owners, similarities, strict=True):
                z[id_][modality] = z[id_].get(modality, 0.0) + weight * (similarity - mean) / std / total
        scale[modality] = (mean_sum, std_sum)
    if not scale:
        return {}
    mean, std = scale[max(scale, key=lambda modality: (modality in spread, target[modality]))]
    return {
        id_: mean + std * sum(target[m] * value for m, value in own.items()) / sum(target[m] for m in own)
        for id_, own in z.items()
        if own
    }


class Searching(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.encoder = FakeEncoder(DIMENSION)
        self.items: dict[str, Stored] = {}
        self.metadata: dict[str, dict[str, Any]] = {}
        self.collections: Collections | None = None

    @initialize()
    def open(self) -> None:
        self.restart()

    @rule()
    def restart(self) -> None:
        if self.collections:
            self.collections.close()
        self.collections = Collections(Path(self.folder.name), lambda name: self.encoder)

    @rule(
        batch=st.lists(
            st.tuples(IDS, st.dictionaries(st.sampled_from(MODALITIES), VECTORS, min_size=1), METADATA), max_size=6
        )
    )
    def upsert(self, batch: list[tuple[str, Stored, dict[str, Any]]]) -> None:
        new = [
            NewItem(
                id_,
                vectors={m: v.tolist() for m, v in own.items()},
                fingerprint=self.encoder.fingerprint,
                metadata=metadata,
            )
            for id_, own, metadata in batch
        ]
        results = self.collection.upsert(new)
        assert [result.id for result in results if isinstance(result, Upserted)] == [id_ for id_, _, _ in batch]
        for id_, own, metadata in batch:
            self.items[id_] = {m: v.astype(np.float16).astype(np.float64) for m, v in own.items()}
            self.metadata[id_] = metadata

    @rule(ids=st.lists(IDS, max_size=3))
    def delete(self, ids: list[str]) -> None:
        assert self.collection.delete(ids) == len({id_ for id_ in ids if self.items.pop(id_, None)})

    @rule(filter_=FILTERS.filter(bool))
    def delete_matching(self, filter_: Filter) -> None:
        gone = self.matching(filter_)
        assert self.collection.delete_matching(filter_) == len(gone)
        for id_ in gone:
            del self.items[id_]

    @rule(filter_=FILTERS.filter(bool), page=st.integers(1, 4))
    def list_matching(self, filter_: Filter, page: int) -> None:
        ids: list[str] = []
        cursor: str | None = None
        while True:
            items, cursor = self.collection.items(page, cursor, filter_)
            ids += [item.id for item in items]
            if cursor is None:
                break
        assert ids == [item.id for item in self.collection.items(100)[0] if item.id in self.matching(filter_)]

    @rule()
    def compact(self) -> None:
        self.collection.compact()

    @rule(
        terms=st.lists(st.tuples(VECTORS, WEIGHTS), min_size=1, max_size=3),
        weights=TARGETS,
        page=st.integers(1, 4),
        filter_=FILTERS,
    )
    def search(
        self,
        terms: list[tuple[NDArray[np.float64], float]],
        weights: dict[Modality, float],
        page: int,
        filter_: Filter | None,
    ) -> None:
        asked = tuple(Term(weight, vector=vector.tolist()) for vector, weight in terms)
        whole = self.collection.search(SearchRequest(asked, limit=100, target=weights, filter=filter_))
        matching = self.matching(filter_)
        # The scale is that of the whole collection: a filter changes no score.
        expected = {id_: score for id_, score in naive_scores(self.items, terms, weights).items() if id_ in matching}
        assert {hit.id: hit.score for hit in whole.hits} == pytest.approx(expected, abs=2e-4)
        assert whole.total == len(expected)
        assert [hit.score for hit in whole.hits] == sorted((hit.score for hit in whole.hits), reverse=True)
        paged = [
            hit.id
            for offset in range(0, len(expected) + page, page)
            for hit in self.collection.search(
                SearchRequest(asked, limit=page, offset=offset, target=weights, filter=filter_)
            ).hits
        ]
        assert paged == [hit.id for hit in whole.hits]

    @rule(
        vector=VECTORS, weights=TARGETS, filter_=FILTERS, path=st.sampled_from("ab"), size=st.integers(1, 3), n=COUNTS
    )
    def search_groups(
        self,
        vector: NDArray[np.float64],
        weights: dict[Modality, float],
        filter_: Filter | None,
        path: str,
        size: int,
        n: int,
    ) -> None:
        request = SearchRequest((Term(vector=vector.tolist()),), limit=100, target=weights, filter=filter_)
        expected, seen = [], Counter[str]()
        for hit in self.collection.search(request).hits:
            value = self.metadata[hit.id].get(path)
            seen[repr(value)] += 1
            if value is None or seen[repr(value)] <= size:
                expected.append(hit.id)
        grouped = replace(request, limit=n, group_by=path, group_size=size)
        assert [hit.id for hit in self.collection.search(grouped).hits] == expected[:n]

    def matching(self, filter_: Filter | None) -> list[str]:
        return [id_ for id_ in self.items if filter_ is None or matches(filter_, self.metadata[id_])]

    @invariant()
    def the_index_is_the_catalogue(self) -> None:
        if self.collections:
            assert self.collection.verify() == []

    def teardown(self) -> None:
        if self.collections:
            self.collections.close()
        self.folder.cleanup()

    @property
    def collection(self) -> Collection:
        assert self.collections
        return self.collections.get("default")


@pytest.fixture(autouse=True)
def _few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that a search must ask for more of them to be exact."""
    monkeypatch.setattr(query, "MIN_CANDIDATES", 1)
    monkeypatch.setattr(limits, "MIN_CANDIDATES", 1)


TestSearching = Searching.TestCase
TestSearching.settings = settings(max_examples=25, stateful_step_count=20)


def test_an_item_outside_the_first_candidates_of_both_modalities_can_be_the_best(collection: Collection) -> None:
    """Many say the same in words; the picture decides among them, and theirs are not among the best pictures."""
    rng = np.random.default_rng(1)
    wanted = np.eye(16)[0]

    def at(cosine: float) -> list[float]:
        rest = rng.normal(size=15)
        return [cosine, *(np.sqrt(1 - cosine**2) * rest / np.linalg.norm(rest)).tolist()]

    drawn = [("best", 0.6, 0.9)]
    drawn += [(f"word-{n}", rng.uniform(-0.3, 0.3), rng.uniform(0.901, 0.905)) for n in range(300)]
    drawn += [(f"picture-{n}", rng.uniform(0.7, 0.9), rng.uniform(-0.3, -0.2)) for n in range(300)]
    collection.upsert(
        [
            NewItem(id_, vectors={"image": at(image), "text": at(text)}, fingerprint=collection.encoder.fingerprint)
            for id_, image, text in drawn
        ]
    )
    request = SearchRequest((Term(vector=wanted.tolist()),), limit=1, target={"image": 1.0, "text": 1.0})
    assert [hit.id for hit in collection.search(request).hits] == ["best"]
