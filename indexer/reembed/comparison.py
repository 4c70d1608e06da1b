"""Two generations side by side, from samples: does the new one find what it should, and what will change for users."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from indexer.collection import Collection
from indexer.generation import Generation
from indexer.index.snapshot import Snapshot, lengths
from indexer.search.searcher import Searcher
from indexer.types import MODALITIES, Modality, SearchRequest, Term, Vector

_T = TypeVar("_T")

SAMPLE = 200
"""Items that are looked for, and texts that are searched for."""
PAIRS = 2000
"""Items whose picture and text are compared."""
DEPTH = 10
TOLERANCE = 1e-3
"""What half precision leaves of a cosine: a vector that finds another one as near has found itself."""


@dataclass(frozen=True)
class Measures:
    """One generation; what cannot be said of it is None."""

    generation: int
    model: str
    vectors: dict[Modality, int]
    zero_vectors: int
    self_retrieval: float
    """Share of sampled vectors that are the best match of themselves; 1 of none."""
    alignment: float | None
    """Mean cosine of a picture and its text."""
    recall_at_10: float | None
    """Share of sampled texts whose own picture is among the ten best."""
    modality_gap: float | None
    """Distance of the mean picture from the mean text (Liang et al. 2022, arXiv:2203.02053)."""


@dataclass(frozen=True)
class Comparison:
    """The active generation and the one that is to follow it."""

    active: Measures
    candidate: Measures
    queries: int
    overlap_at_10: float | None
    """Mean share of the first ten hits that both generations give for recent queries and for items' texts."""

    def to_json(self) -> dict[str, Any]:
        """As it stands on the job."""
        return asdict(self)


def compare(
    collection: Collection, active: Generation, candidate: Generation, check: Callable[[], None] = lambda: None
) -> Comparison:
    """Measure two open generations; what is sampled is the same whenever the collection is.

    Args:
        check: Called now and then; what it raises ends this.
    """
    queries = _queries(collection, active) if active.can_embed else []
    searchers = active.bulk_searcher, candidate.bulk_searcher
    overlaps = [overlap(*searchers, query) for query in _checked(queries, check)]
    return Comparison(
        _measure(active, check),
        _measure(candidate, check),
        len(queries),
        float(np.mean(overlaps)) if overlaps else None,
    )


def _queries(collection: Collection, generation: Generation) -> list[str]:
    """What was searched for recently, and texts of items."""
    texts = texts_of(collection, sample(generation.indexes["text"].snapshot().items, SAMPLE))
    return list(dict.fromkeys([*collection.recent_queries, *texts]))[:SAMPLE]


def texts_of(collection: Collection, items: NDArray[np.int64]) -> list[str]:
    """The texts of those items that have one."""
    return [one.item.text for one in collection.stored(items.tolist()).values() if one.item.text]


def overlap(one: Searcher, other: Searcher, query: str) -> float:
    """Share of the first ten hits of a text that two searchers both give."""
    request = SearchRequest((Term(text=query),), limit=DEPTH)
    found = [{hit.id for hit in searcher.search(request).hits} for searcher in (one, other)]
    return len(found[0] & found[1]) / max(1, *map(len, found))


def _measure(generation: Generation, check: Callable[[], None]) -> Measures:
    snapshots = {modality: index.snapshot() for modality, index in generation.indexes.items()}
    image, text = (snapshots[modality] for modality in MODALITIES)
    image_rows, text_rows = _pairs(image, text)
    found = [
        _finds(generation, modality, vector, item, depth=1)
        for modality in MODALITIES
        for vector, item in _checked(_sampled(snapshots[modality]), check)
    ]
    some = text_rows[:SAMPLE]
    texts = zip(text.vectors(some), text.items[some].tolist(), strict=True)
    recalled = [_finds(generation, "image", vector, item, depth=DEPTH) for vector, item in _checked(texts, check)]
    cosines = np.vecdot(image.directions(image_rows), text.directions(text_rows))
    gap = None if image.centroid is None or text.centroid is None else np.linalg.norm(image.centroid - text.centroid)
    return Measures(
        generation=generation.number,
        model=generation.row.model,
        vectors={modality: len(snapshot) for modality, snapshot in snapshots.items()},
        zero_vectors=sum(_zeros(snapshot, check) for snapshot in snapshots.values()),
        self_retrieval=float(np.mean(found)) if found else 1.0,
        alignment=float(cosines.mean()) if len(cosines) else None,
        recall_at_10=float(np.mean(recalled)) if recalled else None,
        modality_gap=None if gap is None else float(gap),
    )


def _finds(generation: Generation, modality: Modality, vector: Vector, item: int, depth: int) -> bool:
    """Whether a vector finds an item, or as good ones, among the first."""
    index = generation.indexes[modality]
    found = index.search(vector, depth)
    if item in found.items or not len(found.items):
        return True
    own = index.similarities(vector, np.array([item], dtype=np.int64))[0]
    return bool(np.isnan(own) or own >= found.similarities[-1] - TOLERANCE)


def _sampled(snapshot: Snapshot) -> Sequence[tuple[Vector, int]]:
    rows = sample(np.arange(len(snapshot)), SAMPLE)
    return list(zip(snapshot.vectors(rows), snapshot.items[rows].tolist(), strict=True))


def _pairs(image: Snapshot, text: Snapshot) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of some items that have both."""
    _, image_rows, text_rows = np.intersect1d(image.items, text.items, assume_unique=True, return_indices=True)
    some = sample(np.arange(len(image_rows)), PAIRS)
    return image_rows[some], text_rows[some]


def _zeros(snapshot: Snapshot, check: Callable[[], None]) -> int:
    return sum(int((lengths(block) < TOLERANCE).sum()) for block in _checked(snapshot.blocks(), check))


def _checked(values: Iterable[_T], check: Callable[[], None]) -> Iterator[_T]:
    for value in values:
        check()
        yield value


def sample(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    if len(values) <= size:
        return values
    return np.random.default_rng(0).choice(values, size, replace=False)
