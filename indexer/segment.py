"""A segment: one exact FAISS index with the sequence numbers of its vectors, of which some may be hidden."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.originals import sync_folder
from indexer.types import Vector

_FLAT, _SEQS, _ITEMS, _HEADER = "flat.faiss", "seqs.npy", "items.npy", "segment.json"


class Found(NamedTuple):
    """Search results, best first."""

    items: NDArray[np.int64]
    """[k] primary keys of the items."""
    similarities: NDArray[np.float32]
    """[k] dot products with the query."""


@dataclass(frozen=True)
class Header:
    """What a segment on disk was built from."""

    fingerprint: str
    built_to_seq: int
    count: int


class Segment:
    """Vectors in ascending order of their sequence number; hidden ones are never found. Not thread-safe.

    Args:
        index: a FAISS flat inner-product index of n vectors.
        seqs: int64 [n], ascending.
        items: int64 [n], primary key of each vector's item.
    """

    def __init__(self, index: faiss.Index, seqs: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        self._index = index
        self._seqs = seqs
        self._items = items
        self._hidden = np.zeros(len(seqs), dtype=bool)
        self._selector: faiss.IDSelectorBitmap | None = None

    @classmethod
    def empty(cls, dimension: int) -> "Segment":
        """A segment to which vectors can be appended."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(faiss.IndexFlatIP(dimension), nothing, nothing)

    @classmethod
    def open(cls, folder: Path) -> tuple["Segment", Header]:
        """Memory-map a built segment.

        Raises:
            OSError, ValueError, RuntimeError: It is damaged; the caller builds it anew from the catalogue.
        """
        header = Header(**json.loads((folder / _HEADER).read_text(encoding="utf-8")))
        index = faiss.read_index(str(folder / _FLAT), faiss.IO_FLAG_MMAP_IFC)
        seqs, items = np.load(folder / _SEQS, mmap_mode="r"), np.load(folder / _ITEMS, mmap_mode="r")
        if not index.ntotal == len(seqs) == len(items) == header.count:
            raise ValueError(f"{folder} holds {index.ntotal} vectors, {len(seqs)} numbers; {header.count} were built")
        return cls(index, seqs, items), header

    @property
    def live(self) -> int:
        """Number of vectors that can be found."""
        return len(self._seqs) - int(self._hidden.sum())

    @property
    def hidden(self) -> int:
        """Number of vectors that are there but cannot be found."""
        return int(self._hidden.sum())

    @property
    def memory_bytes(self) -> int:
        """Bytes of vectors and numbers."""
        return len(self._seqs) * (4 * int(self._index.d) + 17)

    def live_seqs(self) -> NDArray[np.int64]:
        """Sequence numbers of the vectors that can be found, ascending."""
        return np.asarray(self._seqs[~self._hidden])

    def append(self, seqs: Sequence[int], items: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Add vectors [n, d] with higher sequence numbers than all before."""
        self._index.add(np.ascontiguousarray(vectors))
        self._seqs = np.concatenate([self._seqs, np.asarray(seqs, dtype=np.int64)])
        self._items = np.concatenate([self._items, np.asarray(items, dtype=np.int64)])
        self._hidden = np.concatenate([self._hidden, np.zeros(len(seqs), dtype=bool)])
        self._selector = None

    def hide(self, seqs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Hide those of `seqs` that are here and not hidden yet; returns their vectors [n, d]."""
        positions = self._positions(seqs)
        positions = positions[~self._hidden[positions]]
        self._hidden[positions] = True
        self._selector = None
        return self._vectors(positions)

    def live_vectors(self, after_seq: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Sequence numbers, items and vectors that can be found, from after a sequence number."""
        positions = np.flatnonzero(~self._hidden & (np.asarray(self._seqs) > after_seq))
        return np.asarray(self._seqs[positions]), np.asarray(self._items[positions]), self._vectors(positions)

    def search(self, query: Vector, k: int) -> Found:
        """The k live vectors with the highest dot product with the query [d]."""
        k = min(k, self.live)
        if k == 0:
            return Found(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
        # The stubs of faiss do not know the keyword that its own documentation uses.
        parameters = faiss.SearchParameters(sel=self._live_selector()) if self._hidden.any() else None  # type: ignore[call-arg]
        similarities, positions = self._index.search(query[None, :], k, params=parameters)
        return Found(np.asarray(self._items[positions[0]]), similarities[0])

    def _positions(self, seqs: NDArray[np.int64]) -> NDArray[np.int64]:
        positions = np.searchsorted(self._seqs, seqs)
        inside = positions < len(self._seqs)
        positions, seqs = positions[inside], seqs[inside]
        return np.asarray(positions[self._seqs[positions] == seqs])

    def _vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        if not len(positions):
            return np.empty((0, self._index.d), dtype=np.float32)
        return np.asarray(self._index.reconstruct_batch(positions.astype(np.int64)))

    def _live_selector(self) -> faiss.IDSelectorBitmap:
        if self._selector is None:
            # FAISS keeps a pointer, so the bits must live as long as the selector.
            self._bits = np.packbits(~self._hidden, bitorder="little")
            self._selector = faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))
        return self._selector


def write_segment(
    folder: Path, header: Header, seqs: NDArray[np.int64], items: NDArray[np.int64], index: faiss.Index
) -> None:
    """Write a segment folder, complete or not at all: a killed build leaves nothing that would be opened."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix="partial-"))
    faiss.write_index(index, str(partial / _FLAT))
    np.save(partial / _SEQS, seqs)
    np.save(partial / _ITEMS, items)
    (partial / _HEADER).write_text(json.dumps(asdict(header)), encoding="utf-8")
    for path in partial.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    sync_folder(folder.parent)
