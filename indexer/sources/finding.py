"""What a path stands for: a file, a folder's catalogue, tar files, or a folder of pictures; and whether it changed."""

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from indexer.errors import SourceInvalid
from indexer.sources.pictures import PicturesTable

CATALOGUES = tuple(f"catalog.{kind}{way}" for kind in ("csv", "jsonl", "parquet") for way in ("", ".gz", ".zst"))
"""A folder or a zip file with one of these is what the catalogue says; the first of several is taken."""

_SHARD = re.compile(r"[^.].*\.(tar|tar\.gz|tgz|tar\.zst)", re.IGNORECASE)
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MAX_SHARDS = 100_000


@dataclass(frozen=True)
class Found:
    """A file or a folder of pictures; or tar files, of which `path` is the pattern."""

    path: Path
    shards: tuple[Path, ...] = ()


def find(path: Path) -> Found:
    """What a path stands for.

    Raises:
        SourceInvalid: Nothing is there, or it cannot be read.
    """
    try:
        if path.is_dir():
            return _in_folder(path)
        if path.is_file():
            return Found(path)
        if _RANGE.search(path.name):
            return Found(path, tuple(_expanded(path)))
        detail = "is no file and no folder" if path.exists() else "does not exist"
    except (OSError, ValueError) as error:  # no right to, too long a name, a NUL in it
        raise SourceInvalid(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    raise SourceInvalid(f"{path} {detail}")


def is_shard(name: str) -> bool:
    """Whether a file is a tar file by its name."""
    return _SHARD.fullmatch(name) is not None


def version(path: Path) -> str:
    """What changes when a local source does: sizes and times of its files, or the names in a folder of pictures.

    Raises:
        SourceInvalid: It does not exist, or cannot be read.
    """
    found = find(path)
    digest = hashlib.sha256()
    try:
        for line in _states(found):
            digest.update(f"{line}\n".encode(errors="surrogateescape"))
    except OSError as error:
        raise SourceInvalid(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def files(path: Path) -> tuple[Path, ...]:
    """The files that a source is read from, or the folder of pictures; raises `SourceInvalid` as `find` does."""
    found = find(path)
    return found.shards or (found.path,)


def expand(name: str) -> Iterator[str]:
    """The names that one with ranges stands for, `s-{08..10}.tar`; of one without, itself.

    Raises:
        SourceInvalid: They are none, or too many, or no tar files.
    """
    parts = _RANGE.split(name)
    if len(parts) > 1 and not is_shard(name):
        raise SourceInvalid(f"{name} stands for several files, and only tar files can be read as one catalogue")
    ranges = [range(int(first), int(last) + 1) for first, last in zip(parts[1::3], parts[2::3], strict=True)]
    if not 0 < math.prod(map(len, ranges)) <= _MAX_SHARDS:
        raise SourceInvalid(f"{name} stands for no files, or for more than {_MAX_SHARDS:,}")
    for numbers in product(*ranges):
        padded = [str(number).zfill(len(first)) for number, first in zip(numbers, parts[1::3], strict=True)]
        yield parts[0] + "".join(number + text for number, text in zip(padded, parts[3::3], strict=True))


def _states(found: Found) -> Iterator[str]:
    if not found.shards and found.path.is_dir():
        yield from PicturesTable(found.path).names()
        return
    for file in found.shards or (found.path,):
        state = file.stat()
        yield f"{file.name}\0{state.st_size}\0{state.st_mtime_ns}"


def _in_folder(folder: Path) -> Found:
    for name in CATALOGUES:
        if (folder / name).is_file():
            return Found(folder / name)
    shards = sorted(path for path in folder.iterdir() if is_shard(path.name) and path.is_file())
    return Found(folder / "*.tar", tuple(shards)) if shards else Found(folder)


def _expanded(pattern: Path) -> Iterator[Path]:
    """The files that a name with ranges stands for; all must be there, or some of the catalogue would go missing."""
    for name in expand(pattern.name):
        if not pattern.with_name(name).is_file():
            raise SourceInvalid(f"{pattern} stands for {name}, which does not exist")
        yield pattern.with_name(name)
