"""Options that several verbs share."""

import os
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.console import CommandFailed

if TYPE_CHECKING:
    from app.settings import Settings

Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="8000")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of everything stored.", show_default="sightline-data")]
ModelName = Annotated[str | None, typer.Option(help="Name of the model.", show_default="default")]
Device = Annotated[
    str | None, typer.Option(help="Where the model runs: auto, cpu, cuda or tensorrt.", show_default="auto")
]
Url = Annotated[str, typer.Option(help="Address of the server.", envvar="SIGHTLINE_URL")]
CollectionName = Annotated[str, typer.Option(help="Name of the collection.")]
ApiKey = Annotated[str | None, typer.Option(help="Key of the server.", envvar="SIGHTLINE_API_KEY", show_envvar=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]

DEFAULT_URL = "http://127.0.0.1:8000"


def load_settings(**flags: Any) -> "Settings":
    """Settings from the flags that were given, then `SIGHTLINE_*` variables, then `sightline.toml`.

    Raises:
        BadParameter: One of them is wrong; typer shows it and exits with 2.
    """
    from pydantic import ValidationError

    from app.settings import CONFIG_FILE, Settings

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise typer.BadParameter("; ".join(_explain(found) for found in error.errors())) from error
    except tomllib.TOMLDecodeError as error:
        raise typer.BadParameter(f"{CONFIG_FILE} is not TOML: {error}") from error


def on_folder(command: str, data_dir: Path) -> str:
    """A command with the data folder that it is for, to be typed as it stands."""
    return f"`sightline {command} --data-dir {shlex.quote(str(data_dir))}`"


def require_catalogue(data_dir: Path) -> None:
    """Raise `CommandFailed` where no catalogue is, so that no command makes a folder by its name misspelt."""
    from indexer.stores.database import CATALOGUE

    if not (data_dir / CATALOGUE).is_file():
        raise CommandFailed(f"{data_dir} is no data folder: there is no catalogue in it")


def _explain(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    variable = f"SIGHTLINE_{name.upper()}"
    where = f" ({variable})" if variable in os.environ else ""
    return f"{name}{where}: {error['msg']}"
