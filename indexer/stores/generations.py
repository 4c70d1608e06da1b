"""Generations in the catalogue: which there are, which one is active, and what one lacks that the active one has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, func, insert, select, update

from indexer.errors import CollectionNotFound
from indexer.stores.catalogue import CollectionRow, generation_rows
from indexer.stores.changes import log_write
from indexer.stores.database import Database, chunks, collections, generations, items, job_errors, vectors
from indexer.stores.writing import NewVector, Written, add_vectors
from indexer.types import MODALITIES, Modality, Vector, VectorRows


@dataclass(frozen=True)
class Filling:
    """Vectors for an item that a generation lacked, made from the content of this hash."""

    item_pk: int
    content_hash: str
    vectors: Mapping[Modality, Vector]


class GenerationStore:
    """The generations of all collections. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, collection_pk: int) -> list[CollectionRow]:
        """A collection with each of its generations, oldest first."""
        with self._database.read() as connection:
            return generation_rows(connection, collections.c.pk == collection_pk)

    def add(self, collection_pk: int, model: str, fingerprint: str, dimension: int) -> CollectionRow:
        """Begin a generation that takes in what is written; raises `CollectionNotFound` if the collection is gone."""
        mine = generations.c.collection_pk == collection_pk
        there = select(func.max(generations.c.number)).where(mine).scalar_subquery()
        values = {"model": model, "fingerprint": fingerprint, "dimension": dimension, "follows": True}
        with self._database.write() as connection:
            number = connection.execute(
                update(collections)
                .where(collections.c.pk == collection_pk)
                .values(last_generation=func.max(collections.c.last_generation, there) + 1)
                .returning(collections.c.last_generation)
            ).scalar()
            if number is None:
                raise CollectionNotFound("the collection was deleted")
            connection.execute(
                insert(generations).values(
                    collection_pk=collection_pk, number=number, created_at=datetime.now(UTC), **values
                )
            )
            return generation_rows(connection, mine & (generations.c.number == number))[0]

    def set_following(self, row: CollectionRow, follows: bool) -> None:
        """Note whether a generation takes in what is written; one that does not answers nothing."""
        values: dict[str, Any] = {"follows": follows} | ({} if follows else {"canary": 0.0})
        with self._database.write() as connection:
            connection.execute(update(generations).where(_is(row)).values(**values))

    def set_canary(self, row: CollectionRow, share: float) -> None:
        """Note the share of searches that a generation answers without being active."""
        with self._database.write() as connection:
            connection.execute(update(generations).where(_is(row)).values(canary=share))

    def activate(self, row: CollectionRow, before: CollectionRow) -> CollectionRow:
        """Make a generation the active one, and the one before it rest, in one transaction."""
        with self._database.write() as connection:
            both = generations.c.pk.in_([row.generation_pk, before.generation_pk])
            connection.execute(update(generations).where(both).values(follows=False, canary=0.0))
            [settings] = connection.execute(select(collections.c.settings).where(collections.c.pk == row.pk)).scalars()
            active = {"active_generation": row.generation, "settings": settings | {"model": row.model}}
            connection.execute(update(collections).where(collections.c.pk == row.pk).values(**active))
            return generation_rows(connection, _is(row))[0]

    def drop(self, row: CollectionRow) -> None:
        """Remove a generation that is not active with its vectors, some at a time, and give their space free."""
        some = select(vectors.c.seq).where(vectors.c.generation_pk == row.generation_pk).limit(DROPPED_AT_ONCE)
        while True:
            with self._database.write() as connection:
                gone = connection.execute(delete(vectors).where(vectors.c.seq.in_(some))).rowcount
                if gone < DROPPED_AT_ONCE:
                    connection.execute(delete(generations).where(_is(row)))
                    break
        self._database.shrink()

    # What is missing

    def missing(self, row: CollectionRow, active: CollectionRow, after_pk: int, limit: int, job_pk: int) -> list[int]:
        """Items of which the active generation has a vector that this one lacks, in order after one of them.

        Args:
            job_pk: Those that this job has reported on are left out.
        """
        reported = exists().where(job_errors.c.job_pk == job_pk, job_errors.c.id == items.c.id)
        lacks = exists(_lacking(row, active).where(vectors.c.item_pk == items.c.pk))
        query = select(items.c.pk).where(items.c.collection_pk == row.pk, items.c.pk > after_pk, lacks, ~reported)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(items.c.pk).limit(limit)).scalars())

    def count_missing(self, row: CollectionRow, active: CollectionRow, after_seq: int = 0) -> int:
        """How many such items there are, by those vectors of the active generation with a higher sequence number."""
        lacking = _lacking(row, active).where(vectors.c.seq > after_seq)
        query = lacking.with_only_columns(func.count(func.distinct(vectors.c.item_pk)))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def modalities(self, row: CollectionRow, item_pks: Sequence[int]) -> dict[int, set[Modality]]:
        """The modalities of which a generation has vectors of these items."""
        with self._database.read() as connection:
            return _modalities(connection, row, item_pks)

    def fill(
        self, row: CollectionRow, fillings: Sequence[Filling], also: Callable[[Connection], None] = lambda _: None
    ) -> dict[Modality, VectorRows]:
        """Add vectors of items that did not change since, and still lack them; gives what was added.

        Args:
            also: What else the transaction does.
        """
        pks = [filling.item_pk for filling in fillings]
        with self._database.write() as connection:
            hashes: dict[int, str] = {}
            for chunk in chunks(pks):
                query = select(items.c.pk, items.c.content_hash).where(items.c.pk.in_(chunk))
                hashes.update((pk, content_hash) for pk, content_hash in connection.execute(query))
            known = _modalities(connection, row, pks)
            valid = [filling for filling in fillings if hashes.get(filling.item_pk) == filling.content_hash]
            added: dict[Modality, VectorRows] = {}
            for modality in MODALITIES:
                new = [
                    NewVector(filling.item_pk, filling.vectors[modality])
                    for filling in valid
                    if modality in filling.vectors and modality not in known.get(filling.item_pk, ())
                ]
                if new:
                    added[modality] = add_vectors(connection, row.generation_pk, modality, new)
            log_write(connection, row.pk, Written({}, 0, {}, {}))
            also(connection)
        return added


DROPPED_AT_ONCE = 10_000
"""Vectors that one transaction removes: others write in between."""


def _is(row: CollectionRow) -> Any:
    return generations.c.pk == row.generation_pk


def _lacking(row: CollectionRow, active: CollectionRow) -> Select[Any]:
    """Items of the active generation's vectors to which there is none in another."""
    other = vectors.alias()
    counterpart = exists().where(
        other.c.item_pk == vectors.c.item_pk,
        other.c.generation_pk == row.generation_pk,
        other.c.modality == vectors.c.modality,
    )
    return select(vectors.c.item_pk).where(vectors.c.generation_pk == active.generation_pk, ~counterpart)


def _modalities(connection: Connection, row: CollectionRow, item_pks: Sequence[int]) -> dict[int, set[Modality]]:
    found: dict[int, set[Modality]] = {}
    for chunk in chunks(item_pks):
        mine = vectors.c.item_pk.in_(chunk) & (vectors.c.generation_pk == row.generation_pk)
        for pk, modality in connection.execute(select(vectors.c.item_pk, vectors.c.modality).where(mine)):
            found.setdefault(pk, set()).add(modality)
    return found
