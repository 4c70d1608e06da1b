"""How wide a segment's searches must be to find what exact ones find: measured, and kept beside it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.index.exact import Nearest, Vectors, scan, use_threads
from indexer.index.mapping import VectorFile
from indexer.index.selection import Selection

Queries = Literal["stored", "other", "asked"]
Outside = Mapping[Queries, Vectors]
"""Queries that are no vectors of a segment: of the other modality, and such as were asked."""
FILE = "tuning.json"
TARGET = 0.98
"""Recall@10 against exact search, of each kind of queries."""
MARGIN = 0.01
"""What recall on other queries may be below that on the sampled ones."""
QUERIES = 256
"""Sampled of each kind: the standard error of a recall of 0.98 is then 0.003."""
K = 10


@dataclass(frozen=True)
class Tuning:
    """Widths of a segment's searches, and the recall@10 that was measured with them."""

    target: float
    recall: Mapping[Queries, float]
    """By kind of queries: `stored` vectors of the segment, of the `other` modality, and such as were `asked` lately."""
    nprobe: int
    """Inverted lists that are read."""
    candidates: int
    """Rows that are ranked again, beside two for each one that is asked for."""
    ef_search: int | None = None
    """Beam in the graph."""

    @classmethod
    def read(cls, folder: Path) -> "Tuning":
        """What `write` wrote; raises `OSError`, `ValueError` or `TypeError` if that is damaged."""
        tuning = cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        if not (tuning.nprobe > 0 and tuning.candidates > 0 and (tuning.ef_search is None or tuning.ef_search > 0)):
            raise ValueError(f"{folder / FILE} holds widths that are not positive")
        return tuning

    def write(self, folder: Path) -> None:
        """Put it beside the segment's files, as a whole or not at all."""
        partial = folder / f"{FILE}.partial"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / FILE)


@dataclass(frozen=True)
class Sample:
    """Queries by kind, each with the rows that an exact search finds."""

    queries: Mapping[Queries, Vectors]
    rows: Mapping[Queries, NDArray[np.int64]]

    def recall(self, search: Callable[[Vectors], Nearest]) -> dict[Queries, float]:
        """Share of the ten best rows that a search finds, by kind of queries."""
        return {kind: _overlap(search(queries).rows, self.rows[kind]) for kind, queries in self.queries.items()}


def sample(file: VectorFile, outside: Outside) -> Sample:
    """Queries against a file's vectors.

    Text queries are out of the distribution of image vectors and harder to answer, so that vectors of the other
    modality are sampled too. Where there are none, sums of two vectors without their common part stand for them.
    """
    stored = file.sample(QUERIES, seed=2)
    stand_in = stored + np.roll(stored, 1, axis=0) - 2 * stored.mean(axis=0)
    queries: dict[Queries, Vectors] = {"stored": stored, "other": stand_in}
    queries.update((kind, np.ascontiguousarray(some[:QUERIES])) for kind, some in outside.items() if len(some))
    return Sample(queries, {kind: _exact(file, wanted) for kind, wanted in queries.items()})


def cheapest(
    values: list[int], measure: Callable[[int], dict[Queries, float]], target: float
) -> tuple[int, dict[Queries, float]]:
    """The first of the ascending values with which the recall of each kind of queries holds, else the last."""
    for value in values:
        recall = measure(value)
        if min(recall.values()) >= min(target + MARGIN, 1.0):
            break
    return value, recall


def ladder(first: int, last: int) -> list[int]:
    """Values from the first to the last, each about a fifth larger than the one before."""
    steps = np.geomspace(first, max(first, last), max(2, round(np.log(max(last / first, 1)) / np.log(1.2)) + 1))
    return sorted(set(np.ceil(steps).astype(int).tolist()))


def _overlap(found: NDArray[np.int64], best: NDArray[np.int64]) -> float:
    return float((best[:, :, None] == found[:, None, :]).any(axis=2).mean())


def _exact(file: VectorFile, queries: Vectors) -> NDArray[np.int64]:
    k = min(K, len(file.vectors))
    heap = faiss.ResultHeap(len(queries), k, keep_max=True)
    use_threads(len(queries))
    for start, block in file.blocks():
        found = scan(block, queries, min(k, len(block)), Selection(None, len(block)))
        heap.add_result(found.similarities, found.rows + start)
    heap.finalize()
    return np.asarray(heap.I)
