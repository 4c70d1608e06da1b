"""`sightline search`: ask a running server."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from app.cli.client import Client, collection_path
from app.cli.console import out, print_json
from app.cli.options import DEFAULT_URL, ApiKey, AsJson, CollectionName, Url
from app.data_uris import data_uri


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}") from error


def search(
    query: Annotated[str | None, typer.Argument(help="What to look for, in words.", show_default=False)] = None,
    image: Annotated[Path | None, typer.Option(help="A picture to look for.", exists=True, dir_okay=False)] = None,
    filter_: Annotated[
        Any,
        typer.Option(
            "--filter",
            help='Only items whose metadata matches, as JSON: {"price": {"$lt": 100}}',
            parser=_json,
            metavar="JSON",
        ),
    ] = None,
    mode: Annotated[
        Literal["vector", "lexical", "hybrid"],
        typer.Option(help="Ranked by vectors, by the words of texts, or by both."),
    ] = "vector",
    diversity: Annotated[
        float, typer.Option(help="From 0, by score alone, to 1: hits that differ from those before.", min=0, max=1)
    ] = 0.0,
    limit: Annotated[int, typer.Option(help="Most hits.", min=1, max=1000)] = 10,
    url: Url = DEFAULT_URL,
    collection: CollectionName = "default",
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Find items by words, by a picture, or by both."""
    terms: list[dict[str, str]] = [{"text": query}] if query is not None else []
    if image is not None:
        terms.append({"image": data_uri(image)})
    if not terms:
        raise typer.BadParameter("give words, or a picture with --image")
    body: dict[str, Any] = {"query": terms, "mode": mode, "limit": limit, "diversity": diversity}
    body |= {} if filter_ is None else {"filter": filter_}
    with Client(url, api_key) as client:
        answer = client.send("POST", collection_path(collection, "search"), json=body)
    if as_json:
        print_json(answer)
    else:
        took = answer["took_ms"]["total"]
        out.print(hit_table(f"{answer['total']} items searched in {took:.0f} ms", answer["hits"]))


def hit_table(title: str, hits: list[dict[str, Any]]) -> Table:
    """Hits as a table, best first; each has id, score and text."""
    table = Table(title=escape(title), title_justify="left")
    table.add_column("score", justify="right")
    table.add_column("id")
    table.add_column("text")
    for hit in hits:
        table.add_row(f"{hit['score']:.3f}", escape(hit["id"]), escape(hit.get("text") or ""))
    return table
