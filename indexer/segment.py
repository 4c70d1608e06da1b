"""A segment: one exact FAISS index with the sequence numbers of its vectors, of which some may be hidden."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.originals import sync_folder
from indexer.types import Vector, VectorRows

_FLAT, _SEQS, _ITEMS, _HEADER = "flat.faiss", "seqs.npy", "items.npy", "segment.json"
_BLOCK = 8192
"""Vectors copied out of an index at a time."""


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
    generation: str
    built_to_seq: int
    count: int


class View(NamedTuple):
    """A segment as it is at one moment: later hiding does not show, so that it can be searched without a lock."""

    flat: faiss.Index
    items: NDArray[np.int64]
    live: int
    selector: faiss.IDSelectorBitmap | None
    bits: NDArray[np.uint8] | None
    """What the selector points to: it must live as long."""

    def search(self, query: Vector, k: int) -> Found:
        """The k live vectors with the highest dot product with the query [d]."""
        k = min(k, self.live)
        if k == 0:
            return Found(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
        # The stubs of faiss do not know the keyword that its own documentation uses.
        parameters = faiss.SearchParameters(sel=self.selector) if self.selector else None  # type: ignore[call-arg]
        similarities, positions = self.flat.search(query[None, :], k, params=parameters)
        return Found(np.asarray(self.items[positions[0]]), similarities[0])

    def positions(self) -> NDArray[np.int64]:
        """Of the live vectors, ascending."""
        if self.bits is None:
            return np.arange(len(self.items))
        return np.flatnonzero(np.unpackbits(self.bits, count=len(self.items), bitorder="little"))

    def vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors [n, d] at these positions; none may be appended meanwhile."""
        # Read in place: `reconstruct_batch` starts threads for each call, which costs more than the copying.
        # The stubs of faiss do not know what a flat index has beside others.
        stored = faiss.rev_swig_ptr(self.flat.get_xb(), self.flat.ntotal * self.flat.d)  # type: ignore[attr-defined]
        return np.asarray(stored.reshape(-1, self.flat.d)[positions])


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
        self.hidden = 0
        """Number of vectors that are there but cannot be found."""
        self._view: View | None = None
        self._by_item: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    @classmethod
    def empty(cls, dimension: int) -> "Segment":
        """A segment to which vectors can be appended."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(faiss.IndexFlatIP(dimension), nothing, nothing)

    @classmethod
    def open(cls, folder: Path) -> tuple["Segment", Header]:
        """Memory-map a built segment.

        Raises:
            OSError, ValueError, TypeError, RuntimeError, EOFError: It is damaged; the caller does without it.
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
        return len(self._seqs) - self.hidden

    @property
    def memory_bytes(self) -> int:
        """Bytes of vectors and numbers."""
        return len(self._seqs) * (4 * int(self._index.d) + 17)

    def live_seqs(self) -> NDArray[np.int64]:
        """Sequence numbers of the vectors that can be found, ascending."""
        return np.asarray(self._seqs[~self._hidden])

    def append(self, rows: VectorRows) -> None:
        """Add vectors with higher sequence numbers than all before; no view may be in use meanwhile."""
        self._index.add(np.ascontiguousarray(rows.vectors))
        self._seqs = np.concatenate([self._seqs, rows.seqs])
        self._items = np.concatenate([self._items, rows.items])
        self._hidden = np.concatenate([self._hidden, np.zeros(len(rows.seqs), dtype=bool)])
        self._view = self._by_item = None

    def hide(self, seqs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Hide those of `seqs` that are here and not hidden yet; returns their vectors [n, d]."""
        positions = self._positions(seqs)
        if len(positions):
            self._hidden[positions] = True
            self.hidden += len(positions)
            self._view = None
        return self._vectors(positions)

    def rows(self, seqs: NDArray[np.int64]) -> VectorRows:
        """Those of the ascending `seqs` that can be found here."""
        positions = self._positions(seqs)
        return VectorRows(
            np.asarray(self._seqs[positions]), np.asarray(self._items[positions]), self._vectors(positions)
        )

    def blocks(self, after_seq: int = 0) -> Iterator[VectorRows]:
        """All that can be found here from after a sequence number, in blocks of bounded memory."""
        start = int(np.searchsorted(self._seqs, after_seq, side="right"))
        for first in range(start, len(self._seqs), _BLOCK):
            yield self.rows(np.asarray(self._seqs[first : first + _BLOCK]))

    def similarities(self, query: Vector, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot product of the query [d] with the vector of each item [n], NaN for one that has none here.

        Each is computed by itself, so that it does not depend on which others are asked for.
        """
        found = np.full(len(items), np.nan, dtype=np.float32)
        if not self.live:
            return found
        positions = self._positions_of_items(items)
        here = np.flatnonzero(positions >= 0)
        found[here] = np.vecdot(self._vectors(positions[here]), query)
        return found

    def view(self) -> View:
        """What can be found now."""
        if self._view is None:
            # One bit per vector, set for the live ones; without hidden ones FAISS is faster without a selector.
            bits = np.packbits(~self._hidden, bitorder="little") if self.hidden else None
            selector = None if bits is None else faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            self._view = View(self._index, self._items, self.live, selector, bits)
        return self._view

    def _positions(self, seqs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of those sequence numbers that are here and not hidden."""
        positions = np.searchsorted(self._seqs, seqs)
        inside = positions < len(self._seqs)
        positions, seqs = positions[inside], seqs[inside]
        return np.asarray(positions[(self._seqs[positions] == seqs) & ~self._hidden[positions]])

    def _positions_of_items(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The position of each item's live vector, -1 for an item without one."""
        if self._by_item is None:
            order = np.argsort(self._items, kind="stable")
            self._by_item = np.asarray(self._items[order]), order
        in_order, order = self._by_item
        # Of several vectors of one item all but the newest are hidden; the newest is the last in a stable order.
        places = np.searchsorted(in_order, items, side="right") - 1
        positions = order[places]
        return np.where((places >= 0) & (in_order[places] == items) & ~self._hidden[positions], positions, -1)

    def _vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        if not len(positions):
            return np.empty((0, self._index.d), dtype=np.float32)
        return np.asarray(self._index.reconstruct_batch(positions.astype(np.int64)))


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
    sync_folder(partial)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    sync_folder(folder.parent)
