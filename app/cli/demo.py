"""`sightline demo`: a catalogue, three searches and the server, from one command."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Port, load_settings

DATA_DIR = Path("sightline-demo")


def demo(
    images: Annotated[
        Path | None,
        typer.Option(help="Your own pictures instead of the sample: a folder or a CSV file.", show_default=False),
    ] = None,
    port: Port = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of everything stored.", show_default="sightline-demo")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Go on serving after the three searches.")] = True,
) -> None:
    """Ingest a catalogue, answer three searches, and serve until Ctrl-C. A second start takes seconds."""
    from app.cli.showcase import show

    show(load_settings(host="127.0.0.1", port=port, data_dir=data_dir or _data_dir(images)), images, serve=serve)


def _data_dir(images: Path | None) -> Path:
    """One folder per catalogue, so that one's items are never among another's."""
    if images is None:
        return DATA_DIR / "sample"
    return DATA_DIR / hashlib.sha256(str(images.resolve()).encode()).hexdigest()[:12]
