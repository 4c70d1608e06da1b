"""`sightline generations`: the vectors of a collection by each model it has had; forward, back, and away with them."""

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from app.cli.client import Client, collection_path
from app.cli.console import local_time, out, print_json, print_lines
from app.cli.following import check_success, follow
from app.cli.options import DEFAULT_URL, ApiKey, AsJson, CollectionName, Url
from app.cli.outcome import print_outcome
from app.cli.reembed import ATTEMPTS

cli = typer.Typer(help="List, activate and drop what models have made of a collection.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(help="Number of the generation.", min=1)]


@cli.command("list")
def list_generations(
    url: Url = DEFAULT_URL, collection: CollectionName = "default", api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """All generations, oldest first."""
    with Client(url, api_key) as client:
        generations = client.send("GET", collection_path(collection, "generations"))["generations"]
    if as_json:
        print_json(generations)
    else:
        print_lines(_table(generations))


@cli.command()
def activate(
    number: Number,
    expect_missing: Annotated[
        int, typer.Option(help="Most items that may lose a vector, because their originals are gone.", min=0)
    ] = 0,
    url: Url = DEFAULT_URL,
    collection: CollectionName = "default",
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Let a generation answer, at once or after a job has filled what it lacks. Exits with 1 unless it answers."""
    with Client(url, api_key, attempts=ATTEMPTS) as client:
        path = collection_path(collection, "generations", str(number), "activate")
        answer = client.send("POST", path, json={"expect_missing": expect_missing})
        job = follow(client, answer) if "kind" in answer else None
        if job and not as_json:
            print_outcome(client, job)
    if as_json:
        print_json(job or answer)
    if job:
        check_success(job)
    if not as_json:
        out.print(f"generation {number} answers", highlight=False)


@cli.command()
def drop(
    number: Number, url: Url = DEFAULT_URL, collection: CollectionName = "default", api_key: ApiKey = None
) -> None:
    """Remove a generation that does not answer, with its vectors and its index."""
    with Client(url, api_key) as client:
        client.send("DELETE", collection_path(collection, "generations", str(number)))
    out.print(f"generation {number} is gone", highlight=False)


def _table(generations: list[dict[str, Any]]) -> Table:
    table = Table("number", "state", "model", "image", "text", "missing", "canary", "created", "fingerprint")
    for one in generations:
        counts = [f"{count:,}" for count in (one["vectors"]["image"], one["vectors"]["text"], one["missing"])]
        share = f"{one['canary']:.0%}" if one["canary"] else ""
        made = local_time(one["created_at"])
        table.add_row(
            str(one["number"]), one["state"], escape(one["model"]), *counts, share, made, one["fingerprint"][:12]
        )
    return table
