"""`sightline jobs`: what a running server has to do."""

from typing import Annotated, Any
from urllib.parse import urlencode

import typer
from rich.markup import escape
from rich.table import Table

from app.cli.client import Client, job_path
from app.cli.columns import describe_columns
from app.cli.console import local_time, out, print_json, print_lines
from app.cli.finding import find_job
from app.cli.following import check_success, follow
from app.cli.options import DEFAULT_URL, ApiKey, AsJson, Url
from app.cli.report import IngestReport
from indexer.jobs.states import State

cli = typer.Typer(help="List, follow and cancel the jobs of a running server.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="Id of the job, or the beginning of it.")]


@cli.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(help="Most jobs.", min=1, max=500)] = 20,
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    collection: Annotated[str | None, typer.Option(help="Only jobs of this collection.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """The newest jobs."""
    asked = {"limit": str(limit), "state": state, "collection": collection}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    with Client(url, api_key) as client:
        jobs = client.send("GET", f"/v1/jobs?{query}")["jobs"]
    if as_json:
        print_json(jobs)
    else:
        print_lines(_table(jobs))


@cli.command()
def show(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """One job."""
    with Client(url, api_key) as client:
        job = find_job(client, job_id)
    if as_json:
        print_json(job)
        return
    for name, value in _facts(job).items():
        out.print(f"{name:<11}{value}", markup=False, highlight=False, soft_wrap=True)


@cli.command("follow")
def follow_job(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Show a bar until the job has ended; exits with 1 unless it succeeded."""
    with Client(url, api_key, attempts=8) as client:
        job = follow(client, find_job(client, job_id))
    out.print(IngestReport.of(job["progress"]).summary(), highlight=False)
    check_success(job)


@cli.command()
def errors(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """The rows that were not, or not wholly, stored, as JSON Lines."""
    with Client(url, api_key) as client:
        for line in client.lines(job_path(find_job(client, job_id)["id"], "errors")):
            out.print(line, soft_wrap=True, markup=False, highlight=False)


@cli.command()
def cancel(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """End a job; what it has stored stays."""
    with Client(url, api_key) as client:
        job = client.send("POST", job_path(find_job(client, job_id)["id"], "cancel"))
    coming = "is" if job["state"] == "cancelled" else "will be"
    out.print(f"job {job['id']} {coming} cancelled; what it has stored stays", highlight=False, soft_wrap=True)


def _table(jobs: list[dict[str, Any]]) -> Table:
    table = Table("id", "kind", "collection", "state", "rows", "failed", "warnings", "created", "source or model")
    for job in jobs:
        progress = job["progress"]
        counts = (_rows(progress), f"{progress['failed']:,}", f"{progress['warnings']:,}")
        cells = (
            job["id"],
            job["kind"],
            job["collection"],
            job["state"],
            *counts,
            local_time(job["created_at"]),
            job["source"] or job["model"] or "",
        )
        table.add_row(*map(escape, cells))
    return table


def _facts(job: dict[str, Any]) -> dict[str, str]:
    """All that there is to tell about a job, by what it is."""
    rate, error = job["progress"]["per_second"], job["error"]
    facts = {
        "id": job["id"],
        "kind": job["kind"],
        "collection": job["collection"],
        "state": job["state"],
        "source": job["source"],
        "model": job["model"],
        "columns": describe_columns(job["mapping"]) if job["mapping"] else None,
        "rows": IngestReport.of(job["progress"]).summary(),
        "rows/s": f"{rate:,.0f}" if rate else None,
        "created": local_time(job["created_at"]),
        "started": local_time(job["started_at"]),
        "finished": local_time(job["finished_at"]),
        "error": f"{error['code']}: {error['detail']}" if error else None,
    }
    return {name: value for name, value in facts.items() if value}


def _rows(progress: dict[str, Any]) -> str:
    total = "?" if progress["total"] is None else f"{progress['total']:,}"
    return f"{progress['done']:,} of {total}"
