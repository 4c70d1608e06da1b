"""A job of a running server, by its id or by the beginning of it, as a progress bar shows it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from app.cli.client import Client, RequestRefused, job_path
from app.cli.console import CommandFailed


def find_job(client: Client, wanted: str) -> dict[str, Any]:
    """The job with an id, else the only one whose id begins so.

    Raises:
        RequestRefused: There is none.
        CommandFailed: There are several.
    """
    try:
        job: dict[str, Any] = client.send("GET", job_path(wanted))
        return job
    except RequestRefused as refusal:
        if refusal.status != 404:
            raise
        found = [job for job in _jobs(client) if job["id"].startswith(wanted)]
        if not found:
            raise
    if len(found) > 1:
        raise CommandFailed(f"{len(found)} jobs have ids that begin with {wanted}: give more of it")
    return found[0]


def _jobs(client: Client) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = client.send("GET", f"/v1/jobs?{urlencode({'limit': 500} | cursor)}")
        yield from page["jobs"]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}
