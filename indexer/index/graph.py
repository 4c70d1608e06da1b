"""A navigable small-world graph over float16 vectors, whose dot products are exact: the catalogue stores float16."""

import threading
from pathlib import Path
from typing import Self

import faiss
import numpy as np

from indexer.index.exact import Nearest, Vectors
from indexer.index.mapping import VectorFile
from indexer.index.selection import Selection

FILE = "hnsw.faiss"
LINKS = 16
"""Of each vector to others, and twice as many on the lowest level."""
BUILD_BEAM = 100
ROW_BYTES = 180
"""Of a vector beside its components: links, level, and where they lie."""


class Graph:
    """HNSW (Malkov and Yashunin 2016, arXiv:1603.09320) over the rows of a segment, in a mapped file."""

    def __init__(self, index: faiss.IndexHNSWSQ) -> None:
        self._index = index

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the file that `build_graph` wrote."""
        return cls(faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC))

    def search(self, queries: Vectors, k: int, selection: Selection, beam: int) -> Nearest:
        """The k selected rows that a beam of this width finds, with exact dot products; then -1."""
        parameters = faiss.SearchParametersHNSW(efSearch=beam, sel=selection.bitmap)
        return Nearest(*self._index.search(queries, k, params=parameters))

    def problem(self, vectors: Vectors) -> str | None:
        """What makes it unfit for these vectors: it must hold each, in their order, linked by another."""
        index = self._index
        if (index.ntotal, index.d) != vectors.shape:
            return f"its graph holds {index.ntotal} vectors of dimension {index.d}"
        storage = faiss.downcast_index(index.storage)
        codes = faiss.rev_swig_ptr(storage.codes.data(), storage.codes.size()).view("<f2").reshape(vectors.shape)
        if not all(np.array_equal(code, vector) for code, vector in zip(codes, vectors, strict=True)):
            return "its graph holds other vectors"
        return None


def falls_apart(file: VectorFile) -> bool:
    """Whether some vector has more copies than links: they would link to each other only, and lead nowhere else."""
    axis = np.random.default_rng(0).normal(size=file.vectors.shape[1])
    _, copies = np.unique(
        np.concatenate([np.vecdot(block.astype(np.float64), axis) for _, block in file.blocks()]), return_counts=True
    )
    return int(copies.max()) > LINKS


def build_graph(folder: Path, file: VectorFile, stop: threading.Event) -> bool:
    """Write the graph of a file's vectors; False when `stop` ended it."""
    dimension = file.vectors.shape[1]
    index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_BEAM
    index.is_trained = True  # float16 needs no training
    for _, block in file.blocks():
        if stop.is_set():
            return False
        index.add(block)
    faiss.write_index(index, str(folder / FILE))
    return True
