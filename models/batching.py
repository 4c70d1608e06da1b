"""`Batcher`: what arrives while all runs of a tower are busy goes through it together.

Nobody waits for a batch to fill. Whoever finds a run free takes it, in his own thread, so that a lone request costs no
hand-over; what arrives meanwhile waits, and the first of those who wait runs the next batch for all of them.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.errors import EncoderOverloaded, RequestAbandoned

Row = NDArray[Any]
Vector = NDArray[np.float32]
Embed: TypeAlias = Callable[[Sequence[Row]], list[Vector]]
"""Gives a vector [dimension] for each row."""

is_abandoned: ContextVar[Callable[[], bool]] = ContextVar("is_abandoned", default=lambda: False)
"""Tells whether nobody waits any more for what is asked for in this context; it is then not embedded."""

may_divide: ContextVar[Callable[[], bool]] = ContextVar("may_divide", default=lambda: True)
"""Tells whether cores may be idle, so that what is asked for in this context may be divided among them."""

Observe: TypeAlias = Callable[[int, Sequence[float]], None]
"""Told of each batch its rows, and how many seconds each of its requests waited for it."""


def ignore(rows: int, waits: Sequence[float]) -> None:
    """Nobody observes."""


@dataclass(eq=False)
class Request:
    """Rows that somebody asked for, as far as they have come."""

    rows: Sequence[Row]
    buckets: Sequence[int]
    is_abandoned: Callable[[], bool] = field(default_factory=is_abandoned.get)
    may_divide: Callable[[], bool] = field(default_factory=may_divide.get)
    came: float = field(default_factory=time.monotonic)
    taken: int = 0
    vectors: dict[int, Vector] = field(default_factory=dict)
    """By the place of their row: batches of one request may end in any order."""
    error: BaseException | None = None
    leads: bool = False
    """Whether its thread runs batches, or is to."""
    news: threading.Event = field(default_factory=threading.Event)
    """Set when it is answered, and when its thread is to lead."""

    @property
    def is_answered(self) -> bool:
        return self.error is not None or len(self.vectors) == len(self.rows)

    @property
    def left(self) -> int:
        return len(self.rows) - self.taken


_Batch: TypeAlias = list[tuple[Request, range]]
"""Requests with the places of those of their rows that are in it."""


class Batcher:
    """In front of one tower. Thread-safe.

    Args:
        run: Runs rows through the tower: float32 [n, dimension].
        bucket: Rows of which it gives the same may be in one batch: texts that are about as long.
        largest: Most rows of a batch.
        parallel: Batches that may run at once. Each takes a part of what waits, as far as others are free to help; see
            `may_divide`.
        most_waiting: Rows that may wait; None sets no bound.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Row]], NDArray[np.float32]],
        *,
        bucket: Callable[[Row], int] = lambda row: 0,
        largest: int,
        parallel: int = 1,
        most_waiting: int | None = None,
        observe: Observe = ignore,
    ) -> None:
        self._run, self._bucket, self._largest, self._most_waiting = run, bucket, largest, most_waiting
        self._observe, self.parallel = observe, parallel
        self._lock = threading.Lock()
        self._free = parallel
        """Batches that could begin now."""
        self._queue: deque[Request] = deque()
        self._helpers = ThreadPoolExecutor(parallel, "batch")
        """Of large requests, whose own thread runs one batch at a time."""

    def __call__(self, rows: Sequence[Row]) -> list[Vector]:
        """Run rows through the tower, beside those of others; gives a vector [dimension] for each.

        Neighbours of one bucket go in one batch, so rows are best sorted by it.

        Raises:
            EncoderOverloaded: Too much waits already; nothing of it was begun.
            RequestAbandoned: Nobody waits for it any more.
        """
        if not rows:
            return []
        request = Request(rows, [self._bucket(row) for row in rows])
        with self._lock:
            self._check_room(len(rows))
            self._queue.append(request)
            if self._free:
                self._free -= 1
                request.leads = True
        self._await(request)
        if request.error:
            raise request.error
        return [request.vectors[place] for place in range(len(rows))]

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        with self._lock:
            return self._waiting()

    def _await(self, request: Request) -> None:
        """Until a request is answered; meanwhile its thread leads when it is its turn."""
        is_answered = False
        while not is_answered:
            is_answered = request.is_answered  # looked at first: what is answered is not made to lead any more
            if request.leads:
                self._lead(request)
            elif not is_answered:
                request.news.wait()
                request.news.clear()

    def _waiting(self) -> int:
        return sum(request.left for request in self._queue)

    def _check_room(self, rows: int) -> None:
        if self._most_waiting is None or not self._queue or self._waiting() + rows <= self._most_waiting:
            return
        self._let_go()
        if self._waiting() + rows > self._most_waiting:
            raise EncoderOverloaded("more is to be embedded than the model keeps up with; try again later")

    def _lead(self, request: Request) -> None:
        """Run batches until none is left that a request waits for, but for those that others run already."""
        try:
            while request.left and not request.error and self._run_next():
                pass
        finally:  # else nobody would run the tower any more
            with self._lock:
                request.leads = False
                self._hand_over()

    def _help(self) -> None:
        """Run what the threads of those who wait do not come to."""
        try:
            self._run_next()
        finally:
            with self._lock:
                self._hand_over()

    def _hand_over(self) -> None:
        """Somebody else may run a batch: the first who waits and runs none, else whoever comes next."""
        idle = next((request for request in self._queue if not request.leads), None)
        if idle:
            idle.leads = True
            idle.news.set()
        elif any(request.may_divide() for request in self._queue) and self._call_helper():
            return
        else:
            self._free += 1

    def _call_helper(self) -> bool:
        """Whether there is one: a machine may have no more threads to give."""
        try:
            self._helpers.submit(self._help)
        except RuntimeError:
            return False
        return True

    def _run_next(self) -> bool:
        """Run a batch; gives whether there was one."""
        with self._lock:
            self._let_go()
            if not self._queue:
                return False
            batch = self._take()
            if self._queue and self._free:
                self._free -= 1
                self._hand_over()
        began = time.monotonic()
        try:
            self._answer(batch, self._run([request.rows[place] for request, places in batch for place in places]))
        except BaseException as error:
            self._fail(batch, error)
        self._observe(sum(len(places) for _, places in batch), [began - request.came for request, _ in batch])
        return True

    def _answer(self, batch: _Batch, vectors: NDArray[np.float32]) -> None:
        of_rows = iter(vectors)
        with self._lock:
            for request, places in batch:
                request.vectors.update(zip(places, of_rows, strict=False))
                if request.is_answered:
                    request.news.set()

    def _let_go(self) -> None:
        """Of those who wait, those that nobody waits for."""
        for request in [request for request in self._queue if request.is_abandoned()]:
            self._queue.remove(request)
            request.error = RequestAbandoned("the client did not wait for the answer")
            request.news.set()

    def _take(self) -> _Batch:
        """The rows to run next, of the bucket of the one that waited longest."""
        first = self._queue[0]
        parts = 1 + self._free if first.may_divide() else 1
        room = min(self._largest, -(-self._waiting() // parts))
        bucket = first.buckets[first.taken]
        batch: _Batch = []
        for request in list(self._queue):
            end = request.taken
            while end < len(request.rows) and end - request.taken < room and request.buckets[end] == bucket:
                end += 1
            if end > request.taken:
                batch.append((request, range(request.taken, end)))
                room -= end - request.taken
                request.taken = end
            if not request.left:
                self._queue.remove(request)
            if not room:
                break
        return batch

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        with self._lock:
            for request, _ in batch:
                request.error = error
                if request in self._queue:
                    self._queue.remove(request)
                request.news.set()
