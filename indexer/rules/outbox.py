"""The outbox: webhook calls still to be made, stored in the transaction that stores what they tell of."""

import json
import logging
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from indexer.stores.database import deliveries, rules
from indexer.types import Flag

log = logging.getLogger(__name__)

MAX_PENDING = 10_000
"""Calls of one rule that may wait, so that a receiver that never answers does not fill the disk."""

_EVENTS = {"flag": "item.flagged", "reject": "item.rejected"}


@dataclass(frozen=True)
class Receiver:
    """Where the calls of a rule go."""

    rule_pk: int
    rule: str
    url: str
    secret: str


@dataclass(frozen=True)
class Delivery:
    """A call to be made; whenever it is made again, its id and body are the same."""

    pk: int
    id: str
    body: str
    attempts: int
    """Made so far."""


def enqueue(connection: Connection, collection: str, flags: Sequence[tuple[int, Flag]]) -> None:
    """Add a call for each flag, given with the primary key of its rule, as part of the caller's transaction.

    Of a rule that has `MAX_PENDING` calls waiting the older ones are kept; the log counts what is dropped.
    """
    room: dict[int, int] = {}
    dropped: Counter[str] = Counter()
    rows = []
    for rule_pk, flag in flags:
        if rule_pk not in room:
            room[rule_pk] = MAX_PENDING - _pending(connection, rule_pk)
        room[rule_pk] -= 1
        if room[rule_pk] < 0:
            dropped[flag.rule] += 1
            continue
        body = _body(collection, flag)
        id_ = f"msg_{uuid.uuid4().hex}"
        rows.append({"id": id_, "rule_pk": rule_pk, "body": body, "attempts": 0, "due_at": flag.created_at})
    if rows:
        connection.execute(insert(deliveries), rows)
    for rule, count in dropped.items():
        log.warning("%d webhook calls of rule %s of %s dropped: %d are waiting", count, rule, collection, MAX_PENDING)


def due_receivers(connection: Connection, now: datetime) -> list[Receiver]:
    """The receivers of rules that have a call due."""
    is_due = select(deliveries.c.pk).where(deliveries.c.rule_pk == rules.c.pk, deliveries.c.due_at <= now).exists()
    query = select(rules.c.pk, rules.c.name, rules.c.webhook, rules.c.secret).where(
        rules.c.webhook.is_not(None), is_due
    )
    return [Receiver(*row) for row in connection.execute(query)]


def due_deliveries(connection: Connection, rule_pk: int, now: datetime, limit: int) -> list[Delivery]:
    """The calls of a rule that are due, those first that have been so for longest."""
    query = (
        select(deliveries.c.pk, deliveries.c.id, deliveries.c.body, deliveries.c.attempts)
        .where(deliveries.c.rule_pk == rule_pk, deliveries.c.due_at <= now)
        .order_by(deliveries.c.due_at, deliveries.c.pk)
        .limit(limit)
    )
    return [Delivery(*row) for row in connection.execute(query)]


def remove(connection: Connection, pks: Sequence[int]) -> None:
    """Take out calls that were made, or are given up."""
    connection.execute(delete(deliveries).where(deliveries.c.pk.in_(pks)))


def postpone(connection: Connection, delivery: Delivery, due_at: datetime, failure: str) -> None:
    """Note a failed attempt; the next one is due then."""
    changes = {"attempts": delivery.attempts + 1, "due_at": due_at, "failure": failure}
    connection.execute(update(deliveries).where(deliveries.c.pk == delivery.pk).values(changes))


def disconnect(connection: Connection, receiver: Receiver) -> None:
    """Take a receiver that is gone from its rule, with all calls to it, unless the rule has another one by now."""
    here = (rules.c.pk == receiver.rule_pk) & (rules.c.webhook == receiver.url)
    if connection.execute(update(rules).where(here).values(webhook=None, secret=None)).rowcount:
        clear(connection, [receiver.rule_pk])


def clear(connection: Connection, rule_pks: Iterable[int]) -> None:
    """Take out all calls of rules."""
    connection.execute(delete(deliveries).where(deliveries.c.rule_pk.in_(list(rule_pks))))


def _pending(connection: Connection, rule_pk: int) -> int:
    query = select(func.count()).select_from(deliveries).where(deliveries.c.rule_pk == rule_pk)
    return connection.execute(query).scalar_one()


def _body(collection: str, flag: Flag) -> str:
    data = {
        "collection": collection,
        "rule": flag.rule,
        "item": flag.item,
        "modality": flag.modality,
        "score": flag.score,
    }
    event = {
        "type": _EVENTS[flag.action],
        "timestamp": flag.created_at.isoformat().replace("+00:00", "Z"),
        "data": data,
    }
    return json.dumps(event, separators=(",", ":"))
