"""A picture of a catalogue's row as bytes, wherever it lies."""

import hashlib
import threading
from pathlib import Path
from typing import TypeGuard

from sqlalchemy import Connection

from indexer.errors import ItemInvalid
from indexer.fetching.fetcher import Fetched, Fetcher
from indexer.fetching.images import decode_data_uri, fetch_image, is_url
from indexer.fetching.objects import ObjectStores, is_object_url
from indexer.sources import ImageReference
from indexer.stores.originals import Originals
from indexer.stores.url_versions import UrlVersions
from models.errors import ImageTooLarge
from models.imaging import ImageLimits


class PictureLoader:
    """Reads pictures from the catalogue itself, files, URLs and object stores. Thread-safe.

    What an address gave before, and is still stored, is asked for by its ETag and not sent again if it did not change.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        objects: ObjectStores,
        originals: Originals,
        versions: UrlVersions,
        limits: ImageLimits,
    ) -> None:
        self._fetcher, self._objects, self._originals = fetcher, objects, originals
        self._versions, self._limits = versions, limits
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[str, str]] = {}

    def __call__(self, reference: ImageReference) -> bytes:
        """The encoded bytes; they are not decoded yet.

        Raises:
            IndexerError, ImageTooLarge, OSError: It cannot be had.
        """
        match reference:
            case bytes():
                return self._within_limit(reference)
            case Path():
                return read_file(reference, self._limits)
            case str() if reference[:5].lower() == "data:":
                return self._within_limit(decode_data_uri(reference, self._limits))
            case str() if is_address(reference):
                return self._fetch(reference)
            case _:
                raise ItemInvalid("an image is a data: URI, an http(s) or object-store URL, or a file", "/image")

    def remember(self, connection: Connection) -> None:
        """Note, in the transaction that commits a chunk, what the addresses gave."""
        with self._lock:
            seen, self._seen = self._seen, {}
        self._versions.remember(connection, seen)

    def _fetch(self, url: str) -> bytes:
        version = self._versions.etag_of(url)
        if version is not None and not self._originals.has(version[1]):
            version = None
        fetched = self._ask(url, version[0] if version else None)
        if fetched.content is None:
            stored = self._originals.read(version[1]) if version else None
            if stored is not None:
                return stored
            fetched = self._ask(url, None)  # it was removed meanwhile
        content = fetched.content or b""
        if fetched.etag:
            with self._lock:
                self._seen[url] = (fetched.etag, hashlib.sha256(content).hexdigest())
        return content

    def _ask(self, url: str, etag: str | None) -> Fetched:
        if is_object_url(url):
            return self._objects.fetch(url, max_bytes=self._limits.max_bytes, etag=etag)
        return fetch_image(url, self._limits, self._fetcher, etag=etag)

    def _within_limit(self, data: bytes) -> bytes:
        if len(data) > self._limits.max_bytes:
            raise ImageTooLarge(f"the picture has {len(data):,} bytes; at most {self._limits.max_bytes:,} are allowed")
        return data


def is_address(reference: ImageReference | None) -> TypeGuard[str]:
    """Whether a picture can be had again from where it is."""
    return isinstance(reference, str) and (is_url(reference) or is_object_url(reference))


def read_file(path: Path, limits: ImageLimits) -> bytes:
    """A picture's bytes; raises `ImageTooLarge` without reading more than the limit, even of a file that grows."""
    with path.open("rb") as file:
        data = file.read(limits.max_bytes + 1)
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"{path.name} has more than the {limits.max_bytes:,} bytes allowed")
    return data
