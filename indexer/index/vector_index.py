"""The index of one modality in one generation: built segments, a growing delta segment, and their moments."""

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.index.asked import Asked
from indexer.index.hardware import Hardware
from indexer.index.kinds import choose_kind
from indexer.index.mapping import VectorFile
from indexer.index.moments import Moments, Spread
from indexer.index.segment import VECTORS, Found, Header, Segment, View, read_moments, remove_partial, write_segment
from indexer.index.selection import ItemSet, Selection
from indexer.index.snapshot import Snapshot
from indexer.index.tuning import QUERIES, Outside, sample
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.types import MODALITIES, Modality, SegmentInfo, Vector, VectorRows

log = logging.getLogger(__name__)

MIN_COMPACTION = 4096
"""Vectors in the delta segment, or hidden ones in a built one, before a compaction is worth its while."""

MAX_DELTA = 2 * MIN_COMPACTION
"""Vectors in the delta segment from which the next write takes the time to write it to disk."""

MAX_FOLLOWED = 2 * MAX_DELTA
"""Vectors in the delta segment of a reader from which it looks for what the writer has built since."""

MAX_REPLAYED = 2**16
"""Vectors that are held at most when the catalogue is read instead of segments."""

GROWTH = 2
"""A built segment is merged into what is newer once that is half its size: a vector is written O(log n) times."""

QUICK_SCAN = 2**22
"""Numbers that are read within a millisecond or two: 8,192 vectors of dimension 512."""

PLACES = 8
"""Of the catalogue, from which vectors of the other modality are sampled."""


class Built(NamedTuple):
    """A segment on disk."""

    segment: Segment
    header: Header
    folder: Path


class Selected:
    """Vectors of an index to which a search is confined, as they were at one moment."""

    def __init__(self, parts: Sequence[tuple[View, Selection]]) -> None:
        self.parts = parts
        self.live = sum(selection.live for _, selection in parts)
        """Number of vectors."""
        self.scanned = sum(view.live * view.rows.vectors.shape[1] for view, _ in parts if view.is_scanned)
        """Numbers that a search reads one by one, in segments that nothing was built for."""

    def search(self, query: Vector, k: int) -> Found:
        """The k of them with the highest dot product with the query [d], best first; ties by item."""
        [found] = self.search_many(np.asarray(query, dtype=np.float32)[None], k)
        return found

    def search_many(self, queries: NDArray[np.float32], k: int) -> list[Found]:
        """The same for each of many queries [n, d], all threads at work."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        found = [(view, view.search(queries, k, selection)) for view, selection in self.parts if selection.live]
        if not found:
            return [Found(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)) for _ in queries]
        items, similarities = (
            parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
            for parts in zip(*((view.rows.items[part.rows], part.similarities) for view, part in found), strict=True)
        )
        if len(found) > 1 or np.any(similarities[:, 1:] == similarities[:, :-1]):
            order = np.lexsort((items, -similarities))[:, :k]
            items, similarities = np.take_along_axis(items, order, 1), np.take_along_axis(similarities, order, 1)
        return [Found(*pair) for pair in zip(items, similarities, strict=True)]


class VectorIndex:
    """Search over the live vectors of one modality. Thread-safe.

    It is a function of the catalogue: opening replays whatever the segments on disk do not hold yet, and a write that
    failed half-way is made good by replaying before anything else is answered.

    Args:
        hardware: What it may use of the machine.
        asked: Queries of late, by which segments are tuned, too.
    """

    def __init__(
        self,
        folder: Path,
        catalogue: Catalogue,
        row: CollectionRow,
        modality: Modality,
        hardware: Hardware,
        asked: Asked,
    ) -> None:
        self._folder, self._catalogue, self._row, self._modality = folder, catalogue, row, modality
        self._hardware, self._asked = hardware, asked
        self._lock = threading.RLock()
        self._flushing = threading.Lock()
        self._built: list[Built] = []
        """Oldest first; each begins at the sequence number where the one before it ends."""
        self._delta = Segment.empty(row.dimension)
        self._moments = Moments(row.dimension)
        self._last_seq = 0
        self._stale = True
        self._current: Selected | None = None
        """What can be found: a change shows in it once all of the change is done, so that searches need no lock."""
        self.unusable: list[str] = []
        """What was wrong with built segments that were found on disk; the catalogue was read instead of them."""
        self._is_mine = not catalogue.read_only
        """Else the segments are those of another process, which may merge and remove them at any time."""
        self._replayed_size = 0
        if self._is_mine:
            remove_partial(folder)
        self.reload()

    @property
    def count(self) -> int:
        """Number of vectors that can be found."""
        return self.select().live

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Live vectors in built segments, in the delta segment, and bytes of all."""
        with self._replayed():
            memory_bytes = sum(segment.memory_bytes for segment in self._segments())
            return sum(built.segment.live for built in self._built), self._delta.live, memory_bytes

    @property
    def segments(self) -> list[SegmentInfo]:
        """The built segments, oldest first."""
        with self._replayed():
            return [_describe(built.segment) for built in self._built]

    @property
    def is_quick(self) -> bool:
        """Whether one query is answered within a millisecond or two, and waits for no other thread."""
        current = self._current
        return current is not None and current.scanned <= QUICK_SCAN

    def apply(self, added: VectorRows, dropped: Sequence[int]) -> None:
        """Take over what a committed write did: new vectors can be found, dropped ones no more."""
        with self._replayed():
            self._stale = True  # until all of it is done
            gone = np.asarray(sorted(dropped), dtype=np.int64)
            for segment in self._segments():
                self._moments.remove(segment.hide(gone))
            # A replay may have been first to see this write.
            new = added.seqs > self._last_seq
            self._append(VectorRows(added.seqs[new], added.items[new], added.vectors[new]))
            self._stale = False
            self._publish()

    def reload(self) -> None:
        """Read the built segments from disk and replay the catalogue."""
        with self._lock:
            self._load()

    def is_outdated(self) -> bool:
        """Whether a reader had better take over what the process that writes the segments has built since."""
        with self._replayed():
            grown = self._delta_size > max(MAX_FOLLOWED, 2 * self._replayed_size)
            return grown or not all(built.folder.exists() for built in self._built)

    def renew(self) -> None:
        """Take over segments that another process built; what can be found stays the same."""
        with self._replayed():
            segments, known = self._segments(), {built.folder: built for built in self._built}
            live = np.concatenate([segment.live_seqs() for segment in segments])

            def live_in(header: Header) -> NDArray[np.int64]:
                if header.to_seq > self._last_seq:
                    raise ValueError("it holds more than was taken over")
                return live[(live > header.after_seq) & (live <= header.to_seq)]

            built = list(self._open_built(lambda folder: known.get(folder) or self._open_and_hide(folder, live_in)))
            to_seq = _end(built)
            if to_seq < _end(self._built):
                return  # what took the place of those that are open is ahead of what was taken over
            delta = Segment.empty(self._row.dimension)
            for segment in segments:
                delta.append(segment.after(to_seq))
            self._built, self._delta = built, delta
            self._replayed_size = self._delta_size
            self._publish()

    def select(self, items: ItemSet | None = None) -> "Selected":
        """What can be found now, or of it the vectors of these items."""
        current = self._current
        if current is None:
            with self._replayed():
                current = self._publish()
        return current if items is None else Selected([(view, view.select(items)) for view, _ in current.parts])

    def search(self, query: Vector, k: int) -> Found:
        """The k vectors with the highest dot product with the query [d], best first; ties by item."""
        return self.select().search(query, k)

    def similarities(self, query: Vector, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot product of the query [d] with the vector of each item [n], NaN for an item that has none."""
        with self._replayed():
            found = self._delta.similarities(query, items)
            for built in self._built:
                missing = np.isnan(found)
                found[missing] = built.segment.similarities(query, items[missing])
            return found

    def vectors(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vector of each item [n, d], NaN for an item that has none."""
        with self._replayed():
            found = self._delta.vectors(items)
            for built in self._built:
                missing = np.isnan(found[:, 0])
                found[missing] = built.segment.vectors(items[missing])
            return found

    def spread(self, query: Vector) -> Spread:
        """Mean and standard deviation of the query's dot products with all vectors."""
        with self._replayed():
            return self._moments.spread(query)

    @property
    def last_seq(self) -> int:
        """The last sequence number that it has taken over."""
        with self._replayed():
            return self._last_seq

    @property
    def version(self) -> tuple[int, int]:
        """Changes with every write to the vectors: the last sequence number grows, or the number of live ones falls."""
        with self._replayed():
            return self._last_seq, self.count

    def snapshot(self) -> Snapshot:
        """The vectors that can be found now, to be read without holding up searches and writes."""
        with self._replayed():
            return Snapshot(self._views(), self.version, self._moments.mean())

    def needs_compaction(self) -> bool:
        """Whether enough vectors are in the delta segment, or hidden in a built one, or some built ones are alike."""
        with self._lock:
            mergeable = len(self._built) - self._first_to_merge() > 1
            return mergeable or self._delta_size > MIN_COMPACTION or any(map(_is_sparse, self._built))

    def needs_flush(self) -> bool:
        """Whether the delta segment has grown so much beside a compaction that it should not grow on."""
        with self._lock:
            return self._delta_size > MAX_DELTA

    def compact(self, writes: AbstractContextManager[object], stop: threading.Event, *, fully: bool) -> None:
        """Write the delta segment to disk and merge built ones, beside searches and writes.

        Args:
            writes: held only while swapping, so that no write falls between catalogue and index.
            stop: gives up, leaving all as it is.
            fully: merge all segments, also where it is not worth its while.
        """
        self.flush(writes, stop)
        with self._replayed():
            kept = self._built[: 0 if fully else self._first_to_merge()]
            merged = self._built[len(kept) :]
            views = [built.segment.view() for built in merged]
        if not merged:
            return
        header = self._header(kept, merged[-1].header.to_seq, _count(views))
        if self._path(header) in {built.folder for built in merged}:
            return  # nothing came or went since it was built
        new = self._build(header, views, stop, self._moments_of(merged, views))
        if new is None:
            return
        with writes, self._replayed():
            place = slice(len(kept), len(kept) + len(merged))
            if self._built[place] == merged:  # else it was reloaded meanwhile
                _hide_again(new, [built.segment for built in merged], views)
                self._built[place] = new
                self._publish()
            left = {built.folder for built in [*merged, *new]} - {built.folder for built in self._built}
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)

    def flush(self, writes: AbstractContextManager[object], stop: threading.Event) -> None:
        """Write the delta segment to disk as a built one; arguments as of `compact`, beside which it may run."""
        with self._flushing:
            if stop.is_set():
                return
            with self._replayed():
                delta, view = self._delta, self._delta.view()
                header = self._header(self._built, self._last_seq, view.live)
            new = self._build(header, [view], stop)
            if new is None:
                return
            with writes, self._replayed():
                if self._delta is delta:
                    _hide_again(new, [delta], [view])
                    self._built += new
                    self._delta = Segment.empty(self._row.dimension)
                    self._delta.append(delta.after(header.to_seq))
                    self._publish()

    def come_to_rest(self) -> None:
        """Wait for a flush that runs; of those that begin after `stop` was set, none writes."""
        with self._flushing:
            pass

    def rebuild(
        self, writes: AbstractContextManager[object], stop: threading.Event, report: Callable[[int], None]
    ) -> None:
        """Drop what is on disk and write the catalogue's vectors as one segment; arguments as of `compact`.

        Args:
            report: Told how many vectors are written each time that it is called.
        """
        with writes, self._lock:
            self._stale = True
            shutil.rmtree(self._folder, ignore_errors=True)
            count = self._catalogue.count_vectors(self._row.generation_pk, self._modality)
            header = self._header([], self._catalogue.last_seq(), count)
            if count:
                write_segment(self._path(header), header, self._reported(report), stop, self._outside)
            self._load()

    def tune(self, target: float) -> None:
        """Measure anew how wide searches of each built segment must be for this recall@10, and keep it."""
        with self._replayed():
            built = list(self._built)
        for one in built:
            if one.segment.approximate:
                vectors = VectorFile(one.folder / VECTORS, self._row.dimension)
                one.segment.approximate.tune(sample(vectors, self._outside()), target).write(one.folder)

    def problems(self) -> list[str]:
        """Every difference between the index and the catalogue, in words; empty when there is none.

        The caller sees to it that nothing is written meanwhile.
        """
        with self._replayed():
            segments = self._segments()
        found: list[str] = []
        moments = Moments(self._row.dimension)
        stored = [np.empty(0, dtype=np.int64)]
        for block in self._blocks(after_seq=0):
            moments.add(block.vectors)
            stored.append(block.seqs)
            found += self._differences(block, segments)
        indexed = np.concatenate([segment.live_seqs() for segment in segments])
        seqs, times = np.unique(indexed, return_counts=True)
        found += [f"{self._modality} vector {seq} is in the index more than once" for seq in seqs[times > 1]]
        left = np.setdiff1d(seqs, np.concatenate(stored), assume_unique=True)
        found += [f"{self._modality} vector {seq} is in the index but not in the catalogue" for seq in left]
        found += [
            f"{self._modality} segment of {segment.live} vectors: {problem}"
            for segment in segments
            if segment.approximate
            for problem in segment.approximate.problems()
        ]
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

    def _segments(self) -> list[Segment]:
        return [*(built.segment for built in self._built), self._delta]

    def _views(self) -> list[View]:
        with self._replayed():
            return [segment.view() for segment in self._segments()]

    def _publish(self) -> Selected:
        self._current = Selected([(view, view.select(None)) for view in (one.view() for one in self._segments())])
        return self._current

    def _load(self) -> None:
        self._stale, self._current = True, None
        self._delta = Segment.empty(self._row.dimension)
        self._built, self._moments = self._open_settled()
        if self._is_mine:
            self._remove_unreachable()
        self._last_seq = _end(self._built)
        for block in self._blocks(after_seq=self._last_seq):
            self._append(block)
            if self._is_mine and self._delta.live > MAX_REPLAYED:
                self._shed()
        self._replayed_size = self._delta_size
        self._stale = False
        self._publish()

    def _open_settled(self) -> tuple[list[Built], Moments]:
        """The usable segments and their moments, read again where their writer merged some meanwhile."""
        while True:
            there = self._folders()
            try:
                built = list(self._open_built(partial(self._open_and_hide, live_in=self._live_in)))
                moments = self._moments_of(built, [one.segment.view() for one in built])
            except OSError:
                if self._is_mine or there == self._folders():
                    raise
            else:
                if self._is_mine or there == self._folders():
                    return built, moments

    def _shed(self) -> None:
        """Write what was replayed so far to disk, so that a folder without its index is opened in bounded memory."""
        try:
            header = self._header(self._built, self._last_seq, self._delta.live)
            self._built += self._build(replace(header, kind="flat"), [self._delta.view()], threading.Event()) or []
        except OSError as error:
            log.warning("the %s vectors of %s stay in memory: %s", self._modality, self._row.name, error)
            return
        self._delta = Segment.empty(self._row.dimension)

    def _append(self, rows: VectorRows) -> None:
        if len(rows.seqs):
            self._delta.append(rows)
            self._moments.add(rows.vectors)
            self._last_seq = int(rows.seqs[-1])

    def _open_built(self, open_: Callable[[Path], Built]) -> Iterator[Built]:
        """The usable segments, from the first sequence number on; one that is not usable is removed."""
        to_seq = 0
        while built := self._open_one(open_, after_seq=to_seq):
            yield built
            to_seq = built.header.to_seq

    def _remove_unreachable(self) -> None:
        """Segments after a missing one, and those that were merged when the server was killed."""
        used = {built.folder for built in self._built}
        for folder in self._folders() - used:
            shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> set[Path]:
        """Of all built segments on disk."""
        return set(self._folder.glob("[0-9]*"))

    def _open_one(self, open_: Callable[[Path], Built], *, after_seq: int) -> Built | None:
        """Of those that begin there the longest: shorter ones were merged into it."""
        for folder in sorted(self._folder.glob(f"{after_seq:020d}-*"), reverse=True):
            try:
                return open_(folder)
            except (OSError, ValueError, TypeError) as error:
                if not self._is_mine:  # it is being removed, perhaps
                    continue
                log.warning("segment %s is not usable; the catalogue is read instead: %s", folder, error)
                self.unusable.append(f"{self._modality} segment {folder.name} is not usable: {error}")
                shutil.rmtree(folder, ignore_errors=True)
        return None

    def _open_and_hide(self, folder: Path, live_in: Callable[[Header], NDArray[np.int64]]) -> Built:
        """A segment that was there, without what is not live any more."""
        built = self._open(folder)
        segment, header = built.segment, built.header
        live = live_in(header)
        segment.check_holds(live, header)
        segment.hide(np.setdiff1d(segment.live_seqs(), live, assume_unique=True))
        return built

    def _live_in(self, header: Header) -> NDArray[np.int64]:
        """What the catalogue has of a segment's range."""
        return self._catalogue.live_seqs(self._row.generation_pk, self._modality, header.after_seq, header.to_seq)

    def _open(self, folder: Path) -> Built:
        segment, header = Segment.open(folder, self._hardware.gpu)
        self._check(header)
        return Built(segment, header, folder)

    def _check(self, header: Header) -> None:
        """Raise unless a segment was built from this very catalogue, as far as it reaches by now.

        Of an older copy put back, or a new one begun, the same sequence numbers mean other vectors.
        """
        if (header.fingerprint, header.generation) != (self._row.fingerprint, self._row.generation_key):
            raise ValueError("it is of another model or another catalogue")
        if header.to_seq > self._catalogue.last_seq():
            raise ValueError("it is newer than the catalogue")

    def _first_to_merge(self) -> int:
        """Position of the oldest built segment that is worth merging with all that is newer."""
        first, newer = len(self._built), 0
        for position in reversed(range(len(self._built))):
            built = self._built[position]
            if _is_sparse(built) or built.segment.live <= GROWTH * newer:
                first = position
            newer += built.segment.live
        return first

    def _moments_of(self, built: Sequence[Built], views: Sequence[View]) -> Moments:
        """Of what can be found in views of built segments."""
        moments = Moments(self._row.dimension)
        for one, view in zip(built, views, strict=True):
            moments.join(read_moments(one.folder, one.header))
            moments.remove(view.rows.vectors[~view.alive])
        return moments

    def _build(
        self, header: Header, views: Sequence[View], stop: threading.Event, moments: Moments | None = None
    ) -> list[Built] | None:
        """The segment with what can be found in the views, none where that is nothing; None when stopped."""
        if not header.count:
            return []
        blocks = (rows for view in views for rows in view.blocks())
        written = write_segment(self._path(header), header, blocks, stop, self._outside, moments)
        return [self._open(self._path(header))] if written else None

    @property
    def _delta_size(self) -> int:
        return self._delta.live + self._delta.hidden

    def _header(self, kept: Sequence[Built], to_seq: int, count: int) -> Header:
        return Header(
            fingerprint=self._row.fingerprint,
            generation=self._row.generation_key,
            dimension=self._row.dimension,
            after_seq=_end(kept),
            to_seq=to_seq,
            count=count,
            kind=choose_kind(self._row.settings.index, count, self._row.dimension, self._hardware.memory_bytes),
        )

    def _path(self, header: Header) -> Path:
        # Vectors only ever leave the set of those up to a number, so the numbers together name one set.
        name = f"{header.after_seq:020d}-{header.to_seq:020d}-{header.count:012d}"
        return self._folder / (name if header.kind == "flat" else f"{name}-{header.kind}")

    def _outside(self) -> Outside:
        return {"other": self._others(), "asked": self._asked.sample()}

    def _others(self) -> NDArray[np.float32]:
        """Vectors of the other modality, from a few places of the catalogue; none where there are none."""
        [other] = set(MODALITIES) - {self._modality}
        drawn, rng = [np.empty((0, self._row.dimension), dtype=np.float32)], np.random.default_rng(0)
        for seq in rng.integers(0, max(self._catalogue.last_seq(), 1), PLACES).tolist():
            blocks = self._catalogue.vectors_after(self._row.generation_pk, other, seq)
            drawn += [rng.permutation(block.vectors)[: QUERIES // PLACES] for block in islice(blocks, 1)]
        return np.concatenate(drawn)

    def _reported(self, report: Callable[[int], None]) -> Iterator[VectorRows]:
        for block in self._blocks(after_seq=0):
            yield block
            report(len(block.seqs))

    def _blocks(self, *, after_seq: int) -> Iterator[VectorRows]:
        return self._catalogue.vectors_after(self._row.generation_pk, self._modality, after_seq)


def _end(built: Sequence[Built]) -> int:
    """The sequence number up to which segments hold vectors."""
    return built[-1].header.to_seq if built else 0


def _count(views: Sequence[View]) -> int:
    return sum(view.live for view in views)


def _hide_again(new: Sequence[Built], sources: Sequence[Segment], views: Sequence[View]) -> None:
    """Hide in what was built of views what was hidden since in their segments."""
    gone = np.concatenate([source.hidden_since(view) for source, view in zip(sources, views, strict=True)])
    for built in new:
        built.segment.hide(gone)


def _describe(segment: Segment) -> SegmentInfo:
    built = segment.approximate
    tuning = built.tuning if built else None
    return SegmentInfo(built.kind if built else "flat", segment.live, segment.memory_bytes, tuning)


def _is_sparse(built: Built) -> bool:
    return built.segment.hidden > max(MIN_COMPACTION, built.segment.live // 10)
