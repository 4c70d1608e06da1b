"""Facets: the most frequent values of a field."""

from collections import Counter
from collections.abc import Hashable, Sequence
from heapq import nsmallest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.search.filters import is_scalar, scalar_key
from indexer.types import FacetCount

MAX_VALUES = 100
"""In one facet."""


def most_frequent(values: Sequence[Any], counts: NDArray[np.int64]) -> list[FacetCount]:
    """The most frequent values first, at most `MAX_VALUES`; those equally frequent in the order of their texts.

    An item with a list counts once for each different element. Objects, null and what is missing are no values.

    Args:
        counts: [values], how many items have each.
    """
    totals: Counter[Hashable] = Counter()
    shown: dict[Hashable, Any] = {}
    codes = np.flatnonzero(counts)
    for code, count in zip(codes.tolist(), counts[codes].tolist(), strict=True):
        value = values[code]
        elements = {scalar_key(value): value} if is_scalar(value) else _elements(value)
        shown.update(elements)
        for key in elements:
            totals[key] += count
    totals.pop(None, None)
    best = nsmallest(MAX_VALUES, totals.items(), key=lambda total: (-total[1], str(shown[total[0]])))
    return [FacetCount(shown[key], count) for key, count in best]


def _elements(value: Any) -> dict[Hashable, Any]:
    elements = value if isinstance(value, list) else []
    return {scalar_key(element): element for element in elements if is_scalar(element)}
