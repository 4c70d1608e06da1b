"""The command line; one module per group of verbs. Exit codes: 0 done, 1 failed, 2 wrong usage."""

import sys
from typing import Annotated

import typer

from app.cli import (
    audit,
    demo,
    doctor,
    generations,
    index,
    ingest,
    jobs,
    keys,
    mcp,
    model,
    reembed,
    sample,
    search,
    serve,
    snapshot,
    train,
)
from app.cli.console import CommandFailed, out, print_error
from app.version import read_version
from indexer.errors import IndexerError
from models.errors import ModelError

cli = typer.Typer(
    name="sightline",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cli.command("demo")(demo.demo)
cli.command("serve")(serve.serve)
cli.command("ingest")(ingest.ingest)
cli.add_typer(jobs.cli, name="jobs")
cli.command("reembed")(reembed.reembed)
cli.add_typer(generations.cli, name="generations")
cli.add_typer(index.cli, name="index")
cli.add_typer(snapshot.cli, name="snapshot")
cli.command("search")(search.search)
cli.add_typer(keys.cli, name="keys")
cli.command("audit")(audit.audit)
cli.add_typer(model.cli, name="model")
cli.command("train")(train.train)
cli.command("eval")(train.evaluate)
cli.command("sample")(sample.sample)
cli.command("mcp")(mcp.mcp)
cli.command("doctor")(doctor.doctor)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"sightline {read_version()}", highlight=False)
        raise typer.Exit


@cli.callback()
def _sightline(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Search a catalogue of pictures and texts by meaning."""


def main() -> None:
    """Run the command line; an error becomes one line and exit code 1."""
    try:
        cli()
    except (CommandFailed, IndexerError, ModelError) as error:
        print_error(str(error))
    except OSError as error:
        print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    sys.exit(1)
