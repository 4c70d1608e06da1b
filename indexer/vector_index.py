"""The index of one modality in one generation: a built main segment, a growing delta segment, and their moments."""

import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.catalogue import Catalogue, CollectionRow
from indexer.moments import Moments, Spread
from indexer.segment import Found, Header, Segment, write_segment
from indexer.snapshot import Snapshot
from indexer.types import Modality, Vector, VectorRows

log = logging.getLogger(__name__)

MIN_COMPACTION = 4096
"""Vectors in the delta segment, or hidden ones, before a compaction is worth its while."""


class VectorIndex:
    """Exact search over the live vectors of one modality. Thread-safe.

    It is a function of the catalogue: opening replays whatever the main segment on disk does not hold yet, and a write
    that failed half-way is made good by replaying before anything else is answered.
    """

    def __init__(self, folder: Path, catalogue: Catalogue, row: CollectionRow, modality: Modality) -> None:
        self._folder, self._catalogue, self._row, self._modality = folder, catalogue, row, modality
        # FAISS reads and appends in one buffer, so a search of the delta segment must not run beside an append.
        self._lock = threading.RLock()
        self._main = self._delta = Segment.empty(row.dimension)
        self._moments = Moments(row.dimension)
        self._last_seq = 0
        self._stale = True
        self.reload()

    @property
    def count(self) -> int:
        """Number of vectors that can be found."""
        with self._replayed():
            return self._main.live + self._delta.live

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Live vectors in the main segment, in the delta segment, and bytes of both."""
        with self._replayed():
            return self._main.live, self._delta.live, self._main.memory_bytes + self._delta.memory_bytes

    def apply(self, added: VectorRows, dropped: Sequence[int]) -> None:
        """Take over what a committed write did: new vectors can be found, dropped ones no more."""
        with self._replayed():
            self._stale = True  # until all of it is done
            gone = np.asarray(sorted(dropped), dtype=np.int64)
            for segment in (self._main, self._delta):
                self._moments.remove(segment.hide(gone))
            # A replay may have been first to see this write.
            new = added.seqs > self._last_seq
            self._append(VectorRows(added.seqs[new], added.items[new], added.vectors[new]))
            self._stale = False

    def reload(self) -> None:
        """Read the main segment from disk and replay the catalogue."""
        with self._lock:
            self._load()

    def search(self, query: Vector, k: int) -> Found:
        """The k vectors with the highest dot product with the query [d], best first; ties by item."""
        with self._replayed():
            main = self._main.view()
            parts = [self._delta.view().search(query, k)]
        parts.append(main.search(query, k))
        items = np.concatenate([part.items for part in parts])
        similarities = np.concatenate([part.similarities for part in parts])
        order = np.lexsort((items, -similarities))[:k]
        return Found(items[order], similarities[order])

    def similarities(self, query: Vector, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot product of the query [d] with the vector of each item [n], NaN for an item that has none."""
        with self._replayed():
            found = self._delta.similarities(query, items)
            missing = np.isnan(found)
            found[missing] = self._main.similarities(query, items[missing])
            return found

    def spread(self, query: Vector) -> Spread:
        """Mean and standard deviation of the query's dot products with all vectors."""
        with self._replayed():
            return self._moments.spread(query)

    @property
    def version(self) -> tuple[int, int]:
        """Changes with every write to the vectors: the last sequence number grows, or the number of live ones falls."""
        with self._replayed():
            return self._last_seq, self._main.live + self._delta.live

    def snapshot(self) -> Snapshot:
        """The vectors that can be found now, to be read without holding up searches and writes."""
        with self._replayed():
            views, version, centroid = (self._main.view(), self._delta.view()), self.version, self._moments.mean()
        return Snapshot(*views, self._lock, version, centroid)

    def needs_compaction(self) -> bool:
        """Whether enough vectors are outside the main segment, or hidden in it."""
        with self._lock:
            loose = self._delta.live + self._delta.hidden + self._main.hidden
            return loose > max(MIN_COMPACTION, self._main.live // 10)

    def compact(self, writes: AbstractContextManager[object], stop: threading.Event) -> None:
        """Build a new main segment from the catalogue, beside searches and writes, then swap it in.

        Args:
            writes: held only while swapping, so that no write falls between catalogue and index.
            stop: gives up, leaving all as it is.
        """
        header = self._build(stop)
        if header is None:
            return
        main, _ = Segment.open(self._main_folder(header))
        with writes:
            self._hide_dropped(main)
            delta = Segment.empty(self._row.dimension)
            with self._replayed():
                for rows in self._delta.blocks(after_seq=header.built_to_seq):
                    delta.append(rows)
                self._main, self._delta = main, delta
        self._remove_other_mains(self._main_folder(header))

    def problems(self) -> list[str]:
        """Every difference between the index and the catalogue, in words; empty when there is none.

        The caller sees to it that nothing is written meanwhile.
        """
        with self._replayed():
            segments = (self._main, self._delta)
        found: list[str] = []
        moments = Moments(self._row.dimension)
        stored = [np.empty(0, dtype=np.int64)]
        for block in self._blocks(after_seq=0):
            moments.add(block.vectors)
            stored.append(block.seqs)
            found += self._differences(block, segments)
        indexed = np.concatenate([segment.live_seqs() for segment in segments])
        left = np.setdiff1d(indexed, np.concatenate(stored))
        found += [f"{self._modality} vector {seq} is in the index but not in the catalogue" for seq in left]
        if not found and not moments.equals(self._moments):
            found.append(f"the mean and covariance of the {self._modality} vectors are not those of the catalogue")
        return found

    def _differences(self, block: VectorRows, segments: Sequence[Segment]) -> Iterator[str]:
        missing = dict(zip(block.seqs.tolist(), range(len(block.seqs)), strict=True))
        for segment in segments:
            for seq, item, vector in zip(*segment.rows(np.array(list(missing), dtype=np.int64)), strict=True):
                row = missing.pop(int(seq))
                if item != block.items[row] or not np.array_equal(vector, block.vectors[row]):
                    yield f"{self._modality} vector {seq} differs between catalogue and index"
        yield from (f"{self._modality} vector {seq} is in the catalogue but not in the index" for seq in missing)

    @contextmanager
    def _replayed(self) -> Iterator[None]:
        """The lock, with nothing of the catalogue missing: what an earlier failure left half done is replayed first."""
        with self._lock:
            if self._stale:
                self._load()
            yield

    def _load(self) -> None:
        self._stale = True
        self._moments = Moments(self._row.dimension)
        self._delta = Segment.empty(self._row.dimension)
        self._main, self._last_seq = self._open_main()
        self._hide_dropped(self._main)
        for rows in self._main.blocks():
            self._moments.add(rows.vectors)
        for block in self._blocks(after_seq=self._last_seq):
            self._append(block)
        self._stale = False

    def _append(self, rows: VectorRows) -> None:
        if len(rows.seqs):
            self._delta.append(rows)
            self._moments.add(rows.vectors)
            self._last_seq = int(rows.seqs[-1])

    def _hide_dropped(self, segment: Segment) -> None:
        """Hide what the catalogue no longer has."""
        live = self._catalogue.live_seqs(self._row.generation_pk, self._modality)
        segment.hide(np.setdiff1d(segment.live_seqs(), live, assume_unique=True))

    def _open_main(self) -> tuple[Segment, int]:
        """The newest usable main segment and the sequence number it is built to; those that are not are removed."""
        for folder in sorted(self._folder.glob("main-*"), reverse=True):
            try:
                segment, header = Segment.open(folder)
                self._check(header)
            except (OSError, ValueError, TypeError, RuntimeError, EOFError) as error:
                log.warning("main segment %s is not usable and will be rebuilt: %s", folder, error)
                shutil.rmtree(folder, ignore_errors=True)
                continue
            return segment, header.built_to_seq
        return Segment.empty(self._row.dimension), 0

    def _check(self, header: Header) -> None:
        """Raise unless a segment was built from this very catalogue, as far as it reaches by now.

        Of an older copy put back, or a new one begun, the same sequence numbers mean other vectors.
        """
        if (header.fingerprint, header.generation) != (self._row.fingerprint, self._row.generation_key):
            raise ValueError("it is of another model or another catalogue")
        if header.built_to_seq > self._catalogue.last_seq():
            raise ValueError("it is newer than the catalogue")

    def _build(self, stop: threading.Event) -> Header | None:
        index = faiss.IndexFlatIP(self._row.dimension)
        seqs, items = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for block in self._blocks(after_seq=0):
            if stop.is_set():
                return None
            index.add(block.vectors)
            seqs.append(block.seqs)
            items.append(block.items)
        built_to = int(seqs[-1][-1]) if len(seqs) > 1 else 0
        header = Header(self._row.fingerprint, self._row.generation_key, built_to, index.ntotal)
        write_segment(self._main_folder(header), header, np.concatenate(seqs), np.concatenate(items), index)
        return header

    def _blocks(self, *, after_seq: int) -> Iterator[VectorRows]:
        return self._catalogue.vectors_after(self._row.generation_pk, self._modality, after_seq)

    def _main_folder(self, header: Header) -> Path:
        # Vectors only ever leave the set of those up to a number, so both numbers together name one set.
        return self._folder / f"main-{header.built_to_seq:020d}-{header.count:012d}"

    def _remove_other_mains(self, kept: Path) -> None:
        for folder in [*self._folder.glob("main-*"), *self._folder.glob("partial-*")]:
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)
