"""`sightline ingest`: a catalogue into a running server."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.client import Client, RequestRefused, collection_path, is_local
from app.cli.columns import IdColumn, ImageColumn, MetadataColumns, TextColumn, describe_columns, given_columns
from app.cli.console import CommandFailed, err, out, print_json
from app.cli.following import check_success, follow, print_rows, report_of
from app.cli.options import DEFAULT_URL, ApiKey, AsJson, CollectionName, Url

if TYPE_CHECKING:
    from app.cli.report import IngestReport
    from indexer.sources import Source

ATTEMPTS = 8
"""About a minute of patience with a server that restarts."""


class Mode(StrEnum):
    """What becomes of items that the catalogue does not hold."""

    upsert = "upsert"
    sync = "sync"


class OnError(StrEnum):
    """What becomes of a job with a bad row."""

    skip = "skip"
    fail = "fail"


def ingest(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A catalogue file or a folder of pictures here, or an URL that the server reads."
        ),
    ],
    on_server: Annotated[
        bool, typer.Option("--on-server", help="The server reads SOURCE, a path of its machine, as a job.")
    ] = False,
    mode: Annotated[Mode, typer.Option(help="sync also deletes what the catalogue lacks; a job only.")] = Mode.upsert,
    on_error: Annotated[OnError, typer.Option(help="Whether a job goes on after a bad row.")] = OnError.skip,
    expect_deletes: Annotated[int | None, typer.Option(help="Most items that a sync may delete.", min=0)] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the job.")] = False,
    id_column: IdColumn = None,
    image_column: ImageColumn = None,
    text_column: TextColumn = None,
    metadata_columns: MetadataColumns = None,
    url: Url = DEFAULT_URL,
    collection: CollectionName = "default",
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Take a catalogue into a running server: CSV, JSON Lines, Parquet, WebDataset, zip, or a folder of pictures.

    Exits with 1 if a row could not be stored; run again to go on. A local catalogue is sent from here, in batches.
    """
    as_job = on_server or "://" in source
    if not as_job and (mode is Mode.sync or on_error is OnError.fail or expect_deletes is not None or detach):
        raise typer.BadParameter(
            "--mode sync, --on-error fail, --expect-deletes and --detach are for jobs: "
            "give --on-server and a path of the server, or an URL"
        )
    place = _on_server(source, url) if as_job else source
    mapping = given_columns(id_column, image_column, text_column, metadata_columns)
    rows, job = None if as_job else _read(Path(source), mapping, quiet=as_json), None
    with Client(url, api_key, attempts=ATTEMPTS) as client:
        _require_collection(client, collection)
        if rows is not None:
            report = _send(client, collection, rows)
        else:
            options = {"mapping": mapping or None, "on_error": on_error, "mode": mode, "expect_deletes": expect_deletes}
            path = collection_path(collection, "ingest")
            job = client.send("POST", path, json={"source": place, **options}, once=True)
            if detach:
                print_json(job)
                return
            job = follow(client, job)
            report = report_of(client, job)
    if as_json:
        print_json(report.as_dict())
    else:
        _print_report(report)
    if job:
        check_success(job)
    if report.failed:
        raise typer.Exit(1)


def _on_server(source: str, url: str) -> str:
    """Where the server finds a source: what is here is there, too, if the server is."""
    if "://" in source or Path(source).is_absolute():
        return source
    if is_local(url) and Path(source).exists():
        return str(Path(source).resolve())
    raise CommandFailed(f"the server is to read {source}: give the absolute path that it has on the server's machine")


def _read(path: Path, mapping: dict[str, Any], *, quiet: bool) -> "Source":
    from indexer.sources import Mapping, read_source

    columns: dict[str, Any] = {"id": None, "image": None, "text": None, **mapping}
    source = read_source(path, Mapping(**columns) if mapping else None)
    if not quiet:
        read = f"Reading {source.name}: {describe_columns(vars(source.mapping))}"
        err.print(read, highlight=False, markup=False, soft_wrap=True)
    return source


def _send(client: Client, collection: str, source: "Source") -> "IngestReport":
    from app.cli.sending import send_source

    return send_source(client, collection_path(collection, "items"), source)


def _require_collection(client: Client, name: str) -> None:
    try:
        client.send("GET", collection_path(name))
    except RequestRefused as error:
        if error.status != 404:
            raise
        client.send("PUT", collection_path(name), json={})


def _print_report(report: "IngestReport") -> None:
    out.print(report.summary(), highlight=False)
    print_rows(report)
