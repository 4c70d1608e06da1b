import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from indexer.errors import KeyInvalid, KeyNotFound
from indexer.stores.database import Database
from indexer.stores.keys import KeyRing, KeyStore, NewKey, digest_of, has_keys, id_of

NOW = datetime.now(UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    yield database
    database.close()


def test_a_key_is_made_listed_and_revoked(database: Database) -> None:
    store = KeyStore(database)
    key, secret = store.create(NewKey("shop", ("write", "read"), ("shop*",), NOW + timedelta(days=1)))

    assert store.all() == [key]
    assert (key.name, key.scopes, key.patterns) == ("shop", {"read", "write"}, ("shop*",))
    assert (id_of(secret), digest_of(secret)) == (key.id, key.digest)
    assert (key.fault(NOW), key.fault(NOW + timedelta(days=2))) == (None, "expired")
    assert store.revoke(key.id).fault(NOW) == "revoked"
    assert store.revoke(key.id) == store.all()[0], "once revoked it stays as it is"


def test_a_key_that_is_not_there_cannot_be_revoked(database: Database) -> None:
    with pytest.raises(KeyNotFound):
        KeyStore(database).revoke("abc")


@pytest.mark.parametrize(
    ("scopes", "patterns"),
    [((), ("*",)), (("root",), ("*",)), (("read",), ()), (("read",), ("[a]",)), (("read",), ("",))],
)
def test_a_key_for_nothing_that_there_is_is_not_made(scopes: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    with pytest.raises(KeyInvalid):
        NewKey("", scopes, patterns)


def test_keys_are_all_different(database: Database) -> None:
    made = [KeyStore(database).create(NewKey("", ("read",)))[1] for _ in range(50)]

    assert len({secret.split("_", 2)[2] for secret in made}) == len({id_of(secret) for secret in made}) == 50
    assert min(map(len, made)) >= 60


@pytest.mark.parametrize("text", ["", "x", "sightline", "other_id_secret", "Bearer sightline_a_b"])
def test_what_is_no_key_of_ours_has_no_id(text: str) -> None:
    assert id_of(text) == ""


def test_other_processes_changes_are_known_at_once(database: Database, path: Path) -> None:
    other = Database(path)
    try:
        with KeyRing(database) as ring:
            assert ring.current() == {}
            key, _ = KeyStore(other).create(NewKey("", ("read",)))
            assert ring.current() == {key.id: key}
            revoked = KeyStore(other).revoke(key.id)
            assert ring.current() == {key.id: revoked}
            own, _ = KeyStore(database).create(NewKey("", ("read",)))
            assert set(ring.current()) == {key.id, own.id}
    finally:
        other.close()


def test_keys_are_read_again_only_when_they_changed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyStore(database).create(NewKey("", ("read",)))
    with KeyRing(database) as ring:
        before = ring.current()
        assert ring.current() is before
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO url_versions VALUES ('a', 'b', 'c')")
        assert ring.current() is before


def test_whether_there_are_keys_is_seen_without_opening_the_catalogue(path: Path) -> None:
    assert not has_keys(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE items (pk)")
    connection.close()
    assert not has_keys(path), "of a version without keys"
    path.unlink()
    database = Database(path)
    assert not has_keys(path)
    key, _ = KeyStore(database).create(NewKey("", ("read",)))
    assert has_keys(path)
    KeyStore(database).revoke(key.id)
    assert has_keys(path), "what was locked is not opened by revoking the last key"
    database.close()


def test_a_catalogue_of_the_version_before_has_no_keys_and_takes_some(path: Path) -> None:
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.executescript("DROP TABLE keys; PRAGMA user_version=5")
    connection.close()

    database = Database(path)

    assert KeyStore(database).all() == []
    assert KeyStore(database).create(NewKey("", ("read",)))[0].id
    database.close()
