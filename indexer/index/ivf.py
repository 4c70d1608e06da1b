"""Inverted lists of product quantisation codes: candidates for a search, to be ranked again by the vectors themselves.

A code (Jégou, Douze and Schmid 2011, IEEE TPAMI 33(1), 117-128) has 4 bits for each two components, or for each one
where d is odd, of what a vector differs by from its list's centroid. FAISS scores 32 codes at a time from tables in
registers (André, Kermarrec and Le Scouarnec 2015, PVLDB 9(4), 288-299).
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
CODE_BITS = 4
"""Of the code of a subvector, as FAISS's fast scan wants it."""
SAMPLE_PER_CODE = 256
"""Vectors for each code of a subvector from which its codes are learned, as FAISS does by default."""
_SEED = 1


class Ivf:
    """The rows of a segment in lists by their nearest centroid, in a mapped file."""

    def __init__(self, index: faiss.IndexIVFFastScan) -> None:
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
    subvectors = dimension // (2 if dimension % 2 == 0 else 1)
    index = faiss.IndexIVFPQFastScan(quantizer, dimension, lists, subvectors, CODE_BITS, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = True  # not so by default: neighbours of a dense list would have one code
    index.pq.cp.min_points_per_centroid = 1
    learned_from = file.sample(SAMPLE_PER_CODE * 2**CODE_BITS, _SEED)
    index.train(np.resize(learned_from, (max(len(learned_from), 2**CODE_BITS), dimension)))  # as many as codes at least
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
