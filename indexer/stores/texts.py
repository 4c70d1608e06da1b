"""The texts of each collection as an FTS5 index inside the catalogue, and the words to correct spelling with.

Each collection has an index of its own, so that bm25 weighs words by this collection's texts. It holds no text itself
(its content is a view of the items), and changes in the transaction that changes them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError, OperationalError

from indexer.errors import CollectionNotFound
from indexer.stores.database import Database, chunks, collections, items, spellings, words
from indexer.stores.vocabulary import nearest, trigrams
from indexer.stores.vocabulary import words as words_of

MAX_SIMILAR = 50
"""Words with the most trigrams in common, among which the nearest are looked for."""

_BLOCK = 4096
_UNITS = 10**15
"""Of bm25, as which scores leave SQLite; the least score is 1e-6, of a word that more than half of the texts have."""


class Matched(NamedTuple):
    """Items whose texts match, ascending by primary key."""

    items: NDArray[np.int64]
    """[n]"""
    scores: NDArray[np.float64]
    """[n], bm25, above 0."""

    def score(self, item: int) -> float:
        """Of an item; 0 where its text does not match."""
        place = int(np.searchsorted(self.items, item))
        return float(self.scores[place]) if place < len(self.items) and self.items[place] == item else 0.0


class Texts:
    """Questions to the full-text index of one collection. Thread-safe."""

    def __init__(self, database: Database, collection_pk: int) -> None:
        self._database, self._collection_pk = database, collection_pk
        self._name = _name(collection_pk)

    def matching(self, expression: str) -> Matched:
        """All items that match an FTS5 expression, scored by bm25 with FTS5's constants k1 = 1.2, b = 0.75."""
        # One row: for each, the driver takes the interpreter's lock, and hundreds of thousands have a frequent word.
        query = (
            f"WITH found AS MATERIALIZED (SELECT rowid AS pk, CAST(bm25({self._name}) * {-_UNITS} AS INTEGER) AS units "  # noqa: S608
            f"FROM {self._name} WHERE {self._name} MATCH ? ORDER BY rowid) "
            "SELECT coalesce(group_concat(pk), ''), coalesce(group_concat(units), '') FROM found"
        )
        with self._reading() as connection:
            pks, units = connection.exec_driver_sql(query, (expression,)).one()
        return Matched(_integers(pks), _integers(units) / _UNITS)

    def count(self, expression: str, most: int = -1) -> int:
        """Number of items that match an FTS5 expression, counted up to `most` where that is given."""
        query = f"SELECT count(*) FROM (SELECT 1 FROM {self._name} WHERE {self._name} MATCH ? LIMIT ?)"  # noqa: S608
        with self._reading() as connection:
            return int(connection.exec_driver_sql(query, (expression, most)).scalar_one())

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._database.read() as connection:
                yield connection
        except OperationalError as error:
            if "no such table" in str(error.orig):
                raise CollectionNotFound("the collection was deleted while it was searched") from error
            raise

    def similar_words(self, word: str) -> list[str]:
        """Words that `word` may be misspelt of, with equally few edits; of some, all texts may be gone by now."""
        shared = (spellings.c.collection_pk == self._collection_pk) & spellings.c.trigram.in_(trigrams(word))
        ranked = select(spellings.c.word_pk).where(shared).group_by(spellings.c.word_pk)
        best = ranked.order_by(func.count().desc(), spellings.c.word_pk).limit(MAX_SIMILAR)
        with self._database.read() as connection:
            query = select(words.c.word).where(words.c.pk.in_(best)).order_by(words.c.pk)
            return nearest(word, list(connection.execute(query).scalars()))

    def owners(self, item_pks: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[n], which of the items have a text."""
        query = "SELECT pk FROM items WHERE pk IN (SELECT value FROM json_each(?)) AND text IS NOT NULL"
        with self._database.read() as connection:
            found = connection.exec_driver_sql(query, (json.dumps(item_pks.tolist()),)).scalars().all()
        return np.isin(item_pks, np.array(found, dtype=np.int64))

    def problems(self) -> list[str]:
        """Where the index is not that of the items' texts; empty when it is."""
        check = f"INSERT INTO {self._name}({self._name}, rank) VALUES('integrity-check', 1)"
        with self._database.write() as connection:
            try:
                connection.exec_driver_sql(check)
            except DatabaseError as error:
                return [f"the full-text index is not that of the items' texts: {error.orig}"]
        return []


def create_texts(connection: Connection, collection_pk: int) -> None:
    """Make the empty index of a new collection."""
    name = _name(collection_pk)
    content = f"SELECT pk, text FROM items WHERE collection_pk = {collection_pk} AND text IS NOT NULL"  # noqa: S608
    connection.exec_driver_sql(f"CREATE VIEW {name}_content_view AS {content}")
    connection.exec_driver_sql(
        f"CREATE VIRTUAL TABLE {name} USING fts5(text, content='{name}_content_view', content_rowid='pk', "
        "tokenize='unicode61 remove_diacritics 2')"
    )


def drop_texts(connection: Connection, collection_pk: int) -> None:
    """Remove the index of a collection, its words included."""
    name = _name(collection_pk)
    # First, for with it Python's driver begins the transaction, which it does not with what changes the schema.
    for table in (spellings, words):
        connection.execute(delete(table).where(table.c.collection_pk == collection_pk))
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}_content_view")


def create_missing_texts(database: Database) -> None:
    """Index the texts of the collections of a catalogue that was made without."""
    with database.read() as connection:
        tables = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
        missing = [pk for pk in connection.execute(select(collections.c.pk)).scalars() if _name(pk) not in tables]
    for pk in missing:
        with database.write() as connection:
            rebuild_texts(connection, pk)


def rebuild_texts(connection: Connection, collection_pk: int) -> None:
    """Make the index anew from the items, of which a block is held at a time."""
    drop_texts(connection, collection_pk)
    create_texts(connection, collection_pk)
    query = select(items.c.pk, items.c.text).where(items.c.collection_pk == collection_pk, items.c.text.is_not(None))
    streamed = query.order_by(items.c.pk).execution_options(yield_per=_BLOCK)
    for block in connection.execute(streamed).partitions():
        add_texts(connection, collection_pk, {row.pk: row.text for row in block})


def add_texts(connection: Connection, collection_pk: int, texts: Mapping[int, str]) -> None:
    """Take in the texts of items that were just written, by primary key."""
    if texts:
        name = _name(collection_pk)
        connection.exec_driver_sql(f"INSERT INTO {name}(rowid, text) VALUES(?, ?)", list(texts.items()))
        _add_words(connection, collection_pk, words_of(texts.values()))


def remove_texts(connection: Connection, collection_pk: int, item_pks: Sequence[int]) -> None:
    """Take out the texts of items that are about to be changed or deleted."""
    name = _name(collection_pk)
    for chunk in chunks(item_pks):
        texts = select(items.c.pk, items.c.text).where(items.c.pk.in_(chunk), items.c.text.is_not(None))
        rows = [tuple(row) for row in connection.execute(texts)]
        if rows:
            connection.exec_driver_sql(f"INSERT INTO {name}({name}, rowid, text) VALUES('delete', ?, ?)", rows)


def _add_words(connection: Connection, collection_pk: int, found: set[str]) -> None:
    """Words are never removed: whether texts have one, the index tells."""
    mine = words.c.collection_pk == collection_pk
    for chunk in chunks(sorted(found)):
        known = set(connection.execute(select(words.c.word).where(mine, words.c.word.in_(chunk))).scalars())
        new = [{"collection_pk": collection_pk, "word": word} for word in chunk if word not in known]
        if new:
            added = connection.execute(insert(words).returning(words.c.pk, words.c.word), new).all()
            rows = [
                {"collection_pk": collection_pk, "trigram": trigram, "word_pk": pk}
                for pk, word in added
                for trigram in trigrams(word)
            ]
            connection.execute(insert(spellings), rows)


def _integers(text: str) -> NDArray[np.int64]:
    return np.fromstring(text, dtype=np.int64, sep=",")


def _name(collection_pk: int) -> str:
    return f"texts_{collection_pk:d}"
