"""A catalogue as rows of items, whatever format it has."""

from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from indexer.errors import SourceInvalid
from indexer.sources.mapping import Mapping
from indexer.sources.places import MAX_PICTURE_BYTES, Find, Place, find_image
from indexer.sources.streams import BreaksOff, Check
from indexer.sources.values import MAX_ID_CHARACTERS, as_id, as_text, lookup, readable

ImageReference = bytes | Path | str


@dataclass(frozen=True)
class Row:
    """One row of a catalogue.

    Args:
        number: Its place among the rows, from 1, the same in every run: where reading can go on.
        image: Encoded bytes that lie in the catalogue, a file that it may name, or a `data:` URI or a URL, which
            nobody has fetched yet.
        image_fault: Why there is no `image` although the row names one; the rest of the row is good.
    """

    number: int
    id: str
    image: ImageReference | None
    text: str | None
    metadata: dict[str, Any]
    image_fault: str | None = None


@dataclass(frozen=True)
class BadRow:
    """A row that names no usable item, and why."""

    number: int
    id: str
    detail: str


@dataclass(frozen=True)
class Record:
    """The cells of one row as the format gives them; `fault` says what is wrong with the row as a whole."""

    number: int
    cells: dict[str, Any]
    fault: str | None = None


@dataclass(frozen=True)
class Unusable:
    """Instead of a picture's cell: why it cannot be used, which costs the row no more than the picture."""

    detail: str


class Table(Protocol):
    """What a format must offer. What breaks off raises `BreaksOff`; a bad row is a record with a fault."""

    def records(self, after: int) -> Iterator[Record]:
        """The records with a number above `after`."""
        ...

    def count(self, check: Check) -> int:
        """How many records there are, exactly, without holding them; see `streams.count`."""
        ...

    def value(self, cell: Any) -> Any:
        """A cell as JSON, None where it is empty; raises `ValueError` where it cannot be."""
        ...


@dataclass(frozen=True)
class Source:
    """A readable catalogue: iterate it as often as wanted.

    Args:
        name: What to show the user.
        place: Where the pictures are that its cells name.
    """

    name: str
    mapping: Mapping
    table: Table
    place: Place

    def __iter__(self) -> Iterator[Row | BadRow]:
        return self.rows()

    def rows(self, after: int = 0) -> Iterator[Row | BadRow]:
        """The rows with a number above `after`.

        Raises:
            SourceInvalid: The file breaks off; every row before that was given.
        """
        number = after
        try:
            with self.place() as find:
                for record in self.table.records(after):
                    number = record.number
                    yield _row(record, self.mapping, self.table, find)
        except (BreaksOff, OSError) as error:
            raise SourceInvalid(f"{self.name} can be read up to row {number:,} only: {error}") from error

    def count(self, check: Check = lambda: None) -> int:
        """How many rows there are; reads the file through where its format does not say.

        Args:
            check: Called now and then; what it raises ends the counting.

        Raises:
            SourceInvalid: The file breaks off.
        """
        try:
            return self.table.count(check)
        except (BreaksOff, OSError) as error:
            raise SourceInvalid(f"{self.name} cannot be read to its end: {error}") from error


def _row(record: Record, mapping: Mapping, table: Table, find: Find) -> Row | BadRow:
    number, cells = record.number, record.cells
    id_ = _shown(lookup(cells, mapping.id)) if mapping.id else str(number)
    try:
        if record.fault is not None:
            raise ValueError(record.fault)
        if mapping.id:
            id_ = _id(lookup(cells, mapping.id), mapping.id)
        text, metadata = _text(cells, mapping.text), _metadata(cells, mapping.metadata or (), table)
    except ValueError as error:
        return BadRow(number, id_, str(error))
    try:
        image = _image(lookup(cells, mapping.image), find) if mapping.image else None
    except ValueError as error:
        return Row(number, id_, None, text, metadata, image_fault=str(error))
    return Row(number, id_, image, text, metadata)


def _shown(cell: Any) -> str:
    """An id that may not be one, so that a bad row can be found by it."""
    return readable(cell).strip()[:MAX_ID_CHARACTERS] if isinstance(cell, str) else str(cell or "")[:MAX_ID_CHARACTERS]


def _id(cell: Any, column: str) -> str:
    try:
        id_ = as_id(cell)
    except ValueError as error:
        raise ValueError(f"the id in column {column!r} cannot be used: {error}") from error
    if not 1 <= len(id_) <= MAX_ID_CHARACTERS:
        raise ValueError(f"the id in column {column!r} must have 1 to {MAX_ID_CHARACTERS} characters")
    return id_


def _text(cells: dict[str, Any], column: str | None) -> str | None:
    try:
        return (as_text(lookup(cells, column)) or None) if column else None
    except ValueError as error:
        raise ValueError(f"the text in column {column!r} {error}") from error


def _image(cell: Any, find: Find) -> ImageReference | None:
    match cell:
        case None | "" | b"" | []:
            return None
        case Unusable():
            raise ValueError(cell.detail)
        case str():
            return find_image(cell.strip(), find)
        case bytes():
            if len(cell) > MAX_PICTURE_BYTES:
                raise ValueError(f"the picture has {len(cell):,} bytes; at most {MAX_PICTURE_BYTES:,} are read")
            return cell
        case list() if not isinstance(cell[0], list):  # a feed names the main picture first
            return _image(cell[0], find)
        case dict():
            return _image(next((cell[key] for key in ("bytes", "url", "src", "path") if cell.get(key)), None), find)
    raise ValueError(f"an image is named by a text, not by {readable(repr(cell))[:60]}")


def _metadata(cells: dict[str, Any], columns: tuple[str, ...], table: Table) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for column in columns:
        try:
            _keep(metadata, cells, column, table)
        except ValueError as error:
            raise ValueError(f"the metadata in column {column!r} {error}") from error
    return metadata


def _keep(kept: dict[str, Any], cells: AbstractMapping[str, Any], column: str, table: Table) -> None:
    """Put a cell where it stood: a field named with dots stays within its object."""
    if column in cells:
        value = table.value(cells[column])
        if value is not None:
            kept[column] = value
        return
    head, dot, rest = column.partition(".")
    inner = cells.get(head)
    if dot and isinstance(inner, AbstractMapping):
        branch = kept.get(head, {})
        _keep(branch, inner, rest, table)
        if branch:
            kept[head] = branch
