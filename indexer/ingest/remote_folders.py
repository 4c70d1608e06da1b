"""A folder of an object store, taken for a catalogue as one on the disk is: by its catalogue, tar files or pictures."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from indexer.errors import SourceInvalid
from indexer.fetching.objects import ObjectStores
from indexer.sources import CATALOGUES, Check, is_picture, is_shard


@dataclass(frozen=True)
class RemoteFolder:
    """What makes a folder a catalogue: its `catalogue`, else its `shards`, else the pictures in it and below."""

    catalogue: str | None
    shards: tuple[str, ...]


def look_into(objects: ObjectStores, url: str, check: Check) -> RemoteFolder:
    """List a folder, whose address ends with /; it may take long.

    Raises:
        SourceInvalid: It holds nothing that makes a catalogue.
        SourceForbidden, FetchFailed: See `ObjectStores.names`.
    """
    catalogues: set[str] = set()
    shards: list[str] = []
    has_pictures = False
    for name in objects.names(url):
        check()
        if name in CATALOGUES:
            catalogues.add(name)
        elif is_shard(name) and "/" not in name:
            shards.append(name)
        has_pictures = has_pictures or is_picture(name)
    if not (catalogues or shards or has_pictures):
        raise SourceInvalid(
            f"{url[:200]} holds no {CATALOGUES[0]} or the like, no tar files and no pictures", "/source"
        )
    return RemoteFolder(next((name for name in CATALOGUES if name in catalogues), None), tuple(sorted(shards)))


def list_pictures(objects: ObjectStores, url: str) -> Iterator[bytes]:
    """The pictures of a folder and those below it, as lines of a catalogue: as items they are what files would be."""
    for name in objects.names(url):
        if is_picture(name):
            yield json.dumps({"id": name, "image": url + name, "file": name}).encode() + b"\n"
