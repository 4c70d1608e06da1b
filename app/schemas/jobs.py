"""Bulk ingest and jobs."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.schemas.base import Body, JsonObject, Schema
from indexer.ingest.job import IngestRequest
from indexer.jobs import store as job_store
from indexer.jobs.states import State

MAX_DELETES = 2**53
"""Up to here every reader of JSON takes an integer for what it is."""

Column = Annotated[str, Field(min_length=1, max_length=256)]


class Mapping(Body):
    """Which columns hold what; nested ones are dotted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": "sku", "image": "photo", "text": "title", "metadata": ["brand", "price"]}]
        }
    )

    id: Column | None = Field(default=None, description="Without one an item's id is the number of its row.")
    image: Column | None = None
    text: Column | None = None
    metadata: tuple[Column, ...] | None = Field(
        default=None, strict=False, max_length=1000, description="All other columns when left out."
    )


class Columns(Body):
    """The columns of a catalogue, in their order."""

    columns: list[Annotated[str, Field(max_length=256)]] = Field(max_length=1000, examples=[["sku", "title", "photo"]])


class IngestOptions(Body):
    """How a catalogue is taken in."""

    mapping: Mapping | None = Field(
        default=None, description="The columns; guessed from their names when left out, and the guess is reported."
    )
    on_error: Literal["skip", "fail"] = Field(
        default="skip",
        description="`skip` reports a bad row and goes on, and keeps the good half of an item whose picture is bad; "
        "`fail` ends the job at the first.",
    )
    mode: Literal["upsert", "sync"] = Field(
        default="upsert", description="`sync` also deletes the items that the catalogue does not hold."
    )
    expect_deletes: int | None = Field(
        default=None,
        ge=0,
        le=MAX_DELETES,
        description="Most items that a sync may delete; needed where that is more than a tenth of the collection.",
    )

    def request(self, source: str, upload_sha256: str | None = None) -> IngestRequest:
        """As the indexer takes it."""
        mapping = None if self.mapping is None else self.mapping.model_dump(mode="json")
        return IngestRequest(source, mapping, self.on_error, self.mode, self.expect_deletes, upload_sha256)


class IngestBody(IngestOptions):
    """A catalogue that the server reads from where it lies."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"source": "https://shop.example/catalogue.csv.gz", "mode": "sync"}]}
    )

    source: str = Field(
        min_length=1,
        max_length=4096,
        description="An absolute path under an allowed root, an `http(s)` URL or an object-store URL.",
    )


class Progress(Schema):
    """How far a job is, in rows; `done` = `created` + `updated` + `unchanged` + `failed`."""

    total: int | None = Field(description="Rows of the catalogue, as soon as they are counted.")
    done: int
    created: int
    updated: int
    unchanged: int
    failed: int = Field(description="Rows that were not stored; `/errors` says why.")
    warnings: int = Field(description="Rows that were stored in part; `/errors` says why.")
    deleted: int = Field(description="Items that a sync deleted.")
    per_second: float | None
    eta_seconds: float | None


class JobError(Schema):
    """Why a job failed, or for what it waits."""

    code: str = Field(examples=["source-invalid"])
    detail: str


class Job(Schema):
    """A durable background task."""

    id: str
    kind: str = Field(examples=["ingest", "reembed"])
    collection: str
    state: State
    progress: Progress
    source: str | None = Field(description="Where the catalogue lies.")
    model: str | None = Field(description="The model to change to.")
    mapping: JsonObject | None = Field(description="The columns in use, guessed or given.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: JobError | None
    report: JsonObject | None = Field(
        default=None, description="What a re-embedding found out: both generations, measured and compared."
    )

    @classmethod
    def of(cls, job: job_store.Job) -> "Job":
        """From what the indexer tells."""
        return cls(
            id=job.id,
            kind=job.kind,
            collection=job.collection,
            state=job.state,
            progress=_progress(job.progress),
            source=job.request.get("source"),
            model=job.request.get("model"),
            mapping=job.mapping,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            error=None if job.error is None else JobError(**job.error),
            report=job.report,
        )


class RowReport(Schema):
    """A row that was not stored, or only in part."""

    level: Literal["error", "warning"]
    row: int = Field(description="Its place in the catalogue, from 1.")
    id: str
    code: str = Field(examples=["image-undecodable"])
    detail: str


class JobPage(Schema):
    """Jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None


class JobsQuery(Schema):
    """Which jobs to list."""

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=100)
    state: State | None = None
    collection: str | None = Field(default=None, max_length=100)


def _progress(progress: job_store.Progress) -> Progress:
    return Progress(
        total=progress.total,
        done=progress.done,
        created=progress.created,
        updated=progress.updated,
        unchanged=progress.unchanged,
        failed=progress.failed,
        warnings=progress.warnings,
        deleted=progress.deleted,
        per_second=progress.per_second,
        eta_seconds=progress.eta_seconds,
    )
