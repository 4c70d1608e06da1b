"""Catalogues that the server takes in as jobs, and jobs of all kinds."""

import os
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from sightline_client.call import Call, Upload, get, once, path_of, post, write_query
from sightline_client.results import Job, JsonObject
from sightline_client.results.base import Result
from sightline_client.results.jobs import State


class IngestOptions(TypedDict, total=False):
    """How a catalogue is taken in; what is left out is the server's default."""

    mapping: JsonObject
    on_error: Literal["skip", "fail"]
    mode: Literal["upsert", "sync"]
    expect_deletes: int


class JobPage(Result):
    """A page of jobs; None as its cursor ends the list."""

    jobs: list[Job]
    next_cursor: str | None


def ingest_source(source: str, *, collection: str = "default", **options: Unpack[IngestOptions]) -> Call[Job]:
    """Queue a job that takes in a catalogue from where the server reads it: a path of it, a URL, an object store."""
    path = path_of("collections", collection, "ingest")
    return post(path, {"source": source, **options}, Job, headers=once())


def ingest_file(
    file: str | os.PathLike[str], *, collection: str = "default", **options: Unpack[IngestOptions]
) -> Call[Job]:
    """Upload a catalogue, zipped with its pictures or not, and queue a job that takes it in."""
    path, upload = path_of("collections", collection, "ingest"), Upload(Path(file), write_query(options))
    return Call(method="POST", path=path, upload=upload, headers=once(), answer=Job, give=lambda job: job)


def job_page(cursor: str | None, state: State | None, collection: str | None) -> Call[JobPage]:
    """Read a page of the jobs, newest first."""
    return get(path_of("jobs"), JobPage, cursor=cursor, state=state, collection=collection)


def job(job_id: str) -> Call[Job]:
    """Read a job."""
    return get(path_of("jobs", job_id), Job)


def cancel_job(job_id: str) -> Call[Job]:
    """Cancel a job; what is stored stays."""
    return post(path_of("jobs", job_id, "cancel"), None, Job)


def job_events(job_id: str) -> Call[bytes]:
    """Follow a job, as server-sent events."""
    return get(path_of("jobs", job_id, "events"), bytes)


def job_errors(job_id: str) -> Call[bytes]:
    """Read the rows that a job could not store, as JSON Lines."""
    return get(path_of("jobs", job_id, "errors"), bytes)
