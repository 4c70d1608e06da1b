"""The log of the latest writes, by which readers in other processes take over what a writer took over itself.

A row for each transaction names the items and the vectors that it dropped; what it added is read from the catalogue.
Of vectors that came and went since a reader looked last, it sees nothing.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from indexer.stores.writing import Written, vector_rows
from indexer.types import Modality, VectorRows

KEPT = 1000
"""Transactions in the log; whoever is further behind reads everything anew."""
MOST_NAMED = 4096
"""Items and vectors that one row names; after a larger transaction everything is read anew, too."""
MOST_ADDED = 16_384
"""Vectors of one index that are taken over at once; with more, it is better opened anew."""


NOWHERE = -1
"""The position in the log of whoever has to read everything anew."""


class FellBehind(Exception):
    """The log does not tell all that was written since."""


def log_write(connection: Connection, collection_pk: int, written: Written) -> None:
    """Note a write, in its transaction."""
    dropped = [seqs for by_modality in written.dropped.values() for seqs in by_modality.values()]
    told = {"items": list(written.items), "growth": written.growth, "dropped": written.dropped}
    is_large = len(written.items) + sum(map(len, dropped)) > MOST_NAMED
    pk = connection.exec_driver_sql(
        "INSERT INTO changes (collection_pk, written) VALUES (?, ?)",
        (collection_pk, None if is_large else json.dumps(told, separators=(",", ":"))),
    ).lastrowid
    connection.exec_driver_sql("DELETE FROM changes WHERE pk <= ?", (pk - KEPT,))


def written_since(
    connection: Connection, collection_pk: int, position: int, last_seqs: Mapping[int, Mapping[Modality, int]]
) -> tuple[int, Written | None]:
    """The new position in the log, and what was written to a collection since, as if it were one write; or None.

    Args:
        connection: All of whose answers are of one moment.
        last_seqs: Of each index that takes it over, by the generation's primary key, the last number that it has.

    Raises:
        FellBehind: The log no longer tells it, or it is too much.
    """
    first, last = connection.exec_driver_sql("SELECT min(pk), max(pk) FROM changes").one()
    if first is not None and first > position + 1:
        raise FellBehind
    query = "SELECT written FROM changes WHERE pk > ? AND collection_pk = ? ORDER BY pk"
    found = connection.exec_driver_sql(query, (position, collection_pk)).scalars().all()
    if not found:
        return last or 0, None
    if None in found:
        raise FellBehind
    told = [json.loads(one) for one in found]
    added = {pk: _added(connection, pk, by_modality) for pk, by_modality in last_seqs.items()}
    growth = sum(one["growth"] for one in told)
    pks = {pk: None for one in told for pk in one["items"]}
    return last, Written(_metadata(connection, pks), growth, added, _dropped(told))


def _metadata(connection: Connection, pks: Mapping[int, None]) -> dict[int, dict[str, Any] | None]:
    query = "SELECT pk, metadata FROM items WHERE pk IN (SELECT value FROM json_each(?))"
    rows = connection.exec_driver_sql(query, (json.dumps(list(pks)),))
    return {**pks, **{pk: json.loads(metadata) for pk, metadata in rows}}


def _dropped(told: list[dict[str, Any]]) -> dict[int, dict[Modality, list[int]]]:
    dropped: dict[int, dict[Modality, list[int]]] = {}
    for one in told:
        for generation_pk, by_modality in one["dropped"].items():
            for modality, seqs in by_modality.items():
                dropped.setdefault(int(generation_pk), {}).setdefault(modality, []).extend(seqs)
    return dropped


def _added(connection: Connection, generation_pk: int, last_seqs: Mapping[Modality, int]) -> dict[Modality, VectorRows]:
    query = (
        "SELECT seq, item_pk, vector FROM vectors "
        "WHERE generation_pk = ? AND modality = ? AND seq > ? ORDER BY seq LIMIT ?"
    )
    added: dict[Modality, VectorRows] = {}
    for modality, seq in last_seqs.items():
        rows = connection.exec_driver_sql(query, (generation_pk, modality, seq, MOST_ADDED + 1)).all()
        if len(rows) > MOST_ADDED:
            raise FellBehind
        if rows:
            added[modality] = vector_rows(*zip(*rows, strict=True))
    return added
