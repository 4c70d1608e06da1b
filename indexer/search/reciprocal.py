"""Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009, SIGIR): what counts of a score is its rank."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from indexer.index.moments import Spread
from indexer.search.fusion import fuse
from indexer.search.sources import Best, Source
from indexer.types import Signal

K = 60
"""The constant of the paper."""
DEPTH = 10_000
"""Ranks that count, whatever page is asked for, so that pages are parts of one order: as deep as pages go."""


def reciprocal_ranks(sources: Mapping[Signal, Source], weights: Mapping[Signal, float], own: NDArray[np.int64]) -> Best:
    """The items by the weighted mean of 1 / (K + rank) over the signals that each has; a rank beyond `DEPTH` gives 0.

    Args:
        own: Items that have no rank.
    """
    if not sources:
        return Best(np.empty(0, dtype=np.int64), np.empty(0))
    found = {signal: _without(source.best(DEPTH + len(own)).items, own)[:DEPTH] for signal, source in sources.items()}
    items = np.unique(np.concatenate(list(found.values())))
    parts = {signal: _reciprocals(items, ranked, sources[signal]) for signal, ranked in found.items()}
    scores = fuse(parts, weights, Spread(0.0, 1.0))
    kept = ~np.isnan(scores)  # else it was deleted while this search ran
    items, scores = items[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")
    return Best(items[order], scores[order])


def _reciprocals(items: NDArray[np.int64], ranked: NDArray[np.int64], source: Source) -> NDArray[np.float64]:
    values = np.where(np.isnan(source.of(items)), np.nan, 0.0)
    values[np.searchsorted(items, ranked)] = 1 / (K + np.arange(1, len(ranked) + 1))
    return values


def _without(items: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.int64]:
    return items[~np.isin(items, own)]
