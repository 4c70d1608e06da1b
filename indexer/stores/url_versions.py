"""What each URL gave last, so that an unchanged picture is not fetched again."""

from collections.abc import Mapping

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from indexer.stores.database import Database, url_versions


class UrlVersions:
    """Entity tags of the pictures that were fetched, with the SHA-256 of the originals they stand for.

    An original may be gone meanwhile: send a tag only where the original is still stored.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def etag_of(self, url: str) -> tuple[str, str] | None:
        """Entity tag and SHA-256 of what an URL gave last; None where it gave no tag, or was not fetched yet."""
        columns = url_versions.c
        with self._database.read() as connection:
            row = connection.execute(select(columns.etag, columns.image_sha256).where(columns.url == url)).first()
        return None if row is None else (row.etag, row.image_sha256)

    def remember(self, connection: Connection, versions: Mapping[str, tuple[str, str]]) -> None:
        """Keep entity tag and SHA-256 by URL, in the transaction that stores what refers to the originals."""
        if not versions:
            return
        statement = insert(url_versions)
        statement = statement.on_conflict_do_update(
            [url_versions.c.url],
            set_={"etag": statement.excluded.etag, "image_sha256": statement.excluded.image_sha256},
        )
        rows = [{"url": url, "etag": etag, "image_sha256": sha256} for url, (etag, sha256) in versions.items()]
        connection.execute(statement, rows)
