"""Where snapshots lie: in a folder, or under a prefix of an object store."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from indexer.errors import DataFolderInUse, SnapshotDamaged, SnapshotImpossible
from indexer.fetching.objects import ObjectStores, is_object_url
from indexer.snapshots.manifest import MANIFEST, Stamp
from indexer.stores.originals import sync_folder

_BLOCK = 2**20
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)
"""Another disk, another owner, too many links already, a file system without links."""


class Place(Protocol):
    """Files of one snapshot by name. Thread-safe."""

    @property
    def scratch(self) -> Path | None:
        """A folder with room for a catalogue; None where the system's folder for temporary files must do."""

    def put(self, name: str, source: Path, *, link: bool = False) -> Stamp:
        """Store a file under a name that was not used before; tells what was stored.

        Args:
            link: Its content never changes, so that a hard link will do.

        Raises:
            FileNotFoundError: The source is gone.
        """

    def read(self, name: str) -> Iterator[bytes]:
        """A file's bytes, streamed; raises `SnapshotDamaged` or `FetchFailed` where there is none."""

    def remove(self, name: str) -> None:
        """Remove a file that was put here."""


class Folder:
    """A snapshot in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.scratch: Path | None = folder

    def put(self, name: str, source: Path, *, link: bool = False) -> Stamp:
        """See `Place`."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if link and _link(source, path):
            return stamp(path)
        with source.open("rb") as file:
            return write_new(path, _blocks(file))

    def read(self, name: str) -> Iterator[bytes]:
        """See `Place`."""
        try:
            with (self._folder / name).open("rb") as file:
                yield from _blocks(file)
        except FileNotFoundError as error:
            raise SnapshotDamaged(f"{self._folder / name} is missing") from error

    def remove(self, name: str) -> None:
        """See `Place`."""
        (self._folder / name).unlink()


class Prefix:
    """A snapshot in an object store, under an address such as `s3://bucket/backups/monday`."""

    scratch: Path | None = None

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        bucket, *names = self._url.partition("://")[2].split("/")
        if not bucket or {"", ".", ".."} & set(names):
            raise SnapshotImpossible(f"{url} is no place in an object store; name one as s3://bucket/prefix")
        self._objects = ObjectStores([self._url])

    def check_free(self) -> None:
        """Raise `SnapshotImpossible` where a snapshot is; what a killed attempt left is none."""
        if self._objects.exists(self._at(MANIFEST)):
            raise SnapshotImpossible(f"there is a snapshot at {self._url} already; name another place")

    def put(self, name: str, source: Path, *, link: bool = False) -> Stamp:
        """See `Place`."""
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            self._objects.put(self._at(name), file)
        return Stamp(size, digest.hexdigest())

    def read(self, name: str) -> Iterator[bytes]:
        """See `Place`."""
        return self._objects.blocks(self._at(name))

    def remove(self, name: str) -> None:
        """See `Place`."""
        self._objects.remove(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._url}/{name}"


def place(address: str) -> Place:
    """Where a snapshot is."""
    return Prefix(address) if is_object_url(address) else Folder(Path(address))


@contextmanager
def new_place(address: str) -> Iterator[Place]:
    """A place to fill; raises `SnapshotImpossible` where something is already."""
    if is_object_url(address):
        prefix = Prefix(address)
        prefix.check_free()
        yield prefix
    else:
        with new_folder(Path(address)) as folder:
            yield Folder(folder)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` to fill, which takes its name when the block ends: complete or not at all.

    Raises:
        SnapshotImpossible: `target` is there and not empty.
        DataFolderInUse: Another process fills it.
    """
    target = target.resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise SnapshotImpossible(f"{target} is not empty; name a folder that does not exist")
    partial = target.with_name(f".{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    with _locked(partial):
        _clear(partial)  # of what a killed process left
        try:
            yield partial
            os.sync()  # once for all files and folders: a sync of each takes milliseconds, and there may be millions
            partial.rename(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    sync_folder(target.parent)


def write_new(path: Path, blocks: Iterable[bytes]) -> Stamp:
    """Write a new file. (One that exists may be a link to an original, which must not change.)"""
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
            digest.update(block)
            size += len(block)
    return Stamp(size, digest.hexdigest())


def stamp(path: Path) -> Stamp:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        return Stamp(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _link(source: Path, path: Path) -> bool:
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_BLOCK), b"")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise DataFolderInUse(f"{folder} is being filled by another Sightline process") from error
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
