"""Vectors of built segments in the memory of a GPU, where all of them are read for each search.

A GPU reads terabytes per second: a million vectors of 512 components in float16 take it less than lists or a graph take
a CPU, nothing is missed, and nothing has to be built. What it finds is ranked again by the float32 vectors of the file.
"""

import logging
import threading
from typing import Any, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.index.exact import Nearest, Vectors, rerank
from indexer.index.mapping import VectorFile
from indexer.index.selection import Selection
from models.sessions import Device

log = logging.getLogger(__name__)

MOST_ROWS = 2048
"""That FAISS finds on a GPU for one query."""
SPARE_ROWS = 16
"""Found beyond what is asked for, as float16 may order the last ones otherwise."""
SMALLEST_SHARE = 0.5
"""Of the vectors, that must be selected: FAISS does not select on a GPU, so that what is found is sifted."""


class Gpu:
    """The first GPU, as FAISS uses it."""

    def __init__(self) -> None:
        self.resources: Any = faiss.StandardGpuResources()
        self.lock = threading.Lock()
        """Its resources serve one call at a time."""

    @classmethod
    def find(cls, device: Device) -> Self | None:
        """The GPU, where the device setting asks for one and FAISS has one."""
        if device == "cpu":
            return None
        if faiss.get_num_gpus():
            return cls()
        if device != "auto":
            log.warning("device is %s, but FAISS %s finds no GPU: the CPU searches", device, faiss.__version__)
        return None


class GpuVectors:
    """A copy of a segment's vectors in float16. Thread-safe."""

    def __init__(self, gpu: Gpu, file: VectorFile) -> None:
        config = faiss.GpuIndexFlatConfig()
        config.useFloat16 = True
        self._gpu, self._vectors = gpu, file.vectors
        self._index = faiss.GpuIndexFlatIP(gpu.resources, file.vectors.shape[1], config)
        for _, block in file.blocks():
            with gpu.lock:
                self._index.add(block)

    @classmethod
    def copy(cls, gpu: Gpu, file: VectorFile) -> Self | None:
        """The copy; None where the GPU has no room for it, so that the CPU searches."""
        try:
            return cls(gpu, file)
        except RuntimeError as error:  # FAISS has no other for memory that is short
            log.warning("%d vectors stay on the CPU, the GPU has no room for them: %s", len(file.vectors), error)
            return None

    def search(self, queries: Vectors, k: int, selection: Selection) -> Nearest | None:
        """The k best selected rows of each query [n, d], with exact dot products, -1 where fewer were found.

        None where the CPU is to search: for few selected rows, or for more than a GPU finds.
        """
        share = selection.live / max(len(self._vectors), 1)
        if share < SMALLEST_SHARE or (wanted := round(k / share) + SPARE_ROWS) > MOST_ROWS:
            return None
        with self._gpu.lock:
            rows = self._index.search(queries, min(wanted, len(self._vectors)))[1]
        return rerank(self._vectors, queries, k, _sift(rows, selection))


def _sift(rows: NDArray[np.int64], selection: Selection) -> NDArray[np.int64]:
    """The selected ones of rows [n, m] in their order, then -1."""
    kept = selection.holds(rows)
    if kept.all():
        return rows
    order = np.argsort(~kept, axis=1, kind="stable")
    return np.asarray(np.take_along_axis(np.where(kept, rows, -1), order, 1))
