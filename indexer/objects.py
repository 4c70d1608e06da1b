"""Object stores (S3 and what speaks like it, Google's, Azure's), as far as the settings allow.

Credentials and the endpoint come from the environment, by the names that each store's own tools use (`AWS_...`).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from indexer.errors import FetchFailed, SourceForbidden
from models.errors import ImageTooLarge

if TYPE_CHECKING:
    from obstore.store import ClientConfig

SCHEMES = ("s3://", "gs://", "az://", "abfss://")

_TIMEOUTS: "ClientConfig" = {"connect_timeout": "5s", "timeout": "60s"}


def is_object_url(reference: str) -> bool:
    """Whether this is the address of something in an object store."""
    return reference.startswith(SCHEMES)


class ObjectStores:
    """Reads objects under the allowed prefixes. Thread-safe.

    Args:
        roots: Prefixes such as `s3://bucket/catalogues`; nothing else is ever asked for.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = tuple(root.rstrip("/") + "/" for root in roots if is_object_url(root))

    def check(self, url: str) -> None:
        """Raise `SourceForbidden` unless `url` lies under an allowed prefix."""
        inside = any((url.rstrip("/") + "/").startswith(root) for root in self._roots)
        if not inside or ".." in unquote(url).split("/"):
            raise SourceForbidden(
                f"{url[:200]} is under none of the object-store prefixes that SIGHTLINE_INGEST_ROOTS allows"
            )

    def blocks(self, url: str) -> Iterator[bytes]:
        """An object's bytes, streamed.

        Raises:
            SourceForbidden: It is not under an allowed prefix.
            FetchFailed: The store does not give it.
        """
        self.check(url)
        bucket, path = _split(url)
        try:
            for block in obstore.get(_store(bucket), path).stream(min_chunk_size=2**20):
                yield bytes(block)
        except (BaseError, OSError, ValueError) as error:
            raise FetchFailed(f"{url[:200]} could not be read: {_reason(error)}") from error

    def read(self, url: str, max_bytes: int) -> bytes:
        """A whole object; also raises `ImageTooLarge`."""
        body = bytearray()
        for block in self.blocks(url):
            body += block
            if len(body) > max_bytes:
                raise ImageTooLarge(f"the picture has more than the {max_bytes:,} bytes allowed")
        return bytes(body)

    def names(self, url: str) -> Iterator[str]:
        """The addresses of all objects under a prefix, in the store's order; raises as `blocks`."""
        self.check(url)
        bucket, prefix = _split(url)
        try:
            for found in obstore.list(_store(bucket), prefix=prefix):
                yield from (f"{bucket}/{entry['path']}" for entry in found)
        except (BaseError, OSError, ValueError) as error:
            raise FetchFailed(f"{url[:200]} could not be listed: {_reason(error)}") from error


def _split(url: str) -> tuple[str, str]:
    parts = urlsplit(url, allow_fragments=False)
    return f"{parts.scheme}://{parts.netloc}", unquote(parts.path.strip("/"))


def _store(bucket: str) -> ObjectStore:
    return from_url(bucket, client_options=_TIMEOUTS)


def _reason(error: Exception) -> str:
    """In one line, without the store's XML."""
    return str(error).partition("<")[0].partition("\n")[0][:200].rstrip(": ")
