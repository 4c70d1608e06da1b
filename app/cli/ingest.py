"""`sightline ingest`: a catalogue into a running server."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.client import Client, RequestRefused, collection_path
from app.cli.console import err, out, print_json
from app.cli.options import DEFAULT_URL, ApiKey, AsJson, CollectionName, Url
from app.cli.progress import summary

if TYPE_CHECKING:
    from indexer.ingest import IngestReport
    from indexer.sources import Source

ATTEMPTS = 8
"""About a minute of patience with a server that restarts."""

SHOWN_ERRORS = 20


def ingest(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|FOLDER", help="CSV, JSON Lines, Parquet, tar shards, a zip file or a folder of pictures."
        ),
    ],
    url: Url = DEFAULT_URL,
    collection: CollectionName = "default",
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Send a catalogue to a running server. Exits with 1 if a row could not be stored; run again to go on."""
    from app.cli.sending import send_source
    from indexer.sources import read_source

    rows = read_source(source)
    with Client(url, api_key, attempts=ATTEMPTS) as client:
        _require_collection(client, collection)
        if not as_json:
            err.print(f"Reading {rows.name}: {_describe(rows)}", highlight=False, markup=False)
        report = send_source(client, collection_path(collection, "items"), rows)
    if as_json:
        print_json(_as_dict(report))
    else:
        _print_report(report)
    if report.failed:
        raise typer.Exit(1)


def _require_collection(client: Client, name: str) -> None:
    try:
        client.send("GET", collection_path(name))
    except RequestRefused as error:
        if error.status != 404:
            raise
        client.send("PUT", collection_path(name), json={})


def _describe(source: "Source") -> str:
    mapping = source.mapping
    parts = {"id": mapping.id, "image": mapping.image, "text": mapping.text, "metadata": ", ".join(mapping.metadata)}
    return "; ".join(f"{role} from {column}" for role, column in parts.items() if column)


def _as_dict(report: "IngestReport") -> dict[str, Any]:
    return asdict(report) | {"done": report.done, "failed": report.failed}


def _print_report(report: "IngestReport") -> None:
    out.print(summary(report), highlight=False)
    for error in report.errors[:SHOWN_ERRORS]:
        err.print(f"  row {error.row} ({error.id}): {error.detail}", highlight=False, markup=False, soft_wrap=True)
    if report.failed > SHOWN_ERRORS:
        err.print(f"  and {report.failed - SHOWN_ERRORS} more; --json lists all", highlight=False)
