"""A catalogue into a collection, batch by batch, with every row accounted for."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from indexer.collection import Collection
from indexer.errors import IndexerError
from indexer.images import load_image
from indexer.sources import BadRow, Row, Source
from indexer.types import Failed, NewItem
from models.errors import ImageTooLarge, ModelError
from models.imaging import ImageLimits

BATCH = 64
BATCH_BYTES = 64 * 2**20
"""A batch ends at whichever comes first, so that large pictures do not fill the memory."""


@dataclass(frozen=True)
class RowError:
    """A row that was not stored, and why."""

    row: int
    id: str
    detail: str


@dataclass
class IngestReport:
    """What became of the rows so far: done = created + updated + unchanged + failed."""

    total: int
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    errors: list[RowError] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Rows that were not stored."""
        return len(self.errors)

    @property
    def done(self) -> int:
        """Rows dealt with."""
        return self.created + self.updated + self.unchanged + self.failed

    def count(self, status: str) -> None:
        """Count one stored row by its status."""
        setattr(self, status, getattr(self, status) + 1)


def ingest(
    collection: Collection,
    source: Source,
    *,
    limits: ImageLimits,
    on_progress: Callable[[IngestReport], None] = lambda report: None,
) -> IngestReport:
    """Upsert every row of a source; a bad row is reported and stops nothing."""
    report = IngestReport(source.count())
    for good in _batches(_new_items(source, limits, report)):
        results = collection.upsert([item for _, item in good])
        for (number, item), result in zip(good, results, strict=True):
            if isinstance(result, Failed):
                report.errors.append(RowError(number, item.id, str(result.error)))
            else:
                report.count(result.status)
        on_progress(report)
    return report


def read_file(path: Path, limits: ImageLimits) -> bytes:
    """A picture's bytes; raises `ImageTooLarge` before reading more than the limit."""
    _check_size(path.name, path.stat().st_size, limits)
    return path.read_bytes()


def _check_size(name: str, size: int, limits: ImageLimits) -> None:
    if size > limits.max_bytes:
        raise ImageTooLarge(f"{name} has {size:,} bytes; at most {limits.max_bytes:,} are allowed")


def _new_items(source: Source, limits: ImageLimits, report: IngestReport) -> Iterator[tuple[int, NewItem]]:
    """Each row that can be read as an item, with its number; the others go into the report."""
    for row in source:
        try:
            yield row.number, _new_item(row, limits)
        except (IndexerError, ModelError, OSError, ValueError) as error:
            report.errors.append(RowError(row.number, row.id, str(error)))


def _batches(rows: Iterable[tuple[int, NewItem]]) -> Iterator[list[tuple[int, NewItem]]]:
    batch: list[tuple[int, NewItem]] = []
    size = 0
    for number, item in rows:
        batch.append((number, item))
        size += len(item.image or b"")
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    # An empty one at the end lets the last rows be told of where all of them are bad.
    yield batch


def _new_item(row: Row | BadRow, limits: ImageLimits) -> NewItem:
    if isinstance(row, BadRow):
        raise ValueError(row.detail)
    match row.image:
        case bytes():
            _check_size(row.id, len(row.image), limits)
            image: bytes | None = row.image
        case Path():
            image = read_file(row.image, limits)
        case str():
            image = load_image(row.image, limits)
        case None:
            image = None
    return NewItem(row.id, image, row.text, row.metadata)
