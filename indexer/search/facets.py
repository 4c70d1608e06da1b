"""Facets: the most frequent values of a field."""

from collections.abc import Hashable, Iterator, Sequence
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
    totals: dict[Hashable, FacetCount] = {}
    for code in np.flatnonzero(counts).tolist():
        for key, value in _countable(values[code]):
            before = totals[key].count if key in totals else 0
            totals[key] = FacetCount(value, before + int(counts[code]))
    return nsmallest(MAX_VALUES, totals.values(), key=lambda counted: (-counted.count, str(counted.value)))


def _countable(value: Any) -> Iterator[tuple[Hashable, Any]]:
    elements = value if isinstance(value, list) else [value]
    scalars = (element for element in elements if is_scalar(element) and element is not None)
    yield from {scalar_key(element): element for element in scalars}.items()
