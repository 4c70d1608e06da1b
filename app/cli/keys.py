"""`sightline keys`: who may use a server; on its data folder, while it runs or not."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from app.cli.console import CommandFailed, err, local_time, out, print_json, print_lines
from app.cli.options import AsJson, DataDir, load_settings, on_folder, require_catalogue
from indexer.errors import KeyNotFound

if TYPE_CHECKING:
    from app.settings import Settings
    from indexer.stores.keys import Key, KeyStore

cli = typer.Typer(help="Make, list and revoke the keys of a server; it knows at once.", no_args_is_help=True)

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@cli.command()
def create(
    scope: Annotated[str, typer.Option(help="What it may do: some of read, write and admin, by commas.")] = "read",
    collections: Annotated[str, typer.Option(help="Names of collections, by commas; * stands for anything.")] = "*",
    expires: Annotated[
        str | None, typer.Option(help="How long it is of use: 90d, 12h, 30m, 4w.", show_default="for ever")
    ] = None,
    name: Annotated[str, typer.Option(help="Who or what it is for.", show_default=False)] = "",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: nobody can ask for it again. Once there is a key, every request needs one."""
    from indexer.stores.keys import NewKey

    new = NewKey(name, _parts(scope), _parts(collections), _expiry(expires))
    settings = load_settings(data_dir=data_dir)
    with _keys(settings, create=True) as keys:
        key, secret = keys.create(new)
    if as_json:
        print_json(_document(key) | {"key": secret})
    else:
        out.print(secret, highlight=False, soft_wrap=True)
        _tell(f"Keep it: only its hash is stored. {on_folder(f'keys revoke {key.id}', settings.data_dir)} ends it.")
    # Last: were there no room for it, the key would be made and nobody would have seen it.
    _note(settings, "keys create", f"{key.id} {','.join(key.named_scopes)} {','.join(key.patterns)}")


@cli.command("list")
def list_keys(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all keys, those that are of no use any more too."""
    with _keys(load_settings(data_dir=data_dir)) as keys:
        found = [_document(key) for key in keys.all()]
    if as_json:
        print_json(found)
        return
    table = Table("id", "name", "scopes", "collections", "made", "expires", "state")
    for one in found:
        cells = (one["id"], one["name"], ",".join(one["scopes"]), ",".join(one["collections"]))
        times = (local_time(one["created_at"]), local_time(one["expires_at"]))
        table.add_row(*map(escape, (*cells, *times, one["state"])))
    print_lines(table)


@cli.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `sightline keys list` shows it.")],
    data_dir: DataDir = None,
) -> None:
    """End a key, from the next request on."""
    settings = load_settings(data_dir=data_dir)
    with _keys(settings) as keys:
        try:
            key = keys.revoke(key_id)
        except KeyNotFound as error:
            raise CommandFailed(f"{error}; {on_folder('keys list', settings.data_dir)} shows them") from error
    _note(settings, "keys revoke", key.id)
    out.print(f"{key.id} is revoked", highlight=False)


@contextmanager
def _keys(settings: "Settings", *, create: bool = False) -> Iterator["KeyStore"]:
    """The keys of a data folder; `create` makes it, as a server may have its keys before its first start."""
    from indexer.stores.database import CATALOGUE, Database
    from indexer.stores.keys import KeyStore

    if not create:
        require_catalogue(settings.data_dir)
    elif not (settings.data_dir / CATALOGUE).is_file():
        _tell(f"There is no catalogue in {settings.data_dir} yet: it is made, with nothing in it but the key.")
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.data_dir / CATALOGUE)
    try:
        yield KeyStore(database)
    finally:
        database.close()


def _tell(words: str) -> None:
    err.print(words, highlight=False, markup=False, soft_wrap=True)


def _note(settings: "Settings", action: str, target: str) -> None:
    from app.access.audit import AuditLog, Entry

    AuditLog(settings.data_dir).write(Entry.of_command(action, target))


def _parts(given: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in given.split(",") if part.strip())


def _expiry(given: str | None) -> datetime | None:
    if given is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,3})([mhdw])", given)
    if found is None:
        raise typer.BadParameter(f"{given!r} is no time such as 90d, 12h, 30m or 4w")
    return datetime.now(UTC) + timedelta(**{_UNITS[found[2]]: int(found[1])})


def _document(key: "Key") -> dict[str, Any]:
    now = datetime.now(UTC)
    values = asdict(key)
    times = {name: values[name] and values[name].isoformat() for name in ("created_at", "expires_at", "revoked_at")}
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.named_scopes,
        "collections": list(key.patterns),
        "state": key.fault(now) or "valid",
        **times,
    }
