"""A catalogue into a collection: read -> fetch -> decode -> embed -> write.

Each of the five stages runs in threads of its own and hands over through a bounded queue, so that the encoder is never
idle while there is work and the memory does not grow with the catalogue. Chunks are committed in the order of their
rows.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection

from indexer.collection import Collection
from indexer.errors import IndexerError, ItemInvalid, RowInvalid, RowRefused, error_code
from indexer.ingest.loading import is_address
from indexer.ingest.stages import Stages
from indexer.jobs.store import ChunkReport, RowReport
from indexer.preparation import Draft, Encoders, Prepared, draft, embed
from indexer.sources import BadRow, ImageReference, Row
from indexer.stores.catalogue import StoredItem
from indexer.types import Failed, NewItem, Outcome
from models.errors import ImageError, ModelError
from models.imaging import ImageLimits
from models.sessions import usable_cores

CHUNK_ROWS = 128
CHUNK_BYTES = 32 * 2**20
"""A chunk, which is one transaction, ends at whichever comes first."""
FIRST_ROWS = 16
"""Of the first chunk, until which is decoded the encoder waits."""

ROWS_AHEAD = 512
READ_BYTES = 32 * 2**20
"""Bytes of rows that may wait: a catalogue may hold its pictures."""

FETCHERS = 16
FETCH_AHEAD = 128
FETCH_BYTES = 64 * 2**20
"""Bytes of rows and their pictures that may wait for their turn; each fetcher may add one picture to it."""

DECODERS = max(1, min(8, usable_cores() - 1))
"""One core less than there are is left to those who search."""
CHUNKS_AHEAD = 1
"""Chunks that wait between two stages."""

_SCALAR_BYTES = 32
"""What a number takes in memory."""

LoadImage: TypeAlias = Callable[[ImageReference], bytes]
"""The bytes that a row's picture refers to; raises an `IndexerError`, a `ModelError` or an `OSError`."""

Fault = IndexerError | ModelError


@dataclass(frozen=True)
class Entry:
    """A row on its way: the item that it names, or the `error` for which it names none."""

    number: int
    id: str
    item: NewItem | None = None
    fault: Fault | None = None
    """What is wrong with its picture."""
    error: Fault | None = None

    @property
    def size(self) -> int:
        """About the bytes of its picture, text and metadata."""
        return _bytes(self.item.image, self.item.text, self.item.metadata) if self.item else 0


@dataclass(frozen=True)
class Chunk:
    """Rows that are committed together, as far as they have come."""

    entries: Sequence[Entry]
    known: Mapping[str, StoredItem]
    encoders: Encoders
    drafts: Sequence[Draft]
    prepared: Mapping[str, Prepared | Failed]


OnChunk: TypeAlias = Callable[[ChunkReport, Connection], None]
"""Called in the transaction of each chunk; what it writes is committed with it, what it raises undoes it."""


def ingest(
    collection: Collection,
    rows: Iterable[Row | BadRow],
    load_image: LoadImage,
    on_chunk: OnChunk,
    *,
    strict: bool = False,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Upsert every row. A bad row is reported and stops nothing; one with a bad picture keeps its other half.

    Args:
        strict: The first row that is not, or not wholly, stored ends the run before its chunk is committed.
        check: Called while it waits; what it raises ends the run.

    Raises:
        RowRefused: Such a row, when `strict`.
        SourceInvalid: The catalogue breaks off.
        StorageUnavailable: The chunk cannot be stored; those before it are.
    """
    with Stages(check) as stages:
        read = stages.background(rows, ROWS_AHEAD, "read", weigh=_size, budget=READ_BYTES)
        fetched = stages.parallel(
            partial(_fetch, load_image),
            read,
            workers=FETCHERS,
            waits=_is_far,
            ahead=FETCH_AHEAD,
            weigh=_size,
            budget=FETCH_BYTES,
        )
        chunks = stages.background(_chunks(fetched), CHUNKS_AHEAD, "fetch")
        drafted = stages.parallel(partial(_decode, collection), chunks, workers=DECODERS, ahead=DECODERS)
        decoded = stages.background(drafted, CHUNKS_AHEAD, "decode")
        embedded = stages.background(map(_embed, decoded), CHUNKS_AHEAD, "embed")
        clock = time.monotonic()
        for chunk in embedded:
            now = time.monotonic()
            _write(collection, chunk, on_chunk, now - clock, strict=strict)
            clock = now


def _is_far(row: Row | BadRow) -> bool:
    return isinstance(row, Row) and is_address(row.image)


def _fetch(load_image: LoadImage, row: Row | BadRow) -> Entry:
    if isinstance(row, BadRow):
        return Entry(row.number, row.id, error=RowInvalid(row.detail))
    try:
        if row.image_fault:
            raise RowInvalid(row.image_fault)
        image = None if row.image is None else load_image(row.image)
    except (IndexerError, ModelError) as error:
        fault: Fault = error
    except OSError as error:
        fault = RowInvalid(f"the picture cannot be read: {error.strerror}")
    else:
        source = row.image if is_address(row.image) else None
        return Entry(row.number, row.id, NewItem(row.id, image, row.text, row.metadata, source_url=source))
    without = NewItem(row.id, None, row.text, row.metadata, keep_image=True)
    return Entry(row.number, row.id, without, fault)


def _size(row: Row | BadRow | Entry) -> int:
    match row:
        case Row():
            return _bytes(row.image, row.text, row.metadata)
        case Entry():
            return row.size
    return 0


def _bytes(image: ImageReference | None, text: str | None, metadata: Mapping[str, Any]) -> int:
    return _weight(metadata) + len(text or "") + (len(image) if isinstance(image, bytes | str) else 0)


def _weight(value: Any) -> int:
    """About the bytes of a JSON value."""
    match value:
        case str():
            return len(value)
        case Mapping():
            return sum(len(name) + _weight(inner) for name, inner in value.items())
        case list():
            return sum(map(_weight, value))
    return _SCALAR_BYTES


def chunk_rows() -> Iterator[int]:
    """Most rows of each chunk: as many again as before, up to `CHUNK_ROWS`."""
    rows = FIRST_ROWS
    while True:
        yield min(rows, CHUNK_ROWS)
        rows = min(2 * rows, CHUNK_ROWS)


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut also before an id that comes again, so that later rows win."""
    chunk: list[Entry] = []
    size, ids, rows = 0, set[str](), chunk_rows()
    most = next(rows)
    for entry in entries:
        if chunk and (len(chunk) == most or size >= CHUNK_BYTES or (entry.item and entry.id in ids)):
            yield chunk
            chunk, size, ids, most = [], 0, set(), next(rows)
        chunk.append(entry)
        size += entry.size
        if entry.item:
            ids.add(entry.id)
    if chunk:
        yield chunk


def _decode(collection: Collection, entries: Sequence[Entry]) -> Chunk:
    """Compare with what is stored; decode and resize the pictures that changed."""
    known = collection.known([entry.id for entry in entries if entry.item])
    encoders = {pk: encoder.bulk for pk, encoder in collection.generations.encoders.items()}
    drafts: list[Draft] = []
    looked_at = []
    for entry in entries:
        stored = known.get(entry.id)
        with collection.lanes.step():
            looked_at.append(_draft(entry, stored, encoders=encoders, limits=collection.limits, drafts=drafts))
    return Chunk(looked_at, known, encoders, drafts, {})


def _draft(
    entry: Entry, known: StoredItem | None, *, encoders: Encoders, limits: ImageLimits, drafts: list[Draft]
) -> Entry:
    """Add the entry's draft, where there is something to write; give the entry with what is wrong with it."""
    if entry.item is None:
        return entry
    try:
        drafted = draft(entry.item, known, encoders, limits)
    except ImageError as fault:
        item = replace(entry.item, image=None, keep_image=True)
        without = replace(entry, item=item, fault=fault)
        return _draft(without, known, encoders=encoders, limits=limits, drafts=drafts)
    except (IndexerError, ModelError) as error:
        # Without its picture nothing is left of the row: that is what is wrong with it.
        nothing_left = isinstance(error, ItemInvalid) and entry.fault is not None
        return replace(entry, item=None, error=entry.fault if nothing_left else error)
    if drafted:
        drafts.append(drafted)
    return entry


def _embed(chunk: Chunk) -> Chunk:
    return replace(chunk, prepared=embed(chunk.drafts, chunk.encoders), drafts=())


def _write(collection: Collection, chunk: Chunk, on_chunk: OnChunk, seconds: float, *, strict: bool) -> None:
    def record(outcomes: Mapping[str, Outcome], connection: Connection) -> None:
        report = _report(chunk, outcomes, seconds)
        if strict and report.rows:
            first = report.rows[0]
            raise RowRefused(f"row {first.row} ({first.id}): {first.detail}")
        on_chunk(report, connection)

    new = [entry.item for entry in chunk.entries if entry.item]
    with collection.lanes.step():
        collection.store(new, chunk.known, chunk.prepared, record)


def _report(chunk: Chunk, outcomes: Mapping[str, Outcome], seconds: float) -> ChunkReport:
    rows: list[RowReport] = []
    counts: Counter[str] = Counter()
    for entry in chunk.entries:
        # A row without an item may have the id of one that has.
        outcome = outcomes[entry.id] if entry.item else Failed(entry.id, entry.error or RowInvalid("no item"))
        if isinstance(outcome, Failed):
            rows.append(_row_report("error", entry, outcome.error))
            counts["failed"] += 1
            continue
        counts[outcome] += 1
        if entry.fault is not None:
            rows.append(_row_report("warning", entry, entry.fault))
            counts["warnings"] += 1
    ids = [entry.id for entry in chunk.entries]
    return ChunkReport(chunk.entries[-1].number, seconds, counts, rows, ids)


def _row_report(level: Literal["error", "warning"], entry: Entry, error: Fault) -> RowReport:
    return RowReport(level, entry.number, entry.id, error_code(error), error.detail)
