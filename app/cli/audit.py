"""`sightline audit`: who did what that needs the scope `admin`."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from app.cli.console import local_time, print_json, print_lines
from app.cli.options import AsJson, DataDir, load_settings


def audit(
    limit: Annotated[int, typer.Option(min=1, help="How many, of the last ones.")] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what was done to collections, generations and keys, oldest first; all of it is in audit.jsonl."""
    from app.access.audit import AuditLog

    entries = AuditLog(load_settings(data_dir=data_dir).data_dir).read(limit)
    if as_json:
        print_json(entries)
        return
    table = Table("at", "actor", "action", "target", "status")
    for entry in entries:
        cells = (entry["actor"], entry["action"], entry["target"], str(entry["status"] or ""))
        table.add_row(local_time(entry["at"]), *map(escape, cells))
    print_lines(table)
