"""`sightline snapshot`: a data folder put elsewhere, and brought back."""

from enum import StrEnum
from typing import Annotated

import typer

from app.cli.console import err, out
from app.cli.options import DataDir, load_settings

cli = typer.Typer(help="Back up a data folder while a server runs on it, and restore it.", no_args_is_help=True)

SHOWN_PICTURES = 20


class Originals(StrEnum):
    """What becomes of the pictures."""

    copy = "copy"
    reference = "reference"


@cli.command()
def create(
    target: Annotated[str, typer.Argument(help="A folder that does not exist, or s3://bucket/prefix and the like.")],
    data_dir: DataDir = None,
    originals: Annotated[
        Originals, typer.Option(help="Copy the pictures, or only note where they are.")
    ] = Originals.copy,
) -> None:
    """Make a snapshot of a data folder as it is at one moment; servers go on writing to it meanwhile."""
    from app.cli.progress import steps
    from indexer.snapshots.creation import create_snapshot

    settings = load_settings(data_dir=data_dir)
    with steps() as report:
        created = create_snapshot(settings.data_dir, target, copy_originals=originals is Originals.copy, report=report)
    made = created.manifest
    if created.left_out:
        told = f"{len(created.left_out)} pictures are lost or damaged in {settings.data_dir}, and left out:"
        err.print(told, highlight=False, markup=False, soft_wrap=True)
        for sha256 in created.left_out[:SHOWN_PICTURES]:
            err.print(f"  {sha256}", highlight=False)
    where = "" if made.originals_in is None else f", which stay in {made.originals_in}"
    out.print(
        f"{target}: {made.items} items and {made.pictures} pictures{where}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@cli.command()
def restore(
    source: Annotated[str, typer.Argument(help="The folder or the address of a snapshot.")], data_dir: DataDir = None
) -> None:
    """Make a new data folder of a snapshot: complete and checked, or not at all."""
    from app.cli.progress import transferred
    from indexer.snapshots.restoration import restore_snapshot

    settings = load_settings(data_dir=data_dir)
    with transferred("Restoring") as report:
        restored = restore_snapshot(source, settings.data_dir, report)
    out.print(
        f"{settings.data_dir}: {restored.items} items and {restored.pictures} pictures, as of {restored.created_at}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
