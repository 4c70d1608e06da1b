"""Dot products computed by FAISS: of all rows, of selected ones, of candidates."""

import os
import sys
import threading
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.index.selection import Selection
from models.sessions import usable_cores

Vectors = NDArray[np.float32]

CORES = usable_cores()
"""Threads of FAISS for many queries."""

LOW_PRIORITY = 10
"""Niceness of threads that build; a search beside them gets nine times their share of a core."""


class Nearest(NamedTuple):
    """Rows of a segment, best first, for each of n queries."""

    similarities: NDArray[np.float32]
    """[n, k] dot products."""
    rows: NDArray[np.int64]
    """[n, k]; -1 where fewer were found."""


def use_threads(queries: int) -> None:
    """Have FAISS, in this thread, answer one query by one thread, and many by all.

    For one query its further threads have nothing to do and wait by spinning: 48 ms of processor time for 11 ms.
    """
    faiss.omp_set_num_threads(1 if queries == 1 else CORES)


def step_back() -> None:
    """Have this thread, and those that FAISS starts for it, take only the time that others leave."""
    if sys.platform == "linux":  # elsewhere it is the process that has a priority
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)


def scan(vectors: Vectors, queries: Vectors, k: int, selection: Selection) -> Nearest:
    """The k selected rows with the highest dot products with each query [n, d]; k is no more than they are."""
    found = _room(len(queries), k)
    if k and len(queries):
        faiss.knn_inner_product(
            faiss.swig_ptr(queries),
            faiss.swig_ptr(vectors),
            vectors.shape[1],
            len(queries),
            len(vectors),
            k,
            faiss.swig_ptr(found.similarities),
            faiss.swig_ptr(found.rows),
            selection.selector,
        )
    return found


def rerank(vectors: Vectors, queries: Vectors, k: int, candidates: NDArray[np.int64]) -> Nearest:
    """The k best of each query's candidates, rows [n, m] with -1 behind the last one where they are fewer."""
    found = _room(len(queries), k)
    faiss.knn_inner_products_by_idx(
        faiss.swig_ptr(queries),
        faiss.swig_ptr(vectors),
        faiss.swig_ptr(candidates),
        vectors.shape[1],
        len(queries),
        len(vectors),
        candidates.shape[1],
        k,
        faiss.swig_ptr(found.similarities),
        faiss.swig_ptr(found.rows),
        candidates.shape[1],
    )
    return found


def _room(queries: int, k: int) -> Nearest:
    return Nearest(np.empty((queries, k), dtype=np.float32), np.empty((queries, k), dtype=np.int64))
