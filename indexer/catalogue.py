"""The catalogue: every question and every change about collections, items and vectors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from indexer.database import Database, collections, generations, items, vectors
from indexer.types import MODALITIES, CollectionSettings, Item, Modality, Vector

_CHUNK = 10_000
"""Values in one IN list; SQLite allows 32,766 parameters."""


@dataclass(frozen=True)
class CollectionRow:
    """A collection with its active generation."""

    pk: int
    name: str
    settings: CollectionSettings
    created_at: datetime
    generation: int
    generation_pk: int
    fingerprint: str
    dimension: int
    generation_key: str
    """Tells this generation from any other of any catalogue, were they to have the same number and name."""


@dataclass(frozen=True)
class StoredItem:
    """An item with its primary key and what tells whether it changed."""

    pk: int
    item: Item
    content_hash: str
    given: frozenset[Modality]
    """Modalities whose vector a client gave."""


@dataclass(frozen=True)
class Change:
    """One item to write: `vectors` are the new ones; of the old ones only the modalities in `kept` stay."""

    id: str
    text: str | None
    metadata: dict[str, Any]
    image_sha256: str | None
    image_type: str | None
    content_hash: str
    vectors: Mapping[Modality, Vector]
    kept: tuple[Modality, ...]
    given: frozenset[Modality] = frozenset()
    """Those of `vectors` that a client gave, which do not come from this picture or text."""


@dataclass(frozen=True)
class VectorRow:
    """A stored vector: its sequence number, its item's primary key, float32 values that are exact float16."""

    seq: int
    item_pk: int
    vector: Vector


@dataclass(frozen=True)
class Written:
    """What a write did to the vectors of each modality: new rows, and the sequence numbers that are gone."""

    added: dict[Modality, list[VectorRow]]
    dropped: dict[Modality, list[int]]


class Catalogue:
    """Collections, items and vectors in the database, the source of truth. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Collections

    def create_collection(
        self, name: str, settings: CollectionSettings, fingerprint: str, dimension: int
    ) -> CollectionRow:
        """Add a collection with its first generation; the name must be free."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            pk = _inserted(
                connection.execute(
                    insert(collections).values(
                        name=name, settings=asdict(settings), active_generation=1, created_at=now
                    )
                )
            )
            connection.execute(
                insert(generations).values(
                    collection_pk=pk,
                    number=1,
                    model=settings.model,
                    fingerprint=fingerprint,
                    dimension=dimension,
                    created_at=now,
                )
            )
        row = self.collection(name)
        assert row is not None
        return row

    def collection(self, name: str) -> CollectionRow | None:
        """A collection by name."""
        return next((row for row in self.collections() if row.name == name), None)

    def collections(self) -> list[CollectionRow]:
        """All collections by name, each with its active generation."""
        active = (generations.c.collection_pk == collections.c.pk) & (
            generations.c.number == collections.c.active_generation
        )
        query = (
            select(
                collections,
                generations.c.pk.label("generation_pk"),
                generations.c.fingerprint,
                generations.c.dimension,
                generations.c.created_at.label("generation_created_at"),
            )
            .join(generations, active)
            .order_by(collections.c.name)
        )
        with self._database.read() as connection:
            return [
                CollectionRow(
                    row.pk,
                    row.name,
                    CollectionSettings(**row.settings),
                    row.created_at,
                    row.active_generation,
                    row.generation_pk,
                    row.fingerprint,
                    row.dimension,
                    f"{row.active_generation} of {row.generation_created_at.isoformat()}",
                )
                for row in connection.execute(query)
            ]

    def delete_collection(self, pk: int) -> set[str]:
        """Remove a collection with all it holds; returns the SHA-256 of the pictures it referred to."""
        with self._database.write() as connection:
            own = (
                select(items.c.image_sha256)
                .distinct()
                .where(items.c.collection_pk == pk, items.c.image_sha256.is_not(None))
            )
            pictures = set(connection.execute(own).scalars())
            connection.execute(delete(collections).where(collections.c.pk == pk))
        return pictures

    # Items

    def items(self, collection_pk: int, ids: Sequence[str]) -> dict[str, StoredItem]:
        """The items with these ids, those there are."""
        found = self._items(
            select(items).where(items.c.collection_pk == collection_pk, items.c.id.in_(chunk)) for chunk in _chunks(ids)
        )
        return {stored.item.id: stored for stored in found}

    def items_by_pk(self, pks: Sequence[int]) -> dict[int, StoredItem]:
        """The items with these primary keys, those there still are, in one statement."""
        found = self._items(select(items).where(items.c.pk.in_(chunk)) for chunk in _chunks(pks))
        return {stored.pk: stored for stored in found}

    def page(self, collection_pk: int, limit: int, after_pk: int) -> list[StoredItem]:
        """Items in order of their creation, after the one with `after_pk`."""
        query = (
            select(items)
            .where(items.c.collection_pk == collection_pk, items.c.pk > after_pk)
            .order_by(items.c.pk)
            .limit(limit)
        )
        return self._items([query])

    def count_items(self, collection_pk: int) -> int:
        """Number of items in a collection."""
        with self._database.read() as connection:
            query = select(func.count()).select_from(items).where(items.c.collection_pk == collection_pk)
            return connection.execute(query).scalar_one()

    def same_image(self, collection_pk: int, sha256: str, limit: int) -> list[str]:
        """Ids of items with exactly this picture."""
        query = (
            select(items.c.id)
            .where(items.c.collection_pk == collection_pk, items.c.image_sha256 == sha256)
            .order_by(items.c.pk)
            .limit(limit)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def shared_images(self, collection_pk: int) -> NDArray[np.int64]:
        """Items whose picture has exactly the bytes of another's: [n, 2], primary key and a number of the picture."""
        mine = (items.c.collection_pk == collection_pk) & items.c.image_sha256.is_not(None)
        shared = select(items.c.image_sha256).where(mine).group_by(items.c.image_sha256).having(func.count() > 1)
        number = func.dense_rank().over(order_by=items.c.image_sha256)
        query = select(items.c.pk, number).where(mine, items.c.image_sha256.in_(shared))
        with self._database.read() as connection:
            result = connection.execution_options(yield_per=4096).execute(query)
            blocks = [np.array([tuple(row) for row in block], dtype=np.int64) for block in result.partitions()]
        return np.concatenate([np.empty((0, 2), dtype=np.int64), *blocks])

    def ids(self, pks: Sequence[int]) -> dict[int, str]:
        """The ids of the items with these primary keys, those there still are."""
        found: dict[int, str] = {}
        with self._database.read() as connection:
            for chunk in _chunks(pks):
                rows = connection.execute(select(items.c.pk, items.c.id).where(items.c.pk.in_(chunk)))
                found.update((pk, id_) for pk, id_ in rows)
        return found

    def count_contents(self, modality: Modality, pks: Sequence[int]) -> int:
        """How many different pictures or texts these items have; one without (its vector was given) counts as its own.

        Args:
            pks: At most 10,000.
        """
        content = items.c.image_sha256 if modality == "image" else items.c.text
        query = select(func.count(func.distinct(func.coalesce(content, items.c.pk)))).where(items.c.pk.in_(pks))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def referenced_images(self, candidates: set[str]) -> set[str]:
        """Those of `candidates` that an item of any collection refers to."""
        with self._database.read() as connection:
            found: set[str] = set()
            for chunk in _chunks(sorted(candidates)):
                query = select(items.c.image_sha256).distinct().where(items.c.image_sha256.in_(chunk))
                found.update(connection.execute(query).scalars())
            return found

    def write(self, row: CollectionRow, changes: Sequence[Change]) -> Written:
        """Create or update items with their vectors, all in ONE transaction.

        The ids of `changes` must differ from each other.
        """
        written = _nothing_written()
        with self._database.write() as connection:
            pks = _pks(connection, row.pk, [change.id for change in changes])
            for change in changes:
                pk = _write_item(connection, row.pk, pks.get(change.id), change)
                if change.id in pks:
                    _drop_vectors(connection, row.generation_pk, [pk], change.kept, written)
                _add_vectors(connection, row.generation_pk, pk, change, written)
        return written

    def delete(self, row: CollectionRow, ids: Sequence[str]) -> tuple[int, set[str], Written]:
        """Remove items; returns how many there were, the SHA-256 of their pictures, and the dropped vectors."""
        written = _nothing_written()
        pictures: set[str] = set()
        deleted = 0
        with self._database.write() as connection:
            for chunk in _chunks(list(dict.fromkeys(ids))):
                mine = (items.c.collection_pk == row.pk) & items.c.id.in_(chunk)
                found = connection.execute(select(items.c.pk, items.c.image_sha256).where(mine)).all()
                pictures |= {picture for _, picture in found if picture}
                _drop_vectors(connection, row.generation_pk, [pk for pk, _ in found], (), written)
                deleted += connection.execute(delete(items).where(mine)).rowcount
        return deleted, pictures, written

    # Vectors

    def item_vectors(self, generation_pk: int, item_pks: Sequence[int]) -> dict[int, dict[Modality, Vector]]:
        """All vectors of these items: item primary key -> modality -> float32 [dimension]."""
        found: dict[int, dict[Modality, Vector]] = {}
        with self._database.read() as connection:
            for chunk in _chunks(item_pks):
                query = select(vectors.c.item_pk, vectors.c.modality, vectors.c.vector).where(
                    vectors.c.item_pk.in_(chunk), vectors.c.generation_pk == generation_pk
                )
                for pk, modality, blob in connection.execute(query):
                    found.setdefault(pk, {})[modality] = _from_blob(blob)
        return found

    def count_vectors(self, generation_pk: int, modality: Modality) -> int:
        """Number of vectors of one modality."""
        query = select(func.count()).select_from(vectors).where(_of(generation_pk, modality))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def last_seq(self) -> int:
        """The highest sequence number that was ever given."""
        with self._database.read() as connection:
            found = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'").scalar()
            return int(found or 0)

    def live_seqs(self, generation_pk: int, modality: Modality) -> NDArray[np.int64]:
        """All sequence numbers, ascending."""
        query = select(vectors.c.seq).where(_of(generation_pk, modality)).order_by(vectors.c.seq)
        with self._database.read() as connection:
            return np.fromiter(connection.execute(query).scalars(), dtype=np.int64)

    def vectors_after(self, generation_pk: int, modality: Modality, seq: int) -> Iterator[list[VectorRow]]:
        """Vectors with a higher sequence number than `seq`, ascending, streamed in blocks."""
        query = (
            select(vectors.c.seq, vectors.c.item_pk, vectors.c.vector)
            .where(_of(generation_pk, modality), vectors.c.seq > seq)
            .order_by(vectors.c.seq)
        )
        with self._database.read() as connection:
            result = connection.execution_options(yield_per=4096).execute(query)
            for block in result.partitions():
                yield [VectorRow(row.seq, row.item_pk, _from_blob(row.vector)) for row in block]

    def _items(self, queries: Iterable[Any]) -> list[StoredItem]:
        """Run item queries and add to each item the modalities it has vectors of."""
        with self._database.read() as connection:
            rows = [row for query in queries for row in connection.execute(query)]
            modalities: dict[int, dict[Modality, bool]] = {}
            for chunk in _chunks([row.pk for row in rows]):
                query = select(vectors.c.item_pk, vectors.c.modality, vectors.c.given)
                for pk, modality, given in connection.execute(query.where(vectors.c.item_pk.in_(chunk))):
                    modalities.setdefault(pk, {})[modality] = given
        return [_stored_item(row, modalities.get(row.pk, {})) for row in rows]


def to_float16(vector: Vector) -> Vector:
    """Round to what the catalogue stores, so that the index is a function of the catalogue."""
    return vector.astype("<f2").astype(np.float32)


def _of(generation_pk: int, modality: Modality) -> Any:
    return (vectors.c.generation_pk == generation_pk) & (vectors.c.modality == modality)


def _from_blob(blob: bytes) -> Vector:
    return np.frombuffer(blob, dtype="<f2").astype(np.float32)


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _inserted(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _nothing_written() -> Written:
    return Written({modality: [] for modality in MODALITIES}, {modality: [] for modality in MODALITIES})


def _pks(connection: Connection, collection_pk: int, ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for chunk in _chunks(ids):
        query = select(items.c.id, items.c.pk).where(items.c.collection_pk == collection_pk, items.c.id.in_(chunk))
        found.update((id_, pk) for id_, pk in connection.execute(query))
    return found


def _write_item(connection: Connection, collection_pk: int, pk: int | None, change: Change) -> int:
    now = datetime.now(UTC)
    values = {
        "text": change.text,
        "metadata": change.metadata,
        "image_sha256": change.image_sha256,
        "image_type": change.image_type,
        "content_hash": change.content_hash,
        "updated_at": now,
    }
    if pk is None:
        new = insert(items).values(collection_pk=collection_pk, id=change.id, created_at=now, **values)
        return _inserted(connection.execute(new))
    connection.execute(update(items).where(items.c.pk == pk).values(**values))
    return pk


def _drop_vectors(
    connection: Connection, generation_pk: int, pks: Sequence[int], kept: Sequence[Modality], written: Written
) -> None:
    """Remove the vectors of these items but for the kept modalities, and note their sequence numbers."""
    gone = vectors.c.item_pk.in_(pks) & (vectors.c.generation_pk == generation_pk) & vectors.c.modality.not_in(kept)
    for seq, modality in connection.execute(select(vectors.c.seq, vectors.c.modality).where(gone)):
        written.dropped[modality].append(seq)
    connection.execute(delete(vectors).where(gone))


def _add_vectors(connection: Connection, generation_pk: int, pk: int, change: Change, written: Written) -> None:
    for modality, vector in change.vectors.items():
        given = modality in change.given
        row = {"generation_pk": generation_pk, "item_pk": pk, "modality": modality, "given": given}
        seq = _inserted(connection.execute(insert(vectors).values(vector=vector.astype("<f2").tobytes(), **row)))
        written.added[modality].append(VectorRow(seq, pk, to_float16(vector)))


def _stored_item(row: Row[Any], modalities: Mapping[Modality, bool]) -> StoredItem:
    item = Item(
        id=row.id,
        text=row.text,
        metadata=row.metadata,
        modalities=tuple(modality for modality in MODALITIES if modality in modalities),
        image_sha256=row.image_sha256,
        image_type=row.image_type,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
    given = frozenset(modality for modality, is_given in modalities.items() if is_given)
    return StoredItem(row.pk, item, row.content_hash, given)
