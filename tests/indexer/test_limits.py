"""Near duplicates that are left out, against a plain walk over the whole search."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.search import limits
from indexer.types import Hit, NewItem, SearchRequest, Term

FIRST = np.eye(16)[0]
QUERY = Term(vector=FIRST.tolist())
RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def _few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that a search must go on to find enough."""
    monkeypatch.setattr(limits, "MIN_CANDIDATES", 4)


def near(vector: np.ndarray, cosine: float) -> list[float]:
    noise = RNG.normal(size=16)
    noise -= vector * (noise @ vector)
    return list(cosine * vector + np.sqrt(1 - cosine**2) * noise / np.linalg.norm(noise))


@pytest.fixture
def stocked(collection: Collection) -> Collection:
    """Pictures of which many are nearly equal, some exactly; texts alone are like none."""
    fingerprint = collection.encoder.fingerprint
    new = [NewItem(f"text/{n}", vectors={"text": near(FIRST, 0.5)}, fingerprint=fingerprint) for n in range(5)]
    for picture in range(12):
        vector = np.array(near(FIRST, RNG.uniform(0.2, 0.9)))
        copies = [list(vector)] * 2 + [near(vector, RNG.uniform(0.93, 0.999)) for _ in range(RNG.integers(0, 12))]
        new += [
            NewItem(f"{picture}/{n}", vectors={"image": copy}, metadata={"group": n % 3}, fingerprint=fingerprint)
            for n, copy in enumerate(copies)
        ]
    collection.upsert(new)
    return collection


def search(collection: Collection, **options: Any) -> list[Hit]:
    return collection.search(SearchRequest((QUERY,), include_vectors=True, **{"limit": 200} | options)).hits


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def walk(hits: Sequence[Hit], threshold: float, group_size: int | None = None) -> list[str]:
    """Each hit unless a better one that was kept is its duplicate, or its group is full."""
    kept: list[Hit] = []
    members: Counter[Any] = Counter()
    for hit in hits:
        group = hit.item.metadata.get("group")
        full = group_size is not None and group is not None and members[group] >= group_size
        if not full and not any(is_duplicate(hit, other, threshold) for other in kept):
            kept.append(hit)
            members[group] += 1
    return ids(kept)


def is_duplicate(one: Hit, other: Hit, threshold: float) -> bool:
    assert one.vectors is not None
    assert other.vectors is not None
    if "image" not in one.vectors or "image" not in other.vectors:
        return False
    a, b = one.vectors["image"].astype(float), other.vectors["image"].astype(float)
    return bool(a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= min(threshold, 1 - 1e-6))


@pytest.mark.parametrize("threshold", [0.94, 0.98, 1.0])
def test_what_nearly_has_the_picture_of_a_better_hit_is_left_out(stocked: Collection, threshold: float) -> None:
    every = search(stocked)

    found = ids(search(stocked, collapse_duplicates=threshold))

    assert found == walk(every, threshold)
    assert {"text"} < {id_.partition("/")[0] for id_ in found}
    assert len(found) < len(every)


@pytest.mark.parametrize("page", [1, 2, 7])
def test_pages_are_parts_of_one_order(stocked: Collection, page: int) -> None:
    whole = ids(search(stocked, collapse_duplicates=0.97))

    pages = [search(stocked, limit=page, offset=n, collapse_duplicates=0.97) for n in range(0, len(whole) + page, page)]

    assert [hit.id for part in pages for hit in part] == whole


def test_groups_and_duplicates_are_left_out_together(stocked: Collection) -> None:
    every = search(stocked)

    found = ids(search(stocked, collapse_duplicates=0.96, group_by="group", group_size=2))

    assert found == walk(every, 0.96, group_size=2)


def test_a_picture_that_most_items_have_hides_no_other(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two searches are enough, as the second one leaves out all that have it."""
    fingerprint = collection.encoder.fingerprint
    same, other = FIRST.tolist(), near(FIRST, 0.5)
    placeholders = [NewItem(f"same {n}", vectors={"image": same}, fingerprint=fingerprint) for n in range(300)]
    collection.upsert([*placeholders, NewItem("other", vectors={"image": other}, fingerprint=fingerprint)])
    searches: list[int] = []
    rank_limited = limits.rank_limited

    def count(rank_items: Any, *arguments: Any) -> Any:
        return rank_limited(lambda items, depth: (searches.append(depth), rank_items(items, depth))[1], *arguments)

    monkeypatch.setattr("indexer.search.searcher.rank_limited", count)

    assert ids(search(collection, limit=2, collapse_duplicates=0.98)) == ["same 0", "other"]
    assert len(searches) == 2
