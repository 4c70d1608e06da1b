"""`Lanes`: those who wait for an answer go first, and bulk work fills what is left."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MAX_WAIT_S = 0.05
"""Bulk work goes on after so long whoever is served, so that it comes to an end under any load."""


class Lanes:
    """The two lanes of a server: a search or an upload, and the steps of jobs. Thread-safe.

    Threads have no priority that Python could set: one that holds the interpreter's lock, or a core, holds up all.
    So a job does its work in small steps, and takes none of them while somebody waits.
    """

    def __init__(self) -> None:
        self._changes = threading.Condition()
        self._served = 0

    @contextmanager
    def first(self) -> Iterator[None]:
        """Somebody is served in this block."""
        with self._changes:
            self._served += 1
        try:
            yield
        finally:
            with self._changes:
                self._served -= 1
                if not self._served:
                    self._changes.notify_all()

    def give_way(self) -> None:
        """Wait while anybody is served."""
        with self._changes:
            self._changes.wait_for(lambda: not self._served, MAX_WAIT_S)
