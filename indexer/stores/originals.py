"""Originals: the image bytes as they came, content-addressed by SHA-256, in a folder."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from indexer.disk import Disk
from indexer.errors import StorageUnavailable

log = logging.getLogger(__name__)

_WRITERS = 8
"""Pictures written at a time."""
_REMOVED = 256
"""Pictures removed at a time; then those who wait to store one have their turn."""
_PARTIAL = ".partial"


class Originals:
    """Image bytes under `folder/ab/<sha256>`, which nobody else writes to. Thread-safe.

    What is not written to its end lies in the folder itself, so that what a killed process left there is found, and
    removed on opening, without a look at all pictures.
    """

    def __init__(self, folder: Path, disk: Disk | None = None, *, read_only: bool = False) -> None:
        self._folder, self._disk = folder, disk or Disk(folder)
        for partial in () if read_only else folder.glob(f"*{_PARTIAL}"):
            _unlink(partial)
        self._lock = threading.Lock()
        self._in_flight: Counter[str] = Counter()

    @contextmanager
    def stored(self, contents: dict[str, bytes]) -> Iterator[None]:
        """Store bytes by their SHA-256, durably, and keep them while the block commits what refers to them.

        Raises:
            StorageUnavailable: The disk is full, or nearly so, or cannot be written to.
        """
        self._disk.check()
        with self._lock:
            self._in_flight.update(contents.keys())
        try:
            if new := {sha256: data for sha256, data in contents.items() if not self.has(sha256)}:
                self._write(new)
            yield
        finally:
            with self._lock:
                self._in_flight.subtract(contents.keys())
                self._in_flight += Counter()  # drops what is at zero

    def read(self, sha256: str) -> bytes | None:
        """The bytes, or None where they are not stored."""
        try:
            return self._path(sha256).read_bytes()
        except FileNotFoundError:
            return None

    def has(self, sha256: str) -> bool:
        """Whether the bytes are stored."""
        return self._path(sha256).exists()

    def remove(self, candidates: Iterable[str], referenced: Callable[[set[str]], set[str]]) -> None:
        """Remove, where it can be done, those of `candidates` that nothing refers to and nobody is about to commit."""
        left = iter(candidates)
        while some := list(islice(left, _REMOVED)):
            with self._lock:
                loose = {sha256 for sha256 in some if not self._in_flight[sha256]}
                for sha256 in loose - referenced(loose):
                    _unlink(self._path(sha256))

    def _path(self, sha256: str) -> Path:
        return find_original(self._folder, sha256)

    def _write(self, contents: Mapping[str, bytes]) -> None:
        own = f".{threading.get_ident()}{_PARTIAL}"
        partials = {sha256: self._folder / f"{sha256}{own}" for sha256 in contents}
        try:
            self._write_durably(contents, partials)
        except OSError as error:
            for partial in partials.values():
                with suppress(OSError):
                    partial.unlink(missing_ok=True)
            raise StorageUnavailable(f"a picture cannot be stored: {error.strerror}") from error

    def _write_durably(self, contents: Mapping[str, bytes], partials: Mapping[str, Path]) -> None:
        """Step by step for all of them, so that a folder is synced once.

        Journalling file systems commit waiting syncs together: many at once cost little more than one.
        """
        targets = {sha256: self._folder / original_path(sha256) for sha256 in contents}
        folders = {target.parent for target in targets.values()}
        if missing := [folder for folder in folders if not folder.exists()]:
            for folder in missing:
                folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self._folder)
        with ThreadPoolExecutor(min(_WRITERS, len(contents))) as pool:
            list(pool.map(_write_synced, partials.values(), contents.values()))
            for sha256, partial in partials.items():
                partial.rename(targets[sha256])
            list(pool.map(sync_folder, folders))


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _unlink(path: Path) -> None:
    """Remove a file that nothing refers to, and nothing will."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("picture %s stays though nothing refers to it: %s", path.name, error.strerror)


def original_path(sha256: str) -> Path:
    """Where a new picture is to lie in the folder of originals: few folders, each of which costs a sync."""
    return Path(sha256[:2], sha256)


def find_original(folder: Path, sha256: str) -> Path:
    """Where a picture lies, or is to lie; those of older data folders lie one folder deeper."""
    path = folder / original_path(sha256)
    deeper = path.parent / sha256[2:4] / sha256
    return deeper if not path.exists() and deeper.exists() else path


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
