"""`sightline jobs`: what a running server has to do."""

from typing import Annotated, Any
from urllib.parse import urlencode

import typer
from rich.table import Table

from app.cli.client import Client, job_path
from app.cli.console import out, print_json
from app.cli.following import check_success, follow
from app.cli.options import DEFAULT_URL, ApiKey, AsJson, Url
from app.cli.report import IngestReport
from indexer.jobs.states import State

cli = typer.Typer(help="List, follow and cancel the jobs of a running server.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="Id of the job.")]


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
        out.print(_table(jobs))


@cli.command()
def show(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """One job."""
    with Client(url, api_key) as client:
        job = client.send("GET", job_path(job_id))
    if as_json:
        print_json(job)
        return
    out.print(_table([job]))
    if job["error"]:
        out.print(f"{job['error']['code']}: {job['error']['detail']}", markup=False, highlight=False)


@cli.command("follow")
def follow_job(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Show a bar until the job has ended; exits with 1 unless it succeeded."""
    with Client(url, api_key, attempts=8) as client:
        job = follow(client, client.send("GET", job_path(job_id)))
    out.print(IngestReport.of(job["progress"]).summary(), highlight=False)
    check_success(job)


@cli.command()
def errors(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """The rows that were not, or not wholly, stored, as JSON Lines."""
    with Client(url, api_key) as client:
        for line in client.lines(job_path(job_id, "errors")):
            out.print(line, soft_wrap=True, markup=False, highlight=False)


@cli.command()
def cancel(job_id: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """End a job; what it has stored stays."""
    with Client(url, api_key) as client:
        job = client.send("POST", job_path(job_id, "cancel"))
    out.print(f"job {job['id']} is {job['state']}", highlight=False)


def _table(jobs: list[dict[str, Any]]) -> Table:
    table = Table("id", "kind", "collection", "state", "rows", "failed", "rows/s", "source")
    for job in jobs:
        progress = job["progress"]
        rate = progress["per_second"]
        total = "?" if progress["total"] is None else f"{progress['total']:,}"
        rows = f"{progress['done']:,} of {total}"
        shown = (job["id"], job["kind"], job["collection"], job["state"], rows, str(progress["failed"]))
        table.add_row(*shown, f"{rate:,.0f}" if rate else "", job["source"] or "")
    return table
