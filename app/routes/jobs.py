"""Bulk ingest, and the jobs that do it."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Annotated

import anyio
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.datastructures import UploadFile

from app.dependencies import TheCaller, TheCollection, TheJob, TheJobs, TheLocations
from app.errors import blame
from app.forms import check_body, check_fields, form_document, is_form, open_form, parse_fields
from app.openapi import ENDING, READING, WRITING, fields_of, problems, refer_to
from app.schemas import jobs as schemas
from app.schemas.base import JsonObject
from app.strict_json import StrictRoute
from indexer.cursors import decode_cursor, encode_cursor
from indexer.errors import SourceInvalid
from indexer.ingest.job import KIND, IngestRequest
from indexer.ingest.locations import Locations
from indexer.jobs.runner import Jobs
from indexer.jobs.states import UNFINISHED
from indexer.jobs.store import Job, JobStore
from indexer.sources import guess_mapping

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=StrictRoute)

EVENT_INTERVAL_S = 0.5

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=256,
        description="Sent again with the same request, it gives the job that was made the first time.",
    ),
]

_JSON_FIELDS = frozenset({"mapping"})
_CATALOGUE = {"type": "string", "format": "binary", "description": "The catalogue."}
_FORM = fields_of(schemas.IngestOptions) | {"file": _CATALOGUE}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": refer_to(schemas.IngestBody)},
            "multipart/form-data": form_document(_FORM, ["file"], _JSON_FIELDS),
        },
    }
}


class JsonLines(StreamingResponse):
    """One JSON object a line."""

    media_type = "application/jsonl"


_ERRORS = READING | {
    200: {
        "description": "One JSON object a line.",
        "content": {JsonLines.media_type: {"schema": refer_to(schemas.RowReport)}},
    }
}


@router.post(
    "/collections/{name}/ingest",
    summary="Take in a catalogue",
    status_code=202,
    responses=WRITING | problems(409),
    openapi_extra=_BODY,
)
async def post_ingest(
    collection: TheCollection,
    jobs: TheJobs,
    locations: TheLocations,
    request: Request,
    idempotency_key: IdempotencyKey = None,
) -> schemas.Job:
    """Queues a job: CSV, JSON Lines, Parquet, WebDataset, a zip or a folder of pictures; compressed too."""
    if is_form(request):
        wanted = await _receive(request, locations)
    else:
        body = await to_thread.run_sync(check_body, schemas.IngestBody, await request.json())
        with blame("/source"):
            await to_thread.run_sync(locations.check, body.source)
        wanted = body.request(body.source)
    return await to_thread.run_sync(_submit, jobs, locations, collection.name, wanted, idempotency_key)


@router.post("/mapping", summary="Guess a catalogue's columns", responses=problems(400, 408, 413, 415, 422))
async def guess_columns(body: schemas.Columns) -> schemas.Mapping:
    """What a job would guess that they hold, before the catalogue is sent."""
    return schemas.Mapping(**asdict(guess_mapping(body.columns)))


@router.get("/jobs", summary="List jobs", responses=problems(400, 422))
def list_jobs(query: Annotated[schemas.JobsQuery, Query()], jobs: TheJobs, caller: TheCaller) -> schemas.JobPage:
    """Newest first."""
    before = decode_cursor(query.cursor) if query.cursor else None
    page = jobs.page(query.limit + 1, before, query.state, query.collection, caller.patterns)
    more, page = len(page) > query.limit, page[: query.limit]
    cursor = encode_cursor(page[-1].pk) if more else None
    return schemas.JobPage(jobs=[schemas.Job.of(job) for job in page], next_cursor=cursor)


@router.get("/jobs/{job_id}", summary="Read a job", responses=READING)
def get_job(job: TheJob) -> schemas.Job:
    return schemas.Job.of(job)


@router.get("/jobs/{job_id}/events", summary="Follow a job", response_class=EventSourceResponse, responses=READING)
async def follow_job(known: TheJob, jobs: TheJobs) -> AsyncIterator[ServerSentEvent]:
    """The job as server-sent events named `progress`, whenever it changed, until one named `finished`.

    A server that stops ends the stream before; follow the job again when it is back.
    """
    told: schemas.Job | None = None
    while not jobs.stopping:
        job = schemas.Job.of(await to_thread.run_sync(jobs.get, known.id))
        finished = job.state not in UNFINISHED
        if job != told:
            yield ServerSentEvent(event="finished" if finished else "progress", data=job)
            told = job
        if finished:
            return
        await anyio.sleep(EVENT_INTERVAL_S)


@router.get("/jobs/{job_id}/errors", summary="Read a job's bad rows", response_class=JsonLines, responses=_ERRORS)
def read_errors(known: TheJob, jobs: TheJobs) -> JsonLines:
    """JSON Lines: each row that was not stored (`error`), or only in part (`warning`), in order."""
    return JsonLines(_lines(jobs.store, known))


@router.post("/jobs/{job_id}/cancel", summary="Cancel a job", responses=ENDING | problems(409))
def cancel_job(known: TheJob, jobs: TheJobs) -> schemas.Job:
    """It ends at once, or after the rows that it is at; what is stored stays. 409 if it has succeeded or failed."""
    return schemas.Job.of(jobs.cancel(known.id))


async def _receive(request: Request, locations: Locations) -> IngestRequest:
    """Keep the catalogue of a form; what else it says is checked first."""
    async with open_form(request, max_files=1, max_fields=16) as form:
        fields: JsonObject = dict(form)
        upload = fields.pop("file", None)
        if not isinstance(upload, UploadFile):
            raise SourceInvalid("the form has no file in its field `file`", "/file")
        options = await to_thread.run_sync(check_fields, schemas.IngestOptions, parse_fields(fields, _JSON_FIELDS))
        source, sha256 = await to_thread.run_sync(locations.receive, upload.file, upload.filename or "")
    return options.request(source, sha256)


def _submit(jobs: Jobs, locations: Locations, collection: str, wanted: IngestRequest, key: str | None) -> schemas.Job:
    try:
        job = jobs.submit(KIND, collection, wanted.to_json(), key)
    except BaseException:
        locations.forget(wanted.source)
        raise
    if job.request["source"] != wanted.source:  # an upload that came again
        locations.forget(wanted.source)
    return schemas.Job.of(job)


def _lines(store: JobStore, job: Job) -> Iterator[str]:
    for row in store.errors(job):
        yield json.dumps(asdict(row), ensure_ascii=False) + "\n"
