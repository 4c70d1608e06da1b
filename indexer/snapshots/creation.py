"""Making a snapshot of a data folder, beside a server that writes to it; takes no lock of the folder."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from indexer.errors import SnapshotImpossible
from indexer.index.segment import Header, Segment
from indexer.snapshots.manifest import MANIFEST, PICTURES, Manifest, Stamp, original_name
from indexer.snapshots.pictures import Pictures
from indexer.snapshots.places import Place, new_place, stamp
from indexer.stores.database import CATALOGUE
from indexer.stores.originals import find_original

_PAGES = 4096
"""Pages of the catalogue copied at a time."""

Report = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Created:
    """What a snapshot holds, and what it could not."""

    manifest: Manifest
    left_out: list[str]
    """SHA-256 of pictures that are missing or damaged in the data folder."""


def create_snapshot(data_dir: Path, target: str, *, copy_originals: bool, report: Report) -> Created:
    """Store a data folder as it is at one moment: all that was acknowledged before the call, at least.

    The moment is that of a read transaction, in which the catalogue is copied. Segments come along as far as they are
    of that moment; they spare the next start the reading of the catalogue. Uploads that jobs still wait for do not.

    Args:
        target: A folder that does not exist, or a prefix of an object store.
        copy_originals: Store the pictures, as hard links where the target is on the same file system; or else only tell
            where they are.

    Raises:
        SnapshotImpossible: There is no catalogue, it is damaged, or the target is taken.
        FetchFailed: The object store fails.
        OSError: The disk is full or cannot be written to.
    """
    with (
        closing(_open(data_dir / CATALOGUE)) as catalogue,
        new_place(target) as place,
        TemporaryDirectory(dir=place.scratch) as scratch,
    ):
        try:
            return _Creation(data_dir, place, Path(scratch), catalogue, report).run(copy_originals)
        except sqlite3.Error as error:
            raise SnapshotImpossible(f"the catalogue cannot be copied: {error}") from error


@dataclass(frozen=True)
class _Creation:
    data_dir: Path
    place: Place
    scratch: Path
    catalogue: sqlite3.Connection
    report: Report

    def run(self, copy_originals: bool) -> Created:
        """The catalogue's transaction begins with the last round of pictures, and ends when no more is asked of it."""
        store = self._store_picture if copy_originals else self._find_picture
        pictures = Pictures(self.catalogue, store, partial(self.report, "Pictures"))
        pictures.store()
        _back_up(self.catalogue, self.scratch / CATALOGUE, partial(self.report, "Catalogue"))
        count, size = _list(pictures, self.scratch / PICTURES)
        for sha256 in pictures.superfluous() if copy_originals else ():
            self.place.remove(original_name(sha256))
        segments = list(_segments(self.catalogue, self.data_dir))
        [(schema,)] = self.catalogue.execute("PRAGMA user_version")
        [(items,)] = self.catalogue.execute("SELECT count(*) FROM items")
        self.catalogue.execute("COMMIT")
        manifest = Manifest(
            schema=schema,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            items=items,
            pictures=count,
            picture_bytes=size,
            originals_in=None if copy_originals else str(self.data_dir.resolve()),
            files=self._put_made(CATALOGUE, PICTURES) | self._put_segments(segments) | self._put_models(),
        )
        (self.scratch / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        self._put_made(MANIFEST)
        return Created(manifest, pictures.left_out)

    def _store_picture(self, sha256: str) -> Stamp:
        return self.place.put(original_name(sha256), self._original(sha256), link=True)

    def _find_picture(self, sha256: str) -> Stamp:
        return stamp(self._original(sha256))

    def _original(self, sha256: str) -> Path:
        return find_original(self.data_dir / "originals", sha256)

    def _put_made(self, *names: str) -> dict[str, Stamp]:
        return {name: self.place.put(name, self.scratch / name, link=True) for name in names}

    def _put_segments(self, segments: Sequence[Sequence[Path]]) -> dict[str, Stamp]:
        stored: dict[str, Stamp] = {}
        for number, segment in enumerate(segments, 1):
            with suppress(FileNotFoundError):  # merged meanwhile; what was stored of it is not in the manifest
                stored |= self._put_all(segment, link=True)
            self.report("Index", number, len(segments))
        return stored

    def _put_models(self) -> dict[str, Stamp]:
        return self._put_all(path for path in (self.data_dir / "models").rglob("*") if path.is_file())

    def _put_all(self, paths: Iterable[Path], *, link: bool = False) -> dict[str, Stamp]:
        names = {path.relative_to(self.data_dir).as_posix(): path for path in paths}
        return {name: self.place.put(name, path, link=link) for name, path in names.items()}


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise SnapshotImpossible(f"{path.parent} is no data folder: there is no catalogue in it")
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=60)


def _back_up(catalogue: sqlite3.Connection, copy: Path, report: Callable[[int, int], None]) -> None:
    def progress(_: int, remaining: int, total: int) -> None:
        report(total - remaining, total)

    with closing(sqlite3.connect(copy)) as to:
        catalogue.backup(to, pages=_PAGES, progress=progress)
        [(found,)] = to.execute("PRAGMA quick_check(1)")
    if found != "ok":
        raise SnapshotImpossible(f"the catalogue is damaged: {found}")


def _list(pictures: Pictures, path: Path) -> tuple[int, int]:
    """Write the list of pictures; tells how many, and their bytes."""
    count, total = 0, 0
    with path.open("w", encoding="ascii") as file:
        for sha256, size in pictures.stored():
            file.write(f"{sha256} {size}\n")
            count, total = count + 1, total + size
    return count, total


def _segments(catalogue: sqlite3.Connection, data_dir: Path) -> Iterator[Sequence[Path]]:
    """The files of each built segment that holds what the catalogue, in its transaction, has of its range."""
    [(last_seq,)] = catalogue.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'vectors'")
    for folder in sorted((data_dir / "index").glob("*/*/*/[0-9]*")):
        try:
            files = list(folder.iterdir())
            segment, header = Segment.open(folder)
            if header.to_seq <= last_seq:
                segment.check_holds(_live(catalogue, folder, header), header)
                yield files
        except (OSError, ValueError, TypeError):
            continue  # merged meanwhile, or of no use: it is built again


def _live(catalogue: sqlite3.Connection, folder: Path, header: Header) -> NDArray[np.int64]:
    query = "SELECT seq FROM vectors WHERE generation_pk = ? AND modality = ? AND seq > ? AND seq <= ? ORDER BY seq"
    values = (int(folder.parent.parent.name), folder.parent.name, header.after_seq, header.to_seq)
    return np.fromiter((seq for (seq,) in catalogue.execute(query, values)), dtype=np.int64)
