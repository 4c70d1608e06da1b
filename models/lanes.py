"""`Lanes`: those who wait for an answer go first, and bulk work fills what is left."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from models.sessions import usable_cores

Lane = Literal["interactive", "bulk"]

MAX_WAIT_S = 0.025
WORK_S = 0.05
"""A thread of bulk work waits for so long at most, and has then so long in which it does not wait again, whoever is
served: it goes on under any load. A search takes less than it waits, or is held up by others than bulk work."""

QUIET_S = 1.0
"""Who was served comes again within so long, more often than not."""


class Lanes:
    """The two lanes of a process, whose cores all models and all collections share. Thread-safe.

    Threads have no priority that Python could set: one that holds the interpreter's lock, or a core, holds up all.
    So bulk work goes in small steps, gives way before each of them, and leaves a core to who comes next: a thread that
    loses its core while it holds the lock keeps all others waiting.

    Args:
        cores: Of the process; those of this machine, or of the container, if None.
    """

    def __init__(self, cores: int | None = None) -> None:
        self._changes = threading.Condition()
        self._served = 0
        self._most = max(1, (cores or usable_cores()) - 1)
        """Cores that steps may take while somebody was served lately."""
        self._taken = 0
        """Cores that steps keep busy."""
        self._large = 0
        """Steps of several cores that wait."""
        self._large_taken = 0
        """Those that have begun."""
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

    @contextmanager
    def step(self, cores: int = 1) -> Iterator[None]:
        """A step of bulk work, which the block does: it waits while anybody is served, but for no longer than is fair.

        While somebody was served lately, it also waits for other steps, so that they leave a core. None is begun in
        another one.

        Args:
            cores: That it keeps busy.
        """
        self._give_way()
        with self._changes:
            self._large += cores > 1
            while not self._changes.wait_for(lambda: self._has_room(cores), QUIET_S):
                pass  # that nobody was served for so long is no change that anybody tells of
            self._large -= cores > 1
            self._large_taken += cores > 1
            self._taken += cores
        try:
            yield
        finally:
            with self._changes:
                self._large_taken -= cores > 1
                self._taken -= cores
                self._changes.notify_all()

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is served, nor was a moment ago."""
        with self._changes:
            return self._is_quiet

    @property
    def _is_quiet(self) -> bool:
        return not self._served and time.monotonic() - self._last_served > QUIET_S

    def _has_room(self, cores: int) -> bool:
        if cores == 1 and self._large and not self._large_taken:  # small steps would overtake them for ever
            return self._is_quiet
        return not self._taken or self._taken + cores <= self._most or self._is_quiet

    def _give_way(self) -> None:
        if time.monotonic() < getattr(self._own, "until", 0.0):
            return
        with self._changes:
            if not self._changes.wait_for(lambda: not self._served, MAX_WAIT_S):
                self._own.until = time.monotonic() + WORK_S
