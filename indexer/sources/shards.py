"""WebDataset: tar files in which members of one name, but for what follows its first dot, are one sample."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from indexer.errors import SourceInvalid
from indexer.sources.json_lines import columns_of, inspected, names_of, parse_object
from indexer.sources.mapping import Mapping, guess_nested
from indexer.sources.places import IMAGE_SUFFIXES, MAX_PICTURE_BYTES
from indexer.sources.rows import Record, Unusable
from indexer.sources.streams import BreaksOff, Check, count, open_file, unchecked
from indexer.sources.values import as_json, shortened, typed

KEY, IMAGE, TEXT = "__key__", "__image__", "__text__"
"""Columns of a sample beside the fields of its JSON: its name, its picture, its text."""

MAX_TEXT_BYTES = 4 * 2**20
MAX_HEADER_BYTES = 2**18
_BLOCK = 2**16


@dataclass(frozen=True)
class ShardsTable:
    """Samples of tar files, one file after the other."""

    shards: tuple[Path, ...]
    check: Check = unchecked
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def inspect(cls, name: str, shards: tuple[Path, ...], check: Check) -> Self:
        """Collect the columns of the first samples; their pictures are not read.

        Raises:
            SourceInvalid: There are no samples.
        """
        found = [record.cells for record in inspected(cls(shards, check)._samples(0, pictures=False))]
        if not found:
            raise SourceInvalid(f"{name} holds no samples, such as 0001.jpg with 0001.txt or 0001.json")
        return cls(shards, check, columns_of(found), names_of(found))

    def guess_mapping(self) -> Mapping:
        """The picture and the text of a sample; what is missing of its id and text from its JSON by the usual names."""
        special = (KEY, IMAGE, TEXT)
        fields = [column for column in self.columns if column not in special]
        guess = guess_nested(fields, [name for name in self.names if name not in special])
        image = IMAGE if IMAGE in self.columns else guess.image
        text = TEXT if TEXT in self.columns else guess.text
        again = [column for column in (guess.image, guess.text) if column and column not in (image, text)]
        return Mapping(guess.id or KEY, image, text, (*again, *(guess.metadata or ())))

    def records(self, after: int) -> Iterator[Record]:
        """The samples after a number; of those before only the members' headers are read."""
        return self._samples(after, pictures=True)

    def count(self, check: Check) -> int:
        """The samples, by their members' headers."""
        return count((key for shard in self.shards for key in _keys(shard, self.check)), check)

    def value(self, cell: Any) -> Any:
        """As it is."""
        return as_json(cell)

    def _samples(self, after: int, *, pictures: bool) -> Iterator[Record]:
        number = 0
        for shard in self.shards:
            with _opened(shard, self.check) as tar:
                for key, members in groupby(_members(tar), _key):
                    number += 1
                    if number > after:
                        yield _sample(number, key, members, tar, pictures)


def _keys(shard: Path, check: Check) -> Iterator[str]:
    with _opened(shard, check) as tar:
        for key, _ in groupby(_members(tar), _key):
            yield key


def _sample(number: int, key: str, members: Iterator[tarfile.TarInfo], tar: "_Tar", pictures: bool) -> Record:
    cells: dict[str, Any] = {KEY: key}
    fields: dict[str, Any] = {}
    fault = None
    for member in members:
        try:
            _check(member)
            _take(member, tar, cells, fields, pictures)
        except ValueError as error:
            detail = f"{shortened(member.name)!r} {error}"
            if _is_image(member):
                cells.setdefault(IMAGE, Unusable(detail))
            else:
                fault = fault or detail
    return Record(number, fields | cells, fault)


def _check(member: tarfile.TarInfo) -> None:
    if not member.isreg() or member.issparse():
        raise ValueError("is a link, a device or sparse; only plain files are read")
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise ValueError("is an absolute path or leads out of the archive")


def _take(member: tarfile.TarInfo, tar: "_Tar", cells: dict[str, Any], fields: dict[str, Any], pictures: bool) -> None:
    suffix = Path(member.name).suffix.lower()
    if _is_image(member) and not isinstance(cells.get(IMAGE), bytes):
        cells[IMAGE] = tar.read(member, MAX_PICTURE_BYTES) if pictures else b""
    elif suffix in (".txt", ".caption") and TEXT not in cells:
        cells[TEXT] = _decoded(tar.read(member, MAX_TEXT_BYTES))
    elif suffix == ".json":
        fields.update(parse_object(_decoded(tar.read(member, MAX_TEXT_BYTES))))
    elif suffix == ".cls":
        fields["cls"] = typed(_decoded(tar.read(member, MAX_TEXT_BYTES)).strip())


def _is_image(member: tarfile.TarInfo) -> bool:
    return Path(member.name).suffix.lower() in IMAGE_SUFFIXES


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"has byte 0x{data[error.start]:02X}, which is not UTF-8") from error


def _members(tar: "_Tar") -> Iterator[tarfile.TarInfo]:
    """The members that have a key: no folders, nothing without a dot, nothing hidden."""
    for member in tar:
        base = member.name.rpartition("/")[2]
        if not member.isdir() and "." in base and not base.startswith("."):
            yield member


def _key(member: tarfile.TarInfo) -> str:
    folder, slash, base = member.name.removeprefix("./").rpartition("/")
    return folder + slash + base.partition(".")[0]


@contextmanager
def _opened(shard: Path, check: Check) -> Iterator["_Tar"]:
    try:
        stream = open_file(shard, check)
    except OSError as error:
        raise BreaksOff(f"{shard.name} cannot be opened: {error.strerror}") from error
    with stream:
        yield _Tar(shard.name, stream)


class _Tar:
    """The members of a tar file, read forwards only, at a bounded cost for each."""

    def __init__(self, name: str, stream: io.BufferedReader) -> None:
        self._name, self._file = name, _Forward(stream)

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        try:
            self._file.allowance = MAX_HEADER_BYTES
            with tarfile.open(fileobj=self._file, mode="r:", errors="replace") as tar:  # type: ignore[call-overload]
                while (member := tar.next()) is not None:
                    yield member
                    tar.members.clear()  # it would remember each, and any header meant for all
                    tar.pax_headers = {}
                    self._file.allowance = MAX_HEADER_BYTES
            if self._file.last.strip(b"\0") or not self._file.last:
                raise tarfile.ReadError("it has no end mark")
        except (tarfile.TarError, RecursionError, ValueError, OverflowError) as error:
            raise BreaksOff(f"the tar file {self._name} is damaged or cut off ({error}); copy it again") from error
        except BreaksOff as error:
            raise BreaksOff(f"{self._name}: {error}") from error

    def read(self, member: tarfile.TarInfo, limit: int) -> bytes:
        """The content of the member that the iteration is at; raises `ValueError` where it is over the limit."""
        if member.size > limit:
            raise ValueError(f"has {member.size:,} bytes; at most {limit:,} are read")
        self._file.seek(member.offset_data)
        self._file.allowance = member.size
        data = self._file.read(member.size)
        if len(data) < member.size:
            raise BreaksOff(f"the tar file {self._name} is cut off; copy it again")
        return data


class _Forward:
    """A file for `tarfile`, which trusts what headers say of their length: no header gets more than it is allowed.

    A negative size in a header would lead back, and round for ever; only forwards is possible.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._position = 0
        self.allowance = 0
        self.last = b""
        """What was read last: the end mark, if all is well."""

    def tell(self) -> int:
        """Bytes behind."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read exactly `size` bytes, fewer at the end."""
        self.allowance -= size
        if size < 0 or self.allowance < 0:
            raise tarfile.ReadError("a header is too long")
        self.last = self._stream.read(size)
        self._position += len(self.last)
        return self.last

    def seek(self, position: int) -> None:
        """Go on to a place ahead."""
        ahead = position - self._position
        if ahead < 0:
            raise tarfile.ReadError("a header leads backwards")
        if self._stream.seekable():
            self._position = self._stream.seek(position)
            return
        while ahead > 0 and (skipped := len(self._stream.read(min(ahead, _BLOCK)))):
            ahead -= skipped
            self._position += skipped
