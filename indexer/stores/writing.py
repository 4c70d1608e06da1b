"""Writing items and their vectors to the catalogue, inside a transaction of the caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from indexer.stores.database import chunks, items, vectors
from indexer.stores.texts import add_texts, remove_texts
from indexer.types import MODALITIES, Modality, Vector, VectorRows


@dataclass(frozen=True)
class Change:
    """One item to write: `vectors` are the new ones; of the old ones only the modalities in `kept` stay.

    Each generation has vectors of its own, by its primary key.
    """

    id: str
    text: str | None
    metadata: dict[str, Any]
    image_sha256: str | None
    image_type: str | None
    source_url: str | None
    content_hash: str
    vectors: Mapping[int, Mapping[Modality, Vector]]
    kept: tuple[Modality, ...]
    given: frozenset[Modality] = frozenset()
    """Modalities of which a client gave the vector of the active generation: it does not come from this content."""


class NewVector(NamedTuple):
    """A vector [dimension] of an item, and whether a client gave it."""

    item_pk: int
    vector: Vector
    given: bool = False


@dataclass(frozen=True)
class Written:
    """What a write did to the items, and to the vectors of each modality of each generation, by its primary key."""

    items: dict[int, dict[str, Any] | None]
    """Metadata by primary key, None for an item that is gone."""
    growth: int
    """How many items more there are."""
    added: dict[int, dict[Modality, VectorRows]]
    dropped: dict[int, dict[Modality, list[int]]]
    """Their sequence numbers."""


def write_items(connection: Connection, collection_pk: int, active_pk: int, changes: Sequence[Change]) -> Written:
    """Create or update items with their vectors; their ids must differ from each other.

    Args:
        active_pk: Primary key of the active generation.
    """
    pks = _pks(connection, collection_pk, [change.id for change in changes])
    remove_texts(connection, collection_pk, list(pks.values()))
    _update_items(connection, [(pks[change.id], change) for change in changes if change.id in pks])
    kept = {pks[change.id]: change.kept for change in changes if change.id in pks}
    inserted = _insert_items(connection, collection_pk, [change for change in changes if change.id not in pks])
    pks |= inserted
    add_texts(connection, collection_pk, {pks[change.id]: change.text for change in changes if change.text is not None})
    return Written(
        items={pks[change.id]: change.metadata for change in changes},
        growth=len(inserted),
        dropped=_drop_vectors(connection, kept),
        added=_add_vectors(connection, active_pk, [(pks[change.id], change) for change in changes]),
    )


def drop_items(connection: Connection, collection_pk: int, ids: Sequence[str]) -> tuple[set[str], Written]:
    """Remove the items with these ids, those there are; the SHA-256 of their pictures, and what that did."""
    pictures: set[str] = set()
    dropped: dict[int, dict[Modality, list[int]]] = {}
    gone: dict[int, dict[str, Any] | None] = {}
    for chunk in chunks(list(dict.fromkeys(ids))):
        mine = (items.c.collection_pk == collection_pk) & items.c.id.in_(chunk)
        found = connection.execute(select(items.c.pk, items.c.image_sha256).where(mine)).all()
        pictures |= {picture for _, picture in found if picture}
        _merge(dropped, _drop_vectors(connection, {pk: () for pk, _ in found}))
        gone |= {pk: None for pk, _ in found}
        remove_texts(connection, collection_pk, [pk for pk, _ in found])
        connection.execute(delete(items).where(mine))
    return pictures, Written(gone, -len(gone), {}, dropped)


def no_rows(dimension: int) -> VectorRows:
    """No vectors."""
    none = np.empty(0, dtype=np.int64)
    return VectorRows(none, none, np.empty((0, dimension), dtype=np.float32))


def vector_rows(seqs: Sequence[int], items: Sequence[int], blobs: Sequence[bytes]) -> VectorRows:
    """Stored vectors as they are read."""
    vectors = np.frombuffer(b"".join(blobs), dtype="<f2").reshape(len(blobs), -1).astype(np.float32)
    return VectorRows(np.array(seqs, dtype=np.int64), np.array(items, dtype=np.int64), vectors)


def _pks(connection: Connection, collection_pk: int, ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for chunk in chunks(ids):
        query = select(items.c.id, items.c.pk).where(items.c.collection_pk == collection_pk, items.c.id.in_(chunk))
        found.update((id_, pk) for id_, pk in connection.execute(query))
    return found


def _insert_items(connection: Connection, collection_pk: int, changes: Sequence[Change]) -> dict[str, int]:
    """Primary keys of new items by id."""
    if not changes:
        return {}
    now = datetime.now(UTC)
    rows = [
        {"collection_pk": collection_pk, "id": change.id, "created_at": now} | _values(change) for change in changes
    ]
    query = insert(items).returning(items.c.pk, sort_by_parameter_order=True)
    return dict(zip([change.id for change in changes], connection.execute(query, rows).scalars(), strict=True))


def _update_items(connection: Connection, changes: Sequence[tuple[int, Change]]) -> None:
    if changes:
        query = update(items).where(items.c.pk == bindparam("item_pk"))
        connection.execute(query, [{"item_pk": pk} | _values(change) for pk, change in changes])


def _values(change: Change) -> dict[str, Any]:
    return {
        "text": change.text,
        "metadata": change.metadata,
        "image_sha256": change.image_sha256,
        "image_type": change.image_type,
        "source_url": change.source_url,
        "content_hash": change.content_hash,
        "updated_at": datetime.now(UTC),
    }


def _drop_vectors(
    connection: Connection, kept: Mapping[int, Sequence[Modality]]
) -> dict[int, dict[Modality, list[int]]]:
    """Remove the vectors of these items from all generations but for the kept modalities; gives what is gone.

    A generation that does not take in new content must not hold vectors of old content either.
    """
    dropped: dict[int, dict[Modality, list[int]]] = {}
    seqs: list[int] = []
    for chunk in chunks(list(kept)):
        query = select(vectors.c.seq, vectors.c.item_pk, vectors.c.generation_pk, vectors.c.modality)
        for seq, pk, generation_pk, modality in connection.execute(query.where(vectors.c.item_pk.in_(chunk))).all():
            if modality not in kept[pk]:
                _merge(dropped, {generation_pk: {modality: [seq]}})
                seqs.append(seq)
    for chunk in chunks(seqs):
        connection.execute(delete(vectors).where(vectors.c.seq.in_(chunk)))
    return dropped


def _merge(dropped: dict[int, dict[Modality, list[int]]], more: Mapping[int, Mapping[Modality, Sequence[int]]]) -> None:
    for generation_pk, by_modality in more.items():
        for modality, seqs in by_modality.items():
            dropped.setdefault(generation_pk, {}).setdefault(modality, []).extend(seqs)


def _add_vectors(
    connection: Connection, active_pk: int, changes: Sequence[tuple[int, Change]]
) -> dict[int, dict[Modality, VectorRows]]:
    added: dict[int, dict[Modality, VectorRows]] = {}
    for generation_pk in {pk for _, change in changes for pk in change.vectors}:
        for modality in MODALITIES:
            with_one = [(pk, change) for pk, change in changes if modality in change.vectors.get(generation_pk, {})]
            new = [NewVector(pk, change.vectors[generation_pk][modality]) for pk, change in with_one]
            if generation_pk == active_pk:
                given = [modality in change.given for _, change in with_one]
                new = [one._replace(given=is_given) for one, is_given in zip(new, given, strict=True)]
            if new:
                added.setdefault(generation_pk, {})[modality] = add_vectors(connection, generation_pk, modality, new)
    return added


def add_vectors(connection: Connection, generation_pk: int, modality: Modality, new: Sequence[NewVector]) -> VectorRows:
    """Store vectors of a generation; those with these sequence numbers, in this order, at least one."""
    blobs = [one.vector.astype("<f2").tobytes() for one in new]
    common = {"generation_pk": generation_pk, "modality": modality}
    values = [
        common | {"item_pk": one.item_pk, "vector": blob, "given": one.given}
        for one, blob in zip(new, blobs, strict=True)
    ]
    query = insert(vectors).returning(vectors.c.seq, sort_by_parameter_order=True)
    return vector_rows(list(connection.execute(query, values).scalars()), [one.item_pk for one in new], blobs)
