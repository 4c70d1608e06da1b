"""The catalogue: every question and every change about collections, items and vectors."""

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Row,
    String,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)

from indexer.stores.changes import log_write, written_since
from indexer.stores.database import Database, chunks, collections, generations, items, jobs, vectors
from indexer.stores.hits import find_items
from indexer.stores.texts import (
    Texts,
    create_missing_texts,
    create_texts,
    drop_texts,
    rebuild_texts,
)
from indexer.stores.writing import Change, Written, drop_items, vector_rows, write_items
from indexer.types import MODALITIES, CollectionSettings, FoundItem, Item, Modality, Vector, VectorRows, from_blob


@dataclass(frozen=True)
class CollectionRow:
    """A collection with one of its generations, the active one where nothing else is said."""

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
    model: str
    """What its vectors were made by."""
    active: bool = True
    follows: bool = False
    """Whether it takes in what is written beside the active one."""
    canary: float = 0.0
    """Share of the searches that it answers without being active."""
    made_at: datetime = datetime.min


@dataclass(frozen=True)
class StoredItem:
    """An item with its primary key and what tells whether it changed."""

    pk: int
    item: Item
    content_hash: str
    given: frozenset[Modality]
    """Modalities whose vector a client gave."""
    source_url: str | None
    """Where its picture came from, if that was an address."""


class Catalogue:
    """Collections, items and vectors in the database, the source of truth. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        if not database.read_only:
            create_missing_texts(database)

    @property
    def read_only(self) -> bool:
        """Whether another process writes to it, and to the index that is made of it."""
        return self._database.read_only

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
            create_texts(connection, pk)
        row = self.collection(name)
        assert row is not None
        return row

    def collection(self, name: str) -> CollectionRow | None:
        """A collection by name."""
        return next((row for row in self.collections() if row.name == name), None)

    def collections(self) -> list[CollectionRow]:
        """All collections by name, each with its active generation."""
        with self._database.read() as connection:
            return generation_rows(connection, generations.c.number == collections.c.active_generation)

    def delete_collection(self, pk: int) -> set[str]:
        """Remove a collection with all it holds, and end its jobs; returns the SHA-256 of its pictures."""
        with self._database.write() as connection:
            own = (
                select(items.c.image_sha256)
                .distinct()
                .where(items.c.collection_pk == pk, items.c.image_sha256.is_not(None))
            )
            pictures = set(connection.execute(own).scalars())
            unfinished = (jobs.c.collection_pk == pk) & jobs.c.finished_at.is_(None)
            connection.execute(update(jobs).where(unfinished).values(state="cancelled", finished_at=datetime.now(UTC)))
            drop_texts(connection, pk)
            connection.execute(delete(collections).where(collections.c.pk == pk))
        return pictures

    # Items

    def items(self, collection_pk: int, ids: Sequence[str]) -> dict[str, StoredItem]:
        """The items with these ids, those there are."""
        pks = [pk for _, pk, _ in self._known(collection_pk, ids)]
        return {stored.item.id: stored for stored in self.items_by_pk(pks).values()}

    def content_hashes(self, collection_pk: int, ids: Sequence[str]) -> dict[str, str]:
        """Content hashes of the items with these ids, those there are."""
        return {id_: content_hash for id_, _, content_hash in self._known(collection_pk, ids)}

    def _known(self, collection_pk: int, ids: Sequence[str]) -> Iterator[tuple[str, int, str]]:
        """(id, primary key, content hash) of the items with these ids, those there are; each write asks for them."""
        for chunk in chunks(ids):
            marks = ",".join("?" * len(chunk))
            query = f"SELECT id, pk, content_hash FROM items WHERE collection_pk = ? AND id IN ({marks})"  # noqa: S608  question marks only
            yield from self._database.rows(query, [collection_pk, *chunk])

    def items_by_pk(self, pks: Sequence[int]) -> dict[int, StoredItem]:
        """The items with these primary keys, those there still are, in one statement."""
        if not pks:
            return {}
        found = self._items(select(items).where(items.c.pk.in_(chunk)) for chunk in chunks(pks))
        return {stored.pk: stored for stored in found}

    def found(self, generation_pk: int, pks: Sequence[int], *, with_vectors: bool = True) -> dict[int, FoundItem]:
        """See `indexer.stores.hits.find_items`."""
        return find_items(self._database, generation_pk, pks, with_vectors=with_vectors)

    def page(self, collection_pk: int, limit: int, after_pk: int) -> list[StoredItem]:
        """Items in order of their creation, after the one with `after_pk`."""
        query = (
            select(items)
            .where(items.c.collection_pk == collection_pk, items.c.pk > after_pk)
            .order_by(items.c.pk)
            .limit(limit)
        )
        return self._items([query])

    def metadata(self, collection_pk: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Primary key and metadata of every item as they are at one moment, streamed in blocks."""
        # SQLAlchemy's JSON type takes more time than all the rest.
        text = type_coerce(items.c.metadata, String)
        query = select(items.c.pk, text).where(items.c.collection_pk == collection_pk)
        with self._database.read() as connection:
            for block in connection.execution_options(yield_per=4096).execute(query).partitions():
                yield [(pk, json.loads(metadata)) for pk, metadata in block]

    def count_items(self, collection_pk: int) -> int:
        """Number of items in a collection."""
        with self._database.read() as connection:
            query = select(func.count()).select_from(items).where(items.c.collection_pk == collection_pk)
            return connection.execute(query).scalar_one()

    def pk_and_image(self, collection_pk: int, id_: str) -> tuple[int, str | None] | None:
        """An item's primary key and its picture's SHA-256, None where it has none; None where there is no item."""
        query = "SELECT pk, image_sha256 FROM items WHERE collection_pk = ? AND id = ?"
        for pk, sha256 in self._database.rows(query, [collection_pk, id_]):
            return pk, sha256
        return None

    def same_image(self, collection_pk: int, sha256: str, limit: int) -> list[str]:
        """Ids of items with exactly this picture."""
        # The sign keeps SQLite from walking through all items of the collection, which it thinks as good an index.
        query = "SELECT id FROM items WHERE +collection_pk = ? AND image_sha256 = ? ORDER BY pk LIMIT ?"
        return [id_ for (id_,) in self._database.rows(query, [collection_pk, sha256, limit])]

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
        if not pks:
            return found
        with self._database.read() as connection:
            for chunk in chunks(pks):
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
            for chunk in chunks(sorted(candidates)):
                query = select(items.c.image_sha256).distinct().where(items.c.image_sha256.in_(chunk))
                found.update(connection.execute(query).scalars())
            return found

    def write(
        self,
        row: CollectionRow,
        changes: Sequence[Change],
        also: Callable[[Connection], None] = lambda connection: None,
    ) -> Written:
        """Create or update items with their vectors, all in ONE transaction.

        The ids of `changes` must differ from each other.

        Args:
            also: What else the transaction does, after the items are written.
        """
        with self._database.write() as connection:
            written = write_items(connection, row.pk, row.generation_pk, changes)
            log_write(connection, row.pk, written)
            also(connection)
        return written

    def delete(
        self, row: CollectionRow, ids: Sequence[str], also: Callable[[Connection], None] = lambda _: None
    ) -> tuple[int, set[str], Written]:
        """Remove items; returns how many there were, the SHA-256 of their pictures, and the dropped vectors.

        Args:
            also: What else the transaction does.
        """
        with self._database.write() as connection:
            pictures, written = drop_items(connection, row.pk, ids)
            log_write(connection, row.pk, written)
            also(connection)
        return -written.growth, pictures, written

    # Following a writer in another process

    def mark(self, collection_pk: int) -> tuple[int, int]:
        """The end of the log of changes, and the number of items then."""
        query = "SELECT (SELECT max(pk) FROM changes), (SELECT count(*) FROM items WHERE collection_pk = ?)"
        [(position, count)] = self._database.rows(query, [collection_pk])
        return position or 0, count

    def end_of_log(self) -> int:
        """It grows with every write to items and vectors."""
        [(position,)] = self._database.rows("SELECT max(pk) FROM changes", [])
        return position or 0

    def written_to(self, position: int) -> set[int]:
        """The collections that were written to since, perhaps: all where the log does not tell."""
        query = (
            "SELECT collection_pk FROM changes WHERE pk > ?1 "
            "UNION SELECT pk FROM collections WHERE ?1 + 1 < (SELECT min(pk) FROM changes)"
        )
        return {pk for (pk,) in self._database.rows(query, [position])}

    def written_since(
        self, collection_pk: int, position: int, last_seqs: Mapping[int, Mapping[Modality, int]]
    ) -> tuple[int, Written | None]:
        """See `indexer.stores.changes.written_since`."""
        with self._database.snapshot() as connection:
            return written_since(connection, collection_pk, position, last_seqs)

    def outline(self) -> list[tuple[Any, ...]]:
        """Differs when a collection or a generation came or went, or answers otherwise than before."""
        query = (
            "SELECT c.pk, c.active_generation, g.pk, g.follows, g.canary "
            "FROM collections c JOIN generations g ON g.collection_pk = c.pk ORDER BY g.pk"
        )
        return self._database.rows(query, [])

    # Texts

    def texts(self, collection_pk: int) -> Texts:
        """The full-text index of a collection."""
        return Texts(self._database, collection_pk)

    def rebuild_texts(self, collection_pk: int) -> None:
        """Make the full-text index of a collection anew from its items."""
        with self._database.write() as connection:
            rebuild_texts(connection, collection_pk)

    # Vectors

    def item_vectors(self, generation_pk: int, item_pks: Sequence[int]) -> dict[int, dict[Modality, Vector]]:
        """All vectors of these items: item primary key -> modality -> float32 [dimension]."""
        found: dict[int, dict[Modality, Vector]] = {}
        with self._database.read() as connection:
            for chunk in chunks(item_pks):
                query = select(vectors.c.item_pk, vectors.c.modality, vectors.c.vector).where(
                    vectors.c.item_pk.in_(chunk), vectors.c.generation_pk == generation_pk
                )
                for pk, modality, blob in connection.execute(query):
                    found.setdefault(pk, {})[modality] = from_blob(blob)
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

    def live_seqs(self, generation_pk: int, modality: Modality, after_seq: int, to_seq: int) -> NDArray[np.int64]:
        """All sequence numbers over `after_seq` up to `to_seq`, ascending."""
        inside = (vectors.c.seq > after_seq) & (vectors.c.seq <= to_seq)
        query = select(vectors.c.seq).where(_of(generation_pk, modality), inside).order_by(vectors.c.seq)
        with self._database.read() as connection:
            result = connection.execute(query)
            # The driver's own rows: there may be millions.
            found = np.fromiter(cast("Iterable[tuple[int]]", result.cursor), dtype=[("seq", np.int64)])
            result.close()
        return found["seq"]

    def vectors_after(self, generation_pk: int, modality: Modality, seq: int) -> Iterator[VectorRows]:
        """Vectors with a higher sequence number than `seq`, ascending, streamed in blocks."""
        query = (
            select(vectors.c.seq, vectors.c.item_pk, vectors.c.vector)
            .where(_of(generation_pk, modality), vectors.c.seq > seq)
            .order_by(vectors.c.seq)
        )
        with self._database.read() as connection:
            result = connection.execution_options(yield_per=4096).execute(query)
            for block in result.partitions():
                yield vector_rows(*zip(*block, strict=True))

    def _items(self, queries: Iterable[Any]) -> list[StoredItem]:
        """Run item queries and add to each item the modalities it has vectors of."""
        with self._database.read() as connection:
            rows = [row for query in queries for row in connection.execute(query)]
            modalities: dict[int, dict[Modality, bool]] = {}
            for chunk in chunks([row.pk for row in rows]):
                query = select(vectors.c.item_pk, vectors.c.modality, vectors.c.given).select_from(_ACTIVE)
                for pk, modality, given in connection.execute(query.where(vectors.c.item_pk.in_(chunk))):
                    modalities.setdefault(pk, {})[modality] = given
        return [_stored_item(row, modalities.get(row.pk, {})) for row in rows]


_ACTIVE = vectors.join(generations, generations.c.pk == vectors.c.generation_pk).join(
    collections,
    (collections.c.pk == generations.c.collection_pk) & (collections.c.active_generation == generations.c.number),
)
"""The vectors of active generations."""


def to_float16(vector: Vector) -> Vector:
    """Round to what the catalogue stores, so that the index is a function of the catalogue."""
    return vector.astype("<f2").astype(np.float32)


def generation_rows(connection: Connection, condition: Any) -> list[CollectionRow]:
    """Collections with those of their generations that a condition holds for, by name and number."""
    query = (
        select(
            collections,
            generations.c.pk.label("generation_pk"),
            generations.c.number,
            generations.c.model,
            generations.c.fingerprint,
            generations.c.dimension,
            generations.c.follows,
            generations.c.canary,
            generations.c.created_at.label("made_at"),
        )
        .join(generations)
        .where(condition)
        .order_by(collections.c.name, generations.c.number)
    )
    return [
        CollectionRow(
            pk=row.pk,
            name=row.name,
            settings=CollectionSettings(**row.settings),
            created_at=row.created_at,
            generation=row.number,
            generation_pk=row.generation_pk,
            fingerprint=row.fingerprint,
            dimension=row.dimension,
            generation_key=f"{row.number} of {row.made_at.isoformat()}",
            model=row.model,
            active=row.number == row.active_generation,
            follows=row.follows,
            canary=row.canary,
            made_at=row.made_at,
        )
        for row in connection.execute(query)
    ]


def _of(generation_pk: int, modality: Modality) -> Any:
    return (vectors.c.generation_pk == generation_pk) & (vectors.c.modality == modality)


def _inserted(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _stored_item(row: Row[Any], modalities: Mapping[Modality, bool]) -> StoredItem:
    given = frozenset(modality for modality, is_given in modalities.items() if is_given)
    return StoredItem(row.pk, _item(row, modalities), row.content_hash, given, row.source_url)


def _item(row: Row[Any], modalities: Container[Modality]) -> Item:
    return Item(
        id=row.id,
        text=row.text,
        metadata=row.metadata,
        modalities=tuple(modality for modality in MODALITIES if modality in modalities),
        image_sha256=row.image_sha256,
        image_type=row.image_type,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
