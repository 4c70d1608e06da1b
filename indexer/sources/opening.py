"""Catalogues opened: what a file is, by its first bytes before its name."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from indexer.errors import SourceInvalid
from indexer.sources.archive import ArchiveTable, find_catalogue, open_member, pictures_within
from indexer.sources.delimited import CsvTable
from indexer.sources.finding import CATALOGUES, find, is_shard
from indexer.sources.json_lines import JsonLinesTable
from indexer.sources.mapping import Mapping, check_mapping
from indexer.sources.pictures import PICTURE_COLUMNS, PICTURE_MAPPING, PicturesTable
from indexer.sources.places import Place, at_url, on_disk, url_parts, without_secrets
from indexer.sources.rows import Source
from indexer.sources.shards import ShardsTable
from indexer.sources.streams import GZIP, ZSTD, BreaksOff, Check, Opener, head, open_file, unchecked

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OTHERS = {
    b"\xff\xd8\xff": "is a picture; give the folder that it is in",
    b"\x89PNG": "is a picture; give the folder that it is in",
    b"\xd0\xcf\x11\xe0": "is an old Office file; save it as CSV",
    b"BZh": "is compressed with bzip2; use gzip or zstd",
    b"\xfd7zXZ": "is compressed with xz; use gzip or zstd",
    b"7z\xbc\xaf": "is a 7z archive; use zip or tar",
    b"Rar!": "is a RAR archive; use zip or tar",
    b"%PDF": "is a PDF; catalogues are CSV, JSON Lines or Parquet",
}
_JSON_OBJECT = re.compile(rb'\s*\{\s*["}]')


def read_source(
    path: Path,
    mapping: Mapping | None = None,
    *,
    name: str | None = None,
    base_url: str | None = None,
    within: Sequence[Path] | None = None,
    check: Check = unchecked,
) -> Source:
    """Open a catalogue: its head is read, no more.

    It is CSV or JSON Lines (also .gz or .zst), Parquet, WebDataset tar files, a zip file of pictures, or a folder with
    one of these or with pictures.

    Args:
        path: A file, a folder, or a pattern of tar files, `shard-{000..003}.tar`.
        mapping: The columns; guessed from their names when left out.
        name: What to show the user; what it was read from where left out.
        base_url: Where the file was fetched from; relative names of pictures are then joined to it.
        within: Folders in which a file may name pictures on the disk, none of an upload; only its own where left out.
        check: Called for each block that is read of a file, now and later; what it raises ends that.

    Raises:
        SourceInvalid: It does not exist, is none of these, or has no usable column.
    """
    found = find(path)
    name = name or (without_secrets(base_url) if base_url else str(found.path))
    try:
        folder = found.path if found.path.is_dir() else found.path.parent
        place = at_url(base_url) if base_url else on_disk(folder, within)
        if found.shards:
            return _shards(name, found.shards, mapping, place, check)
        if found.path.is_dir():
            return _pictures(name, found.path, mapping, place)
        named = url_parts(base_url).path if base_url else found.path.name
        return _file(name, found.path, mapping, place, named, check)
    except OSError as error:
        raise SourceInvalid(f"{name} cannot be read: {error.strerror or error}") from error
    except BreaksOff as error:
        raise SourceInvalid(f"{name} cannot be read: {error}") from error


def _file(name: str, path: Path, mapping: Mapping | None, place: Place, named: str, check: Check) -> Source:
    with path.open("rb") as file:
        magic = file.read(8)
    for other, words in _OTHERS.items():
        if magic.startswith(other):
            raise SourceInvalid(f"{name} {words}")
    if magic.startswith(_ZIP):
        return _zip(name, path, mapping, check)
    open_ = partial(open_file, path, check)
    start = head(open_)
    if start[257:262] == b"ustar" or is_shard(named):
        return _shards(name, (path,), mapping, place, check)
    return _table(name, open_, mapping, place, named, packed=magic.startswith((GZIP, ZSTD)))


def _table(name: str, open_: Opener, mapping: Mapping | None, place: Place, named: str, *, packed: bool) -> Source:
    start = head(open_)
    if packed and start.startswith((b"PAR1", GZIP, ZSTD, *_ZIP)):
        raise SourceInvalid(f"{name} is compressed twice; decompress it once")
    if start.startswith(b"PAR1"):
        return _parquet(name, open_, mapping, place)
    if _is_json(start, named):
        json_lines = JsonLinesTable.inspect(name, open_)
        checked = check_mapping(name, json_lines.columns, mapping, json_lines.guess_mapping())
        return Source(name, checked, json_lines, place)
    table = CsvTable.inspect(name, open_)
    checked = check_mapping(name, table.columns, mapping, table.guess_mapping())
    return Source(name if table.is_utf8 else f"{name} (read as {table.encoding})", checked, table, place)


def _parquet(name: str, open_: Opener, mapping: Mapping | None, place: Place) -> Source:
    from indexer.sources.parquet import ParquetTable  # pyarrow takes a third of a second

    table = ParquetTable.inspect(name, open_)
    checked = check_mapping(name, table.columns, mapping, table.guess_mapping())
    return Source(name, checked, table.reading(checked), place)


def _shards(name: str, shards: tuple[Path, ...], mapping: Mapping | None, place: Place, check: Check) -> Source:
    table = ShardsTable.inspect(name, shards, check)
    return Source(name, check_mapping(name, table.columns, mapping, table.guess_mapping()), table, place)


def _pictures(name: str, folder: Path, mapping: Mapping | None, place: Place) -> Source:
    checked = check_mapping(name, PICTURE_COLUMNS, mapping, PICTURE_MAPPING)
    return Source(name, checked, PicturesTable(folder), place)


def _zip(name: str, path: Path, mapping: Mapping | None, check: Check) -> Source:
    member = find_catalogue(name, path, CATALOGUES)
    if member is None:
        checked = check_mapping(name, PICTURE_COLUMNS, mapping, PICTURE_MAPPING)
        return Source(name, checked, ArchiveTable(path), partial(pictures_within, path, ""))
    place = partial(pictures_within, path, member.rpartition("/")[0])
    packed = member.endswith((".gz", ".zst"))
    return _table(f"{name}/{member}", partial(open_member, path, member, check), mapping, place, member, packed=packed)


def _is_json(start: bytes, named: str) -> bool:
    suffixes = [suffix.lower() for suffix in Path(named).suffixes]
    return bool(_JSON_OBJECT.match(start.lstrip(b"\xef\xbb\xbf")) or {".json", ".jsonl", ".ndjson"} & set(suffixes))
