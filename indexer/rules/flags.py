"""Flags: what watch rules found, one row for each item and rule."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from indexer.rules.judgement import Judgement
from indexer.rules.outbox import enqueue
from indexer.stores.catalogue import CollectionRow
from indexer.stores.database import chunks, flags, rules
from indexer.types import Flag


def record(connection: Connection, row: CollectionRow, judged: Judgement) -> None:
    """Store what was found on a chunk of items, and the webhook calls that tell of it, in the caller's transaction.

    The flags of a stored item are replaced as a whole. A rejected one's old version stays, and its flags with it.
    """
    if not judged.matches:
        return
    rejected = judged.rejected
    forget(connection, row.pk, [id_ for id_ in judged.matches if id_ not in rejected])
    found = list(_found(judged))
    # Judging runs without the writer's lock: a rule may have been deleted meanwhile.
    webhooks = _webhooks(connection, {rule_pk for rule_pk, _ in found})
    found = [(rule_pk, flag) for rule_pk, flag in found if rule_pk in webhooks]
    for rule_pk, flag in found:
        if flag.action == "reject":
            connection.execute(_delete(row.pk, [flag.item]).where(flags.c.rule_pk == rule_pk))
    if found:
        connection.execute(insert(flags), [_values(row.pk, rule_pk, flag) for rule_pk, flag in found])
    enqueue(connection, row.name, [(rule_pk, flag) for rule_pk, flag in found if webhooks[rule_pk] is not None])


def forget(connection: Connection, collection_pk: int, ids: Sequence[str]) -> None:
    """Remove all flags of items."""
    for chunk in chunks(ids):
        connection.execute(_delete(collection_pk, chunk))


def of_items(connection: Connection, collection_pk: int, ids: Sequence[str]) -> dict[str, tuple[Flag, ...]]:
    """The flags that items carry as they are stored; rejections, which are of another version, left out."""
    found: dict[str, tuple[Flag, ...]] = {}
    for chunk in chunks(ids):
        query = _select(collection_pk).where(flags.c.item_id.in_(chunk), flags.c.action == "flag")
        for row in connection.execute(query.order_by(rules.c.name)):
            found[row.item_id] = (*found.get(row.item_id, ()), _flag(row))
    return found


def page(
    connection: Connection, collection_pk: int, limit: int, before_pk: int | None, rule_pk: int | None
) -> list[tuple[int, Flag]]:
    """Flags with their primary keys, newest first, of all rules or one."""
    query = _select(collection_pk).order_by(flags.c.pk.desc()).limit(limit)
    if before_pk is not None:
        query = query.where(flags.c.pk < before_pk)
    if rule_pk is not None:
        query = query.where(flags.c.rule_pk == rule_pk)
    return [(row.pk, _flag(row)) for row in connection.execute(query)]


def _webhooks(connection: Connection, rule_pks: set[int]) -> dict[int, str | None]:
    """The webhooks of those rules that there still are."""
    query = select(rules.c.pk, rules.c.webhook)
    return {
        pk: webhook
        for chunk in chunks(sorted(rule_pks))
        for pk, webhook in connection.execute(query.where(rules.c.pk.in_(chunk)))
    }


def _found(judged: Judgement) -> Iterator[tuple[int, Flag]]:
    now = datetime.now(UTC)
    for id_, matches in judged.matches.items():
        for match in matches:
            rule = match.criterion
            yield rule.rule_pk, Flag(id_, rule.rule, rule.action, match.modality, match.score, now)


def _delete(collection_pk: int, ids: Sequence[str]) -> Any:
    return delete(flags).where(flags.c.collection_pk == collection_pk, flags.c.item_id.in_(ids))


def _select(collection_pk: int) -> Any:
    query = select(flags, rules.c.name.label("rule")).join(rules, rules.c.pk == flags.c.rule_pk)
    return query.where(flags.c.collection_pk == collection_pk)


def _values(collection_pk: int, rule_pk: int, flag: Flag) -> dict[str, Any]:
    return {
        "collection_pk": collection_pk,
        "rule_pk": rule_pk,
        "item_id": flag.item,
        "modality": flag.modality,
        "score": flag.score,
        "action": flag.action,
        "created_at": flag.created_at,
    }


def _flag(row: Row[Any]) -> Flag:
    return Flag(row.item_id, row.rule, row.action, row.modality, row.score, row.created_at)
