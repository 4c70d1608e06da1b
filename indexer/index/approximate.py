"""Searching a large segment without reading all of its vectors, and what is built for it."""

import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

from indexer.index import graph, ivf
from indexer.index.exact import Nearest, Vectors, rerank, use_threads
from indexer.index.graph import Graph, build_graph, falls_apart
from indexer.index.ivf import Ivf, build_ivf
from indexer.index.kinds import IndexSetting, Kind
from indexer.index.mapping import VectorFile
from indexer.index.selection import Selection
from indexer.index.tuning import TARGET, K, Outside, Queries, Sample, Tuning, cheapest, ladder, sample

FEW_ROWS = 2048
"""So many selected rows, or fewer, are best read one by one."""
ROWS_PER_HIT = 8
"""And so many for each row that is asked for."""
GRAPH_SHARE = 0.2
"""Of the rows, that must be selected for the graph to be faster than the lists: it goes through the others, too."""
GRAPH_HITS = 1024
"""Most rows that the graph is asked for: a beam's cost grows with its width's square."""
LIST_ROWS = 4
"""Selected rows that are to be in the lists that are read, for each candidate."""
CANDIDATES = (200, 800)
SMALLEST_BEAM, LARGEST_BEAM = 16, 2048
FAR = 2**27
"""Components that searches may read in lists (262,144 vectors of 512); where they must read more, a graph is built."""
_UNKNOWN = Tuning(TARGET, {}, 1, CANDIDATES[0])


class Approximate:
    """Inverted lists over the vectors of a segment, and for the kind `hnsw` a graph beside them.

    The graph is faster where most rows are selected. The lists find few among many, or a great number, as well.
    """

    def __init__(self, folder: Path, vectors: Vectors, tuning: Tuning, files: Collection[str]) -> None:
        self._vectors, self._lists, self.tuning = vectors, Ivf.open(folder), tuning
        self._graph = Graph.open(folder) if graph.FILE in files else None
        self.memory_bytes = sum((folder / name).stat().st_size for name in files)
        """Bytes of its mapped files."""

    @property
    def kind(self) -> Kind:
        """That of what there is; a graph is left out where it would fall apart."""
        return "hnsw" if self._graph else "ivf"

    def search(self, queries: Vectors, k: int, selection: Selection) -> Nearest | None:
        """About the k best selected rows of each query [n, d], with exact dot products; None where a scan is better."""
        if selection.live <= max(FEW_ROWS, ROWS_PER_HIT * k):
            return None
        share = selection.live / len(self._vectors)
        if self._graph and share >= GRAPH_SHARE and k <= GRAPH_HITS and self.tuning.ef_search:
            found = self._graph.search(queries, k, selection, round(self.tuning.ef_search / share**0.5) + k)
            return rerank(self._vectors, queries, k, found.rows)  # whose products are rounded as those of the lists
        wanted = min(self.tuning.candidates + 2 * k, selection.live)
        widest = LIST_ROWS * wanted / selection.live * self._lists.lists
        nprobe = round(max(self.tuning.nprobe / share**0.25, widest))
        return rerank(self._vectors, queries, k, self._lists.candidates(queries, wanted, selection, nprobe))

    @classmethod
    def open(cls, folder: Path, vectors: Vectors, files: Collection[str]) -> Self:
        """Map what `build` made for a segment.

        Raises:
            OSError, ValueError, TypeError: It is damaged.
        """
        try:
            return cls(folder, vectors, Tuning.read(folder), files)
        except RuntimeError as error:  # of FAISS
            raise ValueError(f"{folder} cannot be read: {error}") from error

    def tune(self, queries: Sample, target: float) -> Tuning:
        """Take the cheapest widths with which the recall of these queries reaches the target."""
        use_threads(len(queries.queries))
        tuning = self._tuned_lists(queries, target)
        self.tuning = self._tuned_beam(self._graph, queries, tuning) if self._graph else tuning
        return self.tuning

    @property
    def components_read(self) -> float:
        """In the lists, by a search without a filter."""
        return self._vectors.size * self.tuning.nprobe / self._lists.lists

    def problems(self) -> Iterator[str]:
        """What makes it unfit for the segment's vectors."""
        for structure in (self._lists, self._graph):
            if structure and (problem := structure.problem(self._vectors)):
                yield problem

    def _tuned_lists(self, queries: Sample, target: float) -> Tuning:
        def recall(nprobe: int, candidates: int) -> dict[Queries, float]:
            wanted = min(candidates + 2 * K, everything.live)
            return queries.recall(
                lambda vectors: rerank(
                    self._vectors, vectors, K, self._lists.candidates(vectors, wanted, everything, nprobe)
                )
            )

        everything = Selection(None, len(self._vectors))
        for candidates in CANDIDATES:
            nprobe, found = cheapest(ladder(1, self._lists.lists), partial(recall, candidates=candidates), target)
            if min(found.values()) >= target:
                break
        return Tuning(target, found, nprobe, candidates)

    def _tuned_beam(self, searched: Graph, queries: Sample, tuning: Tuning) -> Tuning:
        def recall(beam: int) -> dict[Queries, float]:
            return queries.recall(lambda vectors: searched.search(vectors, K, everything, beam + K))

        everything = Selection(None, len(self._vectors))
        beam, found = cheapest(ladder(SMALLEST_BEAM, LARGEST_BEAM), recall, tuning.target)
        return replace(tuning, ef_search=beam, recall=found)


def build(
    folder: Path, kind: IndexSetting, vectors: VectorFile, outside: Outside, stop: threading.Event
) -> list[str] | None:
    """Write what searches of a segment need, and measure how wide they must be.

    Args:
        kind: `ivf`, `hnsw`, or `auto`: a graph where the lists must be read far to find enough.
        outside: Queries with which it is tuned, beside vectors of its own.

    Returns:
        The files that never change; None when `stop` ended it.
    """
    use_threads(len(vectors.vectors))
    if not build_ivf(folder, vectors, stop):
        return None
    queries = sample(vectors, outside)
    lists = Approximate(folder, vectors.vectors, _UNKNOWN, files := [ivf.FILE])
    tuning = lists.tune(queries, TARGET)
    wanted = kind == "hnsw" or (kind == "auto" and lists.components_read > FAR)
    if wanted and not falls_apart(vectors):
        if not build_graph(folder, vectors, stop):
            return None
        files.append(graph.FILE)
        tuning = Approximate(folder, vectors.vectors, tuning, files).tune(queries, TARGET)
    tuning.write(folder)
    return files
