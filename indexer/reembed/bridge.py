"""A bridge between two models: while a generation is filled, texts embedded by its model search the old vectors.

The two spaces are laid upon each other by the map that moves the new vectors of some contents nearest to their old
ones and changes no angle (orthogonal Procrustes: Schönemann 1966, Psychometrika 31).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.collection import Collection
from indexer.generation import Generation
from indexer.reembed.comparison import overlap, sample, texts_of
from indexer.types import MODALITIES
from models.encoder import Encoder, TextEmbeddings
from models.preprocessing import Region
from models.query_cache import QueryCache

Matrix: TypeAlias = NDArray[np.float32]

PAIRS_PER_DIMENSION = 2
"""With fewer pairs the map would be that of their noise."""
MAX_PAIRS = 20_000
HELD_OUT = 10
"""Of so many items one is left out of the fit, so that the bridge can be measured by what it has not seen."""
QUERIES = 200


class BridgedEncoder:
    """The old model, but for texts: those the new one embeds, and its vectors are mapped into the old space.

    Args:
        matrix: [new dimension, old dimension].
    """

    def __init__(self, old: Encoder, new: Encoder, matrix: Matrix) -> None:
        self._old, self._new, self._matrix = old, new, matrix
        self.dimension, self.fingerprint = old.dimension, old.fingerprint
        self.queries = QueryCache()  # neither model's, whose texts have other vectors

    @property
    def logit_scale(self) -> float:
        return self._old.logit_scale

    @property
    def bulk(self) -> "BridgedEncoder":
        return BridgedEncoder(self._old.bulk, self._new.bulk, self._matrix)

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        return self._old.preprocess(image)

    def enough(self, size: tuple[int, int]) -> tuple[int, int]:
        return self._old.enough(size)

    def region(self, size: tuple[int, int]) -> Region:
        return self._old.region(size)

    def encode_pixels(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self._old.encode_pixels(pixels)

    def encode_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        embedded = self._new.encode_texts(texts)
        mapped = embedded.vectors @ self._matrix
        lengths = np.linalg.norm(mapped, axis=1, keepdims=True)
        return embedded._replace(vectors=mapped / np.maximum(lengths, np.finfo(np.float32).tiny))


@dataclass(frozen=True)
class Recall:
    """What a bridge is worth, by texts that it was not fitted on; None where there are none."""

    pairs: int
    """Contents that it was fitted on."""
    queries: int
    overlap_at_10_with_active: float | None
    """Mean share of the old model's own first ten hits."""
    overlap_at_10_with_candidate: float | None
    """Mean share of the hits that the new generation gives, now that it is filled."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the job's report."""
        return asdict(self)


class Bridge:
    """Lets the active generation answer texts by the model of the one that is being filled, within its context."""

    def __init__(self, collection: Collection, candidate: Generation) -> None:
        self._collection, self._active, self._candidate = collection, collection.generations.active, candidate
        self._due = PAIRS_PER_DIMENSION * max(self._active.row.dimension, candidate.row.dimension)
        self._pairs = 0
        self._encoder: BridgedEncoder | None = None

    def fit_if_due(self) -> None:
        """Once there are enough pairs, and again whenever they have doubled."""
        if self._due <= sum(index.count for index in self._candidate.indexes.values()) and self._pairs < MAX_PAIRS:
            self._fit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._active.bridge(None)

    def measure(self, check: Callable[[], None]) -> Recall:
        """The bridge as it was last fitted, by texts that it has not seen.

        Args:
            check: Called now and then; what it raises ends this.
        """
        if self._encoder is None or not self._active.can_embed:
            return Recall(self._pairs, 0, None, None)
        bridged = self._active.searcher_with(encoder=self._encoder.bulk)
        searchers = self._active.bulk_searcher, self._candidate.bulk_searcher
        overlaps = []
        for query in texts_of(self._collection, sample(self._held_out(), QUERIES)):
            check()
            overlaps.append([overlap(bridged, searcher, query) for searcher in searchers])
        means = np.mean(overlaps, axis=0).tolist() if overlaps else [None, None]
        return Recall(self._pairs, len(overlaps), *means)

    def _fit(self) -> None:
        new, old = self._matched()
        self._pairs, self._due = len(new), max(self._due, 2 * len(new))
        self._encoder = BridgedEncoder(self._active.encoder, self._candidate.encoder, nearest_rotation(new, old))
        self._active.bridge(self._encoder)

    def _matched(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """New and old vectors of the same pictures and texts."""
        pairs = []
        for modality in MODALITIES:
            new, old = (one.indexes[modality].snapshot() for one in (self._candidate, self._active))
            items, new_rows, old_rows = np.intersect1d(new.items, old.items, assume_unique=True, return_indices=True)
            chosen = sample(np.flatnonzero(items % HELD_OUT), MAX_PAIRS // len(MODALITIES))
            pairs.append((new.vectors(new_rows[chosen]), old.vectors(old_rows[chosen])))
        return np.concatenate([new for new, _ in pairs]), np.concatenate([old for _, old in pairs])

    def _held_out(self) -> NDArray[np.int64]:
        items = self._active.indexes["text"].snapshot().items
        return np.asarray(items[items % HELD_OUT == 0])


def nearest_rotation(new: Matrix, old: Matrix) -> Matrix:
    """The map [new dimension, old dimension] that brings the rows of `new` nearest to those of `old`.

    It keeps all angles where the old space has room for that; else those within the directions that match best.
    """
    left, _, right = np.linalg.svd(new.T @ old, full_matrices=False)
    return np.asarray(left @ right, dtype=np.float32)
