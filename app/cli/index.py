"""`sightline index`: what can be done with the index while no server runs on the data folder."""

from typing import Annotated

import typer

from app.cli.console import CommandFailed, out
from app.cli.options import DataDir, load_settings

cli = typer.Typer(help="Examine the index of a data folder on which no server runs.", no_args_is_help=True)

SHOWN_PROBLEMS = 20


@cli.command()
def verify(
    data_dir: DataDir = None,
    collection: Annotated[str | None, typer.Option(help="Only this collection.", show_default="all")] = None,
) -> None:
    """Compare each index with its catalogue, vector by vector. Exits with 1 if they differ."""
    from app.encoders import Encoders
    from indexer.collections import Collections
    from models.store import ModelStore

    settings = load_settings(data_dir=data_dir)
    if not (settings.data_dir / "catalogue.db").is_file():
        raise CommandFailed(f"{settings.data_dir} is no data folder: there is no catalogue in it")
    problems = 0
    with Collections(settings.data_dir, Encoders(settings, ModelStore(settings.models_dir))) as collections:
        names = [collection] if collection else [info.name for info in collections.infos()]
        for name in names:
            found = collections.get(name).verify()
            counts = collections.get(name).info().vectors
            out.print(f"{name}: {counts['image']} image and {counts['text']} text vectors, {len(found)} problems")
            for problem in found[:SHOWN_PROBLEMS]:
                out.print(f"  {problem}", markup=False, highlight=False)
            problems += len(found)
    if problems:
        raise CommandFailed(f"{problems} differences between index and catalogue")
