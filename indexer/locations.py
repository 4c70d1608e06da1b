"""Where a catalogue lies: uploaded, in a folder of this machine, behind an URL, in an object store."""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from indexer.errors import ContentTooLarge, FetchFailed, SourceForbidden, SourceInvalid, StorageUnavailable
from indexer.fetching import Fetcher
from indexer.images import is_url
from indexer.objects import ObjectStores, is_object_url
from indexer.originals import sync_folder
from indexer.remote_folders import list_pictures, look_into
from indexer.sources import expand, files, version

DOWNLOAD_TIMEOUT_S = 6 * 3600.0
_UPLOAD = "upload:"
_BLOCK = 2**20
_PICTURES = "pictures.jsonl"

Check = Callable[[], None]
"""Called while it downloads; what it raises ends that."""


@dataclass(frozen=True)
class Place:
    """A catalogue within reach."""

    path: Path
    base_url: str | None
    """What the relative names of its pictures are joined to, where it came from elsewhere."""
    version: str
    """Differs when the catalogue is another one than before."""


class Locations:
    """Brings catalogues within reach; what it downloads or receives lies in a folder of its own per job.

    Args:
        spool: Folder for uploads and downloads.
        roots: Folders, and prefixes of object stores, that a job may read from.
        max_bytes: Most bytes of one upload or download.
    """

    def __init__(
        self, spool: Path, roots: Sequence[str], fetcher: Fetcher, objects: ObjectStores, max_bytes: int
    ) -> None:
        self._spool = spool
        self._folders = [Path(root).resolve() for root in roots if not is_object_url(root)]
        self._fetcher, self._objects, self._max_bytes = fetcher, objects, max_bytes

    def check(self, source: str) -> None:
        """Refuse what no job could read, before there is one.

        Raises:
            SourceForbidden, UrlForbidden: A place that the settings do not allow.
            SourceInvalid: No place at all.
        """
        if is_object_url(source):
            self._objects.check(source)
        elif is_url(source):
            _parts(source)
            self._fetcher.check(source)
        else:
            self._local(source)

    def receive(self, file: BinaryIO, filename: str) -> tuple[str, str]:
        """Keep an uploaded catalogue durably until its job has ended.

        Returns:
            What to give as its source, and the SHA-256 of its content.

        Raises:
            ContentTooLarge: More bytes than allowed.
            StorageUnavailable: It cannot be stored.
        """
        folder = self._spool / uuid.uuid4().hex
        digest = hashlib.sha256()
        path = folder / _plain_name(filename)
        try:
            self._write(path, _digested(iter(lambda: file.read(_BLOCK), b""), digest), self._max_bytes)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return f"{_UPLOAD}{folder.name}/{path.name}", digest.hexdigest()

    def open(self, source: str, job_id: str, check: Check = lambda: None) -> Place:
        """Bring a catalogue within reach; a second call for the same job finds what the first one downloaded.

        Raises:
            SourceForbidden, SourceInvalid: See `check`.
            UrlForbidden, FetchFailed, ContentTooLarge: It cannot be downloaded.
            StorageUnavailable: There is no room for it.
        """
        if source.startswith(_UPLOAD):
            path = self._spool / source.removeprefix(_UPLOAD)
            return Place(path, None, _version(path))
        if is_url(source) or is_object_url(source):
            return self._remote(source, self._spool / job_id, check)
        path = self._local(source)
        for file in files(path):  # a link within an allowed folder may lead out of it
            self._local(str(file))
        return Place(path, None, _version(path))

    def forget(self, source: str, job_id: str = "none") -> None:
        """Remove what was kept for a job that has ended."""
        shutil.rmtree(self._spool / _folder(source, job_id), ignore_errors=True)

    def sweep(self, kept: Iterable[tuple[str, str]]) -> None:
        """Remove what belongs to none of these (source, job id): what a killed process left."""
        names = {_folder(source, job_id) for source, job_id in kept}
        for folder in self._spool.iterdir() if self._spool.exists() else ():
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)

    def _local(self, source: str) -> Path:
        try:
            path = Path(source)
            if not path.is_absolute():
                raise SourceInvalid(
                    f"{source[:200]!r} is neither an absolute path nor an http(s) or object-store URL", "/source"
                )
            resolved = path.resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise SourceInvalid(f"{source[:200]!r} is not a path", "/source") from error
        if not any(resolved.is_relative_to(folder) for folder in self._folders):
            raise SourceForbidden(
                f"{source[:200]} is in none of the folders that SIGHTLINE_INGEST_ROOTS allows; "
                "set it, or upload the file",
                "/source",
            )
        return resolved

    def _remote(self, source: str, folder: Path, check: Check) -> Place:
        """What an address gives, downloaded to a folder: a file, several by a pattern, what a folder holds."""
        parts = _parts(source)
        above, _, name = parts.path.rpartition("/")
        if is_object_url(source) and not name:
            return self._remote_folder(source, folder, check)
        self._download([urlunsplit(parts._replace(path=f"{above}/{one}")) for one in expand(name)], folder, check)
        path = folder / _plain_name(unquote(name))
        return Place(path, source, _version(path))

    def _remote_folder(self, source: str, folder: Path, check: Check) -> Place:
        found = look_into(self._objects, source)
        if found.catalogue:
            return self._remote(source + found.catalogue, folder, check)
        if found.shards:
            self._download([source + name for name in found.shards], folder, check)
            return Place(folder, source, _version(folder))
        path = folder / _PICTURES
        if not path.exists():
            self._write(path, list_pictures(self._objects, source), self._max_bytes, check)
        return Place(path, source, _version(path))

    def _download(self, urls: Iterable[str], folder: Path, check: Check) -> None:
        """Files that make one catalogue, those that are not there yet."""
        left = self._max_bytes
        for url in urls:
            path = folder / _plain_name(unquote(_parts(url).path))
            try:
                if not path.exists():
                    self._fetch(url, path, left, check)
            except FetchFailed:
                check()  # that the server ends is no fault of the address
                raise
            left -= path.stat().st_size

    def _fetch(self, url: str, path: Path, max_bytes: int, check: Check) -> None:
        if is_object_url(url):
            self._write(path, self._objects.blocks(url), max_bytes, check)
            return
        with _arriving(path) as file:
            self._fetcher.download(url, _Checked(file, check), max_bytes=max_bytes, total_timeout_s=DOWNLOAD_TIMEOUT_S)

    def _write(self, path: Path, blocks: Iterable[bytes], max_bytes: int, check: Check = lambda: None) -> None:
        size = 0
        with _arriving(path) as file:
            for block in blocks:
                size += len(block)
                if size > max_bytes:
                    raise ContentTooLarge(f"the catalogue has more than the {self._max_bytes:,} bytes allowed")
                _Checked(file, check).write(block)


@dataclass(frozen=True)
class _Checked:
    """A file that need not be filled to its end."""

    file: BinaryIO
    check: Check

    def write(self, data: bytes) -> None:
        self.check()
        self.file.write(data)


def _digested(blocks: Iterable[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


@contextmanager
def _arriving(path: Path) -> Iterator[BinaryIO]:
    """A file that is at `path`, whole and durable, when the block has ended, or not at all."""
    partial = path.with_name(".partial")  # no plain name has a dot there
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        sync_folder(path.parent)
        sync_folder(path.parent.parent)
    except OSError as error:
        raise StorageUnavailable(f"the catalogue cannot be stored: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url, allow_fragments=not is_object_url(url))  # a key may have a # in it
    except ValueError as error:
        raise SourceInvalid(f"{url[:200]!r} is not an URL: {error}", "/source") from error


def _folder(source: str, job_id: str) -> str:
    """Name of the folder in the spool that belongs to a job."""
    return source.removeprefix(_UPLOAD).partition("/")[0] if source.startswith(_UPLOAD) else job_id


def _plain_name(name: str) -> str:
    """A file name of a stranger's without anything that means more than a name; its suffixes tell the format."""
    plain = re.sub(r"[^A-Za-z0-9._{}-]", "_", name.replace("\\", "/").rpartition("/")[2])[-100:].lstrip(".")
    return plain or "catalogue"


def _version(path: Path) -> str:
    try:
        return version(path)
    except OSError as error:
        raise SourceInvalid(f"{path.name} cannot be read: {error.strerror}", "/source") from error
