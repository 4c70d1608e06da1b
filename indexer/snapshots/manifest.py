"""`snapshot.json`: what belongs to a snapshot; written last, so that a snapshot without it is none."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from indexer.errors import CatalogueIncompatible, SnapshotDamaged
from indexer.stores.database import CATALOGUE, READABLE_VERSIONS

MANIFEST = "snapshot.json"
PICTURES = "originals.txt"
"""A line `<sha256> <size>` for each picture: there may be millions, and each is named by its SHA-256."""
_FORMAT = 1
_FOLDERS = ("index", "models")


class Stamp(NamedTuple):
    """By which a file is known again."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a snapshot holds."""

    schema: int
    """Version of the catalogue's schema."""
    created_at: str
    items: int
    pictures: int
    picture_bytes: int
    originals_in: str | None
    """The data folder that has the pictures; None where they are part of the snapshot."""
    files: Mapping[str, Stamp]
    """All files but the pictures, by their paths in the data folder."""

    def to_json(self) -> str:
        """As it is stored, with a SHA-256 of itself."""
        content = {"format": _FORMAT, **asdict(self)}
        return json.dumps({"sha256": _digest(content), "content": content}, indent=1)

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Read what `to_json` gave.

        Raises:
            SnapshotDamaged: It is cut off or was changed.
            CatalogueIncompatible: It is of a Sightline that this one cannot read.
        """
        try:
            stored = json.loads(text)
            sha256, content = stored["sha256"], stored["content"]
        except (ValueError, TypeError, KeyError) as error:
            raise SnapshotDamaged(f"{MANIFEST} is damaged: {error}") from error
        if sha256 != _digest(content):
            raise SnapshotDamaged(f"{MANIFEST} is damaged: it is not what was written")
        if content.pop("format") != _FORMAT or content["schema"] not in READABLE_VERSIONS:
            raise CatalogueIncompatible(
                f"the snapshot was made by another version of Sightline (schema {content['schema']}; "
                f"this one reads {', '.join(map(str, READABLE_VERSIONS))}); restore it with that version"
            )
        files = {name: Stamp(*stamp) for name, stamp in content.pop("files").items()}
        _check_names(files)
        return cls(files=files, **content)


def original_name(sha256: str) -> str:
    """Name of a picture in a snapshot."""
    return f"originals/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _check_names(files: Mapping[str, Stamp]) -> None:
    """A snapshot may come from anywhere, and may write nowhere but into the folder it is restored to."""
    for name in files:
        folder, *rest = name.split("/")
        known = name in (CATALOGUE, PICTURES) or (folder in _FOLDERS and rest)
        if not known or {"", ".", ".."} & set(rest) or "\0" in name:
            raise SnapshotDamaged(f"{MANIFEST} names {name[:200]!r}, which is no file of a data folder")
    if not {CATALOGUE, PICTURES} <= set(files):
        raise SnapshotDamaged(f"{MANIFEST} names no catalogue")


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
