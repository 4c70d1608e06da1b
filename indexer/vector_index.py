"""The index of one modality in one generation: a built main segment, a growing delta segment, and their moments."""

import logging
import shutil
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.catalogue import Catalogue, CollectionRow, VectorRow
from indexer.moments import Moments, Spread
from indexer.segment import Found, Header, Segment, write_segment
from indexer.types import Modality, Vector

log = logging.getLogger(__name__)

MIN_COMPACTION = 4096
"""Vectors in the delta segment, or hidden ones, before a compaction is worth its while."""


class VectorIndex:
    """Exact search over the live vectors of one modality. Thread-safe.

    It is a function of the catalogue: `open` replays whatever the main segment on disk does not hold yet.
    """

    def __init__(self, folder: Path, catalogue: Catalogue, row: CollectionRow, modality: Modality) -> None:
        self._folder, self._catalogue, self._row, self._modality = folder, catalogue, row, modality
        # FAISS reads and appends in one buffer, so a search must not run beside an append.
        self._lock = threading.RLock()
        self._main = self._delta = Segment.empty(row.dimension)
        self._moments = Moments(row.dimension)
        self.reload()

    @property
    def count(self) -> int:
        """Number of vectors that can be found."""
        return self._main.live + self._delta.live

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Live vectors in the main segment, in the delta segment, and bytes of both."""
        return self._main.live, self._delta.live, self._main.memory_bytes + self._delta.memory_bytes

    def apply(self, added: Sequence[VectorRow], dropped: Sequence[int]) -> None:
        """Take over what a committed write did: new vectors can be found, dropped ones no more."""
        with self._lock:
            gone = np.asarray(dropped, dtype=np.int64)
            for segment in (self._main, self._delta):
                self._moments.remove(segment.hide(gone))
            self._append(added)

    def reload(self) -> None:
        """Read the main segment from disk and replay the catalogue."""
        with self._lock:
            self._load()

    def search(self, query: Vector, k: int) -> Found:
        """The k vectors with the highest dot product with the query [d], best first; ties by item."""
        with self._lock:
            parts = [self._main.search(query, k), self._delta.search(query, k)]
        items = np.concatenate([part.items for part in parts])
        similarities = np.concatenate([part.similarities for part in parts])
        order = np.lexsort((items, -similarities))[:k]
        return Found(items[order], similarities[order])

    def spread(self, query: Vector) -> Spread:
        """Mean and standard deviation of the query's dot products with all vectors."""
        with self._lock:
            return self._moments.spread(query)

    def needs_compaction(self) -> bool:
        """Whether enough vectors are outside the main segment, or hidden in it."""
        with self._lock:
            loose = self._delta.live + self._delta.hidden + self._main.hidden
            return loose > max(MIN_COMPACTION, self._main.live // 10)

    def compact(self, writes: threading.RLock) -> None:
        """Build a new main segment from the catalogue, beside searches and writes, then swap it in.

        Args:
            writes: held only while swapping, so that no write falls between catalogue and index.
        """
        header = self._build()
        folder = self._main_folder(header)
        main, _ = Segment.open(folder)
        with writes, self._lock:
            self._hide_dropped(main)
            seqs, items, vectors = self._delta.live_vectors(after_seq=header.built_to_seq)
            delta = Segment.empty(self._row.dimension)
            delta.append(seqs.tolist(), items.tolist(), vectors)
            self._main, self._delta = main, delta
        self._remove_other_mains(folder)

    def problems(self) -> list[str]:
        """Every difference between the index and the catalogue, in words; empty when there is none."""
        with self._lock:
            indexed: dict[int, tuple[int, Vector]] = {}
            for segment in (self._main, self._delta):
                seqs, items, vectors = segment.live_vectors()
                indexed.update(zip(seqs.tolist(), zip(items.tolist(), vectors, strict=True), strict=True))
            found = []
            for block in self._catalogue.vectors_after(self._row.generation_pk, self._modality, 0):
                found += [self._problem(row, indexed.pop(row.seq, None)) for row in block]
        left = [f"{self._modality} vector {seq} is in the index but not in the catalogue" for seq in indexed]
        return [problem for problem in found if problem] + left

    def _problem(self, row: VectorRow, indexed: tuple[int, Vector] | None) -> str | None:
        if indexed is None:
            return f"{self._modality} vector {row.seq} is in the catalogue but not in the index"
        item, vector = indexed
        if item != row.item_pk or not np.array_equal(vector, row.vector):
            return f"{self._modality} vector {row.seq} differs between catalogue and index"
        return None

    def _load(self) -> None:
        self._moments = Moments(self._row.dimension)
        self._delta = Segment.empty(self._row.dimension)
        self._main, built_to = self._open_main()
        self._hide_dropped(self._main)
        _, _, vectors = self._main.live_vectors()
        for start in range(0, len(vectors), 65_536):
            self._moments.add(vectors[start : start + 65_536])
        for block in self._catalogue.vectors_after(self._row.generation_pk, self._modality, built_to):
            self._append(block)

    def _append(self, rows: Sequence[VectorRow]) -> None:
        if rows:
            vectors = np.stack([row.vector for row in rows])
            self._delta.append([row.seq for row in rows], [row.item_pk for row in rows], vectors)
            self._moments.add(vectors)

    def _hide_dropped(self, segment: Segment) -> None:
        """Hide what the catalogue no longer has."""
        live = self._catalogue.live_seqs(self._row.generation_pk, self._modality)
        segment.hide(np.setdiff1d(segment.live_seqs(), live, assume_unique=True))

    def _open_main(self) -> tuple[Segment, int]:
        """The newest usable main segment and the sequence number it is built to; a damaged one counts for nothing."""
        for folder in sorted(self._folder.glob("main-*"), reverse=True):
            try:
                segment, header = Segment.open(folder)
            except (OSError, ValueError, TypeError, RuntimeError) as error:
                log.warning("main segment %s is damaged and will be rebuilt: %s", folder, error)
                continue
            if header.fingerprint == self._row.fingerprint:
                return segment, header.built_to_seq
        return Segment.empty(self._row.dimension), 0

    def _build(self) -> Header:
        index = faiss.IndexFlatIP(self._row.dimension)
        seqs: list[int] = []
        items: list[int] = []
        for block in self._blocks():
            index.add(np.stack([row.vector for row in block]))
            seqs += [row.seq for row in block]
            items += [row.item_pk for row in block]
        header = Header(self._row.fingerprint, seqs[-1] if seqs else 0, len(seqs))
        numbers: tuple[NDArray[np.int64], NDArray[np.int64]] = (np.array(seqs, np.int64), np.array(items, np.int64))
        write_segment(self._main_folder(header), header, *numbers, index)
        return header

    def _blocks(self) -> Iterable[list[VectorRow]]:
        return self._catalogue.vectors_after(self._row.generation_pk, self._modality, 0)

    def _main_folder(self, header: Header) -> Path:
        return self._folder / f"main-{header.built_to_seq:020d}"

    def _remove_other_mains(self, kept: Path) -> None:
        for folder in [*self._folder.glob("main-*"), *self._folder.glob("partial-*")]:
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)
