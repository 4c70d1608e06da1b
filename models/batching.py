"""`Batcher`: what arrives while a tower is busy goes through it together, and what people wait for goes first.

Nobody waits for a batch to fill. Whoever finds the tower idle runs it, in his own thread, so that a lone request costs
no hand-over; what arrives meanwhile waits, and the first of those who wait runs the next batch for all of them.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import EncoderOverloaded

Lane = Literal["interactive", "bulk"]
Row = NDArray[Any]

BULK_TURN = 4
"""After so many interactive batches in a row comes one of the bulk lane, if one waits."""


@dataclass(eq=False)
class _Request:
    rows: Sequence[Row]
    lane: Lane
    taken: int = 0
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    """Of its first rows: they are taken in order."""
    error: BaseException | None = None
    turn: threading.Event = field(default_factory=threading.Event)
    """Set when it is answered, or when its thread is to run the tower."""

    @property
    def is_answered(self) -> bool:
        return self.error is not None or len(self.vectors) == len(self.rows)


@dataclass
class _Batch:
    lane: Lane
    parts: list[tuple[_Request, Sequence[Row]]]

    @property
    def rows(self) -> list[Row]:
        return [row for _, part in self.parts for row in part]


class Batcher:
    """In front of one tower. Thread-safe.

    Args:
        run: Runs rows through the tower: float32 [n, dimension].
        bucket: Rows of which it gives the same may be in one batch: texts that are about as long.
        largest: Most rows of a batch in each lane; a small bulk batch soon makes way for the other lane.
        most_waiting: Rows of the interactive lane that may wait.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Row]], NDArray[np.float32]],
        *,
        bucket: Callable[[Row], int] = lambda row: 0,
        largest: Mapping[Lane, int],
        most_waiting: int,
    ) -> None:
        self._run, self._bucket, self._largest, self._most_waiting = run, bucket, largest, most_waiting
        self._lock = threading.Lock()
        self._leader: _Request | None = None
        """Whose thread runs the tower; None while it is idle."""
        self._queues: dict[Lane, deque[_Request]] = {"interactive": deque(), "bulk": deque()}
        self._interactive_in_a_row = 0

    def __call__(self, rows: Sequence[Row], lane: Lane) -> list[NDArray[np.float32]]:
        """Run rows through the tower, beside those of others; gives a vector [dimension] for each.

        Neighbours of one bucket go in one batch, so rows are best sorted by it.

        Raises:
            EncoderOverloaded: Too much waits already; nothing of it was begun.
        """
        if not rows:
            return []
        request = _Request(rows, lane)
        with self._lock:
            if lane == "interactive" and self._queues[lane] and self._waiting(lane) + len(rows) > self._most_waiting:
                raise EncoderOverloaded("more is to be embedded than the model keeps up with; try again later")
            self._queues[lane].append(request)
            if self._leader is None:
                self._leader = request
        if self._leader is not request:
            request.turn.wait()
        if self._leader is request:
            try:
                while not request.is_answered:
                    self._run_next()
            finally:  # else nobody would run the tower any more
                self._hand_over(request)
        if request.error:
            raise request.error
        return request.vectors

    def waiting(self, lane: Lane) -> int:
        """Rows that wait in a lane."""
        with self._lock:
            return self._waiting(lane)

    def _waiting(self, lane: Lane) -> int:
        return sum(len(request.rows) - request.taken for request in self._queues[lane])

    def _run_next(self) -> None:
        with self._lock:
            batch = self._take()
        try:
            vectors = self._run(batch.rows)
        except BaseException as error:
            self._fail(batch, error)
            return
        start = 0
        for request, part in batch.parts:
            request.vectors.extend(vectors[start : start + len(part)])
            start += len(part)
            if request.is_answered:
                request.turn.set()

    def _take(self) -> _Batch:
        """The rows to run next: of the lane whose turn it is, and of the bucket of the one that waited longest."""
        lane = self._next_lane()
        queue, left = self._queues[lane], self._largest[lane]
        bucket = self._bucket(queue[0].rows[queue[0].taken])
        parts: list[tuple[_Request, Sequence[Row]]] = []
        for request in list(queue):
            rows = request.rows[request.taken : request.taken + left]
            part = list(takewhile(lambda row: self._bucket(row) == bucket, rows))
            if part:
                parts.append((request, part))
                request.taken += len(part)
                left -= len(part)
            if request.taken == len(request.rows):
                queue.remove(request)
            if not left:
                break
        return _Batch(lane, parts)

    def _next_lane(self) -> Lane:
        bulk_waits = bool(self._queues["bulk"])
        if self._queues["interactive"] and not (bulk_waits and self._interactive_in_a_row >= BULK_TURN):
            self._interactive_in_a_row += 1
            return "interactive"
        self._interactive_in_a_row = 0
        return "bulk"

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        with self._lock:
            for request, _ in batch.parts:
                request.error = error
                if request in self._queues[request.lane]:
                    self._queues[request.lane].remove(request)
                request.turn.set()

    def _hand_over(self, request: _Request) -> None:
        with self._lock:
            if request in self._queues[request.lane]:  # it failed before all of it was taken
                self._queues[request.lane].remove(request)
            queue = self._queues["interactive"] or self._queues["bulk"]
            self._leader = queue[0] if queue else None
            if self._leader:
                self._leader.turn.set()
