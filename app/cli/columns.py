"""The columns of a catalogue, as the command line takes and tells them."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

_PANEL = "Columns (guessed unless one is given; nested ones are dotted)"

IdColumn = Annotated[
    str | None, typer.Option("--id", metavar="COLUMN", help="Column of the ids.", rich_help_panel=_PANEL)
]
ImageColumn = Annotated[
    str | None, typer.Option("--image", metavar="COLUMN", help="Column of the pictures.", rich_help_panel=_PANEL)
]
TextColumn = Annotated[
    str | None, typer.Option("--text", metavar="COLUMN", help="Column of the texts.", rich_help_panel=_PANEL)
]
MetadataColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata", metavar="COLUMN", help="Column to keep as metadata; for several, again.", rich_help_panel=_PANEL
    ),
]


def given_columns(id_: str | None, image: str | None, text: str | None, metadata: list[str] | None) -> dict[str, Any]:
    """The columns that were named, by their roles, as the API takes them; none: they are guessed."""
    given = {"id": id_, "image": image, "text": text, "metadata": tuple(metadata or ())}
    return {role: column for role, column in given.items() if column}


def describe_columns(mapping: Mapping[str, Any]) -> str:
    """Which column holds what: `id from sku; text from title`."""
    parts = {role: mapping.get(role) for role in ("id", "image", "text")}
    parts["metadata"] = ", ".join(mapping.get("metadata") or ())
    return "; ".join(f"{role} from {column}" for role, column in parts.items() if column) or "rows by their numbers"
