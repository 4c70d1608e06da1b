"""`SearchBatcher`: searches that come while others are answered wait for them, and are then answered together."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from app.observation.searches import ObserveSearches
from indexer.collection import Collection
from indexer.types import SearchOutcome, SearchRequest, SearchResult
from models.batching import is_abandoned, may_divide
from models.errors import EncoderOverloaded, RequestAbandoned

LARGEST = 32
"""Searches of a group: more are answered hardly faster, and each waits for the last of them."""
MOST_WAITING = 1024
"""Searches that may wait before more are refused."""
COMPANY_S = 0.05
"""How long a search waits at most, while a thread is idle, for others to be answered with: about as long as a group.
Beside a group that is answered, and once more behind it."""
RETURN_SHARE = 0.5
"""Of the time that a group took, in which those who were there are expected to ask again."""

T = TypeVar("T")


class _Answer(NamedTuple):
    result: SearchResult
    finished: Any
    """What was made of it for the client."""


@dataclass(eq=False)
class _Request:
    """A search that waits, or is answered."""

    collection: Collection
    search: SearchRequest
    finish: Callable[[SearchResult], Any]
    answer: "asyncio.Future[_Answer]"
    is_abandoned: Callable[[], bool] = field(default_factory=is_abandoned.get)
    context: Context = field(default_factory=copy_context)
    came: float = field(default_factory=time.perf_counter)

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.answer.cancelled() or self.is_abandoned()

    def end(self, outcome: _Answer | Exception) -> None:
        """Tell who waits, from any thread."""
        with suppress(RuntimeError):  # his event loop has ended, and he with it
            self.answer.get_loop().call_soon_threadsafe(self._end, outcome)

    def _end(self, outcome: _Answer | Exception) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class _Crowd(NamedTuple):
    """As many as were there when a group ended: those who were answered, and those who waited."""

    collection: str
    """Its name, which keeps nothing of it in memory."""
    size: int
    until: float
    """When no more are waited for."""


class SearchBatcher:
    """In front of all collections: each of its threads answers a group of searches at a time. Thread-safe.

    Args:
        count: Told of searches that were answered together.
        tell: Told of each, in the context of the request that asked for it.
        parallel: Threads.
    """

    def __init__(self, count: ObserveSearches, tell: ObserveSearches, parallel: int) -> None:
        self._count, self._tell = count, tell
        self._changes = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._under_way: list[int] = []
        """Sizes of the groups that are answered now."""
        self._crowd: _Crowd | None = None
        """Behind the group that ended last."""
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f"search_{n}", daemon=True) for n in range(parallel)]
        for thread in self._threads:
            thread.start()

    def run(self, collection: Collection, searches: Sequence[SearchRequest]) -> list[SearchOutcome]:
        """Search in this thread, whatever waits; see `Collection.search_batch`."""
        outcomes = collection.search_batch(searches)
        self._count(collection.name, searches, outcomes)
        self._tell(collection.name, searches, outcomes)
        return outcomes

    def run_one(self, collection: Collection, search: SearchRequest) -> SearchResult:
        """Search in this thread, whatever waits; see `Collection.search`."""
        [outcome] = self.run(collection, [search])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def search(self, collection: Collection, search: SearchRequest, finish: Callable[[SearchResult], T]) -> T:
        """Search together with what others ask of the collection meanwhile; gives what `finish` makes of the result.

        A search begins at once where none is answered, nor was a moment ago. Beside a group that is answered, an idle
        thread takes what waits when it is a third of that; behind the last that ended, when as many wait of this
        collection as were there; or when it has waited for long enough. So groups are few and large, and take turns.

        All of a group wait for its slowest, so this is for short ones; see `indexer.search.searcher.is_short`.

        Args:
            finish: Called in the thread that searched.

        Raises:
            EncoderOverloaded: Too many wait already.
            RequestAbandoned: The client did not wait.
            Whatever else `Collection.search` raises.
        """
        request = _Request(collection, search, finish, asyncio.get_running_loop().create_future())
        self._put(request)
        answer = await request.answer
        self._tell(collection.name, [search], [answer.result])
        finished: T = answer.finished
        return finished

    @property
    def waiting(self) -> int:
        """Searches that wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Answer what waits, and end; what is asked for later is refused."""
        with self._changes:
            self._closed = True
            self._changes.notify_all()
        for thread in self._threads:
            thread.join()

    def _put(self, request: _Request) -> None:
        with self._changes:
            if len(self._waiting) >= MOST_WAITING:
                self._let_go()
            if self._closed or len(self._waiting) >= MOST_WAITING:
                raise EncoderOverloaded("more is searched for than can be answered soon; try again later")
            self._waiting.append(request)
            self._changes.notify()

    def _work(self) -> None:
        while group := self._take():
            began = time.perf_counter()
            # Its first one's context: lines that are logged meanwhile tell of a request that is answered.
            outcomes = group[0].context.copy().run(self._answer, group)
            with self._changes:  # before they are told: who then asks again is not counted twice
                self._under_way.remove(len(group))
                self._let_go()
                self._crowd = self._crowd_behind(group, began)
                self._changes.notify_all()
            for request, outcome in zip(group, outcomes, strict=True):
                request.end(outcome)

    def _take(self) -> list[_Request]:
        """What waits for one collection; nothing at the end."""
        with self._changes:
            self._let_go()
            while not self._closed and (wait_s := self._wait_s()) > 0:
                self._changes.wait(wait_s)
                self._let_go()
            if not self._waiting:
                return []
            collection = self._waiting[0].collection
            of_it = (request for request in self._waiting if request.collection is collection)
            taken = dict.fromkeys(islice(of_it, LARGEST))
            self._waiting = deque(request for request in self._waiting if request not in taken)
            self._under_way.append(len(taken))
            return list(taken)

    def _wait_s(self) -> float:
        """How long a thread is to stay idle, if nothing else comes."""
        if not self._waiting:
            return threading.TIMEOUT_MAX
        first = self._waiting[0]
        company = self._company(first.collection)
        if self._under_way:
            wanted, until = min(self._under_way) / 3, first.came + COMPANY_S
        elif self._crowd and self._crowd.collection == first.collection.name and company == len(self._waiting):
            _, wanted, until = self._crowd
        else:
            return 0.0
        return 0.0 if company >= wanted else until - time.perf_counter()

    def _crowd_behind(self, group: Sequence[_Request], began: float) -> _Crowd:
        ended, collection = time.perf_counter(), group[0].collection
        size = min(LARGEST, len(group) + self._company(collection))
        return _Crowd(collection.name, size, ended + min(COMPANY_S, RETURN_SHARE * (ended - began)))

    def _company(self, collection: Collection) -> int:
        """How many wait for it."""
        return sum(request.collection is collection for request in self._waiting)

    def _let_go(self) -> None:
        """Of those who wait, those that nobody waits for."""
        gone = dict.fromkeys(request for request in self._waiting if request.is_gone)
        if gone:
            self._waiting = deque(request for request in self._waiting if request not in gone)
        for request in gone:
            request.end(RequestAbandoned("the client did not wait for the answer"))

    def _answer(self, group: Sequence[_Request]) -> list[_Answer | Exception]:
        """What became of each; where a group fails in a way that nobody foresaw, each is answered by itself."""
        began = time.perf_counter()
        is_abandoned.set(lambda: all(request.is_gone for request in group))
        may_divide.set(lambda: len(self._under_way) < len(self._threads))
        try:
            outcomes = group[0].collection.search_batch([request.search for request in group])
            waited = [1000 * (began - request.came) for request in group]
            outcomes = [_having_waited(outcome, ms) for outcome, ms in zip(outcomes, waited, strict=True)]
            self._count(group[0].collection.name, [request.search for request in group], outcomes)
            return [_finish(request, outcome) for request, outcome in zip(group, outcomes, strict=True)]
        except BaseException as error:  # a panic of tokenizers is no Exception, and must not end this thread
            if len(group) > 1:
                return [answer for request in group for answer in self._answer([request])]
            return [error if isinstance(error, Exception) else RuntimeError(repr(error))]


def _having_waited(outcome: SearchOutcome, milliseconds: float) -> SearchOutcome:
    if isinstance(outcome, Exception):
        return outcome
    return replace(outcome, took=outcome.took._replace(total=outcome.took.total + milliseconds))


def _finish(request: _Request, outcome: SearchOutcome) -> _Answer | Exception:
    return outcome if isinstance(outcome, Exception) else _Answer(outcome, request.finish(outcome))
