"""When the quotas of callers are full again: kept in memory, or in a file that several processes map."""

import fcntl
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

REMEMBERED = 10_000
"""Callers and units that are remembered; who came least lately is forgotten first."""
SLOTS = 2**16
"""Of the file, 16 bytes each."""
NEAR = 16
"""Slots in which one caller and unit may be; where all are taken, who has used up least is forgotten."""

_SLOT = np.dtype([("key", "<u8"), ("full_at", "<f8")])


class Kept(Protocol):
    """A number for each caller and unit, by a clock that all processes of the machine share; the past means nothing."""

    def locked(self) -> AbstractContextManager[object]:
        """Keeps out all others between `get` and `put`."""

    def get(self, caller: str, unit: str) -> float:
        """When a quota is full again; minus infinity where nothing is known of it."""

    def put(self, caller: str, unit: str, full_at: float) -> None:
        """Remember it."""


class InMemory:
    """Of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def locked(self) -> AbstractContextManager[object]:
        return self._lock

    def get(self, caller: str, unit: str) -> float:
        return self._full_at.get((caller, unit), -np.inf)

    def put(self, caller: str, unit: str, full_at: float) -> None:
        self._full_at[caller, unit] = full_at
        self._full_at.move_to_end((caller, unit))
        if len(self._full_at) > REMEMBERED:
            self._full_at.popitem(last=False)


class InFile:
    """Of all processes that map a file."""

    def __init__(self, path: Path) -> None:
        self._lock, self._file = threading.Lock(), os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, SLOTS * _SLOT.itemsize)  # of a new file only; it keeps what is in it
        self._slots = np.memmap(path, _SLOT, "r+", shape=(SLOTS,))

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def get(self, caller: str, unit: str) -> float:
        key, near = _places(caller, unit)
        found = self._slots[near][self._slots["key"][near] == key]
        return float(found["full_at"][0]) if len(found) else -np.inf

    def put(self, caller: str, unit: str, full_at: float) -> None:
        key, near = _places(caller, unit)
        keys, times = self._slots["key"][near], self._slots["full_at"][near]
        own = np.flatnonzero(keys == key)
        place = own[0] if len(own) else np.argmin(np.where(keys == 0, -np.inf, times))
        self._slots[near[place]] = key, full_at


def _places(caller: str, unit: str) -> tuple[int, NDArray[np.int64]]:
    key = int.from_bytes(blake2b(f"{unit} {caller}".encode("utf-8", "replace"), digest_size=8).digest(), "little") or 1
    return key, (key % SLOTS + np.arange(NEAR)) % SLOTS
