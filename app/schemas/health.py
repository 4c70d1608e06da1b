"""Health."""

from typing import Literal

from app.schemas.base import Schema


class Health(Schema):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Readiness(Schema):
    """Everything that serving needs is there."""

    status: Literal["ready"] = "ready"
    model: str
    fingerprint: str
    device: list[str]
