"""`Lanes`: those who wait for an answer go first, and bulk work fills what is left."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Lane = Literal["interactive", "bulk"]

MAX_WAIT_S = 0.025
WORK_S = 0.05
"""A thread of bulk work waits for so long at most, and has then so long to itself, whoever is served: under any load
it gets two thirds of its time. A search takes less than it waits, or is held up by others than bulk work."""


QUIET_S = 1.0
"""Who was served comes again within so long, more often than not."""


class Lanes:
    """The two lanes of a process, whose cores all models and all collections share. Thread-safe.

    Threads have no priority that Python could set: one that holds the interpreter's lock, or a core, holds up all.
    So bulk work goes in small steps, and takes none of them while somebody is served.
    """

    def __init__(self) -> None:
        self._changes = threading.Condition()
        self._served = 0
        self._last_served = -QUIET_S
        self._own = threading.local()

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
                self._last_served = time.monotonic()
                if not self._served:
                    self._changes.notify_all()

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is served, nor was a moment ago."""
        with self._changes:
            return not self._served and time.monotonic() - self._last_served > QUIET_S

    def give_way(self) -> None:
        """Wait while anybody is served, but for no longer than is fair."""
        if time.monotonic() < getattr(self._own, "until", 0.0):
            return
        with self._changes:
            if not self._changes.wait_for(lambda: not self._served, MAX_WAIT_S):
                self._own.until = time.monotonic() + WORK_S
