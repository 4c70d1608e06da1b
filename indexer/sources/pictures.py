"""A folder of pictures: each is an item."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.sources.mapping import Mapping
from indexer.sources.places import is_picture
from indexer.sources.rows import Record
from indexer.sources.streams import Check, count

PICTURE_COLUMNS = ("path", "file")
PICTURE_MAPPING = Mapping("path", "path", None, ("file",))
"""Its path is its id; it has no text, since a file name is rarely one."""


@dataclass(frozen=True)
class PicturesTable:
    """The pictures of a folder and those below it, by name; of each folder only the names are held, one at a time."""

    folder: Path

    def records(self, after: int) -> Iterator[Record]:
        """The pictures after a number; all are listed."""
        for number, record in enumerate(self._walk(), start=1):
            if number > after:
                yield Record(number, {"path": record[0], "file": record[0]}, record[1])

    def count(self, check: Check) -> int:
        """The pictures, listed through."""
        return count(self._walk(), check)

    def names(self) -> Iterator[str]:
        """The paths of the pictures within the folder."""
        return (name for name, _ in self._walk())

    def value(self, cell: Any) -> Any:
        """As it is."""
        return cell

    def _walk(self) -> Iterator[tuple[str, str | None]]:
        return _walk(self.folder, "")


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, str | None]]:
    """Each picture, and each folder that cannot be read, with what is wrong with it. Links to folders lead nowhere."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False), _is_file(entry)) for entry in entries)
    except OSError as error:
        yield prefix.rstrip("/") or folder.name, f"the folder cannot be read: {error.strerror}"
        return
    for name, is_folder, is_file in found:
        if is_folder:
            yield from _walk(folder / name, f"{prefix}{name}/")
        elif is_file and is_picture(name):
            yield f"{prefix}{name}", None


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a circle of links
        return False
