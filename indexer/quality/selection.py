"""A few items that stand for all: far from each other, or each in the middle of many."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.index.exact import use_threads
from indexer.index.snapshot import BLOCK, Snapshot

Method = Literal["diverse", "representative"]
MAX_SELECTED = 1_000
SAMPLE = 50_000
"""Items among which diverse ones are looked for, and from which clusters are learnt: 100 MB at 512 dimensions."""
_SAME = 1 - 1e-6
"""Cosine from which two vectors are taken for one: float32 rounds sums of products by less."""
_ROUNDS = 10

Directions = NDArray[np.float32]
"""Vectors [n, d] of unit length, so that their dot products are cosines."""


class Selected(NamedTuple):
    """A chosen item, and how many items it stands for, where that is counted."""

    item: int
    """Its primary key."""
    cluster_size: int | None = None


class Points:
    """One vector for each item, n in the order of their primary keys: of its picture, or else of its text.

    Args:
        among: Primary keys of the items that are wanted, [m]; all if None.
    """

    def __init__(self, image: Snapshot, text: Snapshot, among: NDArray[np.int64] | None = None) -> None:
        self._image, self._text = image, text
        items = np.concatenate([image.items, text.items])
        rows = np.arange(len(items))
        wanted = np.concatenate([np.ones(len(image), dtype=bool), ~np.isin(text.items, image.items)])
        if among is not None:
            wanted &= np.isin(items, among)
        order = np.argsort(items[wanted])
        self.items: NDArray[np.int64] = items[wanted][order]
        self._rows = rows[wanted][order]

    def __len__(self) -> int:
        return len(self.items)

    def directions(self, points: NDArray[np.int64]) -> Directions:
        """The vectors [m, d] of points [m]."""
        rows, pictures = self._rows[points], len(self._image)
        image = self._image.directions(rows[rows < pictures])
        made = np.empty((len(points), image.shape[1]), dtype=np.float32)
        made[rows < pictures] = image
        made[rows >= pictures] = self._text.directions(rows[rows >= pictures] - pictures)
        return made

    def sample(self) -> NDArray[np.int64]:
        """All points, or `SAMPLE` of them, the same each time."""
        if len(self) <= SAMPLE:
            return np.arange(len(self))
        return np.sort(np.random.default_rng(0).choice(len(self), SAMPLE, replace=False))


def select(points: Points, k: int, method: Method, go_on: Callable[[], None] = lambda: None) -> list[Selected]:
    """Choose at most k items, the most telling first: fewer only where no other item differs from those.

    Equal points give equal answers. Takes k passes over the sample, and for clusters one over all points.

    Args:
        go_on: Called between steps; it may raise to end this.
    """
    if not len(points):
        return []
    match method:
        case "diverse":
            sample = points.sample()
            chosen = sample[_farthest(points.directions(sample), k, go_on)]
            return [Selected(item) for item in points.items[chosen].tolist()]
        case "representative":
            use_threads(BLOCK)
            return _medoids(points, _centroids(points.directions(points.sample()), k, go_on), go_on)


def _farthest(directions: Directions, k: int, go_on: Callable[[], None]) -> list[int]:
    """Farthest-point traversal (Gonzalez 1985, Theoretical Computer Science 38, 293-306), from the middle outwards.

    The first is the one nearest to the mean, each next one that which is farthest from the chosen one nearest to it.
    The farthest point is then at most twice as far from these as it would be from the best k points.
    """
    middle = int((directions @ directions.mean(axis=0)).argmax())
    return _traverse(directions, k, middle, lambda nearest: int(nearest.argmin()), go_on)


def _scattered(directions: Directions, k: int, go_on: Callable[[], None]) -> list[int]:
    """Seeds by k-means++ (Arthur and Vassilvitskii 2007, SODA): each drawn by its squared distance from those before.

    Seeds drawn without regard to it would miss small clusters, seeds as far as can be would be outliers.
    """
    random = np.random.default_rng(0)

    def draw(nearest: NDArray[np.float32]) -> int:
        halves = np.where(nearest < _SAME, 1 - nearest, 0).cumsum(dtype=np.float64)  # of the squared distances
        return int(np.searchsorted(halves, random.uniform(0, halves[-1]), side="right"))

    return _traverse(directions, k, int(random.integers(len(directions))), draw, go_on)


def _traverse(
    directions: Directions,
    k: int,
    first: int,
    pick: Callable[[NDArray[np.float32]], int],
    go_on: Callable[[], None],
) -> list[int]:
    """Choose by the cosines [n] with the nearest chosen one, again and again; ends when all are equal to one."""
    chosen = [first]
    nearest = np.full(len(directions), -np.inf, dtype=np.float32)
    while len(chosen) < k:
        go_on()
        np.maximum(nearest, directions @ directions[chosen[-1]], out=nearest)
        nearest[chosen[-1]] = 1  # a vector of zeros is near to nothing, not even to itself
        if nearest.min() >= _SAME:
            break
        chosen.append(pick(nearest))
    return chosen


def _centroids(directions: Directions, k: int, go_on: Callable[[], None]) -> Directions:
    """At most k, of spherical k-means (Dhillon and Modha 2001, Machine Learning 42, 143-175)."""
    seeds = directions[_scattered(directions, k, go_on)]
    means = faiss.Kmeans(
        directions.shape[1],
        len(seeds),
        niter=_ROUNDS,
        spherical=True,
        seed=1,
        min_points_per_centroid=1,
        max_points_per_centroid=SAMPLE,
    )
    means.train(directions, init_centroids=seeds)
    return np.asarray(means.centroids)


def _medoids(points: Points, centroids: Directions, go_on: Callable[[], None]) -> list[Selected]:
    """Of the points that are nearest to a centroid, how many they are and which is nearest; largest clusters first."""
    sizes = np.zeros(len(centroids), dtype=np.int64)
    best = np.full(len(centroids), -np.inf, dtype=np.float32)
    medoids = np.zeros(len(centroids), dtype=np.int64)
    cells = faiss.IndexFlatIP(centroids.shape[1])
    cells.add(centroids)
    for start in range(0, len(points), BLOCK):
        go_on()
        block = np.arange(start, min(start + BLOCK, len(points)))
        similarities, found = (column[:, 0] for column in cells.search(points.directions(block), 1))
        sizes += np.bincount(found, minlength=len(centroids))
        order = np.argsort(-similarities, kind="stable")
        in_block, first = np.unique(found[order], return_index=True)
        nearest = order[first]
        better = similarities[nearest] > best[in_block]
        best[in_block[better]], medoids[in_block[better]] = similarities[nearest[better]], block[nearest[better]]
    ranked = np.lexsort((medoids, -sizes))[: np.count_nonzero(sizes)]
    return [
        Selected(item, size)
        for item, size in zip(points.items[medoids[ranked]].tolist(), sizes[ranked].tolist(), strict=True)
    ]
