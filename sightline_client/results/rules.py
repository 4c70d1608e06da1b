"""Watch rules, and what they found."""

from datetime import datetime
from typing import Literal

from sightline_client.results.base import JsonObject, Modality, Result

Action = Literal["flag", "reject"]


class Rule(Result):
    """A watch rule; `secret` signs its webhook's calls, and is told once."""

    name: str
    query: list[JsonObject]
    threshold: float | dict[Modality, float]
    action: Action
    webhook: str | None
    secret: str | None = None
    created_at: datetime


class Flag(Result):
    """What a watch rule found; with `reject` the item was kept out."""

    item: str
    rule: str
    action: Action
    modality: Modality
    score: float
    created_at: datetime
