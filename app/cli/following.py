"""A job of a running server, followed to its end."""

import json
import time
from typing import Any

from app.cli.client import Client, job_path
from app.cli.console import CommandFailed, err
from app.cli.progress import ingest_progress
from app.cli.report import IngestReport
from indexer.jobs.states import UNFINISHED

POLL_S = 0.5

SHOWN_ROWS = 20


def follow(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    """Show a bar until the job has ended, over restarts of the server too; returns it as it ended."""
    with ingest_progress(f"Job {job['id'][:8]}", job["progress"]["total"]) as show:
        while True:
            report = IngestReport.of(job["progress"])
            show(report)
            if job["state"] not in UNFINISHED:
                return job
            time.sleep(POLL_S)
            job = client.send("GET", job_path(job["id"]))


def report_of(client: Client, job: dict[str, Any]) -> IngestReport:
    """What became of a job's rows, the bad ones with their reasons."""
    report = IngestReport.of(job["progress"])
    if report.failed or report.warnings:
        report.rows = [json.loads(line) for line in client.lines(job_path(job["id"], "errors"))]
    return report


def print_rows(report: IngestReport) -> None:
    """The first of the bad rows, with their reasons."""
    for row in report.rows[:SHOWN_ROWS]:
        err.print(f"  row {row['row']} ({row['id']}): {row['detail']}", highlight=False, markup=False, soft_wrap=True)
    if len(report.rows) > SHOWN_ROWS:
        err.print(f"  and {len(report.rows) - SHOWN_ROWS} more; --json lists all", highlight=False)


def check_success(job: dict[str, Any]) -> None:
    """Raise unless a job that has ended has succeeded."""
    if job["state"] != "succeeded":
        why = f": {job['error']['detail']}" if job["error"] else ""
        raise CommandFailed(f"job {job['id']} {job['state']}{why}")
