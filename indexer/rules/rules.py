"""`Rules`: the watch rules of one collection, which judge every item that enters it."""

import json
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from indexer.cursors import decode_cursor, encode_cursor
from indexer.errors import CollectionNotFound, RuleInvalid, RuleNotFound
from indexer.generation import Generation
from indexer.rules import flags as stored_flags
from indexer.rules.judgement import Criterion, Judge, Judgement
from indexer.rules.outbox import clear
from indexer.rules.signing import new_secret
from indexer.rules.stored_query import from_document, holds_for_any_model, query_vectors, to_document
from indexer.search.embedding import embed_terms
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.stores.database import Database, collections, rules
from indexer.types import MODALITIES, Flag, Modality, NewRule, Rule, Term, Vector
from models.imaging import ImageLimits

log = logging.getLogger(__name__)

MAX_RULES = 1000
"""In one collection; every item that enters is compared with each."""
MAX_QUERY_BYTES = 32 * 2**20
"""Of all queries of a collection together as they are stored, so that a list of them has its bounds."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class PutRule:
    """A rule as it stands after a put."""

    rule: Rule
    created: bool
    secret: str | None
    """Of a webhook that is new, with which its calls are signed; it is never told again."""


class Rules:
    """The watch rules of a collection and the flags they made. Thread-safe.

    Args:
        active: Gives the generation by whose model rules are embedded when they are put.
    """

    def __init__(
        self, database: Database, catalogue: Catalogue, limits: ImageLimits, active: Callable[[], Generation]
    ) -> None:
        self._database, self._catalogue, self._limits, self._active = database, catalogue, limits, active
        # Held while rules change and while they are read to be judged by, so that no change is missed.
        self._changes = threading.Lock()
        self._judge: tuple[int, Judge] | None = None
        """By the number of its generation, whose model may be gone before rules are asked for again."""

    # Rules

    def put(self, new: NewRule) -> PutRule:
        """Create a rule or replace it; it judges what enters from then on, and leaves what is there alone.

        Raises:
            RuleInvalid: A name, threshold, webhook or query that no rule can have, or too many rules.
            QueryInvalid, ItemNotFound, VectorInvalid, ImageError: See `indexer.search.embedding.embed_terms`.
        """
        _check(new)
        values = self._values(new)
        with self._changes:
            with self._database.write() as connection:
                put = self._put(connection, new, values)
            self._judge = None
        return put

    def get(self, name: str) -> Rule:
        """A rule by name; raises `RuleNotFound`."""
        with self._database.read() as connection:
            return _rule(self._find(connection, name))

    def all(self) -> list[Rule]:
        """All rules by name."""
        with self._database.read() as connection:
            return [_rule(row) for row in connection.execute(self._select().order_by(rules.c.name))]

    def delete(self, name: str) -> None:
        """Remove a rule with its flags and the webhook calls that wait; raises `RuleNotFound`."""
        with self._changes:
            with self._database.write() as connection:
                connection.execute(delete(rules).where(rules.c.pk == self._find(connection, name).pk))
            self._judge = None

    # Judging

    def any(self) -> bool:
        """Whether there is a rule to judge by."""
        return bool(self._judge_for(self._active()).criteria)

    def judge(self, items: Mapping[str, Mapping[Modality, Vector]], generation: Generation) -> Judgement:
        """Compare items with all rules; see `indexer.rules.judgement.Judge`.

        Args:
            items: By id all vectors that each will have in a generation.
        """
        return self._judge_for(generation).judge(items)

    def record(self, connection: Connection, judged: Judgement) -> None:
        """Store what was found, in the transaction that stores the items; see `indexer.rules.flags.record`."""
        stored_flags.record(connection, self._row, judged)

    def forget(self, connection: Connection, ids: Sequence[str]) -> None:
        """Remove the flags of items, in the transaction that deletes these."""
        stored_flags.forget(connection, self._row.pk, ids)

    # Flags

    def flags(self, limit: int, cursor: str | None = None, rule: str | None = None) -> tuple[list[Flag], str | None]:
        """A page of flags, newest first, of all rules or one, and the cursor of the next page, None after the last.

        Raises:
            CursorInvalid: Not a cursor of this method.
            RuleNotFound: No rule of that name.
        """
        before = None if cursor is None else decode_cursor(cursor)
        with self._database.read() as connection:
            rule_pk = None if rule is None else self._find(connection, rule).pk
            found = stored_flags.page(connection, self._row.pk, limit + 1, before, rule_pk)
        more = len(found) > limit
        found = found[:limit]
        return [flag for _, flag in found], encode_cursor(found[-1][0]) if more else None

    def flags_of(self, ids: Sequence[str]) -> dict[str, tuple[Flag, ...]]:
        """The flags that stored items carry, by id."""
        if not self.any():
            return {}
        with self._database.read() as connection:
            return stored_flags.of_items(connection, self._row.pk, ids)

    def _put(self, connection: Connection, new: NewRule, values: dict[str, Any]) -> PutRule:
        old = connection.execute(self._select().where(rules.c.name == new.name)).one_or_none()
        self._check_room(connection, new, values["query"])
        is_new_webhook = new.webhook is not None and (old is None or old.webhook != new.webhook)
        secret = new_secret() if is_new_webhook else None
        if is_new_webhook or new.webhook is None:
            values = values | {"secret": secret}
        if old is None:
            now = datetime.now(UTC)
            connection.execute(
                insert(rules).values(collection_pk=self._row.pk, name=new.name, created_at=now, **values)
            )
        elif any(getattr(old, column) != value for column, value in values.items()):
            connection.execute(update(rules).where(rules.c.pk == old.pk).values(**values))
            if new.webhook is None:
                clear(connection, [old.pk])
        return PutRule(_rule(self._find(connection, new.name)), old is None, secret)

    def _values(self, new: NewRule) -> dict[str, Any]:
        generation = self._active()
        return {
            "vectors": self._embed(new.terms, generation).tobytes(),
            "query": [to_document(term) for term in new.terms],
            "fingerprint": generation.row.fingerprint,
            "thresholds": dict(new.thresholds),
            "action": new.action,
            "webhook": new.webhook,
        }

    def _embed(self, terms: Sequence[Term], generation: Generation) -> NDArray[np.float32]:
        row, encoder = generation.row, generation.encoder
        return query_vectors(embed_terms(terms, encoder, self._limits, self._catalogue, row))

    def _check_room(self, connection: Connection, new: NewRule, query: Sequence[Any]) -> None:
        """Raise where the collection is gone, or would hold too many rules or too large ones."""
        if not connection.execute(select(exists().where(collections.c.pk == self._row.pk))).scalar_one():
            raise CollectionNotFound(f"collection {self._row.name!r} was deleted")
        others = select(func.count(), func.coalesce(func.sum(func.length(rules.c.query)), 0))
        count, size = connection.execute(
            others.where(rules.c.collection_pk == self._row.pk, rules.c.name != new.name)
        ).one()
        if count >= MAX_RULES:
            raise RuleInvalid(f"a collection has at most {MAX_RULES:,} watch rules; delete one first")
        if size + len(json.dumps(query)) > MAX_QUERY_BYTES:
            raise RuleInvalid(
                f"the queries of a collection's watch rules take at most {MAX_QUERY_BYTES:,} bytes together; "
                "send smaller pictures",
                "/query",
            )

    def _judge_for(self, generation: Generation) -> Judge:
        kept = self._judge
        if kept is not None and kept[0] == generation.number:
            return kept[1]
        with self._changes:
            if self._judge is None or self._judge[0] != generation.number:
                with self._database.read() as connection:
                    found = connection.execute(self._select().order_by(rules.c.pk)).all()
                criteria = [c for row in found if (c := self._criterion(row, generation)) is not None]
                self._judge = generation.number, Judge(criteria)
            return self._judge[1]

    def _criterion(self, row: Row[Any], generation: Generation) -> Criterion | None:
        """A rule ready to be judged by; None where its query holds for another model only."""
        if row.fingerprint == generation.row.fingerprint:
            vectors = np.frombuffer(row.vectors, dtype=np.float32).reshape(len(MODALITIES), -1)
        else:
            terms = [from_document(document) for document in row.query]
            if not holds_for_any_model(terms):
                log.warning(
                    "watch rule %s of %s judges nothing: its query holds an item or a vector of another model; "
                    "put it again",
                    row.name,
                    self._row.name,
                )
                return None
            vectors = self._embed(terms, generation)
        return Criterion(row.pk, row.name, row.action, row.thresholds, vectors)

    @property
    def _row(self) -> CollectionRow:
        return self._active().row

    def _find(self, connection: Connection, name: str) -> Row[Any]:
        row = connection.execute(self._select().where(rules.c.name == name)).one_or_none()
        if row is None:
            raise RuleNotFound(f"no watch rule {name!r} in collection {self._row.name!r}")
        return row

    def _select(self) -> Any:
        return select(rules).where(rules.c.collection_pk == self._row.pk)


def _rule(row: Row[Any]) -> Rule:
    terms = tuple(from_document(document) for document in row.query)
    return Rule(row.name, terms, row.thresholds, row.action, row.webhook, row.created_at)


def _check(new: NewRule) -> None:
    if not _NAME.fullmatch(new.name):
        raise RuleInvalid(
            "a watch rule's name has 1 to 100 letters, digits, '.', '_' and '-', and begins with a letter or digit"
        )
    if not new.thresholds:
        raise RuleInvalid("a watch rule needs a threshold for images, for texts, or for both", "/threshold")
    if new.webhook is not None:
        _check_webhook(new.webhook)


def _check_webhook(address: str) -> None:
    """Judge the form only: where a name leads is decided, and checked, whenever it is called."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise RuleInvalid(f"the webhook's URL is malformed: {error}", "/webhook") from error
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host or not 0 < (url.port or 1) < 65536:
        raise RuleInvalid("a webhook is an http(s) URL", "/webhook")
    if url.userinfo:
        raise RuleInvalid("a webhook's URL carries no user and password; its calls are signed", "/webhook")
