"""Segments of clustered vectors, built and opened."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.index.kinds import IndexSetting
from indexer.index.segment import Header, Segment, write_segment
from indexer.types import VectorRows

DIMENSION = 48
BLOCK = 1000


def pictures(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Clustered unit vectors of float16 values, all in one cone."""
    return _unit(count, seed, axis=0)


def texts(count: int, seed: int = 1) -> NDArray[np.float32]:
    """Of the same clusters, in another cone."""
    return _unit(count, seed, axis=1)


def write(
    folder: Path,
    kind: IndexSetting,
    vectors: NDArray[np.float32],
    *,
    others: NDArray[np.float32] | None = None,
    stop: threading.Event | None = None,
) -> bool:
    """One segment, the items numbered from 1 as their vectors are."""
    header = Header("f", "g", vectors.shape[1], 0, len(vectors), len(vectors), kind)
    return write_segment(
        folder,
        header,
        rows(vectors),
        stop or threading.Event(),
        lambda: {"other": texts(200, seed=2) if others is None else others},
    )


def build(folder: Path, kind: IndexSetting, vectors: NDArray[np.float32]) -> Segment:
    """One segment, open."""
    assert write(folder, kind, vectors)
    return Segment.open(folder)[0]


def rows(vectors: NDArray[np.float32]) -> Iterator[VectorRows]:
    """In blocks."""
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        numbers = np.arange(start + 1, start + len(block) + 1)
        yield VectorRows(numbers, numbers, block)


def _unit(count: int, seed: int, axis: int) -> NDArray[np.float32]:
    centres = np.random.default_rng(99).normal(size=(60, DIMENSION))
    rng = np.random.default_rng(seed)
    drawn = centres[rng.integers(0, len(centres), count)] + 0.8 * rng.normal(size=(count, DIMENSION))
    drawn[:, axis] += 6
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn.astype(np.float16).astype(np.float32)
