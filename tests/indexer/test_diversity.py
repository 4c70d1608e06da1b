"""Maximal marginal relevance against a greedy choice written down in plain Python."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.search import diversity, ranking
from indexer.search.filters import parse_filter
from indexer.types import Hit, Modality, NewItem, SearchRequest, Term, Vector

QUERY = Term(vector=np.eye(16)[0].tolist())


@pytest.fixture
def stocked(collection: Collection) -> Collection:
    """Sixty items around six centres; some lack a picture, some a text, and two pairs are equal."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(6, 16)) + np.eye(16)[0]

    def near(centre: int) -> list[float]:
        return list(centres[centre] + 0.3 * rng.normal(size=16))

    vectors: list[dict[Modality, list[float]]] = [{"image": near(n % 6), "text": near(n % 5)} for n in range(60)]
    for n in range(0, 60, 7):
        del vectors[n]["image"]
    for n in range(1, 60, 7):
        del vectors[n]["text"]
    vectors[2] = vectors[3]
    vectors[8] = vectors[15]
    store(collection, vectors)
    return collection


def store(collection: Collection, vectors: Sequence[Mapping[Modality, list[float]]]) -> None:
    fingerprint = collection.encoder.fingerprint
    collection.upsert(
        [
            NewItem(f"i{n:02}", vectors=own, fingerprint=fingerprint, metadata={"n": n, "group": n % 4})
            for n, own in enumerate(vectors)
        ]
    )


def search(collection: Collection, **options: Any) -> list[Hit]:
    return collection.search(SearchRequest((QUERY,), include_vectors=True, **{"limit": 100} | options)).hits


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def cosine(one: Hit, other: Hit, order: Sequence[Modality]) -> float:
    """Of the first modality that both have."""
    for modality in order:
        a: Vector | None = (one.vectors or {}).get(modality)
        b: Vector | None = (other.vectors or {}).get(modality)
        if a is not None and b is not None:
            return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return 0.0


def greedy(hits: list[Hit], share: float, order: Sequence[Modality]) -> list[str]:
    worst, best = hits[-1].score, hits[0].score
    chosen, left = hits[:1], hits[1:]
    while left:
        gains = [
            (1 - share) * (hit.score - worst) / (best - worst)
            - share * max(cosine(hit, before, order) for before in chosen)
            for hit in left
        ]
        chosen.append(left.pop(gains.index(max(gains))))
    return ids(chosen)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.95])
@pytest.mark.parametrize(
    ("target", "order"),
    [
        ({"image": 1.0, "text": 0.3}, ("image", "text")),
        ({"image": 0.5, "text": 1.0}, ("text", "image")),
        ({"image": 1.0}, ("image",)),
    ],
)
def test_the_order_is_that_of_the_greedy_choice(
    stocked: Collection, share: float, target: dict[Modality, float], order: Sequence[Modality]
) -> None:
    by_score = search(stocked, target=target)

    found = search(stocked, target=target, diversity=share)

    assert ids(found) == greedy(by_score, share, order)
    assert {hit.id: hit.score for hit in found} == {hit.id: hit.score for hit in by_score}


@pytest.mark.parametrize("pool", [10, 1_000])
@pytest.mark.parametrize("page", [1, 3, 7])
def test_pages_are_parts_of_one_order(
    stocked: Collection, page: int, pool: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (diversity, ranking):
        monkeypatch.setattr(module, "POOL", pool)
    options = {"diversity": 0.5, "filter": parse_filter({"n": {"$lt": 50}})}
    whole = ids(search(stocked, **options))

    pages = [ids(search(stocked, limit=page, offset=offset, **options)) for offset in range(0, 60, page)]

    assert [id_ for part in pages for id_ in part] == whole
    assert len(whole) == 50


def test_what_comes_after_the_pool_follows_by_score(stocked: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "POOL", 10)
    by_score = ids(search(stocked))

    found = ids(search(stocked, diversity=0.9))

    assert found[10:] == by_score[10:]
    assert sorted(found[:10]) == sorted(by_score[:10])
    assert found[:10] != by_score[:10]


def test_of_equal_pictures_the_second_comes_late(stocked: Collection) -> None:
    """Where only diversity counts, equal ones have nothing to add to each other."""
    found = ids(search(stocked, diversity=1.0, target={"image": 1.0}))

    assert max(found.index("i02"), found.index("i03")) >= len(found) - 2
    assert max(found.index("i08"), found.index("i15")) >= len(found) - 2


def test_it_orders_what_min_score_and_groups_leave(stocked: Collection) -> None:
    request = SearchRequest((QUERY,), limit=100, group_by="group", group_size=5)
    grouped = stocked.search(request).hits
    floor = grouped[11].score

    found = stocked.search(replace(request, min_score=floor, diversity=0.6)).hits

    assert ids(found) != ids(grouped[:12])
    assert sorted(ids(found)) == sorted(ids(grouped[:12]))


def test_nothing_found_is_no_order(collection: Collection) -> None:
    assert search(collection, diversity=0.5) == []
