"""API keys: made, listed and revoked by any process on the data folder, and known at once to the servers on it."""

import hashlib
import re
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

from sqlalchemy import Row, insert, select, update

from indexer.errors import KeyInvalid, KeyNotFound
from indexer.stores.database import Database, keys

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ANY = "*"
"""The pattern of all collections' names."""

_PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,100}")
_PREFIX = "sightline"  # so that tools which look for secrets in files find them
_ID_BYTES, _SECRET_BYTES = 6, 32


@dataclass(frozen=True)
class Key:
    """What the holder of a key may do; times are UTC."""

    id: str
    name: str
    digest: bytes
    """SHA-256 of the whole key: of 256 random bits there is nothing to guess, so that a slow hash would add nothing."""
    scopes: frozenset[Scope]
    patterns: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def named_scopes(self) -> list[Scope]:
        """Its scopes, in the order in which people read them."""
        return [scope for scope in SCOPES if scope in self.scopes]

    def covers(self, collection: str) -> bool:
        """Whether a collection is one of those it is for."""
        return ANY in self.patterns or any(fnmatchcase(collection, pattern) for pattern in self.patterns)

    def fault(self, now: datetime) -> str | None:
        """Why it is of no use any more."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else None


@dataclass(frozen=True)
class NewKey:
    """What somebody asks for.

    Raises:
        KeyInvalid: There is no such scope, or a pattern has characters that no collection's name has.
    """

    name: str
    scopes: tuple[str, ...]
    patterns: tuple[str, ...] = (ANY,)
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.scopes or not set(self.scopes) <= set(SCOPES):
            raise KeyInvalid(f"the scopes of a key are some of {', '.join(SCOPES)}")
        if not self.patterns or not all(map(_PATTERN.fullmatch, self.patterns)):
            raise KeyInvalid(
                "collections are named by letters, digits, '.', '_', '-', and '*' and '?' for any of these"
            )


class KeyStore:
    """The table `keys`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewKey) -> tuple[Key, str]:
        """Make a key; the second value is the key itself, which nobody can ask for again."""
        id_ = secrets.token_hex(_ID_BYTES)
        key = f"{_PREFIX}_{id_}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        row = {
            "id": id_,
            "name": new.name,
            "digest": digest_of(key),
            "scopes": [scope for scope in SCOPES if scope in new.scopes],
            "collections": list(new.patterns),
            "created_at": datetime.now(UTC),
            "expires_at": new.expires_at,
        }
        with self._database.write() as connection:
            return _key(connection.execute(insert(keys).returning(keys), row).one()), key

    def all(self) -> list[Key]:
        """Every key there ever was, in order."""
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(select(keys).order_by(keys.c.pk))]

    def revoke(self, id_: str) -> Key:
        """End a key, from the next request on; raises `KeyNotFound`."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            found = connection.execute(select(keys).where(keys.c.id == id_)).one_or_none()
            if found is None:
                raise KeyNotFound(f"no key {id_!r}")
            if found.revoked_at is None:
                change = update(keys).where(keys.c.id == id_).values(revoked_at=now).returning(keys)
                found = connection.execute(change).one()
        return _key(found)


class KeyRing:
    """The keys as requests are checked with, read again when they changed; for one thread at a time.

    SQLite's `data_version` tells in microseconds whether anything at all was committed, by whatever process.
    """

    def __init__(self, database: Database) -> None:
        self._store, self._watch = KeyStore(database), database.watch()
        self._version: Any = None
        self._stamp: Any = None
        self._keys: Mapping[str, Key] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watch.close()

    def current(self) -> Mapping[str, Key]:
        """All keys by id, those that are of no use any more too."""
        version = self._watch.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            # Before they are read: what is committed meanwhile changes it again.
            stamp = self._watch.execute("SELECT count(*), count(revoked_at) FROM keys").fetchone()
            if stamp != self._stamp:
                self._keys = {key.id: key for key in self._store.all()}
            self._version, self._stamp = version, stamp
        return self._keys


def digest_of(key: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def id_of(key: str) -> str:
    """The id that a key says it has; empty where it is no key of ours."""
    prefix, _, rest = key.partition("_")
    return rest.partition("_")[0] if prefix == _PREFIX else ""


def has_keys(catalogue: Path) -> bool:
    """Whether a catalogue holds a key, usable or not; the file is only looked at, whichever version made it."""
    if not catalogue.is_file():
        return False
    with closing(sqlite3.connect(f"{catalogue.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM keys)").fetchone()[0])
        except sqlite3.OperationalError:
            return False  # a version without keys


def _key(row: Row[Any]) -> Key:
    return Key(
        row.id,
        row.name,
        row.digest,
        frozenset(row.scopes),
        tuple(row.collections),
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )
