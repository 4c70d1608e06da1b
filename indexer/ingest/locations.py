"""Where a catalogue lies: uploaded, in a folder of this machine, behind an URL, in an object store."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from indexer.disk import Disk
from indexer.errors import SourceForbidden, SourceInvalid
from indexer.fetching.fetcher import Fetcher
from indexer.fetching.images import is_url
from indexer.fetching.objects import ObjectStores, is_object_url
from indexer.ingest.arrivals import plain_name, write
from indexer.ingest.downloads import Downloads, parts_of
from indexer.sources import Check, files, unchecked, version, without_secrets

_UPLOAD = "upload:"
_BLOCK = 2**20
_NOTE = ".brought"  # no plain name begins with a dot


@dataclass(frozen=True)
class Place:
    """A catalogue within reach."""

    path: Path
    name: str
    """What to show the user: no path of the server's that the user did not give."""
    base_url: str | None
    """What the relative names of its pictures are joined to, where it came from elsewhere."""
    version: str
    """Differs when the catalogue is another one than before."""
    picture_folders: tuple[Path, ...] = ()
    """Folders of this machine in which it may name pictures; of an upload none."""


class Locations:
    """Brings catalogues within reach; what it downloads or receives lies in a folder of its own per job.

    Args:
        spool: Folder for uploads and downloads.
        roots: Folders, and prefixes of object stores, that a job may read from.
        max_bytes: Most bytes of one upload or download.
        disk: The spool's; nothing is received while too little of it is free.
    """

    def __init__(
        self,
        spool: Path,
        roots: Sequence[str],
        fetcher: Fetcher,
        objects: ObjectStores,
        max_bytes: int,
        disk: Disk | None = None,
    ) -> None:
        self._spool, self._disk = spool, disk or Disk(spool)
        self._folders = tuple(Path(root).resolve() for root in roots if not is_object_url(root))
        self._objects, self._max_bytes = objects, max_bytes
        self._downloads = Downloads(fetcher, objects, max_bytes)

    def check(self, source: str) -> None:
        """Refuse what no job could read, before there is one.

        Raises:
            SourceForbidden, UrlForbidden: A place that the settings do not allow.
            SourceInvalid: No place at all.
        """
        if is_object_url(source):
            self._objects.check(source, "/source")
        elif is_url(source):
            parts_of(source)
            self._downloads.fetcher.check(source)
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
        path = folder / plain_name(filename)
        try:
            blocks = _digested(iter(lambda: file.read(_BLOCK), b""), digest)
            write(path, blocks, self._max_bytes, self._disk.check)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return f"{_UPLOAD}{folder.name}/{path.name}", digest.hexdigest()

    def open(self, source: str, job_id: str, check: Check = unchecked) -> Place:
        """Bring a catalogue within reach; a second call for the same job finds what the first one downloaded.

        Raises:
            SourceForbidden, SourceInvalid: See `check`.
            UrlForbidden, FetchFailed, ContentTooLarge: It cannot be downloaded.
            StorageUnavailable: There is no room for it.
        """
        if source.startswith(_UPLOAD):
            path = self._spool / source.removeprefix(_UPLOAD)
            if not path.exists():  # the data folder was restored, and uploads are in no snapshot
                raise SourceInvalid("the uploaded catalogue is no longer there; send it again", "/source")
            return Place(path, path.name, None, _version(path))
        if is_url(source) or is_object_url(source):

            def check_both() -> None:
                check()
                self._disk.check()

            return self._remote(source, self._spool / job_id, check_both)
        path = self._local(source)
        for file in files(path):  # a link within an allowed folder may lead out of it
            self._local(str(file))
        return Place(path, source, None, _version(path), self._folders)

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
        """What an address gives, brought to a folder once, whatever becomes of the address."""
        note = folder / _NOTE
        if not note.exists():
            name, base_url = self._downloads.bring(source, folder, check)
            write(note, [json.dumps([name, base_url]).encode()], self._max_bytes)
        name, base_url = json.loads(note.read_bytes())
        return Place(folder / name, without_secrets(source), base_url, _version(folder / name))


def _digested(blocks: Iterable[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def _folder(source: str, job_id: str) -> str:
    """Name of the folder in the spool that belongs to a job."""
    return source.removeprefix(_UPLOAD).partition("/")[0] if source.startswith(_UPLOAD) else job_id


def _version(path: Path) -> str:
    try:
        return version(path)
    except OSError as error:
        raise SourceInvalid(f"{path.name} cannot be read: {error.strerror}", "/source") from error
