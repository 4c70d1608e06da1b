"""`Searching`: what answers searches, those together that come while others are answered."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from app.observation.searches import ObserveSearches
from indexer.collection import Collection
from indexer.types import SearchOutcome, SearchRequest, SearchResult
from models.batching import is_abandoned
from models.errors import EncoderOverloaded, RequestAbandoned

MOST_TOGETHER = 32
"""More are answered hardly faster, and each waits for the last of them."""
MOST_WAITING = 1024
"""Searches that may wait before more are refused."""


@dataclass(eq=False)
class _Asked:
    """A search that waits, or is answered."""

    collection: Collection
    request: SearchRequest
    outcome: "asyncio.Future[SearchOutcome]"
    _is_abandoned: Callable[[], bool] = field(default_factory=is_abandoned.get)

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.outcome.cancelled() or self._is_abandoned()

    def end(self, outcome: SearchOutcome | Exception) -> None:
        """Tell who waits, on his event loop; he may have gone."""
        if self.outcome.done():
            return
        if isinstance(outcome, SearchResult):
            self.outcome.set_result(outcome)
        else:
            self.outcome.set_exception(outcome)


class Searching:
    """Answers searches, and tells of them.

    Args:
        observe: Told of searches that were answered.
        parallel: Groups of searches that are answered at the same time.
    """

    def __init__(self, observe: ObserveSearches, parallel: int) -> None:
        self._observe = observe
        self._lock = threading.Lock()
        self._waiting: deque[_Asked] = deque()
        self._free = parallel
        self._threads = ThreadPoolExecutor(parallel, "search")

    def answer(self, collection: Collection, requests: Sequence[SearchRequest]) -> list[SearchOutcome]:
        """Search in this thread; see `Collection.search_batch`."""
        outcomes = collection.search_batch(requests)
        self._observe(collection.name, requests, outcomes)
        return outcomes

    def answer_one(self, collection: Collection, request: SearchRequest) -> SearchResult:
        """Search in this thread; see `Collection.search`."""
        [outcome] = self.answer(collection, [request])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def answer_soon(self, collection: Collection, request: SearchRequest) -> SearchResult:
        """Search in a thread, together with what others ask of the collection meanwhile.

        Nobody waits for company: a search begins at once where a thread is free, and what comes until then begins next.
        All of them wait for the slowest, so this is for short ones; see `indexer.search.searcher.is_short`.

        Raises:
            EncoderOverloaded: Too many wait already.
            RequestAbandoned: The client did not wait.
            Whatever else `Collection.search` raises.
        """
        loop = asyncio.get_running_loop()
        asked = _Asked(collection, request, loop.create_future())
        self._put(asked, loop)
        found = await asked.outcome
        assert isinstance(found, SearchResult)  # all else is raised
        self._observe(collection.name, [request], [found])
        return found

    def close(self) -> None:
        """Wait for what is being answered."""
        self._threads.shutdown()

    def _put(self, asked: _Asked, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise EncoderOverloaded("more is searched for than can be answered soon; try again later")
            self._waiting.append(asked)
            if not self._free:
                return
            self._free -= 1
        self._threads.submit(self._work, loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what waits, until nothing does."""
        while together := self._take():
            ended = list(zip(together, _outcomes(together), strict=True))
            loop.call_soon_threadsafe(_end_all, ended)

    def _take(self) -> list[_Asked]:
        """The share of one thread in what waits for one collection; with nothing the thread is free."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return []
            most = min(MOST_TOGETHER, -(-len(self._waiting) // (1 + self._free)))
            collection = self._waiting[0].collection
            of_it = (asked for asked in self._waiting if asked.collection is collection)
            taken = dict.fromkeys(islice(of_it, most))
            self._waiting = deque(asked for asked in self._waiting if asked not in taken)
            return list(taken)


def _outcomes(together: Sequence[_Asked]) -> list[SearchOutcome | Exception]:
    """What became of each; one that fails in a way that nobody foresaw fails all."""
    gone = RequestAbandoned("the client did not wait for the answer")
    there = [asked for asked in together if not asked.is_gone]
    token = is_abandoned.set(lambda: all(asked.is_gone for asked in there))
    try:
        found = iter(together[0].collection.search_batch([asked.request for asked in there]))
        return [next(found) if asked in there else gone for asked in together]
    except Exception as error:
        return [error] * len(together)
    finally:
        is_abandoned.reset(token)


def _end_all(ended: Sequence[tuple[_Asked, SearchOutcome | Exception]]) -> None:
    for asked, outcome in ended:
        asked.end(outcome)
