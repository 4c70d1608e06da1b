"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

from indexer.errors import SourceInvalid
from indexer.sources.encodings import bad_byte, sniff
from indexer.sources.mapping import Mapping, guess_nested
from indexer.sources.rows import Record
from indexer.sources.streams import BreaksOff, Check, Lines, Opener, RowTooLong, count, head
from indexer.sources.values import as_json, readable

INSPECTED_ROWS = 100
_MAX_COLUMNS = 1000
_MAX_COLUMN_CHARACTERS = 256
_MAX_DEPTH = 8


@dataclass(frozen=True)
class JsonLinesTable:
    """A file of JSON Lines; `columns` name the fields of objects with dots, `names` only the outermost."""

    open: Opener
    encoding: str
    columns: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def inspect(cls, name: str, open_: Opener) -> Self:
        """Collect the columns of the first lines.

        Raises:
            SourceInvalid: None of them is a JSON object.
        """
        mark = sniff(head(open_, 4)) or "utf-8"
        encoding = mark if mark in ("utf-8-sig", "utf-16", "utf-32") else "utf-8"
        found = inspected(cls(open_, encoding, (), ()).records(0))
        if head(open_).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"["):
            raise SourceInvalid(
                f"{name} is a JSON array; JSON Lines have an object in each line: jq -c '.[]' makes them"
            )
        cells = [record.cells for record in found if record.fault is None]
        if not cells:
            detail = "no line that is a JSON object" if found else "no lines"
            raise SourceInvalid(f"{name} has {detail}; JSON Lines have an object in each line, {{...}}")
        return cls(open_, encoding, columns_of(cells), names_of(cells))

    def guess_mapping(self) -> Mapping:
        """Columns by their usual names."""
        return guess_nested(self.columns, self.names)

    def records(self, after: int) -> Iterator[Record]:
        """The records after a number; the lines before are not parsed."""
        with Lines(self.open(), self.encoding, "\n") as lines:
            for number, line in enumerate(_filled(lines), start=1):
                if number > after:
                    yield _record(number, line)

    def count(self, check: Check) -> int:
        """The lines that are not blank."""
        with Lines(self.open(), self.encoding, "\n") as lines:
            return count(_filled(lines), check)

    def value(self, cell: Any) -> Any:
        """As it is."""
        return as_json(cell)


def inspected(records: Iterator[Record]) -> list[Record]:
    """The first records; raises `BreaksOff` where there is none."""
    found: list[Record] = []
    try:
        found.extend(islice(records, INSPECTED_ROWS))  # keeps what came before an error
    except BreaksOff:
        if not found:
            raise
    return found


def columns_of(objects: list[dict[str, Any]]) -> tuple[str, ...]:
    """The columns of any of the objects, in the order in which they come; fields of objects with dots."""
    columns = (column for cells in objects for column in _flat(cells))
    named = dict.fromkeys(column for column in columns if len(column) <= _MAX_COLUMN_CHARACTERS)
    return tuple(islice(named, _MAX_COLUMNS))


def names_of(objects: list[dict[str, Any]]) -> tuple[str, ...]:
    """The outermost names of any of the objects."""
    named = dict.fromkeys(name for cells in objects for name in cells if len(name) <= _MAX_COLUMN_CHARACTERS)
    return tuple(islice(named, _MAX_COLUMNS))


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object; raises `ValueError` for what is none."""
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {readable(str(error))}") from error
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object, {...}")
    return found


def _filled(lines: Lines) -> Iterator[str | RowTooLong]:
    while True:
        lines.begin_row()
        try:
            line = next(lines, None)
        except RowTooLong as error:
            yield error
            continue
        if line is None:
            return
        if not line.isspace():
            yield line


def _record(number: int, line: str | RowTooLong) -> Record:
    if isinstance(line, RowTooLong):
        return Record(number, {}, str(line))
    byte = bad_byte(line)
    if byte is not None:
        return Record(number, {}, f"the line has byte 0x{byte:02X}, which is not UTF-8, as JSON is")
    try:
        return Record(number, parse_object(line))
    except ValueError as error:
        return Record(number, {}, f"the line cannot be read: {error}")


def _flat(cells: dict[str, Any], depth: int = 1) -> Iterator[str]:
    for name, cell in cells.items():
        if isinstance(cell, dict) and cell and depth < _MAX_DEPTH:
            yield from (f"{name}.{inner}" for inner in _flat(cell, depth + 1))
        else:
            yield name
