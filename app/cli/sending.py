"""A catalogue to a running server: read, cut into batches, sent side by side, every row accounted for."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from app.cli.client import Client
from app.cli.progress import ingest_progress
from app.cli.report import IngestReport, RowReport
from app.cli.storing import Entry, Outcome, Problem, store
from app.data_uris import data_uri
from indexer.sources import BadRow, Row, Source

BATCH_ITEMS = 64
BATCH_BYTES = 8 * 2**20
"""A batch ends at whichever comes first; a larger picture goes alone."""

IN_FLIGHT = 2
"""Batches sent at a time: while the server embeds one, the next is read."""


@dataclass(frozen=True)
class _Sent:
    """A batch on its way."""

    ids: frozenset[str]
    outcome: Future[Outcome]


def send_source(client: Client, path: str, source: Source) -> IngestReport:
    """Send every row; one that cannot be read, or that the server refuses, is reported and stops nothing.

    One with a bad picture keeps its other half, as in a job. Of rows with the same id the last wins.

    Args:
        path: Where batches of items are posted to.
    """
    report = IngestReport(source.count())
    with ingest_progress("Ingesting", report.total) as show, ThreadPoolExecutor(IN_FLIGHT) as pool:
        in_flight: deque[_Sent] = deque()

        def take_oldest() -> None:
            _count(in_flight.popleft().outcome.result(), report)
            show(report)

        for batch in _batches(map(_entry, source)):
            ids = frozenset(entry.id for entry in batch if entry.item)
            while len(in_flight) > IN_FLIGHT or any(ids & sent.ids for sent in in_flight):
                take_oldest()
            in_flight.append(_Sent(ids, pool.submit(store, client, path, batch)))
        while in_flight:
            take_oldest()
    return report


def _count(outcome: Outcome, report: IngestReport) -> None:
    for entry, result in outcome:
        if "error" in result:
            report.fail(_row_report("error", entry, result["error"]))
            continue
        report.count(result["status"])
        if entry.fault:
            report.warn(_row_report("warning", entry, entry.fault))


def _row_report(level: Literal["error", "warning"], entry: Entry, problem: Problem) -> RowReport:
    return RowReport(level=level, row=entry.number, id=entry.id, code=problem["type"], detail=problem["detail"])


def _entry(row: Row | BadRow) -> Entry:
    if isinstance(row, BadRow):
        return Entry(row.number, row.id, None, _invalid(row.detail))
    item: dict[str, Any] = {"id": row.id, "metadata": row.metadata}
    if row.text is not None:
        item["text"] = row.text
    if row.image_fault:
        return Entry(row.number, row.id, item, _invalid(row.image_fault))
    try:
        if row.image is not None:
            item["image"] = row.image if isinstance(row.image, str) else data_uri(row.image)
    except OSError as error:
        return Entry(row.number, row.id, item, _invalid(f"the picture cannot be read: {error.strerror}"))
    return Entry(row.number, row.id, item)


def _invalid(detail: str) -> Problem:
    return {"type": "row-invalid", "detail": detail}


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut also before an id that comes again: a row that is sent twice must not undo a later one."""
    batch: list[Entry] = []
    size, ids = 0, set[str]()
    for entry in entries:
        if batch and (len(batch) == BATCH_ITEMS or size + entry.size > BATCH_BYTES or (entry.item and entry.id in ids)):
            yield batch
            batch, size, ids = [], 0, set()
        batch.append(entry)
        size += entry.size
        if entry.item:
            ids.add(entry.id)
    if batch:
        yield batch
