"""The full-text index is that of the items' texts, whatever is written, deleted or left half done."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import CollectionNotFound
from indexer.search.words import expression
from indexer.stores import texts as texts_module
from indexer.stores.texts import Texts
from indexer.types import CollectionSettings, NewItem, SearchRequest, Term

Open = Callable[[], Collections]
WORDS = ("red", "green", "shirt", "shirts", "jeans", "café", "42")


def lexical(collection: Collection, text: str, **options: object) -> list[str]:
    request = SearchRequest((Term(text=text),), limit=1000, mode="lexical", **options)  # type: ignore[arg-type]
    return [hit.id for hit in collection.search(request).hits]


def tables(folder: Path) -> set[str]:
    with sqlite3.connect(folder / "data" / "catalogue.db") as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'texts%'")}


def forget_texts(folder: Path, version: int) -> None:
    """Make the data folder that of an older Sightline."""
    with sqlite3.connect(folder / "data" / "catalogue.db") as connection:
        connection.executescript(
            "DROP TABLE texts_1; DROP VIEW texts_1_content_view; DROP TABLE words; DROP TABLE spellings;"
            f"PRAGMA user_version={version}"
        )


def test_every_word_is_found_through_writes_updates_deletes_and_restarts(open_folder: Open) -> None:
    rng = random.Random(0)
    collection, stored = open_folder().get("default"), dict[str, str | None]()
    for step in range(60):
        ids = rng.sample([str(number) for number in range(12)], k=rng.randrange(1, 5))
        if rng.random() < 0.3:
            collection.delete(ids)
            stored = {id_: text for id_, text in stored.items() if id_ not in ids}
        else:
            new = {id_: rng.choice([None, " ".join(rng.choices(WORDS, k=3))]) for id_ in ids}
            vectors = {"image": [1.0] * collection.encoder.dimension}
            collection.upsert(
                [
                    NewItem(id_, text=text, vectors=vectors, fingerprint=collection.encoder.fingerprint)
                    for id_, text in new.items()
                ]
            )
            stored |= new
        if step % 20 == 19:
            collection = open_folder().get("default")
        assert collection.verify() == []
        for word in WORDS:
            expected = {id_ for id_, text in stored.items() if text and word in text.split()}
            assert set(lexical(collection, f'"{word}"')) == expected


@pytest.mark.parametrize("version", [2, 3])
def test_the_texts_of_an_older_data_folder_are_indexed_when_it_is_opened(
    open_folder: Open, tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts_module, "_BLOCK", 4)
    open_folder().get("default").upsert([NewItem(str(n), text=f"number {n}") for n in range(10)])
    open_folder().close()
    forget_texts(tmp_path, version)

    collection = open_folder().get("default")

    assert lexical(collection, "numbre") == [str(n) for n in range(10)]
    assert lexical(collection, "7") == ["7"]
    assert collection.verify() == []


def test_indexing_an_older_data_folder_that_was_killed_begins_anew(
    open_folder: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_folder().get("default").upsert([NewItem(str(n), text=f"number {n}") for n in range(10)])
    open_folder().close()
    forget_texts(tmp_path, 3)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(texts_module, "_BLOCK", 4)
        patched.setattr(texts_module, "_add_words", die)
        with pytest.raises(KeyboardInterrupt):
            open_folder()
    assert tables(tmp_path) == set()

    assert len(lexical(open_folder().get("default"), "number")) == 10


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE items SET text = 'green' WHERE id = '1'",
        "UPDATE items SET text = NULL WHERE id = '1'",
        "INSERT INTO texts_1(texts_1, rowid, text) VALUES('delete', 1, 'red thing 0')",
        "INSERT INTO texts_1(rowid, text) VALUES(99, 'red')",
    ],
)
def test_an_index_of_other_texts_is_noticed_and_rebuilt(open_folder: Open, damage: str) -> None:
    collections = open_folder()
    collection = collections.get("default")
    collection.upsert([NewItem(str(n), text=f"red thing {n}") for n in range(3)])
    assert collection.verify() == []
    with collections.database.write() as connection:
        connection.exec_driver_sql(damage)

    assert any("full-text" in problem for problem in collection.verify())
    collection.rebuild()
    assert collection.verify() == []


def test_a_deleted_collection_leaves_no_words(open_folder: Open, tmp_path: Path) -> None:
    collections = open_folder()
    collections.put("shop", CollectionSettings())
    before = tables(tmp_path)
    for name in ("default", "shop"):
        collections.get(name).upsert([NewItem("a", text=f"thing of {name}")])
    shop = collections.get("shop")
    collections.delete("shop")

    assert {name for name in before if name.startswith("texts_1")} == tables(tmp_path)
    with pytest.raises(CollectionNotFound):
        lexical(shop, "thing")
    with collections.database.read() as connection:
        words = set(connection.exec_driver_sql("SELECT word FROM words").scalars())
    assert words == {"thing", "default"}


def test_what_a_word_is_worth_is_up_to_its_own_collection(open_folder: Open) -> None:
    collections = open_folder()
    collections.put("shop", CollectionSettings())
    collections.get("default").upsert([NewItem(str(n), text=f"red {n}") for n in range(50)])
    shop = collections.get("shop")
    shop.upsert([NewItem("rare", text="red dress"), *(NewItem(str(n), text="blue dress") for n in range(9))])

    assert lexical(shop, "red dress")[0] == "rare"
    assert lexical(collections.get("default"), "dress") == []


def test_a_misspelt_word_finds_the_most_frequent_of_those_nearest(collection: Collection) -> None:
    collection.upsert([NewItem(str(n), text="quechua shirt") for n in range(3)] + [NewItem("x", text="short")])

    assert lexical(collection, "shrt") == ["0", "1", "2"]
    assert lexical(collection, "Qechúa") == ["0", "1", "2"]
    assert lexical(collection, '"shrt"') == lexical(collection, "xyzw") == lexical(collection, "shr") == []
    assert lexical(collection, "short") == ["x"]


def test_a_word_of_which_every_text_is_gone_corrects_nothing(collection: Collection) -> None:
    collection.upsert([NewItem("a", text="quechua"), NewItem("b", text="shirt")])
    collection.delete(["a"])

    assert lexical(collection, "qechua") == []


HOSTILE = ['"', '""', "*", "a*b**", "red AND", "NOT red", "^red", "text:red", "{text}: red", "-red", "(", "_", "²"]
HOSTILE += ["NEAR(red thing, 2)", "\0", "red\0thing", "\ud800", "'; DROP TABLE items; --", "\u0301", "ﬀ", "红色", "🙂"]
HOSTILE += ['"red thing', "red " * 25_000, "x" * 100_000, '"' * 50_000, " OR ".join(["red"] * 300), 'a"b' * 20_000]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_is_an_error_or_a_language_of_its_own(collection: Collection, text: str) -> None:
    collection.upsert([NewItem("a", text="red thing"), NewItem("b", text="green thing")])
    assert set(lexical(collection, text)) <= {"a", "b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NOT red", ["a"]),
        ("-red", ["a"]),
        ("text:red", ["a"]),
        ("NEAR(red green)", ["a", "b"]),
        ("red AND green", ["a", "b"]),
        ("red\0green", ["a", "b"]),
        ('"thing red"', []),
        ('"red thing"', ["a"]),
        ('"red thing', ["a", "b"]),
        ("thi*", ["a", "b"]),
        ("gre* thing*", ["b", "a"]),
        ("re\u0301d", ["a"]),
        ("ＲＥＤ RED", ["a"]),
        (" red" * 25_000, ["a"]),
        ("!?", []),
    ],
)
def test_a_query_is_words_phrases_and_prefixes(collection: Collection, text: str, expected: list[str]) -> None:
    collection.upsert([NewItem("a", text="red thing"), NewItem("b", text="green thing")])
    collection.upsert([NewItem(f"other {n}", text=f"other {n}") for n in range(5)])  # so that no word is in most texts

    assert lexical(collection, text) == expected


def test_any_text_is_matched(collection: Collection) -> None:
    collection.upsert([NewItem("a", text="red thing")])
    texts: Texts = collection._texts
    rng = random.Random(1)
    pool = [*"\"*^:(){}[]+-'\\;,.%_ \0\n", "NEAR", "AND", "OR", "NOT", "red", "thing", "\ud800", "é", "红", "texts_1"]
    for _ in range(500):
        words = expression("".join(rng.choices(pool, k=rng.randrange(1, 12))), texts)
        assert words is None or len(texts.matching(words).items) <= 1
