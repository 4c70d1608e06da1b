"""How the command line speaks: results on stdout, everything else on stderr, errors in one line."""

import json
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console()
err = Console(stderr=True)


class CommandFailed(Exception):
    """A command cannot do what it was asked to; the message tells the user why."""


def print_error(message: str) -> None:
    """One line, in red where there are colours."""
    err.print(f"[bold red]error:[/] {escape(' '.join(message.split()))}", soft_wrap=True, highlight=False)


def print_lines(table: Table) -> None:
    """A table without frames, one line a row: nothing is cut off or folded, a narrow terminal wraps it as any line."""
    table.box, table.pad_edge = None, False
    table.width = out.measure(table, options=out.options.update(width=10_000)).maximum
    out.print(table, crop=False, highlight=False)


def local_time(moment: str | None) -> str:
    """A moment of the API's, on the clock of whoever reads it."""
    return "" if moment is None else f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def print_json(value: Any) -> None:
    """For machines: JSON, never wrapped or coloured."""
    out.print(json.dumps(value, ensure_ascii=False, indent=2), soft_wrap=True, markup=False, highlight=False)
