"""Retrieval metrics over a gallery, computed exactly."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def ranks(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rank (1 = best) at which query i finds gallery row i; ties count against the query.

    Args:
        queries: [n, d], unit length; row i belongs to gallery row i.
        gallery: [n, d], unit length.
    """
    scores = queries @ gallery.T
    own = np.diagonal(scores)[:, None]
    return np.asarray((scores >= own).sum(axis=1), dtype=np.int64)


def recall_at(rank: NDArray[np.int64], k: int) -> float:
    """Share of the queries that find their own item among the first k."""
    return float((rank <= k).mean())


def mean_reciprocal_rank(rank: NDArray[np.int64]) -> float:
    """Mean of 1 / rank."""
    return float((1 / rank).mean())


def precision_at(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], wanted: Sequence[str], labels: Sequence[str], k: int
) -> float:
    """Mean share, over the queries, of the first k gallery rows that carry the wanted label.

    Args:
        queries: [m, d]; query i asks for label `wanted[i]`, which at least k rows should carry for 1 to be possible.
        gallery: [n, d]; row j carries `labels[j]`.
    """
    best = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :k]
    carried = np.asarray(labels)[best]
    return float((carried == np.asarray(wanted)[:, None]).mean())
