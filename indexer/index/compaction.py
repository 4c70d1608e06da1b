"""`Compaction`: when the indexes of a collection write what they hold to disk, and who does it."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

from indexer.index.exact import step_back
from indexer.index.vector_index import VectorIndex

log = logging.getLogger(__name__)

RETRY_S = 60.0
"""Rest after a failed compaction (a full disk): otherwise every write would begin another."""


class Compaction:
    """Compacts the indexes of one collection, one at a time, beside its searches and writes. Thread-safe.

    Args:
        name: Of the collection, for messages.
        writes: Held by each write from before its commit until the indexes have taken it over.
        closed: Once set, nothing is begun, and what runs gives up.
    """

    def __init__(
        self,
        name: str,
        indexes: Collection[VectorIndex],
        writes: AbstractContextManager[object],
        closed: threading.Event,
    ) -> None:
        self._name, self._indexes, self._writes, self._closed = name, indexes, writes, closed
        self._running = threading.Lock()
        self._background = threading.Lock()
        self._not_before = 0.0

    def run(self) -> None:
        """Merge each index into one segment without hidden vectors."""
        with self._running:
            for index in self._indexes:
                if not self._closed.is_set():
                    index.compact(self._writes, self._closed, fully=True)

    def rebuild(self, report: Callable[[int], None]) -> None:
        """Drop each index and build it anew from the catalogue; see `Collection.rebuild`."""
        with self._running:
            for index in self._indexes:
                index.rebuild(self._writes, self._closed, report)

    def tune(self, target: float) -> None:
        """Set how wide searches of the built segments are; see `Collection.tune`."""
        with self._running:
            for index in self._indexes:
                index.tune(target)

    def run_if_needed(self) -> None:
        """Begin one in the background where enough was written; to be called after writes, without their lock."""
        if time.monotonic() < self._not_before:
            return
        if not any(index.needs_compaction() for index in self._indexes):
            return
        self._flush_if_needed()
        if self._background.acquire(blocking=False):
            threading.Thread(target=self._run_in_background, name=f"compact-{self._name}", daemon=True).start()

    def come_to_rest(self) -> None:
        """Wait, after `closed` was set, for what runs."""
        for index in self._indexes:
            index.come_to_rest()
        with self._running:
            pass

    def _flush_if_needed(self) -> None:
        """Keep memory bounded where writes come faster than a compaction in the background ends."""
        try:
            for index in self._indexes:
                if index.needs_flush():
                    index.flush(self._writes, self._closed)
        except Exception:
            self._rest()

    def _run_in_background(self) -> None:
        step_back()
        try:
            with self._running:
                for index in self._indexes:
                    while index.needs_compaction() and not self._closed.is_set():
                        index.compact(self._writes, self._closed, fully=False)
        except Exception:
            self._rest()
        finally:
            self._background.release()

    def _rest(self) -> None:
        log.exception("collection %s could not be compacted; it is tried again in a while", self._name)
        self._not_before = time.monotonic() + RETRY_S
