"""The catalogue's schema (SQLAlchemy Core) and its database: SQLite in WAL mode."""

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    URL,
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    create_engine,
    event,
    select,
)
from sqlalchemy.exc import OperationalError

from indexer.errors import CatalogueIncompatible, StorageUnavailable

CATALOGUE = "catalogue.db"
"""The file's name in a data folder."""

SCHEMA_VERSION = 7
_UPGRADABLE = (2, 3, 4, 5, 6)
"""Versions that lack tables and indexes, which are made on opening, and the columns in `_NEW_COLUMNS`."""
READABLE_VERSIONS = (*_UPGRADABLE, SCHEMA_VERSION)

_NEW_COLUMNS = {
    "collections": ("last_generation INTEGER NOT NULL DEFAULT 0",),
    "generations": ("follows BOOLEAN NOT NULL DEFAULT 0", "canary FLOAT NOT NULL DEFAULT 0"),
    "items": ("source_url VARCHAR",),
    "jobs": ("report JSON",),
}
"""What was added to tables since the oldest of these versions."""

_CHUNK = 10_000
"""Values in one IN list; SQLite allows 32,766 parameters."""


_FREED_AT_ONCE = 10_000
"""Pages given back to the disk in one transaction."""

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=10000",
)

_READ_ONLY = "query_only=ON"

_PRIMARY_CODE = 0xFF
"""The part of SQLite's extended error codes that tells the kind."""


class UtcDateTime(TypeDecorator[datetime]):
    """A time that is always UTC: SQLite keeps no zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData()

collections = Table(
    "collections",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("settings", JSON, nullable=False),
    Column("active_generation", Integer, nullable=False),
    # The highest number there ever was: one that was dropped must not become that of another model.
    Column("last_generation", Integer, nullable=False, default=0, server_default="0"),
    Column("created_at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

generations = Table(
    "generations",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("collection_pk", ForeignKey("collections.pk", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("model", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Whether it takes in what is written beside the active one.
    Column("follows", Boolean, nullable=False, default=False, server_default="0"),
    Column("canary", Float, nullable=False, default=0.0, server_default="0"),  # share of the searches it answers
    UniqueConstraint("collection_pk", "number"),
    sqlite_autoincrement=True,
)

items = Table(
    "items",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("collection_pk", ForeignKey("collections.pk", ondelete="CASCADE"), nullable=False),
    Column("id", String, nullable=False),
    Column("text", String),
    Column("metadata", JSON, nullable=False),
    Column("image_sha256", String, index=True),
    Column("image_type", String),
    Column("source_url", String),  # of its picture, which can be had there again
    Column("content_hash", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("collection_pk", "id"),
    Index("items_by_collection", "collection_pk"),  # ends with the primary key, as every index does
    sqlite_autoincrement=True,
)

vectors = Table(
    "vectors",
    metadata,
    # The sequence number: ascending, never used again, new for every new or changed vector.
    Column("seq", Integer, primary_key=True),
    Column("generation_pk", ForeignKey("generations.pk", ondelete="CASCADE"), nullable=False),
    Column("item_pk", ForeignKey("items.pk", ondelete="CASCADE"), nullable=False),
    Column("modality", String, nullable=False),
    Column("vector", LargeBinary, nullable=False),  # float16, little-endian
    Column("given", Boolean, nullable=False),  # made by a client, not from the item's picture or text here
    UniqueConstraint("item_pk", "generation_pk", "modality"),
    Index("vectors_by_generation", "generation_pk", "modality", "seq"),
    sqlite_autoincrement=True,
)

changes = Table(  # the latest writes; see `indexer.stores.changes`
    "changes",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("collection_pk", Integer, nullable=False),
    Column("written", String),  # JSON; null of a write that would take too much of it
    sqlite_autoincrement=True,
)

words = Table(  # of the texts, as misspelt ones are corrected; the full-text index is `indexer.stores.texts`
    "words",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("collection_pk", ForeignKey("collections.pk", ondelete="CASCADE"), nullable=False),
    Column("word", String, nullable=False),
    UniqueConstraint("collection_pk", "word"),
)

spellings = Table(  # the words by their trigrams
    "spellings",
    metadata,
    Column("collection_pk", ForeignKey("collections.pk", ondelete="CASCADE"), primary_key=True),
    Column("trigram", String, primary_key=True),
    Column("word_pk", Integer, primary_key=True),
    sqlite_with_rowid=False,
)

jobs = Table(
    "jobs",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("collection_pk", ForeignKey("collections.pk", ondelete="SET NULL"), index=True),
    Column("collection", String, nullable=False),  # the name; the row outlives its collection
    Column("state", String, nullable=False, index=True),
    Column("request", JSON, nullable=False),
    Column("idempotency_key", String, unique=True),
    Column("cancel_requested", Boolean, nullable=False),
    Column("version", String),  # of the source as it was first opened
    Column("mapping", JSON),  # the columns in use, guessed or given
    # Rows of the source that are dealt with; committed with what became of them.
    Column("position", Integer, nullable=False),
    Column("total", Integer),
    Column("created", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("warnings", Integer, nullable=False),
    Column("deleted", Integer, nullable=False),
    Column("seconds", Float, nullable=False),  # spent running, pauses and restarts left out
    Column("error", JSON),
    Column("report", JSON),  # what it found out
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    sqlite_autoincrement=True,
)

job_errors = Table(
    "job_errors",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), nullable=False, index=True),
    Column("level", String, nullable=False),  # error: the row was not stored; warning: only in part
    Column("row", Integer, nullable=False),
    Column("id", String, nullable=False),
    Column("code", String, nullable=False),
    Column("detail", String, nullable=False),
)

job_items = Table(  # items that the rows of a sync job name; the others of the collection go at its end
    "job_items",
    metadata,
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), primary_key=True),
    Column("item_pk", Integer, primary_key=True),
    sqlite_with_rowid=False,
)

url_versions = Table(  # what an URL gave last, so that it is fetched again only if it changed
    "url_versions",
    metadata,
    Column("url", String, primary_key=True),
    Column("etag", String, nullable=False),
    Column("image_sha256", String, nullable=False),
    sqlite_with_rowid=False,
)

rules = Table(
    "rules",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("collection_pk", ForeignKey("collections.pk", ondelete="CASCADE"), nullable=False),
    Column("name", String, nullable=False),
    Column("query", JSON, nullable=False),
    # What items' vectors are compared with, by the model of this fingerprint: float32 [modalities, dimension].
    Column("vectors", LargeBinary, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("thresholds", JSON, nullable=False),
    Column("action", String, nullable=False),
    Column("webhook", String),
    Column("secret", String),  # signs what is sent to the webhook
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("collection_pk", "name"),
    sqlite_autoincrement=True,
)

flags = Table(
    "flags",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("collection_pk", ForeignKey("collections.pk", ondelete="CASCADE"), nullable=False),
    Column("rule_pk", ForeignKey("rules.pk", ondelete="CASCADE"), nullable=False),
    Column("item_id", String, nullable=False),  # a rejected item has no row of its own
    Column("modality", String, nullable=False),
    Column("score", Float, nullable=False),
    Column("action", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("collection_pk", "item_id", "rule_pk"),
    Index("flags_by_rule", "rule_pk", "pk"),
    sqlite_autoincrement=True,
)

deliveries = Table(  # webhook calls still to be made
    "deliveries",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("rule_pk", ForeignKey("rules.pk", ondelete="CASCADE"), nullable=False),
    Column("body", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("failure", String),
    Index("deliveries_by_rule", "rule_pk", "due_at"),
    sqlite_autoincrement=True,
)

keys = Table(  # only added to and revoked, never deleted: their numbers tell whether anything changed
    "keys",
    metadata,
    Column("pk", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the whole key, which is kept nowhere
    Column("scopes", JSON, nullable=False),
    Column("collections", JSON, nullable=False),  # patterns of their names
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    sqlite_autoincrement=True,
)


class Database:
    """The SQLite file: many readers beside one writer. Thread-safe.

    Args:
        read_only: Another process writes to it.

    Raises:
        CatalogueIncompatible: Another version of Sightline made the file.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.read_only, self._path = read_only, path
        self._engine = _open_engine(path, read_only=read_only)
        self._writer = threading.Lock()
        self._spare: deque[sqlite3.Connection] = deque()
        """Connections for `rows` that nobody uses now."""

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        while self._spare:
            self._spare.pop().close()

    def ping(self) -> None:
        """Raise unless the database answers."""
        with self.read() as connection:
            connection.execute(select(1))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for questions."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection for questions of which all are answered as of one moment."""
        with self.read() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection

    def rows(self, statement: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[tuple[Any, ...]]:
        """The answer to a question in SQL that is asked so often that SQLAlchemy would take longer than SQLite."""
        try:
            connection = self._spare.pop()
        except IndexError:
            connection = self._connect()
        try:
            return connection.execute(statement, parameters).fetchall()
        finally:
            self._spare.append(connection)

    def watch(self) -> sqlite3.Connection:
        """A connection to ask for `data_version`, which changes with every commit of any other; to be closed."""
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        """A connection of which each question sees what is committed when it is asked."""
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        for pragma in (*_PRAGMAS, _READ_ONLY):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def shrink(self) -> None:
        """Give the space of what was deleted back to the disk, some at a time, beside other writers.

        A file that was made by a version before this one keeps it for what will be written.
        """
        while self._shrink_some():
            pass

    def _shrink_some(self) -> bool:
        """Whether there is more to give back."""
        with self._writer, self._engine.connect() as connection:
            # Each page is a step of the statement, and of one that gives no rows `execute` makes the first step only.
            script = f"PRAGMA incremental_vacuum({_FREED_AT_ONCE}); PRAGMA wal_checkpoint(TRUNCATE)"
            connection.connection.driver_connection.executescript(script)  # type: ignore[union-attr]
            if connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == 0:
                return False
            return bool(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction of the one writer; committed when the block ends, undone when it raises.

        Raises:
            StorageUnavailable: The disk is full, or the file cannot be written to; nothing of the block is stored.
        """
        try:
            with self._writer, self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            if _is_read_only(error):
                self._engine.dispose()  # a connection that found the file read-only never tries again
            raise StorageUnavailable(f"the catalogue cannot be written to: {error.orig}") from error


def _is_read_only(error: OperationalError) -> bool:
    return getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE == sqlite3.SQLITE_READONLY


def chunks(values: Sequence[Any], size: int = _CHUNK) -> Iterator[Sequence[Any]]:
    """Cut values into parts that each fit into one IN list, or are smaller."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _open_engine(path: Path, *, read_only: bool) -> Engine:
    """Open or create the file. `synchronous=FULL` makes a commit durable against loss of power, not only kill -9."""
    url = URL.create("sqlite", database=str(path))
    # Parameters are what people store and search for: no log of a failed statement shows them.
    engine = create_engine(url, pool_size=16, max_overflow=48, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # of a new file only; see `shrink`
        for pragma in (*_PRAGMAS, _READ_ONLY) if read_only else _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    try:
        _prepare_schema(engine, path, read_only=read_only)
    except OperationalError as error:
        engine.dispose()
        raise StorageUnavailable(f"the catalogue {path} cannot be opened: {error.orig}") from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def _prepare_schema(engine: Engine, path: Path, *, read_only: bool) -> None:
    with engine.begin() as connection:
        found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if found == SCHEMA_VERSION:
            return
        if read_only or found not in (0, *_UPGRADABLE):
            raise CatalogueIncompatible(
                f"{path} has schema version {found}, this Sightline works with {SCHEMA_VERSION}; "
                "use the version that made it, or another data folder"
            )
        _add_columns(connection)
        metadata.create_all(connection)
        for index in items.indexes:  # which are not made for a table that is there already
            index.create(connection, checkfirst=True)
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")


def _add_columns(connection: Connection) -> None:
    for table, columns in _NEW_COLUMNS.items():
        known = {row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")}
        for column in columns:
            if known and column.split()[0] not in known:
                connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column}")
