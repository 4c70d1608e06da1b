"""The words of `indexer` as frozen data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from indexer.errors import IndexerError
from indexer.index.kinds import IndexSetting, Kind
from indexer.index.tuning import Tuning
from indexer.search.filters import Filter
from models.errors import ModelError

Modality = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Signal = Literal["image", "text", "lexical"]
"""What a score is made of: the similarities of an item's vectors, and how well the words of its text match."""
Mode = Literal["vector", "lexical", "hybrid"]
Fusion = Literal["weighted", "rrf"]
Status = Literal["created", "updated", "unchanged"]
Action = Literal["flag", "reject"]
Vector: TypeAlias = NDArray[np.float32]
DEFAULT_WEIGHTS: Mapping[Modality, float] = {"image": 1.0, "text": 0.3}


class VectorRows(NamedTuple):
    """Stored vectors of one modality, ascending by sequence number; float32 values that are exact float16."""

    seqs: NDArray[np.int64]
    """[n]"""
    items: NDArray[np.int64]
    """[n] primary keys of their items."""
    vectors: NDArray[np.float32]
    """[n, dimension]"""


@dataclass(frozen=True)
class NewItem:
    """What a client wants stored: at least one of image (encoded bytes), text and ready vectors."""

    id: str
    image: bytes | None = None
    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    vectors: Mapping[Modality, list[float]] | None = None
    fingerprint: str | None = None
    source_url: str | None = None
    """Where the image was fetched, so that it can be had again where originals are not stored."""
    keep_image: bool = False
    """Without an `image`, whether the stored one stays: it could not be had again, which is no wish to lose it."""


@dataclass(frozen=True)
class Duplicate:
    """Another item with (nearly) the same picture; `score` is the cosine, 1.0 for identical bytes."""

    id: str
    score: float


@dataclass(frozen=True)
class Flag:
    """A watch rule matched an item; with the action `reject` the item was kept out, and need not be there."""

    item: str
    rule: str
    action: Action
    modality: Modality
    """Whose vector exceeds the rule's threshold the most."""
    score: float
    """The cosine, as search shows it in `scores`."""
    created_at: datetime


@dataclass(frozen=True)
class Upserted:
    """An acknowledged item: durable, and found by the next search."""

    id: str
    status: Status
    modalities: tuple[Modality, ...]
    alignment: float | None
    truncated: bool
    duplicates: tuple[Duplicate, ...] = ()
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class Failed:
    """An item that was not stored, and why; the others of its batch were."""

    id: str
    error: IndexerError | ModelError


Outcome: TypeAlias = Status | Failed
"""What became of an item."""


@dataclass(frozen=True)
class Item:
    """One catalogue entry as stored; times are UTC."""

    id: str
    text: str | None
    metadata: dict[str, Any]
    modalities: tuple[Modality, ...]
    image_sha256: str | None
    image_type: str | None
    created_at: datetime
    updated_at: datetime


class FoundItem(NamedTuple):
    """An item as a search finds it, with what is read of it for that."""

    pk: int
    id: str
    text: str | None
    metadata_json: str
    """As it is stored: most of it goes on to a client as it is."""
    image_sha256: str | None
    image_vector: bytes | None
    """float16, little-endian; None also where vectors are not read."""
    text_vector: bytes | None

    @property
    def metadata(self) -> dict[str, Any]:
        """What `metadata_json` says."""
        metadata: dict[str, Any] = json.loads(self.metadata_json)
        return metadata

    @property
    def vectors(self) -> dict[Modality, Vector]:
        """Its vectors that were read, float32 [dimension]."""
        stored: dict[Modality, bytes | None] = {"image": self.image_vector, "text": self.text_vector}
        return {modality: from_blob(blob) for modality, blob in stored.items() if blob is not None}


def from_blob(blob: bytes) -> Vector:
    """A vector as the catalogue stores it, float32 [dimension]."""
    return np.frombuffer(blob, dtype="<f2").astype(np.float32)


@dataclass(frozen=True)
class Term:
    """One part of a query, exactly one of text, image (encoded bytes), item (id) and vector; negative pushes away."""

    weight: float = 1.0
    text: str | None = None
    image: bytes | None = None
    item: str | None = None
    vector: Sequence[float] | None = None


@dataclass(frozen=True)
class NewRule:
    """A watch rule as a client wants it; an item is matched where any of its cosines reaches its threshold."""

    name: str
    terms: tuple[Term, ...]
    thresholds: Mapping[Modality, float]
    action: Action
    webhook: str | None = None


@dataclass(frozen=True)
class Rule:
    """A watch rule as stored, which judges each item that enters from then on.

    A text or picture among the terms is kept, so that the rule can be embedded by another model. Of an item or vector
    among them the vector is kept, which holds for the model that made it only: a rule with such a term judges nothing
    under another model, until it is put again.
    """

    name: str
    terms: tuple[Term, ...]
    thresholds: Mapping[Modality, float]
    action: Action
    webhook: str | None
    created_at: datetime


@dataclass(frozen=True)
class FacetCount:
    """How many items have a value in a field, or in the list that the field is."""

    value: str | int | float | bool
    count: int


@dataclass(frozen=True)
class SearchRequest:
    """What to look for; `target` says which vectors are searched and how much each counts, in hybrid mode words too."""

    terms: tuple[Term, ...]
    limit: int = 10
    offset: int = 0
    min_score: float | None = None
    target: Mapping[Signal, float] | None = None
    mode: Mode = "vector"
    """Ranked by vectors, by the words of the texts, or by both."""
    fusion: Fusion = "weighted"
    """By standardised scores, or by ranks."""
    include_vectors: bool = False
    explain: bool = False
    filter: Filter | None = None
    facets: tuple[str, ...] = ()
    """Fields of the metadata whose values are counted."""
    group_by: str | None = None
    """Field of the metadata of whose every value at most `group_size` items are hits."""
    group_size: int = 1
    collapse_duplicates: float | None = None
    """Cosine from which an item's picture is a near duplicate of a better hit's, for which the item is no hit."""
    diversity: float = 0.0
    """From 0 (by score alone) to 1 (as different from those before as can be)."""
    generation: int | None = None
    """Which one is to answer; the active one, or a canary, if None."""


class SignalShare(NamedTuple):
    """What one signal adds to an item's score."""

    score: float
    """As in `Hit.scores`."""
    share: float
    """Of the item's signals; they add up to 1."""
    contribution: float
    standardised: float | None = None
    """By how many standard deviations the item is nearer to the query than the mean of the collection; not of ranks."""
    rank: int | None = None
    """From 1, where ranks are fused; None beyond those that count."""


class TermShare(NamedTuple):
    """What one term of the query adds to an item's score."""

    share: float
    """Of the terms; without their signs they add up to 1."""
    scores: dict[Signal, float]
    """Cosine with each vector; bm25 of a text's words."""
    contribution: float | None
    """None where ranks are fused, which are those of all terms together."""


class Explanation(NamedTuple):
    """Where a score comes from: it is the base with the contributions of all signals, or with those of all terms."""

    base: float
    """Score of an item that is as near to the query as the mean of the collection, and has none of the words."""
    signals: dict[Signal, SignalShare]
    terms: tuple[TermShare, ...]


class Plan(NamedTuple):
    """How a search was done."""

    vectors: Mapping[Modality, int]
    """Number of vectors that were searched."""
    matches: int | None
    """Items that match the filter, None where all items were searched."""
    rounds: int
    """Times that the best so many of each signal were asked for until they were enough."""
    candidates: int
    """Items that were scored."""


class Hit(NamedTuple):
    """One found item; `scores` are cosines per modality, and bm25 where words were looked for.

    `score` is on the cosine scale of the primary target; in lexical mode bm25; of ranks their reciprocals' mean.
    """

    id: str
    score: float
    scores: dict[Signal, float]
    item: FoundItem
    vectors: dict[Modality, Vector] | None = None
    explanation: Explanation | None = None


class Took(NamedTuple):
    """Milliseconds; the searches of a batch are embedded and read together, and all tell what the batch took."""

    embed: float
    search: float
    hydrate: float
    """Reading the hits."""
    total: float
    """With what the search waited for a thread."""


@dataclass(frozen=True)
class SearchResult:
    """A page of hits, best first; `total` is the number of items that match the filter and could be found."""

    hits: list[Hit]
    total: int
    facets: Mapping[str, Sequence[FacetCount]]
    """Of the items that match the filter."""
    generation: int
    model: str
    """Of that generation."""
    truncated: bool
    plan: Plan
    took: Took
    bridged: bool = False
    """Texts of the query were embedded by the model that is to come; see `indexer.reembed.bridge`."""


SearchOutcome = SearchResult | IndexerError | ModelError
"""What became of one search of a batch."""


@dataclass(frozen=True)
class Representative:
    """An item that stands for others, and for how many (itself included), where that is counted."""

    item: Item
    cluster_size: int | None


@dataclass(frozen=True)
class CollectionSettings:
    """What a collection is made with, and keeps."""

    model: str = "default"
    modality_weights: Mapping[Modality, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    store_originals: bool = True
    index: IndexSetting = "auto"


@dataclass(frozen=True)
class SegmentInfo:
    """A built segment."""

    kind: Kind
    vectors: int
    memory_bytes: int
    tuning: Tuning | None
    """None of a flat one, which is searched exactly."""


@dataclass(frozen=True)
class IndexInfo:
    """The state of a collection's index: vectors in built segments and in the delta segment, and their memory."""

    kind: Kind
    """Of the largest segment."""
    main: int
    delta: int
    memory_bytes: int
    segments: Mapping[Modality, Sequence[SegmentInfo]]


GenerationState = Literal["active", "following", "resting"]


@dataclass(frozen=True)
class GenerationInfo:
    """One generation of a collection.

    The active one answers; one that follows takes in what is written beside it; one that rests keeps its vectors of
    what has not changed since.
    """

    number: int
    state: GenerationState
    model: str
    fingerprint: str
    dimension: int
    vectors: dict[Modality, int]
    missing: int
    """Items of which the active one has vectors that this one lacks."""
    canary: float
    """Share of the searches that it answers without being active."""
    created_at: datetime


@dataclass(frozen=True)
class CollectionInfo:
    """A collection, described."""

    name: str
    settings: CollectionSettings
    fingerprint: str
    dimension: int
    model_present: bool
    generation: int
    items: int
    vectors: dict[Modality, int]
    index: IndexInfo
    created_at: datetime
