"""What a generation lacks, from the originals: read -> load -> decode -> embed -> write.

The stages are those of an ingest, and run like them: each in threads of its own, joined by bounded queues. What is
missing is asked of the catalogue again and again until it is nothing, so that a run that was killed goes on where it
was, whatever was written meanwhile.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

from sqlalchemy import Connection

from indexer.collection import Collection
from indexer.errors import IndexerError, OriginalMissing, error_code
from indexer.generation import Generation
from indexer.ingest.pipeline import (
    CHUNK_BYTES,
    CHUNKS_AHEAD,
    DECODERS,
    FETCH_AHEAD,
    FETCH_BYTES,
    FETCHERS,
    chunk_rows,
)
from indexer.ingest.stages import Stages
from indexer.jobs.store import ChunkReport, RowReport
from indexer.preparation import Draft, Prepared, embed, has_words, make_pixels
from indexer.stores.catalogue import StoredItem
from indexer.stores.generations import Filling
from indexer.types import Failed, Modality, NewItem
from models.errors import ModelError
from models.imaging import ImageLimits

Fault = IndexerError | ModelError

Missing: TypeAlias = Callable[[int], Sequence[tuple[StoredItem, set[Modality]]]]
"""Items that come after one, with the modalities that they lack; nothing after the last."""
ReadOriginal: TypeAlias = Callable[[StoredItem], "Original | None"]
"""The picture of an item, where it is stored; raises an `OSError` where it cannot be read."""
FetchOriginal: TypeAlias = Callable[[StoredItem], "Original"]
"""The picture of an item from where it came from; raises an `IndexerError`, a `ModelError` or an `OSError`."""
OnChunk: TypeAlias = Callable[[ChunkReport, Connection], None]


@dataclass(frozen=True)
class Original:
    """An item's encoded picture, and what is to be known about where it was found."""

    data: bytes
    warning: Fault | None = None


@dataclass(frozen=True)
class Gap:
    """An item that lacks vectors, on its way."""

    stored: StoredItem
    modalities: frozenset[Modality]
    original: bytes | None = None
    warning: Fault | None = None
    error: Fault | None = None

    @property
    def size(self) -> int:
        """Bytes of its picture."""
        return len(self.original or b"")


@dataclass(frozen=True)
class Chunk:
    """Items that are written together, as far as they have come."""

    gaps: Sequence[Gap]
    drafts: Sequence[Draft]
    prepared: dict[str, Prepared | Failed]


def fill(
    collection: Collection,
    generation: Generation,
    missing: Missing,
    read_original: ReadOriginal,
    fetch_original: FetchOriginal,
    on_chunk: OnChunk,
    *,
    done: int = 0,
    after_chunk: Callable[[], None] = lambda: None,
    check: Callable[[], None] = lambda: None,
) -> int:
    """One pass over what a generation lacks; gives how many items are dealt with by then.

    Args:
        on_chunk: Called in the transaction of each chunk.
        done: How many items were dealt with before.
        after_chunk: Called when it is committed, and nothing is locked.
        check: Called while it waits; what it raises ends the run.
    """
    with Stages(check) as stages:
        gaps = map(partial(_load, read_original), _gaps(missing))
        read = stages.background(gaps, FETCH_AHEAD, "read", weigh=_size, budget=FETCH_BYTES)
        loaded = stages.parallel(
            partial(_load, fetch_original),
            read,
            workers=FETCHERS,
            waits=_lacks_picture,
            ahead=FETCH_AHEAD,
            weigh=_size,
            budget=FETCH_BYTES,
        )
        chunks = stages.background(_chunks(loaded), CHUNKS_AHEAD, "load")
        drafted = stages.parallel(partial(_decode, generation, collection), chunks, workers=DECODERS, ahead=DECODERS)
        decoded = stages.background(drafted, CHUNKS_AHEAD, "decode")
        embedded = stages.background(map(partial(_embed, generation), decoded), CHUNKS_AHEAD, "embed")
        clock = time.monotonic()
        for chunk in embedded:
            chunk = _without_changed(collection, chunk)
            now = time.monotonic()
            done += len(chunk.gaps)
            report = _report(chunk, done, now - clock)
            fillings = [_filling(gap, chunk, generation) for gap in chunk.gaps if not gap.error]
            with collection.lanes.step():
                collection.generations.fill(generation, fillings, partial(on_chunk, report))
            after_chunk()
            clock = now
    return done


def _gaps(missing: Missing) -> Iterator[Gap]:
    after = 0
    while page := missing(after):
        yield from (Gap(stored, frozenset(modalities)) for stored, modalities in page)
        after = page[-1][0].pk


def _lacks_picture(gap: Gap) -> bool:
    return "image" in gap.modalities and gap.original is None


def _load(load: ReadOriginal, gap: Gap) -> Gap:
    if not _lacks_picture(gap):
        return gap
    try:
        original = load(gap.stored)
    except (IndexerError, ModelError) as error:
        return _without(gap, "image", error)
    except OSError as error:
        return _without(gap, "image", OriginalMissing(f"the picture cannot be read: {error.strerror}"))
    return replace(gap, original=original.data, warning=original.warning) if original else gap


def _size(gap: Gap) -> int:
    return gap.size


def _chunks(gaps: Iterable[Gap]) -> Iterator[list[Gap]]:
    chunk: list[Gap] = []
    size, rows = 0, chunk_rows()
    most = next(rows)
    for gap in gaps:
        if chunk and (len(chunk) == most or size >= CHUNK_BYTES):
            yield chunk
            chunk, size, most = [], 0, next(rows)
        chunk.append(gap)
        size += gap.size
    if chunk:
        yield chunk


def _decode(generation: Generation, collection: Collection, gaps: Sequence[Gap]) -> Chunk:
    looked_at, drafts = [], []
    for gap in gaps:
        with collection.lanes.step():
            gap, draft = _draft(gap, generation, collection.limits)
        looked_at.append(gap)
        if draft:
            drafts.append(draft)
    return Chunk(looked_at, drafts, {})


def _draft(gap: Gap, generation: Generation, limits: ImageLimits) -> tuple[Gap, Draft | None]:
    item, encoders = gap.stored.item, {generation.pk: generation.encoder.bulk}
    pixels = {}
    if gap.original is not None:
        try:
            pixels = make_pixels(gap.original, limits, encoders)
        except ModelError as error:
            gap = _without(gap, "image", error)
        gap = replace(gap, original=None)
    texts = frozenset(encoders if "text" in gap.modalities and has_words(item.text) else ())
    if "text" in gap.modalities and not texts:
        gap = _without(gap, "text", OriginalMissing("its text vector was given by a client, and there is no text"))
    if gap.error:
        return gap, None
    new = NewItem(item.id, None, item.text, item.metadata)
    return gap, Draft(new, item.image_sha256, pixels, item.image_type, texts, {}, (), gap.stored.source_url)


def _embed(generation: Generation, chunk: Chunk) -> Chunk:
    prepared = embed(chunk.drafts, {generation.pk: generation.encoder.bulk})
    failed = {id_: made.error for id_, made in prepared.items() if isinstance(made, Failed)}
    gaps = [replace(gap, error=failed.get(gap.stored.item.id, gap.error)) for gap in chunk.gaps]
    return Chunk(gaps, (), prepared)


def _without_changed(collection: Collection, chunk: Chunk) -> Chunk:
    """What is wrong with what an item was before it changed or was deleted is no fault of the item."""
    faulty = {gap.stored.pk for gap in chunk.gaps if gap.error or gap.warning}
    now = {pk: stored.content_hash for pk, stored in collection.stored(sorted(faulty)).items()}
    gaps = [
        gap for gap in chunk.gaps if gap.stored.pk not in faulty or now.get(gap.stored.pk) == gap.stored.content_hash
    ]
    return replace(chunk, gaps=gaps)


def _without(gap: Gap, modality: Modality, fault: Fault) -> Gap:
    """What cannot be embedded is an error if nothing else is left of the item, else a warning."""
    left = gap.modalities - {modality}
    gap = replace(gap, modalities=left)
    has_other = bool(left) or len(gap.stored.item.modalities) > 1
    return replace(gap, warning=fault) if has_other else replace(gap, error=fault)


def _filling(gap: Gap, chunk: Chunk, generation: Generation) -> Filling:
    prepared = chunk.prepared[gap.stored.item.id]
    assert isinstance(prepared, Prepared)
    return Filling(gap.stored.pk, gap.stored.content_hash, prepared.change.vectors[generation.pk])


def _report(chunk: Chunk, done: int, seconds: float) -> ChunkReport:
    first = done - len(chunk.gaps) + 1
    rows = [row for number, gap in enumerate(chunk.gaps, first) if (row := _row_report(number, gap))]
    failed = sum(gap.error is not None for gap in chunk.gaps)
    warnings = sum(row.level == "warning" for row in rows)
    counts = {"created": len(chunk.gaps) - failed, "failed": failed, "warnings": warnings}
    return ChunkReport(done, seconds, counts, rows)


def _row_report(number: int, gap: Gap) -> RowReport | None:
    fault, level = gap.error or gap.warning, _level(gap)
    return None if fault is None else RowReport(level, number, gap.stored.item.id, error_code(fault), fault.detail)


def _level(gap: Gap) -> Literal["error", "warning"]:
    return "error" if gap.error else "warning"
