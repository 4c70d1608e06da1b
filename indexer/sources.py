"""Catalogues as they come: a CSV file, or a folder of pictures, as rows of items."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.errors import SourceInvalid

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})

_GUESSES = {
    "id": ("id", "item_id", "sku", "product_id", "uid", "key"),
    "image": ("image", "image_path", "image_url", "img", "picture", "photo", "file", "filename", "path", "url"),
    "text": ("text", "title", "name", "caption", "description", "product_name", "label"),
}


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
    image: Path | str | None
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

    def __iter__(self) -> Iterator[Row | BadRow]:
        if self.path.is_dir():
            return _folder_rows(self.path)
        return _csv_rows(self.path, self.mapping)


def read_source(path: Path, mapping: Mapping | None = None) -> Source:
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
    return Mapping(**chosen, metadata=tuple(column for column in columns if column not in chosen.values()))


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
        reader = csv.DictReader(file, dialect=_dialect(file.read(65_536)))
        file.seek(0)
        columns = list(reader.fieldnames or [])
        if not columns:
            raise SourceInvalid(f"{path} is empty; a catalogue begins with a header line")
        return columns, sum(1 for _ in reader)


def _dialect(sample: str) -> type[csv.Dialect]:
    try:
        return csv.Sniffer().sniff(sample.partition("\n")[0], delimiters=",;\t|")
    except csv.Error:
        return csv.excel


def _csv_rows(path: Path, mapping: Mapping) -> Iterator[Row | BadRow]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        dialect = _dialect(file.read(65_536))
        file.seek(0)
        for number, cells in enumerate(csv.DictReader(file, dialect=dialect), start=1):
            yield _row(path.parent, number, cells, mapping)


def _row(root: Path, number: int, cells: dict[str, str | None], mapping: Mapping) -> Row | BadRow:
    id_ = (cells.get(mapping.id) or "").strip() if mapping.id else str(number)
    if not 1 <= len(id_) <= 256:
        return BadRow(number, id_, f"the id in column {mapping.id!r} must have 1 to 256 characters")
    named = (cells.get(mapping.image) or "").strip() if mapping.image else ""
    image: Path | str | None = named or None
    if named and not named.startswith(("http://", "https://", "data:")):
        image = (root / named).resolve()
        if not image.is_relative_to(root.resolve()):
            return BadRow(number, id_, f"the image {named!r} is outside the catalogue's folder")
        if not image.is_file():
            return BadRow(number, id_, f"the image {named!r} does not exist")
    text = (cells.get(mapping.text) or "").strip() if mapping.text else ""
    metadata = {column: _value(cells[column] or "") for column in mapping.metadata if cells.get(column)}
    return Row(number, id_, image, text or None, metadata)


def _value(cell: str) -> str | int | float:
    """Numbers as numbers; what would not come back the same (007, 1e5, nan) stays text."""
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        if str(value) == cell or (kind is float and cell.rstrip("0") == str(value).removesuffix("0")):
            return value
    return cell


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
