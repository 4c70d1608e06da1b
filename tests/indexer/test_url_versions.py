"""Entity tags by URL: the last one counts, and only if its transaction is committed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.stores.database import Database
from indexer.stores.url_versions import UrlVersions

URL = "https://shop.example/röd kjol.png?a=1"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "catalogue.db")
    yield database
    database.close()


def test_the_last_version_of_an_url_is_known(database: Database) -> None:
    versions = UrlVersions(database)
    assert versions.etag_of(URL) is None
    for etag, sha256 in (('"1"', "a"), ('W/"2"', "b")):
        with database.write() as connection:
            versions.remember(connection, {URL: (etag, sha256), "https://other.example/": ('"x"', "c")})
        assert versions.etag_of(URL) == (etag, sha256)
    assert versions.etag_of("https://other.example/") == ('"x"', "c")


def test_no_version_is_no_write(database: Database) -> None:
    with database.write() as connection:
        UrlVersions(database).remember(connection, {})


def test_what_is_not_committed_is_not_known(database: Database) -> None:
    versions = UrlVersions(database)

    def fail() -> None:
        with database.write() as connection:
            versions.remember(connection, {URL: ('"1"', "a")})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert versions.etag_of(URL) is None
