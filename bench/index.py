"""Kinds of segments: what each costs to build and to hold, how fast it answers, and what it finds."""

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.index import graph, ivf
from indexer.index.exact import Vectors, scan, use_threads
from indexer.index.kinds import IndexSetting
from indexer.index.segment import Header, Segment, write_segment
from indexer.index.selection import ItemSet
from indexer.index.vector_index import Selected
from indexer.types import VectorRows

KINDS: tuple[IndexSetting, ...] = ("flat", "auto", "hnsw")
SELECTIVITIES = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.9)
CLUSTERS, LATENT, SPREAD = 1000, 48, 0.7
GAP = 4.0
"""Length of what all vectors of one modality have in common; the rest of each has a length of about 5."""
BLOCK = 4096
BATCH = 256
QUERIES = 100
K = 10


class World:
    """Clusters in a space of few dimensions, seen as pictures and as texts: two cones that hardly meet."""

    def __init__(self, dimension: int) -> None:
        rng = np.random.default_rng(0)
        self._axes = rng.standard_normal((LATENT, dimension), dtype=np.float32) / dimension**0.5
        self._axes *= np.arange(1, LATENT + 1, dtype=np.float32)[:, None] ** -0.3
        self._centres = rng.standard_normal((CLUSTERS, LATENT), dtype=np.float32)
        self._sizes = rng.dirichlet(np.ones(CLUSTERS))
        directions = rng.standard_normal((2, dimension), dtype=np.float32)
        self._gaps = GAP * directions / np.linalg.norm(directions, axis=1, keepdims=True)

    def pictures(self, count: int, seed: int) -> Vectors:
        """Stored vectors [n, d]."""
        return self._seen(count, seed, self._gaps[0], SPREAD, 0.5)

    def texts(self, count: int, seed: int) -> Vectors:
        """Queries [n, d], out of the distribution of the pictures: of another cone, less sure of their cluster."""
        return self._seen(count, seed, self._gaps[1], 1.2 * SPREAD, 1.0)

    def _seen(self, count: int, seed: int, gap: Vectors, spread: float, noise: float) -> Vectors:
        rng = np.random.default_rng(seed)
        centres = self._centres[rng.choice(CLUSTERS, count, p=self._sizes)]
        latent = centres + spread * rng.standard_normal((count, LATENT), dtype=np.float32)
        dimension = self._axes.shape[1]
        seen = latent @ self._axes + gap
        seen += noise / dimension**0.5 * rng.standard_normal((count, dimension), dtype=np.float32)
        seen /= np.linalg.norm(seen, axis=1, keepdims=True)
        return seen.astype(np.float16).astype(np.float32)


def run(count: int = 1_000_000, dimension: int = 512) -> None:
    """Print the tables."""
    world = World(dimension)
    print(f"\nSegments of {count:,} x {dimension}, {faiss.omp_get_max_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            measure(kind, Path(folder), world, count, dimension)


def measure(kind: IndexSetting, folder: Path, world: World, count: int, dimension: int) -> None:
    """One kind: the line of the segment, and a line for each selectivity."""
    header = Header("bench", "bench", dimension, 0, count, count, kind)
    started = time.perf_counter()
    write_segment(
        folder / kind,
        header,
        blocks(world, count),
        threading.Event(),
        lambda: {"other": world.texts(BATCH, seed=10**6)},
    )
    built_s = time.perf_counter() - started
    started = time.perf_counter()
    segment, _ = Segment.open(folder / kind)
    opened_s = time.perf_counter() - started
    bytes_each = segment.memory_bytes / count
    print(
        f"\n{kind}: written and tuned in {built_s:.0f} s, opened in {opened_s:.2f} s, {bytes_each:.0f} bytes a vector"
    )
    if segment.approximate:
        print(f"  {segment.approximate.kind}: {segment.approximate.tuning}")
    for name, queries in {"pictures": world.pictures(BATCH, 10**6 + 1), "texts": world.texts(BATCH, 10**6 + 2)}.items():
        show(segment, name, queries, folder / kind)
    if segment.approximate:
        show_filtered(segment, world.texts(QUERIES, 10**6 + 3))


def blocks(world: World, count: int) -> Iterator[VectorRows]:
    """Rows of a segment, drawn anew each time."""
    for start in range(0, count, BLOCK):
        numbers = np.arange(start + 1, min(start + BLOCK, count) + 1)
        yield VectorRows(numbers, numbers, world.pictures(len(numbers), seed=start))


def show(segment: Segment, name: str, queries: Vectors, folder: Path) -> None:
    """Recall and speed without a filter, one by one and in batches, beside FAISS's own search of the same files."""
    selected = select(segment, None)
    recall = share_found(selected, queries)
    alone = seconds(lambda: [selected.search(query, K) for query in queries[:QUERIES]]) / QUERIES
    batch = seconds(lambda: selected.search_many(queries, K)) / len(queries)
    bare = seconds(bare_search(segment, queries, folder)) / len(queries)
    print(
        f"  {name:<9} recall@{K} {recall:.4f}; one by one {1 / alone:,.0f}/s; batches of {BATCH}: {1 / batch:,.0f}/s, "
        f"{100 * bare / batch:.0f} % of FAISS alone"
    )


def bare_search(segment: Segment, queries: Vectors, folder: Path) -> Callable[[], object]:
    """FAISS's search of a batch, without what is around it here."""
    if segment.approximate is None:
        rows = segment.view().rows.vectors
        return lambda: faiss.knn(queries, rows, K, metric=faiss.METRIC_INNER_PRODUCT)
    tuning = segment.approximate.tuning
    if tuning.ef_search:
        index = faiss.read_index(str(folder / graph.FILE))
        index.hnsw.efSearch = tuning.ef_search
        return partial(index.search, queries, K)
    index = faiss.read_index(str(folder / ivf.FILE))
    index.nprobe = tuning.nprobe
    return partial(index.search, queries, tuning.candidates)


def show_filtered(segment: Segment, queries: Vectors) -> None:
    """Recall and time under filters, beside the search without one."""
    unfiltered = cpu_s(select(segment, None), queries)
    print(f"  {'matching':>9}{'recall@10':>11}{'ms':>8}{'/unfiltered':>13}   ({1000 * unfiltered:.2f} ms unfiltered)")
    draw = np.random.default_rng(5).random(segment.live)
    for share in SELECTIVITIES:
        selected = select(segment, draw < share)
        filtered = cpu_s(selected, queries)
        recall = share_found(selected, queries)
        print(f"  {100 * share:>8.2f}%{recall:>11.4f}{1000 * filtered:>8.2f}{filtered / unfiltered:>13.2f}", flush=True)


def select(segment: Segment, chosen: NDArray[np.bool_] | None) -> Selected:
    """All rows, or those of chosen items; item 1 is the first row's."""
    view = segment.view()
    return Selected([(view, view.select(None if chosen is None else ItemSet(1, chosen)))])


def share_found(selected: Selected, queries: Vectors) -> float:
    """Share of the truly best that a search finds."""
    [(view, selection)] = selected.parts
    use_threads(len(queries))
    best = scan(view.rows.vectors, queries, min(K, selection.live), selection).rows + 1
    found = [selected.search(query, K).items for query in queries]
    return float(np.mean([np.isin(right, own).mean() for own, right in zip(found, best, strict=True)]))


def cpu_s(selected: Selected, queries: Vectors, repeats: int = 3) -> float:
    """Processor time of a query, one by one; the least of some runs."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        for query in queries:
            selected.search(query, K)
        times.append(time.process_time() - started)
    return min(times) / len(queries)


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """The least of some runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    run(*map(int, sys.argv[1:3]))
