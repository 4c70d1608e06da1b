"""A zip file of pictures, with or without a catalogue among them; nothing of it is written to the disk."""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from indexer.errors import SourceInvalid
from indexer.sources.places import MAX_PICTURE_BYTES, Find, inside, is_picture
from indexer.sources.rows import Record
from indexer.sources.streams import MAX_RATIO, BreaksOff, Check, count, damage_told, decompressed
from indexer.sources.values import shortened

MAX_DIRECTORY_BYTES = 32 * 2**20
"""The directory is held in memory; it has about a hundred bytes for each member, and Python's form six times that."""

_SLACK_BYTES = 2**20
"""What every archive may grow to, whatever its ratio: a plain picture compresses well."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class ArchiveTable:
    """The pictures of a zip file, in the order of its directory."""

    path: Path

    def records(self, after: int) -> Iterator[Record]:
        """The pictures after a number; those before are not read."""
        with opened(self.path) as archive:
            for number, name in enumerate(_pictures(archive), start=1):
                if number > after:
                    yield Record(number, {"path": name, "file": name})

    def count(self, check: Check) -> int:
        """The pictures that its directory lists."""
        with opened(self.path) as archive:
            return count(_pictures(archive), check)

    def value(self, cell: Any) -> Any:
        """As it is."""
        return cell


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, if it is one that can be read at a bounded cost; else raises `BreaksOff`."""
    with _Bounded(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise BreaksOff(f"the zip file is damaged or cut off ({error}); copy it again") from error
        with archive:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > MAX_RATIO * path.stat().st_size + _SLACK_BYTES:
                raise BreaksOff(f"it would grow to {declared:,} bytes, more than {MAX_RATIO} times its own")
            yield archive


@contextmanager
def pictures_within(path: Path, folder: str) -> Iterator[Find]:
    """Pictures are members of a zip file, below a folder of it."""
    with opened(path) as archive:
        members = {_name(member): member for member in archive.infolist()}
        yield partial(_picture, archive, members, folder)


def open_member(path: Path, name: str, check: Check) -> io.BufferedReader:
    """One member as a stream, decompressed where it is compressed once more; raises `BreaksOff` if it cannot be."""
    with opened(path) as archive:
        member = next(member for member in archive.infolist() if _name(member) == name)
        try:
            _check(member)
        except ValueError as error:
            raise BreaksOff(f"{name} {error}") from error
    return decompressed(io.BufferedReader(_Member(path, member)), check)


def find_catalogue(shown: str, path: Path, names: tuple[str, ...]) -> str | None:
    """The catalogue among the members, the outermost where there are several; None where there are but pictures.

    Raises:
        SourceInvalid: There are no pictures either, or it is another kind of file in a zip.
    """
    with opened(path) as archive:
        members = [_name(member) for member in archive.infolist()]
        found = [name for name in members if name.rpartition("/")[2] in names and "__MACOSX/" not in name]
        if found:
            return min(found, key=lambda name: (name.count("/"), names.index(name.rpartition("/")[2]), name))
        if "xl/workbook.xml" in members:
            raise SourceInvalid(f"{shown} is an Excel workbook; save it as CSV")
        if not any(map(is_picture, members)):
            raise SourceInvalid(f"{shown} is a zip file without pictures and without a {names[0]}")
    return None


class _Bounded(io.FileIO):
    """A file for `zipfile`, which reads as much for the directory as its end record says."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise BreaksOff("the zip file has too many members; make several of it, or tar shards")
        return super().read(size)


class _Member(io.RawIOBase):
    """A member that keeps its archive open."""

    def __init__(self, path: Path, member: zipfile.ZipInfo) -> None:
        with ExitStack() as stack, damage_told():
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(_Bounded(path))))
            self._stream = stack.enter_context(archive.open(member))
            self._open = stack.pop_all()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with damage_told():
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        with damage_told():
            return self._stream.seek(position, whence)

    def close(self) -> None:
        if not self.closed:
            self._open.close()
        super().close()


def _pictures(archive: zipfile.ZipFile) -> Iterator[str]:
    return (name for name in map(_name, archive.infolist()) if is_picture(name))


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.replace("\\", "/").removeprefix("./")


def _picture(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], folder: str, named: str) -> bytes:
    path = "/".join([folder, *inside([], named)] if folder else inside([], named))
    member = members.get(path)
    if member is None:
        raise ValueError(f"the image {shortened(named)!r} is not in the zip file")
    try:
        _check(member, MAX_PICTURE_BYTES)
        return archive.read(member)
    except _ERRORS as error:
        raise ValueError(f"the image {shortened(named)!r} {_words(error)}") from error


def _words(error: Exception) -> str:
    return str(error) if type(error) is ValueError else f"is damaged: {error}"


def _check(member: zipfile.ZipInfo, limit: int | None = None) -> None:
    """Raise `ValueError` for what is not a plain file that can be read at a bounded cost.

    What is read never exceeds the declared size: `zipfile` stops there.
    """
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError("is a link")
    if member.flag_bits & 1:
        raise ValueError("is encrypted; make the zip file without a password")
    if member.compress_type not in _METHODS:
        raise ValueError("is compressed in a way that is not read; use deflate, as zip programs do by default")
    if limit is not None and member.file_size > limit:
        raise ValueError(f"has {member.file_size:,} bytes; at most {limit:,} are read")
    if limit is not None and member.file_size > MAX_RATIO * member.compress_size + _SLACK_BYTES:
        raise ValueError(f"would grow to more than {MAX_RATIO} times its size")
