"""Bringing a snapshot back as a new data folder: complete and checked, or not at all."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from indexer.errors import SnapshotDamaged
from indexer.snapshots.manifest import MANIFEST, PICTURES, Manifest, Stamp, original_name
from indexer.snapshots.pictures import THREADS
from indexer.snapshots.places import Folder, Place, new_folder, place, write_new
from indexer.stores.originals import find_original, original_path

_BLOCK = 1000
_LINE = re.compile(r"([0-9a-f]{64}) (\d+)\n")


def restore_snapshot(source: str, data_dir: Path, report: Callable[[int, int], None]) -> Manifest:
    """Copy a snapshot to a data folder that does not exist or is empty, comparing every byte with the manifest's sums.

    Args:
        report: Told how many bytes are done, and how many there are.

    Raises:
        SnapshotDamaged: Something of it is missing or not what was written.
        CatalogueIncompatible: It is of another version of Sightline.
        SnapshotImpossible: `data_dir` is not empty.
        FetchFailed: The object store does not give it.
    """
    stored = place(source)
    manifest = Manifest.from_json(b"".join(stored.read(MANIFEST)))
    progress = _Progress(manifest, report)
    with new_folder(data_dir) as folder:
        for name, stamp in manifest.files.items():
            _fetch(stored, name, folder / name, stamp)
            progress.add(stamp.size)
        fetch = partial(_fetch_picture, *_pictures(manifest, stored), folder / "originals")
        with ThreadPoolExecutor(THREADS) as pool:
            for block in _listed(folder / PICTURES):
                for size in pool.map(fetch, block):
                    progress.add(size)
        (folder / PICTURES).unlink()
    return manifest


class _Progress:
    def __init__(self, manifest: Manifest, report: Callable[[int, int], None]) -> None:
        self._total = manifest.picture_bytes + sum(stamp.size for stamp in manifest.files.values())
        self._done, self._report = 0, report

    def add(self, size: int) -> None:
        self._done += size
        self._report(self._done, self._total)


def _listed(path: Path) -> Iterator[list[str]]:
    """The lines of the list of pictures, in blocks."""
    with path.open(encoding="ascii") as file:
        while block := list(islice(file, _BLOCK)):
            yield block


def _pictures(manifest: Manifest, stored: Place) -> tuple[Place, Callable[[str], str]]:
    """Where the pictures are, and what one is called there."""
    if manifest.originals_in is None:
        return stored, original_name
    folder = Path(manifest.originals_in) / "originals"
    return Folder(folder), lambda sha256: find_original(folder, sha256).relative_to(folder).as_posix()


def _fetch_picture(pictures: Place, name_of: Callable[[str], str], folder: Path, line: str) -> int:
    matched = _LINE.fullmatch(line)
    if matched is None:
        raise SnapshotDamaged(f"{PICTURES} names {line[:80]!r} as a picture")
    stamp = Stamp(int(matched[2]), matched[1])
    _fetch(pictures, name_of(stamp.sha256), folder / original_path(stamp.sha256), stamp)
    return stamp.size


def _fetch(stored: Place, name: str, path: Path, stamp: Stamp) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = write_new(path, _at_most(stamp.size, stored.read(name)))
    if found != stamp:
        raise SnapshotDamaged(f"{name} is damaged: it is not what the snapshot was made with")


def _at_most(size: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks until they are more than `size` bytes, so that what was replaced by something huge fills no disk."""
    for block in blocks:
        yield block
        size -= len(block)
        if size < 0:
            return
