"""`Batcher`: what arrives while a tower is busy goes through it together, and what people wait for goes first.

Nobody waits for a batch to fill. Whoever finds the tower idle runs it, in his own thread, so that a lone request costs
no hand-over; what arrives meanwhile waits, and the first of those who wait runs the next batch for all of them.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.errors import EncoderOverloaded, RequestAbandoned
from models.lanes import Lane, Lanes

Row = NDArray[Any]

BULK_TURN = 4
"""After so many interactive batches in a row comes one of the bulk lane, if one waits."""

STEP_S = 0.03
"""How long bulk work runs a tower at a time: who comes meanwhile shares the processor with it for no longer."""
FIRST_STEP = 4
"""Rows, until it is known how long they take."""

is_abandoned: ContextVar[Callable[[], bool]] = ContextVar("is_abandoned", default=lambda: False)
"""Tells whether nobody waits any more for what is asked for in this context; it is then not embedded."""

Observe: TypeAlias = Callable[[Lane, int, Sequence[float]], None]
"""Told of each batch its lane, its rows, and how many seconds each of its requests waited for it."""


def ignore(lane: Lane, rows: int, waits: Sequence[float]) -> None:
    """Nobody observes."""


@dataclass(eq=False)
class _Request:
    rows: Sequence[Row]
    lane: Lane
    is_abandoned: Callable[[], bool] = field(default_factory=is_abandoned.get)
    came: float = field(default_factory=time.monotonic)
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
        largest: Most rows of a batch.
        most_waiting: Rows of the interactive lane that may wait.
        lanes: Those of the process.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Row]], NDArray[np.float32]],
        *,
        bucket: Callable[[Row], int] = lambda row: 0,
        largest: int,
        most_waiting: int,
        lanes: Lanes,
        observe: Observe = ignore,
    ) -> None:
        self._run, self._bucket, self._largest, self._most_waiting = run, bucket, largest, most_waiting
        self._lanes, self._observe = lanes, observe
        self._lock = threading.Lock()
        self._leader: _Request | None = None
        """Whose thread runs the tower; None while it is idle."""
        self._queues: dict[Lane, deque[_Request]] = {"interactive": deque(), "bulk": deque()}
        self._interactive_in_a_row = 0
        self._step = min(FIRST_STEP, largest)

    def __call__(self, rows: Sequence[Row], lane: Lane) -> list[NDArray[np.float32]]:
        """Run rows through the tower, beside those of others; gives a vector [dimension] for each.

        Neighbours of one bucket go in one batch, so rows are best sorted by it. Those of the bulk lane go in steps of
        about `STEP_S`, and give way before each.

        Raises:
            EncoderOverloaded: Too much waits already; nothing of it was begun.
            RequestAbandoned: Nobody waits for it any more.
        """
        if lane == "interactive":
            return self._ask(rows, lane) if rows else []
        vectors: list[NDArray[np.float32]] = []
        while len(vectors) < len(rows):
            self._lanes.give_way()
            vectors += self._ask(rows[len(vectors) : len(vectors) + self._step], lane)
        return vectors

    def _ask(self, rows: Sequence[Row], lane: Lane) -> list[NDArray[np.float32]]:
        request = _Request(rows, lane)
        with self._lock:
            if lane == "interactive" and self._queues[lane] and self._waiting(lane) + len(rows) > self._most_waiting:
                self._let_go()
                if self._waiting(lane) + len(rows) > self._most_waiting:
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
            self._let_go()
            if not any(self._queues.values()):
                return
            batch = self._take()
        began = time.monotonic()
        try:
            vectors = self._run(batch.rows)
        except BaseException as error:
            self._fail(batch, error)
            return
        self._note(batch, began)
        start = 0
        for request, part in batch.parts:
            request.vectors.extend(vectors[start : start + len(part)])
            start += len(part)
            if request.is_answered:
                request.turn.set()

    def _let_go(self) -> None:
        """Of those who wait, those that nobody waits for."""
        for queue in self._queues.values():
            for request in [request for request in queue if request.is_abandoned()]:
                queue.remove(request)
                request.error = RequestAbandoned("the client did not wait for the answer")
                request.turn.set()

    def _note(self, batch: _Batch, began: float) -> None:
        if batch.lane == "bulk":
            a_row = max(time.monotonic() - began, 1e-6) / len(batch.rows)
            self._step = min(max(1, round(STEP_S / a_row)), 2 * self._step, self._largest)
        self._observe(batch.lane, len(batch.rows), [began - request.came for request, _ in batch.parts])

    def _take(self) -> _Batch:
        """The rows to run next: of the lane whose turn it is, and of the bucket of the one that waited longest."""
        lane = self._next_lane()
        queue, left = self._queues[lane], self._largest
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
