"""Stages of a pipeline: each runs in a thread of its own and hands over through a bounded queue."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

log = logging.getLogger(__name__)

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_POLL_S = 0.1
"""How soon a stage that waits sees that all of them are to stop."""


class Stopped(Exception):
    """The pipeline ended, and with it what runs beside it."""


class _End:
    """After the last item."""


class _Raised:
    """Instead of the next item."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Stages:
    """The threads of one pipeline; leaving the context stops them and waits for them.

    Each stage is an iterator over the one before it, so a pipeline reads from top to bottom, and an error of any stage
    is raised where the last one is read.

    Args:
        check: Called by a stage that waits; what it raises ends the pipeline.
    """

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self._check = check
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._pools: list[ThreadPoolExecutor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for thread in self._threads:
            thread.join()
        for pool in self._pools:
            pool.shutdown(wait=True)

    def background(
        self,
        upstream: Iterable[_Out],
        ahead: int,
        name: str,
        *,
        weigh: Callable[[_Out], int] = lambda _: 0,
        budget: int = 1,
    ) -> Iterator[_Out]:
        """The same items, made in a thread of their own.

        Args:
            ahead: How many may wait.
            weigh: What an item weighs, e.g. its bytes; while those that wait weigh `budget`, no other joins them.
        """
        queue: Queue[Any] = _Handover(ahead, weigh, budget)
        self._start(lambda: self._fill(queue, upstream), name)
        return self._drain(queue)

    def parallel(
        self,
        function: Callable[[_In], _Out],
        upstream: Iterable[_In],
        *,
        workers: int,
        waits: Callable[[_In], bool] = lambda _: True,
        ahead: int,
        weigh: Callable[[_In | _Out], int] = lambda _: 0,
        budget: int = 1,
    ) -> Iterator[_Out]:
        """`function` of each item, in order, by several threads.

        Args:
            waits: Whether an item is for them. What needs nobody but this machine is done without a hand-over, as
                many threads that are briefly awake keep those who search from Python's lock.
            ahead: How many items may be begun before the oldest is taken.
            weigh: What an item and its result weigh, e.g. their bytes; while all that wait weigh `budget`, no other
                is begun.
        """
        pool = ThreadPoolExecutor(workers)
        self._pools.append(pool)
        waiting: _Waiting[_In, _Out] = _Waiting(weigh)
        for item in upstream:
            while len(waiting) and (len(waiting) >= ahead or waiting.weight >= budget):
                yield waiting.take()
            waiting.add(item, pool.submit(function, item) if waits(item) else _done(function, item))
        while len(waiting):
            yield waiting.take()

    def aside(self, task: Callable[[Callable[[], None]], None], name: str) -> None:
        """Run something beside the stages, which may fail without them.

        Args:
            task: Calls what it is given now and then: it raises `Stopped` when the context is left.
        """

        def run() -> None:
            try:
                task(self._go_on)
            except Stopped:
                pass
            except Exception:
                log.exception("%s failed", name)

        self._start(run, name)

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _start(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _fill(self, queue: "Queue[Any]", upstream: Iterable[Any]) -> None:
        try:
            for item in upstream:
                if not self._put(queue, item):
                    return
            self._put(queue, _End())
        except BaseException as error:
            self._put(queue, _Raised(error))

    def _put(self, queue: "Queue[Any]", item: object) -> bool:
        while not self._stop.is_set():
            try:
                queue.put(item, timeout=_POLL_S)
                return True
            except Full:
                continue
        return False

    def _drain(self, queue: "Queue[Any]") -> Iterator[Any]:
        while not self._stop.is_set():
            try:
                item = queue.get(timeout=_POLL_S)
            except Empty:
                self._check()
                continue
            if isinstance(item, _End):
                return
            if isinstance(item, _Raised):
                raise item.error
            yield item


def _done(function: Callable[[_In], _Out], item: _In) -> "Future[_Out]":
    """What comes of it, now."""
    future: Future[_Out] = Future()
    try:
        future.set_result(function(item))
    except Exception as error:
        future.set_exception(error)
    return future


class _Handover(Queue[Any]):
    """A queue that is also full while its items weigh `budget`."""

    def __init__(self, ahead: int, weigh: Callable[[Any], int], budget: int) -> None:
        self._weigh, self._budget, self._weight = weigh, budget, 0
        super().__init__(ahead)

    def _put(self, item: object) -> None:
        self._weight += self._weight_of(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self._weight -= self._weight_of(item)
        return item

    def _qsize(self) -> int:
        return self.maxsize if self._weight >= self._budget else super()._qsize()

    def _weight_of(self, item: object) -> int:
        return 0 if isinstance(item, (_End, _Raised)) else self._weigh(item)


class _Waiting(Generic[_In, _Out]):
    """Results in order, some not there yet, and the weight of all: of an item until it is done, then of its result."""

    def __init__(self, weigh: Callable[[_In | _Out], int]) -> None:
        self._weigh = weigh
        self._futures: deque[Future[_Out]] = deque()
        self._lock = threading.Lock()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._futures)

    def add(self, item: _In, future: "Future[_Out]") -> None:
        before = self._weigh(item)
        self._change(before)
        self._futures.append(future)
        future.add_done_callback(lambda done: self._change(self._weight_of(done) - before))

    def take(self) -> _Out:
        result = self._futures.popleft().result()
        self._change(-self._weigh(result))
        return result

    def _weight_of(self, future: "Future[_Out]") -> int:
        return 0 if future.cancelled() or future.exception() is not None else self._weigh(future.result())

    def _change(self, weight: int) -> None:
        with self._lock:
            self.weight += weight
