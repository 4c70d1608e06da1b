"""Vectors of what was searched for, by which an index is tuned; the texts and pictures are not kept."""

import logging
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.index.tuning import QUERIES
from indexer.types import Vector

log = logging.getLogger(__name__)

FILE = "queries.f16"
FEWEST = 32
"""Of fewer queries nothing can be said."""


class Asked:
    """The latest different queries of a generation, kept in its folder while it is closed. Thread-safe."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder, self._dimension = folder, dimension
        self._lock = threading.Lock()
        self._vectors = dict.fromkeys(row.tobytes() for row in self._read())

    def note(self, vector: Vector) -> None:
        """Somebody searches for this; it takes the place of the query that was asked longest ago."""
        key = vector.astype("<f2").tobytes()
        with self._lock:
            self._vectors.pop(key, None)
            self._vectors[key] = None
            if len(self._vectors) > QUERIES:
                del self._vectors[next(iter(self._vectors))]

    def sample(self) -> NDArray[np.float32]:
        """The queries [n, d]; none where they are too few to tell anything."""
        with self._lock:
            together = b"".join(self._vectors) if len(self._vectors) >= FEWEST else b""
        return np.frombuffer(together, "<f2").reshape(-1, self._dimension).astype(np.float32)

    def save(self) -> None:
        """Keep them for the next start; without them an index is tuned as well as it was before anybody searched."""
        partial = self._folder / f"{FILE}.partial"
        with self._lock:
            together = b"".join(self._vectors)
        try:
            if together:
                self._folder.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(together)
                partial.replace(self._folder / FILE)
        except OSError as error:
            log.warning("the sample of queries is not kept: %s", error)

    def _read(self) -> NDArray[np.float16]:
        try:
            return np.fromfile(self._folder / FILE, dtype="<f2").reshape(-1, self._dimension)
        except (OSError, ValueError):  # there is none, or a part of one
            return np.empty((0, self._dimension), dtype="<f2")
