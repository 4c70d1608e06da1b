"""Everything that can go wrong in `indexer`.

IndexerError
├── CollectionNotFound      ├── ItemNotFound          ├── FingerprintMismatch
├── CollectionConflict      ├── ItemInvalid           ├── VectorInvalid
├── CollectionNameInvalid   ├── ItemRejected          ├── QueryInvalid
├── CursorInvalid           ├── OriginalMissing       ├── SourceInvalid
├── RowInvalid              ├── SourceChanged         ├── RowRefused
├── UrlForbidden            ├── FetchFailed           ├── ContentTooLarge
├── ImageFetchFailed        ├── SourceForbidden       ├── JobFinished
├── JobNotFound             ├── JobConflict           ├── DeletesUnconfirmed
├── RuleNotFound            ├── RuleInvalid           ├── StorageUnavailable
├── SnapshotDamaged         ├── SnapshotImpossible    ├── CatalogueIncompatible
├── DataFolderInUse         ├── FilterInvalid         ├── GenerationNotFound
├── GenerationConflict      ├── GenerationIncomplete  ├── GenerationUnfit
├── OriginalChanged         ├── KeyInvalid            ├── KeyNotFound
└── ModelAbsent
"""

import re


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


def error_code(error: Exception) -> str:
    """The stable word for a kind of error, e.g. `item-invalid`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()


class CatalogueIncompatible(IndexerError):
    """The catalogue was made by another version of Sightline."""


class CollectionNotFound(IndexerError):
    """No collection of that name."""


class CollectionConflict(IndexerError):
    """The collection exists with other settings."""


class CollectionNameInvalid(IndexerError):
    """Not a name that a collection may have."""


class ContentTooLarge(IndexerError):
    """What an URL gives has more bytes than it may have."""


class CursorInvalid(IndexerError):
    """Not a cursor that this server gave."""


class DataFolderInUse(IndexerError):
    """Another process writes to the data folder."""


class FetchFailed(IndexerError):
    """An URL gave nothing usable in time.

    Args:
        transient: Whether another attempt may succeed.
        retry_after_s: Seconds after which the server asks to be tried again, where it says so.
    """

    def __init__(
        self, detail: str, pointer: str | None = None, *, transient: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail, pointer)
        self.transient = transient
        self.retry_after_s = retry_after_s


class FilterInvalid(IndexerError):
    """A filter over metadata that cannot be understood."""


class FingerprintMismatch(IndexerError):
    """Vectors of another model than the collection's."""


class GenerationConflict(IndexerError):
    """It is not, or is, the active generation, or does not answer."""


class GenerationIncomplete(IndexerError):
    """It lacks vectors of items that the active generation has."""


class GenerationUnfit(IndexerError):
    """Its vectors must not answer."""


class GenerationNotFound(IndexerError):
    """No generation of that number."""


class ImageFetchFailed(IndexerError):
    """The picture's URL did not give a picture in time and size."""


class ItemInvalid(IndexerError):
    """An item without content, or with content that cannot be stored."""


class ItemNotFound(IndexerError):
    """No item of that id in the collection."""


class ModelAbsent(IndexerError):
    """The model that made a collection's vectors is not there, and something is to be embedded."""


class OriginalChanged(IndexerError):
    """The address of a picture gives another one now."""


class OriginalMissing(IndexerError):
    """The item has no stored picture."""


class QueryInvalid(IndexerError):
    """A query without a usable term."""


class SourceInvalid(IndexerError):
    """A catalogue file or folder that cannot be read as one."""


class RowInvalid(IndexerError):
    """A row of a catalogue that names no item."""


class RowRefused(IndexerError):
    """A bad row of a job that was asked to fail at the first one."""


class SourceChanged(IndexerError):
    """A catalogue that is another one than when its job began."""


class SourceForbidden(IndexerError):
    """A catalogue at a place that the settings do not allow."""


class SnapshotDamaged(IndexerError):
    """A snapshot that is not complete, or not what was written."""


class SnapshotImpossible(IndexerError):
    """A snapshot that cannot be made, or not be put where it should."""


class StorageUnavailable(IndexerError):
    """The disk is full or cannot be written to; nothing of the write is stored."""


class JobNotFound(IndexerError):
    """No job of that id."""


class JobConflict(IndexerError):
    """The idempotency key belongs to another request."""


class JobFinished(IndexerError):
    """A job that has ended cannot be cancelled."""


class DeletesUnconfirmed(IndexerError):
    """A sync would delete more than a tenth of the collection, and its request does not say how many."""


class RuleNotFound(IndexerError):
    """No watch rule of that name in the collection."""


class RuleInvalid(IndexerError):
    """A watch rule that cannot be applied."""


class ItemRejected(IndexerError):
    """A watch rule keeps the item out."""


class UrlForbidden(IndexerError):
    """An URL leads where this server does not go."""


class VectorInvalid(IndexerError):
    """A vector of the wrong dimension, not finite, or zero."""


class KeyInvalid(IndexerError):
    """Not what an API key may be made for."""


class KeyNotFound(IndexerError):
    """No API key of that id."""
