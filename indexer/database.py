"""The catalogue's schema (SQLAlchemy Core) and its engine: SQLite in WAL mode."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Engine,
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
)

from indexer.errors import CatalogueIncompatible

SCHEMA_VERSION = 2


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
    Column("content_hash", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("collection_pk", "id"),
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


def open_database(path: Path) -> Engine:
    """Open or create the catalogue's SQLite file.

    `synchronous=FULL` makes a commit durable against loss of power, not only against kill -9.

    Raises:
        CatalogueIncompatible: Another version of Sightline made it.
    """
    engine = create_engine(f"sqlite:///{path}", pool_size=16, max_overflow=48)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    try:
        _prepare_schema(engine, path)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _prepare_schema(engine: Engine, path: Path) -> None:
    with engine.begin() as connection:
        found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if found not in (0, SCHEMA_VERSION):
            raise CatalogueIncompatible(
                f"{path} has schema version {found}, this Sightline works with {SCHEMA_VERSION}; "
                "use the version that made it, or another data folder"
            )
        metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
