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
SCALE = Spread(0.0, 1.0)
"""On which the scores are: they are means of reciprocals, nothing else."""

Ranks = Mapping[Signal, NDArray[np.int64]]
"""The items that have a rank, best first."""


def ranks_of(sources: Mapping[Signal, Source], own: NDArray[np.int64]) -> Ranks:
    """The best of each signal, down to `DEPTH`.

    Args:
        own: Items that have no rank.
    """
    found = {signal: source.best(DEPTH + len(own)).items for signal, source in sources.items()}
    return {signal: items[~np.isin(items, own)][:DEPTH] for signal, items in found.items()}


def fuse_ranks(ranks: Ranks, sources: Mapping[Signal, Source], weights: Mapping[Signal, float]) -> Best:
    """The items by the weighted mean of 1 / (K + rank) over the signals that each has; no rank gives 0."""
    if not ranks:
        return Best(np.empty(0, dtype=np.int64), np.empty(0))
    items = np.unique(np.concatenate(list(ranks.values())))
    parts = {signal: _reciprocals(items, ranked, sources[signal]) for signal, ranked in ranks.items()}
    scores = fuse(parts, weights, SCALE)
    kept = ~np.isnan(scores)  # else it was deleted while this search ran
    items, scores = items[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")
    return Best(items[order], scores[order])


def rank_of(item: int, ranked: NDArray[np.int64]) -> int | None:
    """From 1; None for an item that has no rank."""
    return next((place + 1 for place in np.flatnonzero(ranked == item).tolist()), None)


def reciprocal(rank: int | None) -> float:
    """What is averaged."""
    return 0.0 if rank is None else 1 / (K + rank)


def _reciprocals(items: NDArray[np.int64], ranked: NDArray[np.int64], source: Source) -> NDArray[np.float64]:
    values = np.where(np.isnan(source.of(items)), np.nan, 0.0)
    values[np.searchsorted(items, ranked)] = 1 / (K + np.arange(1, len(ranked) + 1))
    return values
