"""Object stores (S3 and what speaks like it, Google's, Azure's), as far as the settings allow.

Credentials and the endpoint come from the environment, by the names that each store's own tools use (`AWS_...`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, NotModifiedError
from obstore.store import ObjectStore, from_url

from indexer.errors import FetchFailed, SourceForbidden
from indexer.fetching.fetcher import Fetched
from indexer.sources.places import OBJECT_STORES
from models.errors import ImageTooLarge

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

# A catalogue may take hours, a read that gets nothing is over soon. That an endpoint is plain http is for those to say
# who set it.
_CLIENT: "ClientConfig" = {"allow_http": True, "connect_timeout": "5s", "read_timeout": "20s", "timeout": "6h"}
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_BLOCK = 2**20


def is_object_url(reference: str) -> bool:
    """Whether this is the address of something in an object store."""
    scheme, colon, _ = reference.partition("://")
    return bool(colon) and scheme in OBJECT_STORES


class ObjectStores:
    """Objects under the allowed prefixes; keys are taken as they are written. Thread-safe.

    Args:
        roots: Prefixes such as `s3://bucket/catalogues`; nothing else is ever asked for.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = tuple(root.rstrip("/") + "/" for root in roots if is_object_url(root))
        self._stores: dict[str, ObjectStore] = {}

    def check(self, url: str, pointer: str | None = None) -> None:
        """Raise `SourceForbidden` unless `url` lies under an allowed prefix."""
        inside = any((url.rstrip("/") + "/").startswith(root) for root in self._roots)
        if not inside or ".." in url.split("/"):
            raise SourceForbidden(
                f"{url[:200]} is under none of the object-store prefixes that SIGHTLINE_INGEST_ROOTS allows",
                pointer,
            )

    def blocks(self, url: str) -> Iterator[bytes]:
        """An object's bytes, streamed.

        Raises:
            SourceForbidden: It is not under an allowed prefix.
            FetchFailed: The store does not give it.
        """
        with self._reading(url) as (store, key):
            for block in obstore.get(store, key).stream(min_chunk_size=_BLOCK):
                yield bytes(block)

    def fetch(self, url: str, *, max_bytes: int, etag: str | None = None) -> Fetched:
        """A whole picture, or the word that it is still the one of `etag`; raises as `blocks`, and `ImageTooLarge`."""
        body = bytearray()
        with self._reading(url) as (store, key):
            try:
                found = obstore.get(store, key, options={"if_none_match": etag} if etag else {})
            except NotModifiedError:
                return Fetched(url, None, etag, None, 0, modified=False)
            for block in found.stream(min_chunk_size=_BLOCK):
                body += block
                if len(body) > max_bytes:
                    raise ImageTooLarge(f"the picture has more than the {max_bytes:,} bytes allowed")
        return Fetched(url, bytes(body), found.meta["e_tag"], None, len(body))

    def exists(self, url: str) -> bool:
        """Whether there is such an object; raises as `blocks`."""
        with self._reading(url) as (store, key):
            try:
                obstore.head(store, key)
            except FileNotFoundError:
                return False
        return True

    def put(self, url: str, file: IO[bytes]) -> None:
        """Store a file as an object, streamed in parts; raises as `blocks`."""
        with self._reading(url, "written") as (store, key):
            obstore.put(store, key, file)

    def remove(self, url: str) -> None:
        """Remove an object; raises as `blocks`."""
        with self._reading(url, "removed") as (store, key):
            obstore.delete(store, key)

    def names(self, folder: str) -> Iterator[str]:
        """The names, within a folder, of all objects in it and below, in the store's order; raises as `blocks`."""
        with self._reading(folder, "listed") as (store, prefix):
            skipped = len(prefix) + 1 if prefix else 0
            for page in obstore.list(store, prefix=prefix or None):
                yield from (entry["path"][skipped:] for entry in page)

    @contextmanager
    def _reading(self, url: str, done: str = "read") -> Iterator[tuple[ObjectStore, str]]:
        """The store and the key of an address that is allowed; the store's errors are `FetchFailed`."""
        self.check(url)
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        try:
            if done != "listed" and not key.strip("/"):
                raise ValueError("it names no object")
            yield self._store(f"{scheme}://{bucket}"), key.strip("/")
        except (BaseError, OSError, ValueError) as error:
            raise FetchFailed(f"{url[:200]} could not be {done}: {_reason(error)}") from error

    def _store(self, bucket: str) -> ObjectStore:
        """One for all objects of a bucket, so that connections are kept; as many as there are allowed buckets."""
        if bucket not in self._stores:
            self._stores[bucket] = from_url(bucket, client_options=_CLIENT, retry_config=_RETRIES)
        return self._stores[bucket]


def _reason(error: Exception) -> str:
    """In one line, without the store's XML."""
    if isinstance(error, FileNotFoundError):
        return "it does not exist (the address of a folder ends with /)"
    return str(error).partition("<")[0].partition("\n")[0][:200].rstrip(": ")
