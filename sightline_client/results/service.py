"""The server, its models, its collections."""

from datetime import datetime
from typing import Literal

from sightline_client.results.base import Modality, Result


class Readiness(Result):
    """A server that can serve."""

    status: Literal["ready"] = "ready"
    model: str
    fingerprint: str
    device: list[str]


class Model(Result):
    """A model that the server can use."""

    id: str
    architecture: str
    pretrained: str | None
    dimension: int
    fingerprint: str
    precision: str
    licence: str | None
    context_length: int
    image_size: list[int]
    parity: dict[str, float]


class Index(Result):
    """State of a collection's index, in vectors and bytes."""

    kind: Literal["flat", "hnsw", "ivf"]
    main: int
    delta: int
    memory_bytes: int


class Collection(Result):
    """A collection, described."""

    name: str
    model: str
    fingerprint: str
    dimension: int
    model_present: bool
    generation: int
    items: int
    vectors: dict[Modality, int]
    index: Index
    modality_weights: dict[Modality, float]
    store_originals: bool
    created_at: datetime


class Generation(Result):
    """All vectors of a collection by one model."""

    number: int
    state: Literal["active", "following", "resting"]
    model: str
    fingerprint: str
    dimension: int
    vectors: dict[Modality, int]
    missing: int
    canary: float
    created_at: datetime
