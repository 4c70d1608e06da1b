"""A segment: vectors with their sequence numbers, searched exactly, of which some may be hidden."""

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.index.approximate import Approximate, build
from indexer.index.exact import Nearest, Vectors, rerank, scan, use_threads
from indexer.index.gpu import Gpu, GpuVectors
from indexer.index.kinds import IndexSetting
from indexer.index.mapping import VectorFile, checksum, leave, map_file
from indexer.index.moments import Moments
from indexer.index.selection import ItemSet, Selection
from indexer.index.tuning import Outside
from indexer.stores.originals import sync_folder
from indexer.types import Vector, VectorRows

VECTORS = "vectors.f32"
_FILES = ("seqs.i64", "items.i64", VECTORS)
"""The columns of `VectorRows`, little-endian, without a header: `segment.json` tells how many rows there are."""
_MOMENTS = "moments.f64"
_HEADER = "segment.json"
_PARTIAL = "partial-"
_BLOCK = 1024
"""Vectors copied at a time."""
_FIRST_ROOM = 64


class Found(NamedTuple):
    """Search results, best first."""

    items: NDArray[np.int64]
    """[k] primary keys of the items."""
    similarities: NDArray[np.float32]
    """[k] dot products with the query."""


@dataclass(frozen=True)
class Header:
    """What a built segment holds: the vectors with sequence numbers over `after_seq` up to `to_seq`."""

    fingerprint: str
    generation: str
    dimension: int
    after_seq: int
    to_seq: int
    count: int
    kind: IndexSetting = "flat"
    sums: Mapping[str, int] = field(default_factory=dict)
    """CRC-32 of the files beside the columns."""


class View:
    """The vectors that can be found in a segment at one moment: what is appended or hidden later does not show.

    Args:
        rows: All vectors of the segment.
        alive: bool [n], those that are not hidden; None when all are.
        mappings: Of a built segment, the files that its columns lie in.
        approximate: How it is searched where a scan would take long.
        copied: Its vectors on a GPU.
    """

    def __init__(
        self,
        rows: VectorRows,
        alive: NDArray[np.bool_] | None,
        mappings: Sequence[mmap],
        approximate: Approximate | None,
        copied: GpuVectors | None,
    ) -> None:
        self.rows, self._alive, self._mappings, self._approximate = rows, alive, mappings, approximate
        self._faster = [structure for structure in (copied, approximate) if structure]
        self._live_rows = Selection(alive, len(rows.seqs))
        self.live = self._live_rows.live

    def select(self, items: ItemSet | None) -> Selection:
        """The vectors of these items, or all, that can be found."""
        if items is None:
            return self._live_rows
        chosen = items.holds(self.rows.items)
        return Selection(chosen if self._alive is None else chosen & self._alive, len(chosen))

    def search(self, queries: Vectors, k: int, selection: Selection) -> Nearest:
        """The k rows of the selection, or all of fewer, with the highest dot products with each query [n, d].

        Each product is the same whatever else is asked for.
        """
        k = min(k, selection.live)
        use_threads(len(queries))
        found = self._search_faster(queries, k, selection)
        if found is None:
            return self._scan(queries, k, selection)
        short = np.flatnonzero(found.rows[:, -1] < 0)
        if len(short):
            found.similarities[short], found.rows[short] = self._scan(queries[short], k, selection)
        return found

    def _search_faster(self, queries: Vectors, k: int, selection: Selection) -> Nearest | None:
        for structure in self._faster:
            if (found := structure.search(queries, k, selection)) is not None:
                return found
        return None

    def _scan(self, queries: Vectors, k: int, selection: Selection) -> Nearest:
        found = scan(self.rows.vectors, queries, k, selection)
        # Of a scan they are rounded differently with the number of queries.
        return rerank(self.rows.vectors, queries, k, found.rows) if k else found

    @property
    def is_scanned(self) -> bool:
        """Whether nothing was built to search it without reading all of it."""
        return self._approximate is None

    @property
    def alive(self) -> NDArray[np.bool_]:
        """[n], which vectors can be found."""
        return np.ones(len(self.rows.seqs), dtype=bool) if self._alive is None else self._alive

    def positions(self) -> NDArray[np.int64]:
        """Of the vectors that can be found, ascending."""
        return np.arange(self.live) if self._alive is None else np.flatnonzero(self._alive)

    def blocks(self) -> Iterator[VectorRows]:
        """Copies of all that can be found, in blocks of bounded memory."""
        count = len(self.rows.seqs)
        for start in range(0, count, _BLOCK):
            stop = min(start + _BLOCK, count)
            alive = slice(None) if self._alive is None else self._alive[start:stop]
            yield VectorRows(*(column[start:stop][alive].copy() for column in _columns(self.rows)))
            for mapping in self._mappings:
                leave(mapping, len(mapping) // count * start, len(mapping) // count * stop)


class Segment:
    """Vectors in ascending order of their sequence numbers; hidden ones are never found. Not thread-safe.

    A view of it may be read beside everything that is done to it.
    """

    def __init__(
        self,
        rows: VectorRows,
        mappings: Sequence[mmap] = (),
        approximate: Approximate | None = None,
        copied: GpuVectors | None = None,
    ) -> None:
        self._mappings, self.approximate, self._copied = mappings, approximate, copied
        # Arrays with room to grow; a row that is written never changes, so that views can share them.
        self._rows, self._count = rows, len(rows.seqs)
        self._hidden = np.zeros(self._count, dtype=bool)
        self.hidden = 0
        """Number of vectors that are there but cannot be found."""
        self._view: View | None = None
        self._by_item: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    @classmethod
    def empty(cls, dimension: int) -> "Segment":
        """A segment to which vectors can be appended."""
        return cls(_room(0, dimension))

    @classmethod
    def open(cls, folder: Path, gpu: Gpu | None = None) -> tuple["Segment", Header]:
        """Memory-map a built segment, with a copy of its vectors on a GPU that has room for them.

        Raises:
            OSError, ValueError, TypeError: It is damaged; the caller does without it.
        """
        header = Header(**json.loads((folder / _HEADER).read_text(encoding="utf-8")))
        for name, expected in header.sums.items():
            if checksum(folder / name) != expected:
                raise ValueError(f"{folder / name} is damaged")
        mappings, columns = [map_file(folder / name) for name in _FILES], []
        for name, mapping, empty in zip(_FILES, mappings, _columns(_room(0, header.dimension)), strict=True):
            column = np.frombuffer(mapping, empty.dtype).reshape(-1, *empty.shape[1:])
            if len(column) != header.count:
                raise ValueError(f"{folder / name} holds {len(column)} rows; {header.count} were built")
            columns.append(column)
        rows = VectorRows(*columns)
        files = header.sums.keys() - {_MOMENTS}
        built = None if header.kind == "flat" else Approximate.open(folder, rows.vectors, files)
        copied = GpuVectors.copy(gpu, VectorFile(folder / VECTORS, header.dimension)) if gpu else None
        return cls(rows, mappings, built, copied), header

    def check_holds(self, live: NDArray[np.int64], header: Header) -> None:
        """Raise `ValueError` unless a built segment holds the catalogue's vectors of its range, each once.

        Args:
            live: Sequence numbers of the catalogue's vectors, ascending, the last one `header.to_seq` at most.
        """
        ends = np.array([header.after_seq]), np.array([header.to_seq + 1])
        if np.any(np.diff(np.concatenate([ends[0], self._seqs, ends[1]])) <= 0):
            raise ValueError("its sequence numbers are not those of its range in ascending order")
        expected = live[np.searchsorted(live, header.after_seq, side="right") :]
        missing = np.setdiff1d(expected, self._seqs, assume_unique=True)
        if len(missing):
            raise ValueError(f"{len(missing)} vectors are missing in it, the first is {missing[0]}")

    @property
    def live(self) -> int:
        """Number of vectors that can be found."""
        return self._count - self.hidden

    @property
    def memory_bytes(self) -> int:
        """Bytes of vectors, numbers and what is built for searches; of a built segment they are mapped, not held."""
        columns = self._count * (sum(column[:1].nbytes for column in _columns(self._rows)) + 1)
        return columns + (self.approximate.memory_bytes if self.approximate else 0)

    def live_seqs(self) -> NDArray[np.int64]:
        """Sequence numbers of the vectors that can be found, ascending."""
        return np.asarray(self._seqs[~self._hidden[: self._count]])

    def append(self, rows: VectorRows) -> None:
        """Add vectors with higher sequence numbers than all before."""
        count = self._count + len(rows.seqs)
        if count > len(self._rows.seqs):
            self._grow(max(2 * count, _FIRST_ROOM))
        for column, new in zip(_columns(self._rows), _columns(rows), strict=True):
            column[self._count : count] = new
        self._count, self._view, self._by_item = count, None, None

    def hide(self, seqs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Hide those of `seqs` that are here and not hidden yet; returns their vectors [n, d]."""
        positions = self._positions(seqs)
        if len(positions):
            self._hidden[positions] = True
            self.hidden += len(positions)
            self._view = None
        return self._rows.vectors[positions]

    def hidden_since(self, view: View) -> NDArray[np.int64]:
        """Sequence numbers that could be found when a view was taken, and now no more."""
        return np.asarray(view.rows.seqs[np.flatnonzero(view.alive & self._hidden[: len(view.rows.seqs)])])

    def rows(self, seqs: NDArray[np.int64]) -> VectorRows:
        """Those of the ascending `seqs` that can be found here."""
        return take(self._rows, self._positions(seqs))

    def after(self, seq: int) -> VectorRows:
        """All that can be found here with higher sequence numbers."""
        return self.rows(np.asarray(self._seqs[np.searchsorted(self._seqs, seq, side="right") :]))

    def similarities(self, query: Vector, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot product of the query [d] with the vector of each item [n], NaN for one that has none here.

        Each is computed by itself, so that it does not depend on which others are asked for.
        """
        found = np.full(len(items), np.nan, dtype=np.float32)
        if not self.live:
            return found
        positions = self._positions_of_items(items)
        here = np.flatnonzero(positions >= 0)
        found[here] = np.vecdot(self._rows.vectors[positions[here]], query)
        return found

    def vectors(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vector of each item [n, d], NaN for one that has none here."""
        found = np.full((len(items), self._rows.vectors.shape[1]), np.nan, dtype=np.float32)
        if self.live:
            positions = self._positions_of_items(items)
            here = np.flatnonzero(positions >= 0)
            found[here] = self._rows.vectors[positions[here]]
        return found

    def view(self) -> View:
        """What can be found now."""
        if self._view is None:
            rows = VectorRows(*(column[: self._count] for column in _columns(self._rows)))
            alive = ~self._hidden[: self._count] if self.hidden else None
            self._view = View(rows, alive, self._mappings, self.approximate, self._copied)
        return self._view

    @property
    def _seqs(self) -> NDArray[np.int64]:
        return self._rows.seqs[: self._count]

    def _grow(self, room: int) -> None:
        grown = _room(room, self._rows.vectors.shape[1])
        for column, old in zip(_columns(grown), _columns(self._rows), strict=True):
            column[: self._count] = old[: self._count]
        hidden = np.zeros(room, dtype=bool)
        hidden[: self._count] = self._hidden[: self._count]
        self._rows, self._hidden = grown, hidden

    def _positions(self, seqs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of those sequence numbers that are here and not hidden."""
        positions = np.searchsorted(self._seqs, seqs)
        inside = positions < self._count
        positions, seqs = positions[inside], seqs[inside]
        return np.asarray(positions[(self._seqs[positions] == seqs) & ~self._hidden[positions]])

    def _positions_of_items(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The position of each item's live vector, -1 for an item without one."""
        if self._by_item is None:
            stored = self._rows.items[: self._count]
            order = np.argsort(stored, kind="stable")
            self._by_item = np.asarray(stored[order]), order
        in_order, order = self._by_item
        # Of several vectors of one item all but the newest are hidden; the newest is the last in a stable order.
        places = np.searchsorted(in_order, items, side="right") - 1
        positions = order[places]
        return np.where((places >= 0) & (in_order[places] == items) & ~self._hidden[positions], positions, -1)


def take(rows: VectorRows, positions: NDArray[np.int64]) -> VectorRows:
    """Copies of the rows at these positions."""
    return VectorRows(rows.seqs[positions], rows.items[positions], rows.vectors[positions])


def write_segment(
    folder: Path,
    header: Header,
    blocks: Iterable[VectorRows],
    stop: threading.Event,
    outside: Callable[[], Outside],
    moments: Moments | None = None,
) -> bool:
    """Write vectors in ascending order of their sequence numbers as one segment, complete or not at all.

    A killed build leaves nothing that would be opened; False when `stop` ended it.

    Args:
        outside: Gives queries with which a segment is tuned that is not flat.
        moments: Of the vectors, if they are known; they take a second for each 30,000 of 512 components.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_PARTIAL))
    try:
        if not _write_columns(partial, blocks, stop):
            return False
        (moments or _compute_moments(partial, header)).write(partial / _MOMENTS)
        files = _build_structures(partial, header, stop, outside)
        if files is None:
            return False
        sums = {name: checksum(partial / name) for name in [_MOMENTS, *files]}
        (partial / _HEADER).write_text(json.dumps(asdict(replace(header, sums=sums))), encoding="utf-8")
        for path in partial.iterdir():
            with path.open("rb") as written:
                os.fsync(written.fileno())
        sync_folder(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # on a full disk it is what takes the last space
    sync_folder(folder.parent)
    return True


def read_moments(folder: Path, header: Header) -> Moments:
    """Of all vectors of an open segment, hidden or not; one of an earlier version has to be read for them."""
    if _MOMENTS in header.sums:
        return Moments.read(folder / _MOMENTS, header.count, header.dimension)
    return _compute_moments(folder, header)


def remove_partial(folder: Path) -> None:
    """Remove what killed builds left: nobody opens it, and it may be as large as the index."""
    for partial in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)


def _write_columns(folder: Path, blocks: Iterable[VectorRows], stop: threading.Event) -> bool:
    with ExitStack() as stack:
        files = [stack.enter_context((folder / name).open("wb")) for name in _FILES]
        for rows in blocks:
            if stop.is_set():
                return False
            for file, column in zip(files, _columns(rows), strict=True):
                file.write(column.data)
    return True


def _compute_moments(folder: Path, header: Header) -> Moments:
    moments = Moments(header.dimension)
    for _, block in VectorFile(folder / VECTORS, header.dimension).blocks():
        moments.add(block)
    return moments


def _build_structures(
    folder: Path, header: Header, stop: threading.Event, outside: Callable[[], Outside]
) -> list[str] | None:
    if header.kind == "flat":
        return []
    return build(folder, header.kind, VectorFile(folder / VECTORS, header.dimension), outside(), stop)


def _columns(rows: VectorRows) -> tuple[NDArray[Any], ...]:
    return rows


def _room(rows: int, dimension: int) -> VectorRows:
    """Arrays for so many rows, their values not set."""
    return VectorRows(
        np.empty(rows, dtype="<i8"), np.empty(rows, dtype="<i8"), np.empty((rows, dimension), dtype="<f4")
    )
