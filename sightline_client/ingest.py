"""Any number of items in batches: cut, stored, counted. Sending them is the clients' part."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Literal

from sightline_client.call import Call, path_of, write_json
from sightline_client.calls.items import BatchResults
from sightline_client.errors import RequestRefused
from sightline_client.inputs import NewItem, item_document
from sightline_client.results import Problem, PutItem, RefusedItem, StoredItem

BATCH_ITEMS = 64
BATCH_BYTES = 8 * 2**20
"""A batch ends at whichever comes first; a larger item goes alone."""

IN_FLIGHT = 2
"""Batches sent at a time: while the server embeds one, it receives the next."""

KEPT_FAILURES = 1000

_BAD_BATCH = (400, 413, 422)

Answer = PutItem | StoredItem | RefusedItem
Answers = dict[int, Answer]
"""By the rows' numbers."""


@dataclass(frozen=True)
class FailedItem:
    """An item that was not stored; `row` is its place among those given, from 1."""

    row: int
    id: str
    problem: Problem


@dataclass
class IngestReport:
    """What became of the first `done` items; `failed` counts them all, `failures` holds the first 1,000."""

    done: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    failures: list[FailedItem] = field(default_factory=list)


Watch = Callable[[IngestReport], object]
NoticeFailure = Callable[[FailedItem], object]


@dataclass(frozen=True)
class Row:
    """An item as it is sent, or what keeps it from being sent."""

    number: int
    id: str
    document: bytes = b""
    fault: Problem | None = None

    @classmethod
    def of(cls, number: int, item: NewItem) -> "Row":
        """With the picture read, so that a batch knows its size."""
        try:
            return cls(number, item.id, write_json({"id": item.id, **item_document(item)}))
        except OSError as error:
            return cls(number, item.id, fault=_fault("image-unreadable", f"{error.filename}: {error.strerror}"))
        except (TypeError, ValueError) as error:
            return cls(number, item.id, fault=_fault("item-unwritable", str(error)))


@dataclass(frozen=True)
class Batch:
    """Rows with different ids, which are stored together."""

    rows: Sequence[Row]

    @cached_property
    def ids(self) -> frozenset[str]:
        """Of its items."""
        return frozenset(row.id for row in self.rows)

    def must_wait(self, in_flight: Collection["Batch"]) -> bool:
        """Whether one of those must be answered before this is sent: of items with the same id, the last is to win."""
        return len(in_flight) >= IN_FLIGHT or any(self.ids & other.ids for other in in_flight)


class Cutter:
    """Cuts items into batches."""

    def __init__(self) -> None:
        self._count = 0
        self._rows: list[Row] = []

    def add(self, item: NewItem) -> Iterator[Batch]:
        """The batch that is complete now, if there is one."""
        self._count += 1
        row = Row.of(self._count, item)
        if self._is_full(row):
            yield from self.rest()
        self._rows.append(row)

    def rest(self) -> Iterator[Batch]:
        """The last batch, unless it is empty."""
        if self._rows:
            yield Batch(self._rows)
            self._rows = []

    def _is_full(self, row: Row) -> bool:
        """An id that comes again ends a batch, too."""
        size = sum(len(other.document) for other in self._rows) + len(row.document)
        return len(self._rows) == BATCH_ITEMS or size > BATCH_BYTES or any(row.id == other.id for other in self._rows)


Plan = Generator[Call[list[Answer]], list[Answer], Answers]
"""Yields calls, is sent their answers or thrown their refusals, returns all answers."""


def storing(batch: Batch, collection: str) -> Plan:
    """The calls that store a batch; one that is refused as a whole is halved until the bad item stands alone."""
    answers = yield from _storing(
        [row for row in batch.rows if not row.fault], path_of("collections", collection, "items")
    )
    faults = {row.number: RefusedItem(id=row.id, error=row.fault) for row in batch.rows if row.fault}
    return {**answers, **faults}


class Tally:
    """Counts what became of batches, in their order, and tells."""

    def __init__(self, watch: Watch | None, notice_failure: NoticeFailure | None) -> None:
        self.report = IngestReport()
        self._watch, self._notice_failure = watch, notice_failure

    def count(self, batch: Batch, answers: Answers) -> None:
        """Add a batch."""
        for row in batch.rows:
            answer = answers[row.number]
            self.report.done += 1
            if isinstance(answer, RefusedItem):
                self._fail(FailedItem(row.number, row.id, answer.error))
            else:
                self._add(answer.status)
        if self._watch:
            self._watch(self.report)

    def _add(self, status: Literal["created", "updated", "unchanged"]) -> None:
        setattr(self.report, status, getattr(self.report, status) + 1)

    def _fail(self, failure: FailedItem) -> None:
        self.report.failed += 1
        if self.report.failed <= KEPT_FAILURES:
            self.report.failures.append(failure)
        if self._notice_failure:
            self._notice_failure(failure)


def _storing(rows: Sequence[Row], path: str) -> Plan:
    if not rows:
        return {}
    body = b'{"items":[' + b",".join(row.document for row in rows) + b"]}"
    try:
        answers = yield Call(method="POST", path=path, body=body, answer=BatchResults, give=attrgetter("results"))
    except RequestRefused as refusal:
        if refusal.status not in _BAD_BATCH:
            raise
        if len(rows) == 1:
            return {rows[0].number: RefusedItem(id=rows[0].id, error=refusal.problem)}
        middle = len(rows) // 2
        first = yield from _storing(rows[:middle], path)
        return first | (yield from _storing(rows[middle:], path))
    return {row.number: answer for row, answer in zip(rows, answers, strict=True)}


def _fault(word: str, detail: str) -> Problem:
    return Problem(type=word, title=word.replace("-", " ").capitalize(), status=422, detail=detail)
