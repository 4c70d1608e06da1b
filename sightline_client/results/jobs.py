"""Jobs, and the rows that they could not store."""

from datetime import datetime
from typing import Literal

from sightline_client.results.base import JsonObject, Result

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Progress(Result):
    """How far a job is, in rows; `done` = `created` + `updated` + `unchanged` + `failed`."""

    total: int | None
    done: int
    created: int
    updated: int
    unchanged: int
    failed: int
    warnings: int
    deleted: int
    per_second: float | None
    eta_seconds: float | None


class JobError(Result):
    """Why a job failed, or for what it waits."""

    code: str
    detail: str


class Job(Result):
    """A durable background task."""

    id: str
    kind: str
    collection: str
    state: State
    progress: Progress
    source: str | None
    model: str | None
    mapping: JsonObject | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: JobError | None
    report: JsonObject | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing about it will change."""
        return self.state not in ("queued", "running")


class RowReport(Result):
    """A row of a catalogue that was not stored (`error`), or only in part (`warning`)."""

    level: Literal["error", "warning"]
    row: int
    id: str
    code: str
    detail: str
