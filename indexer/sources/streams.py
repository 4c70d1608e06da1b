"""Files as bytes and lines: decompressed on the way, never held whole, never longer in a line than a limit."""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from gzip import GzipFile
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

MAX_ROW_CHARACTERS = 64 * 2**20
"""A cell may be a picture as a `data:` URI."""

MAX_RATIO = 200
"""Decompressed bytes for each byte; pictures are compressed already, and the text of a catalogue reaches a tenth."""

FREE_BYTES = 64 * 2**20
"""What any compressed file may grow to, whatever its ratio: reading it costs neither time nor memory."""

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BLOCK = 2**16

Opener = Callable[[], io.BufferedReader]
"""Opens a file anew, at its beginning."""


Check = Callable[[], None]
"""Called by what takes long; what it raises ends that."""


def unchecked() -> None:
    """Let it go on to its end."""


_UNCHECKED = 128
"""Rows, each of which may have megabytes, that are counted between two checks."""


class BreaksOff(Exception):
    """A file of which the rest cannot be read."""


class RowTooLong(Exception):
    """A line, or a row of several lines, that is over the limit; the next can be read."""


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


def open_file(path: Path, check: Check = unchecked) -> io.BufferedReader:
    """A file, decompressed where it is compressed, and checked as it is read; see `decompressed`."""
    return decompressed(path.open("rb"), check)


def decompressed(file: io.BufferedReader, check: Check = unchecked) -> io.BufferedReader:
    """An open file, decompressed where it is compressed; the file is closed with the result.

    Reading raises `BreaksOff` where it is damaged, or grows beyond `MAX_RATIO`.
    """
    magic = file.read(4)
    file.seek(0)
    inner: _Readable = file
    if magic.startswith(GZIP):
        inner = GzipFile(fileobj=file)
    elif magic == ZSTD:
        import pyarrow as pa  # a tenth of a second that others need not wait for

        inner = pa.input_stream(file, compression="zstd")
    return io.BufferedReader(_Raw(file, inner, check), _BLOCK)


def count(rows: Iterable[object], check: Check) -> int:
    """How many there are."""
    number = 0
    for number, _ in enumerate(rows, start=1):
        if number % _UNCHECKED == 0:
            check()
    return number


def head(open_: Opener, size: int = 512) -> bytes:
    """The first bytes, fewer where it ends or breaks off before; raises `BreaksOff` where there is none."""
    found = b""
    with open_() as stream:
        try:
            while len(found) < size and (piece := stream.read1(size - len(found))):
                found += piece
        except BreaksOff:
            if not found:
                raise
    return found


class _Raw(io.RawIOBase):
    """Reads as `inner` does; its many errors are one."""

    def __init__(self, file: io.BufferedReader, inner: _Readable, check: Check) -> None:
        self._file, self._inner, self._check = file, inner, check
        self._size = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._inner is self._file and self._file.seekable()

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        with damage_told():
            return self._file.seek(position, whence)

    def readinto(self, buffer: Any, /) -> int:
        self._check()  # here, since what gives no rows, such as empty lines, gets to no other
        with damage_told():
            data = self._inner.read1(len(buffer))  # `read` would lose what comes just before the damage
            self._size += len(data)
            if self._inner is not self._file and self._size > MAX_RATIO * self._file.tell() + FREE_BYTES:
                raise BreaksOff(f"it grows to more than {MAX_RATIO} times its size")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            with ExitStack() as stack:
                stack.callback(super().close)
                stack.callback(self._file.close)
                stack.callback(self._inner.close)


@contextmanager
def damage_told() -> Iterator[None]:
    """The errors of the many readers as one, `BreaksOff`."""
    try:
        yield
    except EOFError as error:
        raise BreaksOff("the compressed file is cut off; copy it again") from error
    except (OSError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise BreaksOff(f"the file is damaged ({error}); copy it again") from error


class Lines:
    """The lines of a text; a bad byte is the surrogate U+DC00 plus its value (see `encodings`).

    Iterating raises `RowTooLong` once for each row over the limits, and goes on after it.

    Args:
        newline: As `open` takes it: "" for all kinds of line ends, kept as they are.
    """

    def __init__(self, stream: BinaryIO, encoding: str, newline: str, max_lines: int | None = None) -> None:
        self._text = io.TextIOWrapper(stream, encoding, errors="sightline.mark", newline=newline)
        self._ends = (newline,) if newline else ("\r", "\n")
        self._max_lines = max_lines
        self._again: str | None = None
        self.begin_row()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def __iter__(self) -> Self:
        return self

    def begin_row(self) -> None:
        """The limits count from here; `row` holds the lines from here on."""
        self._characters = 0
        self.row: list[str] = []

    def give_again(self, line: str) -> None:
        """Let the next line be this one."""
        self._again = line

    def __next__(self) -> str:
        line, self._again = self._again, None
        if line is None:
            line = self._text.readline(MAX_ROW_CHARACTERS)
        if not line:
            raise StopIteration
        self._characters += len(line)
        self.row.append(line)
        if self._characters >= MAX_ROW_CHARACTERS:
            self._skip_line(line)
            raise RowTooLong(f"the row is longer than {MAX_ROW_CHARACTERS:,} characters; is a quote missing?")
        if self._max_lines is not None and len(self.row) > self._max_lines:
            raise RowTooLong(f"the row goes over more than {self._max_lines:,} lines; is a quote missing?")
        return line

    def _skip_line(self, piece: str) -> None:
        while piece and not piece.endswith(self._ends):
            piece = self._text.readline(_BLOCK)
