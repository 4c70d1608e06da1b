"""`BulkBatcher`: work that nobody waits for goes through a tower in steps, which give way to who is served."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from models.batching import Observe, Request, Row, Vector, ignore
from models.lanes import Lanes

STEP_S = 0.03
"""How long bulk work runs a tower at a time: who comes meanwhile shares the processor with it for no longer."""
QUIET_STEP_S = 0.25
"""The same while nobody was served lately: large models are faster in batches, and only the first to come shares it."""
FIRST_STEP = 4
"""Rows, until it is known how long they take."""


class BulkBatcher:
    """In front of one tower for work that nobody waits for: each run is a step, which gives way to who is served.

    As many runs go on at once as `lanes` lets, and none waits for another to end. Requests take turns.

    Args:
        run, bucket, largest, parallel: As of `models.batching.Batcher`.
        cores: That a run keeps busy.
        observe: Told how long each run waited for its step.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Row]], NDArray[np.float32]],
        lanes: Lanes,
        *,
        bucket: Callable[[Row], int] = lambda row: 0,
        largest: int,
        parallel: int = 1,
        cores: int = 1,
        observe: Observe = ignore,
    ) -> None:
        self._run, self._lanes, self._bucket, self._largest = run, lanes, bucket, largest
        self._parallel, self._cores, self._observe = parallel, cores, observe
        self._lock = threading.Lock()
        self._queue: deque[Request] = deque()
        """Those of which rows wait."""
        self._threads = ThreadPoolExecutor(parallel, "bulk")
        self._step = FIRST_STEP
        """Rows of the last run."""
        self._row_s: float | None = None
        """Seconds that it took for each."""

    def __call__(self, rows: Sequence[Row]) -> list[Vector]:
        """Run rows through the tower; gives a vector [dimension] for each.

        Neighbours of one bucket go in one run, so rows are best sorted by it.
        """
        if not rows:
            return []
        request = Request(rows, [self._bucket(row) for row in rows])
        with self._lock:
            self._queue.append(request)
        try:
            self._call_threads(len(rows))
            request.news.wait()
        except BaseException as error:  # Ctrl-C
            self._end(request, error)
        if request.error:
            raise request.error
        return [request.vectors[place] for place in range(len(rows))]

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        with self._lock:
            return sum(request.left for request in self._queue)

    def _call_threads(self, rows: int) -> None:
        try:
            for _ in range(min(self._parallel, rows)):
                self._threads.submit(self._work)
        except RuntimeError:  # a machine may have no more threads to give
            self._work()

    def _work(self) -> None:
        """Run what waits, in steps, until nothing does."""
        while self._queue:
            asked = time.monotonic()
            with self._lanes.step(self._cores):
                self._run_next(time.monotonic() - asked)

    def _run_next(self, waited_s: float) -> None:
        with self._lock:
            if not self._queue:
                return
            request = self._queue.popleft()
            places = self._take(request)
            if request.left:
                self._queue.append(request)
        began = time.monotonic()
        try:
            vectors = self._run([request.rows[place] for place in places])
            self._row_s = max(time.monotonic() - began, 1e-6) / len(places)
            request.vectors.update(zip(places, vectors, strict=True))
            self._observe(len(places), [waited_s])
        except BaseException as error:
            self._end(request, error)
        if request.is_answered:
            request.news.set()

    def _take(self, request: Request) -> range:
        """The places of the rows to run next: of one bucket, as many as a step takes."""
        if self._row_s is not None:
            step_s = QUIET_STEP_S if self._lanes.is_quiet else STEP_S
            self._step = min(max(1, round(step_s / self._row_s)), 2 * self._step, self._largest)
        first = end = request.taken
        most = min(first + self._step, len(request.rows))
        while end < most and request.buckets[end] == request.buckets[first]:
            end += 1
        request.taken = end
        return range(first, end)

    def _end(self, request: Request, error: BaseException) -> None:
        """Nothing more of it is run."""
        request.error = error
        with self._lock, suppress(ValueError):  # another run may have taken the last of it
            self._queue.remove(request)
