"""Reports on a collection's quality: kept until the next write, made one at a time, in nobody's way."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from indexer.index.vector_index import VectorIndex
from indexer.quality.report import Quality, measure
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.types import Modality


class _State(NamedTuple):
    versions: list[tuple[int, int]]
    items: int


class _Made(NamedTuple):
    begun: float
    state: _State
    quality: Quality


class QualityReports:
    """The reports of one collection. Thread-safe.

    Args:
        writes: Held only while both indexes and the number of items are looked at together.
        go_on: Called again and again while a report is made; it may raise to end this.
    """

    def __init__(
        self,
        row: CollectionRow,
        catalogue: Catalogue,
        indexes: Mapping[Modality, VectorIndex],
        writes: threading.RLock,
        go_on: Callable[[], None],
    ) -> None:
        self._row, self._catalogue, self._indexes = row, catalogue, indexes
        self._writes, self._go_on = writes, go_on
        self._making = threading.Lock()
        self._last: _Made | None = None

    def report(self, threshold: float) -> Quality:
        """The collection as it is now, or became after this was called; waits for a report that is being made."""
        called = time.monotonic()
        with self._making:
            if self._last is None or not self._serves(self._last, called, threshold):
                self._last = self._make(threshold)
            return self._last.quality

    def _serves(self, made: _Made, called: float, threshold: float) -> bool:
        if made.quality.duplicate_threshold != threshold:
            return False
        # While writes go on, all who waited share what was begun after they had asked.
        return made.begun >= called or made.state == self._state()

    def _make(self, threshold: float) -> _Made:
        begun = time.monotonic()
        with self._writes:
            state = self._state()
            snapshots = {modality: index.snapshot() for modality, index in self._indexes.items()}
        quality = measure(self._row, self._catalogue, snapshots, state.items, threshold, self._go_on)
        return _Made(begun, state, quality)

    def _state(self) -> _State:
        versions = [index.version for index in self._indexes.values()]
        return _State(versions, self._catalogue.count_items(self._row.pk))
