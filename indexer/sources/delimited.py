"""CSV files as spreadsheets and databases write them."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from indexer.errors import SourceInvalid
from indexer.sources.encodings import SAMPLE_BYTES, bad_byte, sniff
from indexer.sources.mapping import Mapping
from indexer.sources.mapping import guess_mapping as guess
from indexer.sources.rows import Record
from indexer.sources.streams import MAX_ROW_CHARACTERS, BreaksOff, Check, Lines, Opener, RowTooLong, count, head
from indexer.sources.values import readable, typed

_DELIMITERS = ",;\t|"
MAX_LINES = 1000
"""No description goes over more lines; without a limit a missing quote would swallow the file."""


@dataclass(frozen=True)
class CsvTable:
    """A CSV file with a header."""

    open: Opener
    encoding: str
    columns: tuple[str, ...]

    @classmethod
    def inspect(cls, name: str, open_: Opener) -> Self:
        """Read the header.

        Raises:
            SourceInvalid: It is no text, or has no header.
        """
        encoding = sniff(head(open_, SAMPLE_BYTES))
        if encoding is None:
            raise SourceInvalid(f"{name} is not a text; catalogues are CSV, JSON Lines, Parquet, tar, zip or a folder")
        try:
            with Lines(open_(), encoding, "", MAX_LINES) as lines:
                header = next(_rows(lines), None)
        except RowTooLong as error:
            raise SourceInvalid(f"{name} has no header line of a CSV file") from error
        if not isinstance(header, list):
            raise SourceInvalid(f"{name} is empty; a catalogue begins with a header line")
        return cls(open_, encoding, tuple(readable(column) for column in header))

    @property
    def is_utf8(self) -> bool:
        """Whether it is in the encoding that it should be in."""
        return self.encoding.startswith("utf-8")

    def guess_mapping(self) -> Mapping:
        """Columns by their usual names."""
        return guess(self.columns)

    def records(self, after: int) -> Iterator[Record]:
        """The records after a number; those before are parsed, since only that finds where rows end."""
        with Lines(self.open(), self.encoding, "", MAX_LINES) as lines:
            rows = _rows(lines)
            next(rows)
            for number, row in enumerate(rows, start=1):
                if number > after:
                    yield self._record(number, row)

    def count(self, check: Check) -> int:
        """The rows, read through."""
        with Lines(self.open(), self.encoding, "", MAX_LINES) as lines:
            return count(_rows(lines), check) - 1

    def value(self, cell: Any) -> Any:
        """A number where it is one."""
        return typed(cell)

    def _record(self, number: int, row: list[str] | str) -> Record:
        if isinstance(row, str):
            return Record(number, {}, row)
        cells = dict(zip(self.columns, row, strict=False))
        for column, cell in cells.items():
            byte = bad_byte(cell)
            if byte is not None:
                cells = {key: readable(value) for key, value in cells.items()}
                return Record(number, cells, _not_text(byte, column, self.encoding))
        if any(cell.strip() for cell in row[len(self.columns) :]):
            fault = "the row has more cells than the header has columns; is a quote missing?"
            return Record(number, cells, fault)
        return Record(number, cells)


def _not_text(byte: int, column: str, encoding: str) -> str:
    return f"byte 0x{byte:02X} in column {column!r} is not {encoding}, as the file is; save it as UTF-8"


def _rows(lines: Lines) -> Iterator[list[str] | str]:
    """The header and the rows; words for one that cannot be read. Lines without any cell are no rows."""
    csv.field_size_limit(MAX_ROW_CHARACTERS)  # of all readers in the process, and by default 131,072
    delimiter = _delimiter(lines)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.begin_row()
        try:
            row = next(reader, None)
        except (RowTooLong, csv.Error) as error:
            yield str(error)
            continue
        if row is None:
            return
        if _ends_in_a_quote(lines.row, delimiter):
            raise BreaksOff("the file ends within a quoted cell; is it cut off, or a quote missing?")
        if row:
            yield row


def _ends_in_a_quote(row: list[str], delimiter: str) -> bool:
    """Whether a row's last cell has no closing quote, which makes it take in all lines up to the end of the file."""
    if sum(line.count('"') for line in row) % 2 == 0:
        return False
    try:
        list(csv.reader(row, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "end of data" in str(error)
    return False


def _delimiter(lines: Lines) -> str:
    """The delimiter that the header shows, or names as Excel does.

    `csv.Sniffer` would guess at the quoting too, and take doubled quotes for the end of a cell where it saw none.
    """
    lines.begin_row()
    first = next(lines, "")
    named = re.fullmatch(r"sep=(.)\s*", first)
    if named:
        return named[1]
    lines.give_again(first)
    unquoted = re.sub(r'"[^"]*"', "", first)
    return max(_DELIMITERS, key=unquoted.count)
