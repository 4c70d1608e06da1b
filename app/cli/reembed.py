"""`sightline reembed`: another model for a collection of a running server, and what that will change."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.client import Client, collection_path
from app.cli.console import CommandFailed, err, out, print_json
from app.cli.following import check_success, follow
from app.cli.options import DEFAULT_URL, ApiKey, AsJson, CollectionName, Url
from app.cli.outcome import print_outcome

if TYPE_CHECKING:
    from app.cli.comparison import Compared

ATTEMPTS = 8
"""About a minute of patience with a server that restarts."""

PAGE = Path("comparison.html")


def reembed(
    model: Annotated[str, typer.Option(help="Name of a model of the server.")],
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Let the new vectors answer as soon as they are complete.")
    ] = True,
    expect_missing: Annotated[
        int, typer.Option(help="Most items that may lose a vector, because their originals are gone.", min=0)
    ] = 0,
    bridge: Annotated[
        bool,
        typer.Option("--bridge", help="Let the new model embed what is searched for while its vectors are made."),
    ] = False,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="QUERIES",
            help="A file with a query a line: show what both models find, and activate nothing.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Where the page of --compare goes.", show_default=str(PAGE), dir_okay=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="Hits of each query of --compare.", min=1, max=100)] = 10,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the job.")] = False,
    url: Url = DEFAULT_URL,
    collection: CollectionName = "default",
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Embed a collection anew by another model, while it is searched and written to.

    Both generations are measured before the new one answers. Exits with 1 unless the job succeeded.
    """
    if compare is None and html is not None:
        raise typer.BadParameter("--html is the page of --compare")
    if compare is not None and detach:
        raise typer.BadParameter("--compare waits for the job: leave --detach out")
    queries = _read_queries(compare) if compare else []
    page = _checked(html or PAGE)
    body = {"model": model, "activate": activate and not queries, "expect_missing": expect_missing, "bridge": bridge}
    with Client(url, api_key, attempts=ATTEMPTS) as client:
        job = client.send("POST", collection_path(collection, "reembed"), json=body, once=True)
        if detach:
            print_json(job)
            return
        job = follow(client, job)
        if not as_json:
            print_outcome(client, job)
        compared = _compare(client, job, queries, limit, page) if queries and job["state"] == "succeeded" else None
    if as_json:
        print_json({"job": job, "comparison": None if compared is None else [one.as_dict() for one in compared]})
    check_success(job)
    if compared is not None and not as_json:
        _print_compared(compared, job["report"], page, collection)


def _read_queries(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{path} is not UTF-8") from error
    queries = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not queries:
        raise CommandFailed(f"{path} holds no query")
    return queries


def _checked(page: Path) -> Path:
    """Better told now than after the job."""
    if not page.parent.is_dir():
        raise CommandFailed(f"there is no folder {page.parent} for the page")
    return page


def _compare(client: Client, job: dict[str, Any], queries: list[str], limit: int, page: Path) -> "list[Compared]":
    from app.cli.comparison import compare
    from app.cli.gallery import make_page
    from app.cli.progress import steps

    with steps() as show:
        compared = compare(client, job, queries, limit, show)
        document = make_page(client, job, compared, show)
    page.write_text(document, encoding="utf-8")
    return compared


def _print_compared(compared: "list[Compared]", report: dict[str, Any], page: Path, collection: str) -> None:
    from app.cli.comparison import table

    for one in compared:
        out.print(table(one, report))
    mean = sum(one.overlap for one in compared) / len(compared)
    number = report["candidate"]["generation"]
    told = f"{len(compared)} queries, mean overlap {mean:.2f}; both galleries: {page}"
    out.print(told, highlight=False, markup=False, soft_wrap=True)
    command = f"sightline generations activate {number} --collection {collection}"
    err.print(f"Nothing was activated; `{command}` does it.", highlight=False, soft_wrap=True)
