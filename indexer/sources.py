"""Catalogues as they come: a CSV file, or a folder of pictures, as rows of items."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from indexer.errors import SourceInvalid

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})

_GUESSES = {
    "id": ("id", "item_id", "sku", "product_id", "uid", "key"),
    "image": ("image", "image_path", "image_url", "img", "picture", "photo", "file", "filename", "path", "url"),
    "text": ("text", "title", "name", "caption", "description", "product_name", "label"),
}

_MAX_CELL_CHARACTERS = 64 * 2**20
"""A cell may be a picture as a `data:` URI; the default of `csv` is 131,072."""
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


ImageReference = bytes | Path | str


@dataclass(frozen=True)
class Mapping:
    """Which columns hold what; all others that are in `metadata` are kept as metadata."""

    id: str | None
    image: str | None
    text: str | None
    metadata: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row of a catalogue; `number` is its line or its place in the folder, from 1."""

    number: int
    id: str
    image: ImageReference | None
    text: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that names no usable item, and why."""

    number: int
    id: str
    detail: str


@dataclass(frozen=True)
class Source:
    """A readable catalogue: iterate it as often as wanted."""

    path: Path
    total: int
    mapping: Mapping

    @property
    def name(self) -> str:
        return str(self.path)

    def count(self) -> int:
        return self.total

    def rows(self, after: int = 0) -> Iterator["Row | BadRow"]:
        return (row for row in self if row.number > after)

    def __iter__(self) -> Iterator[Row | BadRow]:
        if self.path.is_dir():
            return _folder_rows(self.path)
        return _csv_rows(self.path, self.mapping)


def read_source(path: Path, mapping: Mapping | None = None, *, base_url: str | None = None) -> Source:
    """Open a CSV file with a header, or a folder of pictures (its `catalog.csv`, where it has one).

    Args:
        mapping: The columns; guessed from their names when left out.

    Raises:
        SourceInvalid: It does not exist, is not UTF-8 CSV with a header, or has no usable column.
    """
    if path.is_dir() and (path / "catalog.csv").is_file():
        path = path / "catalog.csv"
    if path.is_dir():
        return Source(path, sum(1 for _ in _pictures(path)), Mapping(None, "path", None))
    try:
        columns, total = _inspect(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceInvalid(f"{path} cannot be read as a CSV catalogue: {error}") from error
    return Source(path, total, _checked(path, columns, mapping or guess_mapping(columns)))


def guess_mapping(columns: list[str]) -> Mapping:
    """Columns by their usual names; every other column becomes metadata."""
    lower = {column.strip().lower(): column for column in columns}
    chosen = {role: next((lower[name] for name in names if name in lower), None) for role, names in _GUESSES.items()}
    rest = (column for column in columns if column.strip() and column not in chosen.values())
    return Mapping(**chosen, metadata=tuple(rest))


def _checked(path: Path, columns: list[str], mapping: Mapping) -> Mapping:
    named = [column for column in (mapping.id, mapping.image, mapping.text, *mapping.metadata) if column]
    missing = [column for column in named if column not in columns]
    if missing:
        raise SourceInvalid(f"{path} has no column {', '.join(missing)}; it has {', '.join(columns)}")
    if mapping.image is None and mapping.text is None:
        raise SourceInvalid(f"{path} has no column for images or texts among {', '.join(columns)}; name them")
    return mapping


def _inspect(path: Path) -> tuple[list[str], int]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = _reader(file)
        columns = list(reader.fieldnames or [])
        if not columns:
            raise SourceInvalid(f"{path} is empty; a catalogue begins with a header line")
        return columns, sum(1 for _ in reader)


def _reader(file: TextIO) -> "csv.DictReader[str]":
    """Rows of an open file, read as spreadsheets write them, with the delimiter that its header shows.

    `csv.Sniffer` would guess at the quoting too, and take doubled quotes for the end of a cell where it saw none.
    """
    csv.field_size_limit(_MAX_CELL_CHARACTERS)
    header = re.sub(r'"[^"]*"', "", file.readline())
    file.seek(0)
    return csv.DictReader(file, delimiter=max(",;\t|", key=header.count))


def _csv_rows(path: Path, mapping: Mapping) -> Iterator[Row | BadRow]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, cells in enumerate(_reader(file), start=1):
            yield _row(path.parent, number, cells, mapping)


def _row(root: Path, number: int, cells: dict[str, Any], mapping: Mapping) -> Row | BadRow:
    id_ = (cells.get(mapping.id) or "").strip() if mapping.id else str(number)
    if not 1 <= len(id_) <= 256:
        return BadRow(number, id_[:256], f"the id in column {mapping.id!r} must have 1 to 256 characters")
    # DictReader keeps what is beyond the header under None.
    if any(cell.strip() for cell in cells.get(None) or ()):  # type: ignore[call-overload]
        return BadRow(number, id_, "the row has more cells than the header has columns; is a quote missing?")
    try:
        image = _image(root, (cells.get(mapping.image) or "").strip() if mapping.image else "")
    except ValueError as error:
        return BadRow(number, id_, str(error))
    text = (cells.get(mapping.text) or "").strip() if mapping.text else ""
    metadata = {column: _value(cells[column]) for column in mapping.metadata if cells.get(column)}
    return Row(number, id_, image, text or None, metadata)


def _image(root: Path, named: str) -> Path | str | None:
    """What an image cell names; raises `ValueError` for a path that is not a file within `root`."""
    if not named or named.startswith(("http://", "https://", "data:")):
        return named or None
    shown = named if len(named) <= 100 else f"{named[:100]}..."
    try:
        path = (root / named).resolve()
        inside, is_file = path.is_relative_to(root.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a NUL in it, a circle of links
        raise ValueError(f"the image {shown!r} is not a path") from error
    if not inside:
        raise ValueError(f"the image {shown!r} is outside the catalogue's folder")
    if not is_file:
        raise ValueError(f"the image {shown!r} does not exist")
    return path


def _value(cell: str) -> str | int | float:
    """Numbers as numbers; what would not come back the same (007, 1e5, nan, 20 digits) stays text."""
    number = _NUMBER.fullmatch(cell)
    if number is None or len(cell) > 15:  # a float64, which is what JSON's readers use, keeps 15 digits
        return cell
    return float(cell) if number[2] else int(cell)


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _folder_rows(folder: Path) -> Iterator[Row | BadRow]:
    """Each picture is an item: its path is its id; it has no text, since a file name is rarely one."""
    root = folder.resolve()
    for number, path in enumerate(_pictures(folder), start=1):
        id_ = path.relative_to(folder).as_posix()
        if not path.resolve().is_relative_to(root):
            yield BadRow(number, id_, "the picture is a link that leads out of the folder")
        elif len(id_) > 256:
            yield BadRow(number, id_, "the path is longer than the 256 characters of an id")
        else:
            yield Row(number, id_, path, None, {"file": id_})


def version(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"
