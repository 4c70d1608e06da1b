"""Everything that can go wrong in `indexer`.

IndexerError
├── CollectionNotFound      ├── ItemNotFound          ├── FingerprintMismatch
├── CollectionConflict      ├── ItemInvalid           ├── VectorInvalid
├── CollectionNameInvalid   ├── OriginalMissing       ├── QueryInvalid
├── CursorInvalid           ├── SourceInvalid         └── DataFolderInUse
├── ImageUrlForbidden       ├── ImageFetchFailed
└── CatalogueIncompatible
"""


class IndexerError(Exception):
    """Base of every error raised by `indexer`.

    Args:
        detail: What was wrong and what to do, for the user.
        pointer: JSON pointer of the field at fault, e.g. `/image`, where there is one.
    """

    def __init__(self, detail: str, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer


class CatalogueIncompatible(IndexerError):
    """The catalogue was made by another version of Sightline."""


class CollectionNotFound(IndexerError):
    """No collection of that name."""


class CollectionConflict(IndexerError):
    """The collection exists with other settings."""


class CollectionNameInvalid(IndexerError):
    """Not a name that a collection may have."""


class CursorInvalid(IndexerError):
    """Not a cursor that this server gave."""


class DataFolderInUse(IndexerError):
    """Another process writes to the data folder."""


class FingerprintMismatch(IndexerError):
    """Vectors of another model than the collection's."""


class ImageFetchFailed(IndexerError):
    """The picture's URL did not give a picture in time and size."""


class ImageUrlForbidden(IndexerError):
    """The picture's URL leads where this server does not go."""


class ItemInvalid(IndexerError):
    """An item without content, or with content that cannot be stored."""


class ItemNotFound(IndexerError):
    """No item of that id in the collection."""


class OriginalMissing(IndexerError):
    """The item has no stored picture."""


class QueryInvalid(IndexerError):
    """A query without a usable term."""


class SourceInvalid(IndexerError):
    """A catalogue file or folder that cannot be read as one."""


class VectorInvalid(IndexerError):
    """A vector of the wrong dimension, not finite, or zero."""
