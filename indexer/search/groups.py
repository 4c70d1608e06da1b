"""Grouped search: of each group at most so many items, in the order of the ungrouped one."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from indexer.index.selection import ItemSet
from indexer.search.query import MIN_CANDIDATES


def rank_groups(
    rank_items: Callable[[ItemSet, int], list[tuple[int, float]]],
    items: ItemSet,
    groups: NDArray[np.int32],
    group_size: int,
    wanted: int,
) -> list[tuple[int, float]]:
    """The `wanted` best items, left out those of which `group_size` of the same group are better.

    Whenever the best are used up, it is searched on without them and without the groups that have all they may have:
    each such search fills a group at least, so that a group of any size cannot hide the others.

    Args:
        rank_items: Primary key and score of the best so many of some items.
        groups: [n], by position in the mask of `items`; items of group 0 stand alone.
    """
    left, depth = items.mask, max(MIN_CANDIDATES, 2 * wanted)
    taken: list[tuple[int, float]] = []
    members: Counter[int] = Counter()
    candidates = rank_items(items, depth)
    while True:
        positions = np.array([pk - items.first for pk, _ in candidates], dtype=np.int64)
        for candidate, group in zip(candidates, groups[positions].tolist(), strict=True):
            members[group] += group > 0
            if members[group] <= group_size and len(taken) < wanted:
                taken.append(candidate)
        if len(taken) == wanted or len(candidates) < depth:
            return taken
        full = np.zeros(int(groups.max()) + 1, dtype=bool)
        full[[group for group, count in members.items() if count >= group_size and group > 0]] = True
        left = left & ~full[groups]
        left[positions] = False
        candidates = rank_items(ItemSet(items.first, left), depth)
