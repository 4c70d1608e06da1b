"""Selections against what can be seen of the vectors, and against a naive oracle."""

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.collection import Collection
from indexer.errors import CollectionNotFound
from indexer.index.snapshot import Snapshot
from indexer.quality import selection
from indexer.quality.selection import Method, Points, select
from indexer.search.filters import parse_filter
from indexer.types import NewItem
from tests.fakes import FakeEncoder
from tests.indexer.test_quality import directions, near, snapshot_of
from tests.pictures import picture

Vectors = NDArray[np.float32]
METHODS: tuple[Method, ...] = ("diverse", "representative")
NOTHING = snapshot_of(np.empty((0, 16), dtype=np.float32))


def clusters(sizes: list[int], dimension: int = 16) -> tuple[Vectors, NDArray[np.int64]]:
    """Vectors around orthogonal centres, shuffled, and the cluster of each."""
    of = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return near(np.eye(dimension, dtype=np.float32)[of], 0.97), of


def points(vectors: Vectors, delta: int = 0) -> Points:
    return Points(snapshot_of(vectors, delta), NOTHING)


def chosen(found: list[selection.Selected]) -> list[int]:
    return [one.item for one in found]


def farthest_first(vectors: Vectors, k: int) -> list[int]:
    """Farthest-point traversal, one distance at a time."""
    cosines = vectors @ vectors.T
    found = [int((vectors @ vectors.mean(axis=0)).argmax())]
    while len(found) < k:
        found.append(min(range(len(vectors)), key=lambda row: (max(cosines[row, at] for at in found), row)))
    return found


def test_diverse_items_are_those_of_farthest_point_traversal() -> None:
    vectors = directions(60)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    found = select(points(vectors, delta=20), 12, "diverse")

    assert chosen(found) == [row + 1 for row in farthest_first(vectors, 12)]
    assert all(one.cluster_size is None for one in found)


@pytest.mark.parametrize("method", METHODS)
def test_each_cluster_is_covered(method: Method) -> None:
    vectors, of = clusters([60, 5, 30, 15])

    found = select(points(vectors, delta=50), 4, method)

    assert {int(of[item - 1]) for item in chosen(found)} == {0, 1, 2, 3}


def test_representative_items_are_the_middles_of_clusters_largest_first() -> None:
    vectors, of = clusters([60, 5, 30, 15])

    found = select(points(vectors), 4, "representative")

    assert [(int(of[one.item - 1]), one.cluster_size) for one in found] == [(0, 60), (2, 30), (3, 15), (1, 5)]
    for one in found:
        members = np.flatnonzero(of == of[one.item - 1])
        middle = vectors[members].mean(axis=0)
        assert one.item - 1 == members[(vectors[members] @ middle).argmax()]


def test_clusters_are_counted_over_all_items_and_not_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 200)
    monkeypatch.setattr(selection, "BLOCK", 512)
    vectors, of = clusters([2000, 600, 400])

    found = select(points(vectors, delta=700), 3, "representative")

    assert [one.cluster_size for one in found] == [2000, 600, 400]
    assert [int(of[one.item - 1]) for one in found] == [0, 1, 2]


def test_diverse_items_of_many_are_chosen_among_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 200)
    vectors, of = clusters([2000, 600, 400])
    drawn = points(vectors)

    found = select(drawn, 3, "diverse")

    assert set(chosen(found)) <= set(drawn.items[drawn.sample()].tolist())
    assert {int(of[item - 1]) for item in chosen(found)} == {0, 1, 2}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [1, 7, 50])
def test_no_item_is_chosen_twice_and_the_answer_is_always_the_same(method: Method, k: int) -> None:
    vectors = directions(30)

    found = select(points(vectors), k, method)
    again = select(points(vectors, delta=13), k, method)

    assert found == again
    assert len(set(chosen(found))) == len(found) == min(k, 30)


@pytest.mark.parametrize("method", METHODS)
def test_equal_vectors_are_chosen_once(method: Method) -> None:
    vectors = np.repeat(directions(3), 10, axis=0)

    assert sorted((item - 1) // 10 for item in chosen(select(points(vectors), 8, method))) == [0, 1, 2]


def test_an_item_without_a_picture_is_known_by_its_text() -> None:
    vectors = directions(6)
    image, text = snapshot_of(vectors[:3], items=[5, 1, 9]), snapshot_of(vectors[3:], items=[9, 7, 2])

    joined = Points(image, text)

    assert joined.items.tolist() == [1, 2, 5, 7, 9]
    expected = vectors[[1, 5, 0, 4, 2]]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(joined.directions(np.arange(5)), expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_decides_which_items_are_chosen_from(method: Method) -> None:
    vectors, of = clusters([20, 20, 20])
    wanted = np.flatnonzero(of != 1) + 1

    found = select(Points(snapshot_of(vectors), NOTHING, wanted), 40, method)

    assert sorted(chosen(found)) == wanted.tolist()
    assert select(Points(snapshot_of(vectors), NOTHING, np.empty(0, dtype=np.int64)), 5, method) == []


def test_vectors_of_zeros_do_no_harm() -> None:
    vectors = np.concatenate([np.zeros((3, 16), dtype=np.float32), directions(5)])

    assert len(set(chosen(select(points(vectors), 4, "diverse")))) == 4
    assert sum(one.cluster_size or 0 for one in select(points(vectors), 4, "representative")) == 8


def test_a_collection_selects_items_as_they_are_now(collection: Collection, encoder: FakeEncoder) -> None:
    colours = {"red": 5, "green": 3, "blue": 1}
    shades = {"red": (255, 1, 0), "green": (1, 255, 0), "blue": (0, 1, 255)}
    for colour, count in colours.items():
        red, green, blue = shades[colour]
        collection.upsert(
            [
                NewItem(f"{colour} {n}", picture((abs(red - n), green, abs(blue - n))), metadata={"colour": colour})
                for n in range(count)
            ]
        )

    found = collection.select(3, "representative")
    greens = collection.select(3, "diverse", parse_filter({"colour": "green"}))

    assert [(one.item.id.split()[0], one.cluster_size) for one in found] == [("red", 5), ("green", 3), ("blue", 1)]
    assert {one.item.id for one in greens} == {"green 0", "green 1", "green 2"}


def test_a_closed_collection_ends_a_selection(collection: Collection) -> None:
    collection.upsert([NewItem("a", picture("red")), NewItem("b", picture("blue"))])
    collection.close()

    for method in METHODS:
        with pytest.raises(CollectionNotFound):
            collection.select(2, method)


def test_snapshots_are_not_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 100)
    monkeypatch.setattr(selection, "BLOCK", 64)
    read: list[int] = []
    vectors = Snapshot.vectors
    monkeypatch.setattr(Snapshot, "vectors", lambda self, rows: (read.append(len(rows)), vectors(self, rows))[1])

    for method in METHODS:
        select(points(directions(1000)), 5, method)

    assert max(read) == 100
