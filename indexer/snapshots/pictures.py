"""The pictures of a snapshot: all that the catalogue refers to at its moment, though others delete meanwhile."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from indexer.errors import SnapshotImpossible
from indexer.snapshots.manifest import Stamp

THREADS = 8
ATTEMPTS = 20
_BLOCK = 1000
"""Pictures asked for at a time."""

# A cross join reads the index of pictures in its order, however many there are.
_REFERRED = """
    SELECT DISTINCT image_sha256 FROM items CROSS JOIN collections ON collections.pk = collection_pk
    WHERE image_sha256 IS NOT NULL AND json_extract(settings, '$.store_originals')
"""

Store = Callable[[str], Stamp]
"""Stores the picture of this SHA-256; tells what was stored. Raises `FileNotFoundError` where there is none."""


class Pictures:
    """Stores pictures, and keeps account of them in a temporary table, whose size no memory bounds.

    Args:
        connection: Reads the catalogue; in autocommit mode.
    """

    def __init__(self, connection: sqlite3.Connection, store: Store, report: Callable[[int, int], None]) -> None:
        self._connection, self._store, self._report = connection, store, report
        self._stored = 0
        self.left_out: list[str] = []
        """Pictures that are lost or damaged in the data folder, so that no snapshot can have them."""
        connection.execute("CREATE TEMP TABLE stored (sha256 TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID")

    def store(self) -> None:
        """Store all that is referred to; afterwards the connection is in a transaction whose moment they are of.

        Most are stored before that moment; the newest take so little time after it that hardly ever is one of them
        deleted in between. If so, another moment is chosen.

        Raises:
            SnapshotImpossible: Pictures are deleted faster than they are stored, again and again.
        """
        gone_before = self._store_new()
        for _ in range(ATTEMPTS):
            self._connection.execute("BEGIN")
            gone = self._store_new()
            # One that was gone before and is still referred to was not deleted, but lost.
            if gone <= gone_before:
                self.left_out += sorted(gone)
                return
            self._connection.execute("COMMIT")
            gone_before = gone
        raise SnapshotImpossible("pictures are deleted faster than they can be copied; try again at a quieter time")

    def stored(self) -> Iterator[tuple[str, int]]:
        """SHA-256 and size of each picture of the snapshot."""
        return self._connection.execute(
            f"SELECT sha256, size FROM stored WHERE size IS NOT NULL AND sha256 IN ({_REFERRED})"  # noqa: S608
        )

    def superfluous(self) -> Iterator[str]:
        """Pictures that were stored, but are not of the snapshot."""
        query = f"SELECT sha256 FROM stored WHERE size IS NULL OR sha256 NOT IN ({_REFERRED})"  # noqa: S608
        return (sha256 for (sha256,) in self._connection.execute(query))

    def _store_new(self) -> set[str]:
        """Store what is referred to and not stored yet; returns what is not there."""
        gone, last = set(), ""
        [(total,)] = self._connection.execute(f"SELECT count(*) FROM ({_REFERRED})")  # noqa: S608
        with ThreadPoolExecutor(THREADS) as pool:
            while new := self._new(last):
                last = new[-1]
                for sha256, stamp in zip(new, pool.map(self._try, new), strict=True):
                    if stamp is None:
                        gone.add(sha256)
                    else:
                        self._note(sha256, stamp)
                self._report(min(self._stored, total), total)
        return gone

    def _new(self, last: str) -> Sequence[str]:
        new = "AND image_sha256 > ? AND image_sha256 NOT IN (SELECT sha256 FROM stored)"
        query = f"{_REFERRED} {new} ORDER BY image_sha256 LIMIT ?"
        return [sha256 for (sha256,) in self._connection.execute(query, (last, _BLOCK))]

    def _try(self, sha256: str) -> Stamp | None:
        try:
            return self._store(sha256)
        except FileNotFoundError:
            return None

    def _note(self, sha256: str, stamp: Stamp) -> None:
        whole = stamp.sha256 == sha256
        if not whole:
            self.left_out.append(sha256)
        self._connection.execute("INSERT INTO stored VALUES (?, ?)", (sha256, stamp.size if whole else None))
        self._stored += 1
