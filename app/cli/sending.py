"""A catalogue to a running server: read, cut into batches, sent side by side, every row accounted for."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app.cli.client import Client, RequestRefused, data_uri
from app.cli.progress import ingest_progress
from app.cli.report import IngestReport, RowReport
from indexer.sources import BadRow, Row, Source

BATCH_ITEMS = 64
BATCH_BYTES = 8 * 2**20
"""A batch ends at whichever comes first; a larger picture goes alone."""

IN_FLIGHT = 2
"""Batches sent at a time: while the server embeds one, the next is read."""


@dataclass(frozen=True)
class _Entry:
    """A row as the server takes it."""

    number: int
    item: dict[str, Any]
    size: int


def send_source(client: Client, path: str, source: Source) -> IngestReport:
    """Send every row; one that cannot be read, or that the server refuses, is reported and stops nothing.

    Args:
        path: Where batches of items are posted to.
    """
    report = IngestReport(source.count())
    with ingest_progress("Ingesting", report.total) as show, ThreadPoolExecutor(IN_FLIGHT) as pool:
        in_flight: deque[Future[_Outcome]] = deque()
        for batch in _batches(_entries(source, report)):
            in_flight.append(pool.submit(_post, client, path, batch))
            if len(in_flight) > IN_FLIGHT:
                _count(in_flight.popleft().result(), report)
                show(report)
        for outcome in in_flight:
            _count(outcome.result(), report)
            show(report)
    return report


_Outcome = list[tuple[_Entry, dict[str, Any]]]


def _post(client: Client, path: str, batch: list[_Entry]) -> _Outcome:
    """Each entry with its result; a batch that is refused as a whole is halved until the bad row stands alone."""
    try:
        answer = client.send("POST", path, json={"items": [entry.item for entry in batch]})
    except RequestRefused as refusal:
        if refusal.status not in (400, 413, 422):
            raise
        if len(batch) == 1:
            return [(batch[0], {"error": {"detail": str(refusal)}})]
        middle = len(batch) // 2
        return _post(client, path, batch[:middle]) + _post(client, path, batch[middle:])
    return list(zip(batch, answer["results"], strict=True))


def _count(outcome: _Outcome, report: IngestReport) -> None:
    for entry, result in outcome:
        if "error" in result:
            problem = result["error"]
            code = problem.get("type", "row-refused")
            report.fail(
                RowReport(level="error", row=entry.number, id=entry.item["id"], code=code, detail=problem["detail"])
            )
        else:
            report.count(result["status"])


def _entries(source: Iterable[Row | BadRow], report: IngestReport) -> Iterator[_Entry]:
    for row in source:
        if isinstance(row, BadRow):
            report.fail(RowReport(level="error", row=row.number, id=row.id, code="row-invalid", detail=row.detail))
            continue
        if row.image_fault:
            report.fail(RowReport(level="error", row=row.number, id=row.id, code="row-invalid", detail=row.image_fault))
            continue
        try:
            yield _entry(row)
        except OSError as error:
            detail = f"the picture cannot be read: {error.strerror}"
            report.fail(RowReport(level="error", row=row.number, id=row.id, code="row-invalid", detail=detail))


def _entry(row: Row) -> _Entry:
    item: dict[str, Any] = {"id": row.id, "metadata": row.metadata}
    if row.text is not None:
        item["text"] = row.text
    if isinstance(row.image, str):
        item["image"] = row.image
    elif row.image is not None:
        item["image"] = data_uri(row.image)
    return _Entry(row.number, item, len(item.get("image", "")) + len(row.text or ""))


def _batches(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    batch: list[_Entry] = []
    for entry in entries:
        if batch and (len(batch) == BATCH_ITEMS or sum(e.size for e in batch) + entry.size > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
