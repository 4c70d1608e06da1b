"""Inverted lists of one-bit codes: candidates for a search, to be ranked again by the vectors themselves.

RaBitQ (Gao and Long 2024, arXiv:2405.12497) needs no training of its own and d / 8 + 8 bytes for a vector.
"""

import threading
from pathlib import Path
from typing import Self

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.index.exact import Vectors
from indexer.index.mapping import VectorFile
from indexer.index.selection import Selection

FILE = "ivf.faiss"
SAMPLE_PER_LIST = 64
"""Vectors for each list from which the lists' centroids are learned."""
ITERATIONS = 8
_SEED = 1


class Ivf:
    """The rows of a segment in lists by their nearest centroid, in a mapped file."""

    def __init__(self, index: faiss.IndexIVFRaBitQFastScan) -> None:
        self._index = index
        self.lists: int = index.nlist

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the file that `build_ivf` wrote."""
        return cls(faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC))

    def candidates(self, queries: Vectors, count: int, selection: Selection, nprobe: int) -> NDArray[np.int64]:
        """Selected rows [n, count] of the `nprobe` nearest lists, best first by their codes, then -1."""
        parameters = faiss.SearchParametersIVF(nprobe=min(nprobe, self.lists), sel=selection.bitmap)
        return np.asarray(self._index.search(queries, count, params=parameters)[1])

    def problem(self, vectors: Vectors) -> str | None:
        """What makes it unfit for these vectors: each row must be in one list, once."""
        lists = self._index.invlists
        sizes = [lists.list_size(number) for number in range(self.lists)]
        rows = [_ids(lists, number, size) for number, size in enumerate(sizes) if size]
        if self._index.d != vectors.shape[1] or not np.array_equal(
            np.sort(np.concatenate(rows)), np.arange(len(vectors))
        ):
            return "its lists do not hold each of its vectors once"
        return None


def build_ivf(folder: Path, file: VectorFile, stop: threading.Event) -> bool:
    """Write the lists of a file's vectors; False when `stop` ended it."""
    centroids = _centroids(file, stop)
    if centroids is None:
        return False
    lists, dimension = centroids.shape
    quantizer = faiss.IndexFlatIP(dimension)
    quantizer.add(centroids)
    index = faiss.IndexIVFRaBitQFastScan(quantizer, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(file.sample(SAMPLE_PER_LIST * lists, _SEED))
    for _, block in file.blocks():
        if stop.is_set():
            return False
        index.add(block)
    faiss.write_index(index, str(folder / FILE))
    return True


def _centroids(file: VectorFile, stop: threading.Event) -> NDArray[np.float32] | None:
    """By spherical k-means, one iteration at a time; None when stopped."""
    count, dimension = file.vectors.shape
    lists = 2 ** round(np.log2(max(count, 1)) / 2)
    sample, centroids = file.sample(SAMPLE_PER_LIST * lists, _SEED), None
    for _ in range(ITERATIONS):
        if stop.is_set():
            return None
        step = faiss.Kmeans(dimension, lists, niter=1, spherical=True, min_points_per_centroid=1, seed=_SEED)
        step.train(sample, init_centroids=centroids)
        centroids = step.centroids
    return np.asarray(centroids)


def _ids(lists: faiss.InvertedLists, number: int, size: int) -> NDArray[np.int64]:
    return np.asarray(faiss.rev_swig_ptr(lists.get_ids(number), size).copy())
