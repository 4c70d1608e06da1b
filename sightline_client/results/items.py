"""Items: stored, refused, read back."""

from datetime import datetime
from typing import Literal

from sightline_client.results.base import JsonObject, Modality, Problem, Result


class Duplicate(Result):
    """Another item with (nearly) the same picture."""

    id: str
    score: float


class ItemFlag(Result):
    """A watch rule that an item matches."""

    rule: str
    modality: Modality
    score: float


class StoredItem(Result):
    """An acknowledged item: durable, and found by the next search."""

    id: str
    status: Literal["created", "updated", "unchanged"]
    modalities: list[Modality]
    alignment: float | None
    truncated: bool
    flags: list[ItemFlag]


class PutItem(StoredItem):
    """An acknowledged item, with those whose picture is the same or nearly the same."""

    duplicates: list[Duplicate]


class RefusedItem(Result):
    """An item of a batch that was not stored."""

    id: str
    error: Problem


class Item(Result):
    """An item as it is stored."""

    id: str
    text: str | None
    metadata: JsonObject
    modalities: list[Modality]
    image_url: str | None
    created_at: datetime
    updated_at: datetime


class SelectedItem(Result):
    """An item that stands for others."""

    id: str
    cluster_size: int | None = None
    text: str | None
    metadata: JsonObject
    image_url: str | None
