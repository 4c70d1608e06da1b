"""Groups of pictures that are the same or nearly the same."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.index.snapshot import Snapshot
from indexer.quality.neighbours import EXACT_UP_TO, Rows, equal_sets, first_of_each, near_pairs

MAX_GROUPS = 1000
"""Groups that are listed, the largest; all are counted."""
MAX_LISTED = 50
"""Items told of one group."""


@dataclass(frozen=True)
class Group:
    """Items with the same or nearly the same picture, each near to at least one other of them."""

    items: tuple[int, ...]
    """Primary keys of the first `MAX_LISTED`, ascending."""
    size: int
    min_score: float | None
    """Lowest cosine between any two of `items`; None when fewer than two have a vector."""
    identical: bool
    """Whether the pictures of all have the same bytes."""


@dataclass(frozen=True)
class Groups:
    """All groups counted, the largest listed, largest first."""

    count: int
    items: int
    exact: bool
    """Whether every pair was compared; see `indexer.quality.neighbours.near_pairs`."""
    largest: tuple[Group, ...]


class Forest:
    """Disjoint sets of the numbers 0 to n - 1, joined many pairs at a time."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def join(self, left: Rows, right: Rows) -> None:
        """Make one set of those of left[i] and right[i], for every i.

        Of two roots the greater is hung under the smaller. Each round at least halves the roots that still have
        somewhere to go, so that few rounds are needed however the pairs are connected.
        """
        while len(left):
            left, right = self.roots(left), self.roots(right)
            apart = left != right
            left, right = left[apart], right[apart]
            np.minimum.at(self._parents, np.maximum(left, right), np.minimum(left, right))

    def roots(self, nodes: Rows) -> Rows:
        """The smallest number of each node's set."""
        found = self._parents[nodes]
        while len(higher := np.flatnonzero(self._parents[found] != found)):
            found[higher] = self._parents[found[higher]]
        self._parents[nodes] = found
        return np.asarray(found)


def group_duplicates(
    snapshot: Snapshot,
    first: Rows,
    pictures: NDArray[np.int64],
    threshold: float,
    go_on: Callable[[], None] = lambda: None,
) -> Groups:
    """Join items whose vectors have a cosine of at least `threshold`, and those whose pictures have the same bytes.

    Args:
        first: For each row the first row with exactly its vector; see `indexer.quality.neighbours.first_equals`.
        pictures: [m, 2], primary key of an item and a number of its picture.
        go_on: Called before each block; it may raise to end this.
    """
    nodes = np.union1d(snapshot.items, pictures[:, 0])
    of_row = np.searchsorted(nodes, snapshot.items)
    forest = Forest(len(nodes))
    forest.join(of_row, of_row[first])
    different = np.unique(first)
    for left, right in near_pairs(snapshot, different, threshold, go_on):
        forest.join(of_row[left], of_row[right])
    rows, picture = np.full(len(nodes), -1), np.full(len(nodes), -1)
    rows[of_row] = np.arange(len(snapshot))
    of_picture = np.searchsorted(nodes, pictures[:, 0])
    picture[of_picture] = pictures[:, 1]
    forest.join(of_picture, of_picture[first_of_each(pictures[:, 1])])
    sets = equal_sets(forest.roots(np.arange(len(nodes))), MAX_GROUPS)
    largest = [
        Group(
            tuple(nodes[members[:MAX_LISTED]].tolist()),
            len(members),
            _lowest_cosine(snapshot, rows[members[:MAX_LISTED]]),
            bool(picture[members[0]] >= 0 and (picture[members] == picture[members[0]]).all()),
        )
        for members in sets.largest
    ]
    return Groups(sets.number, sets.members, len(different) <= EXACT_UP_TO, tuple(largest))


def _lowest_cosine(snapshot: Snapshot, rows: Rows) -> float | None:
    directions = snapshot.directions(rows[rows >= 0])
    if len(directions) < 2:
        return None
    return round(float((directions @ directions.T).min()), 6)  # beyond it equal vectors seem to differ
