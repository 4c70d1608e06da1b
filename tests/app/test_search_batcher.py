"""`SearchBatcher`: what comes while others are answered is answered together, each with its own outcome."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeAlias, cast

import pytest
from fastapi.testclient import TestClient

from app import search_batcher
from app.observation.logs import request_id
from app.search_batcher import SearchBatcher
from indexer.collection import Collection
from indexer.errors import ItemNotFound
from indexer.search.searcher import is_short
from indexer.types import Plan, SearchOutcome, SearchRequest, SearchResult, Term, Took
from models.batching import is_abandoned, may_divide
from models.errors import EncoderOverloaded, RequestAbandoned
from tests.app.conftest import ITEMS, SEARCH

WAIT_S = 10
Found: TypeAlias = "asyncio.Task[str]"


class Panic(BaseException):
    """As Rust's of tokenizers, which is no `Exception` either."""


class Slow:
    """Stands for a collection whose searches last until they are let go; a result's model is what was asked for."""

    def __init__(self, name: str = "slow") -> None:
        self.name = name
        self.groups: list[list[str]] = []
        self.request_ids: list[str] = []
        self.may_divide: list[Callable[[], bool]] = []
        self.began, self.may_end = threading.Semaphore(0), threading.Semaphore(0)

    def search_batch(self, requests: Sequence[SearchRequest]) -> list[SearchOutcome]:
        texts = [request.terms[0].text or "" for request in requests]
        self.groups.append(texts)
        self.request_ids.append(request_id.get())
        self.may_divide.append(may_divide.get())
        self.began.release()
        assert self.may_end.acquire(timeout=WAIT_S)
        if "broken" in texts:
            raise OSError("the disk is gone")
        if "panic" in texts:
            raise Panic
        return [ItemNotFound("nothing of the kind") if text == "missing" else result(text) for text in texts]

    def let_go(self, groups: int = 1) -> None:
        self.may_end.release(groups)


def result(text: str) -> SearchResult:
    plan, took = Plan({}, None, 1, 0), Took(1.0, 1.0, 1.0, 3.0)
    return SearchResult([], 0, {}, 1, model=text, truncated=False, plan=plan, took=took)


def ask(batcher: SearchBatcher, slow: Slow, *texts: str) -> list[Found]:
    """Searches that are begun, each for one text; they find it."""
    searches = [SearchRequest((Term(text=text),)) for text in texts]
    collection = cast(Collection, slow)
    return [asyncio.create_task(batcher.search(collection, one, lambda found: found.model)) for one in searches]


async def held(batcher: SearchBatcher, slow: Slow) -> Found:
    """A search that is being answered, so that what comes now waits."""
    [first] = ask(batcher, slow, "first")
    assert await asyncio.to_thread(slow.began.acquire, timeout=WAIT_S)
    return first


async def waiting(batcher: SearchBatcher, count: int) -> None:
    """Until so many wait."""
    await asyncio.sleep(0)
    assert batcher.waiting == count


def run(play: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(play, WAIT_S)

    asyncio.run(bounded())


@pytest.fixture
def told() -> list[str]:
    """Texts of searches, groups counted first."""
    return []


@pytest.fixture
def batcher(told: list[str]) -> Iterator[SearchBatcher]:
    """With one thread."""

    def note(what: str) -> Any:
        return lambda name, asked, outcomes: told.append(f"{what} {' '.join(one.terms[0].text for one in asked)}")

    with closing(SearchBatcher(note("counted"), note("told"), 1)) as made:
        yield made


def test_what_comes_meanwhile_is_answered_together(batcher: SearchBatcher, told: list[str]) -> None:
    slow = Slow()

    async def play() -> None:
        first = await held(batcher, slow)
        others = ask(batcher, slow, "a", "missing", "b")
        await waiting(batcher, 3)
        slow.let_go(2)
        found = await asyncio.gather(first, *others, return_exceptions=True)
        assert (found[:2], found[3]) == (["first", "a"], "b")
        assert isinstance(found[2], ItemNotFound)

    run(play())
    assert slow.groups == [["first"], ["a", "missing", "b"]]
    assert sorted(told) == ["counted a missing b", "counted first", "told a", "told b", "told first"]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a group, others are waited for longer than a test may take."""
    monkeypatch.setattr(search_batcher, "RETURN_SHARE", 1e6)
    monkeypatch.setattr(search_batcher, "COMPANY_S", 100 * WAIT_S)


@pytest.mark.usefixtures("patient")
def test_behind_a_group_as_many_are_waited_for_as_were_there(batcher: SearchBatcher) -> None:
    slow = Slow()

    async def play() -> None:
        first = await held(batcher, slow)
        asked = ask(batcher, slow, "a")
        await waiting(batcher, 1)
        slow.let_go()
        await first
        await asyncio.sleep(0.05)
        assert batcher.waiting == 1
        asked += ask(batcher, slow, "b")
        slow.let_go()
        assert await asyncio.gather(*asked) == ["a", "b"]

    run(play())
    assert slow.groups == [["first"], ["a", "b"]]


@pytest.mark.usefixtures("patient")
def test_behind_a_group_nobody_of_another_collection_is_kept_waiting(batcher: SearchBatcher) -> None:
    slow, other = Slow(), Slow("other")

    async def play() -> None:
        first = await held(batcher, slow)
        asked = ask(batcher, slow, "a", "b")
        await waiting(batcher, 2)
        slow.let_go(2)
        other.let_go()
        await first
        asked += ask(batcher, other, "x")  # behind two that wait for a third, and then behind these two
        assert await asyncio.gather(*asked) == ["a", "b", "x"]

    run(play())
    assert (slow.groups, other.groups) == ([["first"], ["a", "b"]], [["x"]])


@pytest.mark.usefixtures("patient")
def test_behind_a_group_nobody_waits_for_those_who_left(batcher: SearchBatcher) -> None:
    slow = Slow()

    async def play() -> None:
        first = await held(batcher, slow)
        [gone, there] = ask(batcher, slow, "gone", "there")
        await waiting(batcher, 2)
        gone.cancel()
        slow.let_go(2)
        await first
        assert await asyncio.gather(there, *ask(batcher, slow, "again")) == ["there", "again"]

    run(play())
    assert slow.groups == [["first"], ["there", "again"]]


@pytest.mark.usefixtures("patient")
def test_behind_a_group_no_more_are_waited_for_than_are_answered_together(
    batcher: SearchBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_batcher, "LARGEST", 2)
    slow = Slow()

    async def play() -> None:
        first = await held(batcher, slow)
        asked = ask(batcher, slow, "a", "b")
        await waiting(batcher, 2)
        slow.let_go(2)
        assert await asyncio.gather(first, *asked) == ["first", "a", "b"]

    run(play())


@pytest.mark.parametrize(
    ("share", "most_s", "waits_s"), [(0.5, 100 * WAIT_S, 0.05), (1e6, 0.02, 0.02)], ids=["a share", "not for long"]
)
def test_who_does_not_come_back_is_not_waited_for_any_longer(
    share: float, most_s: float, waits_s: float, batcher: SearchBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_batcher, "RETURN_SHARE", share)
    monkeypatch.setattr(search_batcher, "COMPANY_S", most_s)
    slow = Slow()

    async def play() -> None:
        first = await held(batcher, slow)
        alone = ask(batcher, slow, "a")
        await asyncio.sleep(0.1)
        began = time.perf_counter()
        slow.let_go(2)
        await asyncio.gather(first, *alone)
        assert time.perf_counter() - began >= waits_s

    run(play())


@pytest.mark.usefixtures("patient")
def test_closing_waits_for_nobody_who_may_come_back(batcher: SearchBatcher) -> None:
    slow = Slow()

    async def play() -> None:
        first = await held(batcher, slow)
        alone = ask(batcher, slow, "a")
        await waiting(batcher, 1)
        slow.let_go(2)
        await first
        await asyncio.to_thread(batcher.close)
        assert await asyncio.gather(*alone) == ["a"]

    run(play())


@pytest.fixture
def pair() -> Iterator[SearchBatcher]:
    """With two threads."""
    with closing(SearchBatcher(lambda *_: None, lambda *_: None, 2)) as made:
        yield made


def test_a_thread_that_is_idle_waits_for_a_third_of_those_that_are_answered(
    pair: SearchBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_batcher, "COMPANY_S", WAIT_S)
    slow, other = Slow(), Slow()

    async def play() -> None:
        pair._under_way.append(6)  # stands for a group that does not end
        asked = [*ask(pair, slow, "a"), *ask(pair, other, "y")]
        await asyncio.sleep(0.05)
        assert pair.waiting == 2  # of two collections, and so not a third of six of one
        asked += ask(pair, slow, "b")
        assert await asyncio.to_thread(slow.began.acquire, timeout=WAIT_S)
        pair._under_way.remove(6)
        slow.let_go()
        other.let_go()
        assert await asyncio.gather(*asked) == ["a", "y", "b"]

    run(play())
    assert slow.groups == [["a", "b"]]
    assert other.groups == [["y"]]


def test_texts_of_a_group_are_divided_among_cores_unless_all_threads_answer_one(pair: SearchBatcher) -> None:
    slow = Slow()

    async def play() -> None:
        first = await held(pair, slow)
        [second] = ask(pair, slow, "second")
        assert await asyncio.to_thread(slow.began.acquire, timeout=WAIT_S)
        assert [may() for may in slow.may_divide] == [False, False]
        slow.let_go(1)
        await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        while len(pair._under_way) > 1:
            await asyncio.sleep(0.001)
        assert [may() for may in slow.may_divide] == [True, True]
        slow.let_go(1)
        await asyncio.gather(first, second)

    run(play())


def test_nobody_waits_for_company_for_long(pair: SearchBatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_batcher, "COMPANY_S", 0.1)
    slow = Slow()

    async def play() -> None:
        first = await held(pair, slow)
        slow.let_go()
        await first
        while pair._under_way:  # its thread comes to that after it has answered
            await asyncio.sleep(0.001)
        pair._under_way.append(4)  # stands for a group that does not end
        [alone] = ask(pair, slow, "alone")
        slow.let_go()
        assert await alone == "alone"
        pair._under_way.remove(4)

    began = time.perf_counter()
    run(play())
    assert time.perf_counter() - began >= 0.1


def test_groups_are_of_one_collection_and_not_too_large(
    batcher: SearchBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_batcher, "LARGEST", 2)
    one, other = Slow(), Slow()

    async def play() -> None:
        first = await held(batcher, one)
        searches = [*ask(batcher, one, "a"), *ask(batcher, other, "x"), *ask(batcher, one, "b", "c")]
        await waiting(batcher, 4)
        one.let_go(3)
        other.let_go()
        assert await asyncio.gather(first, *searches) == ["first", "a", "x", "b", "c"]

    run(play())
    assert (one.groups, other.groups) == ([["first"], ["a", "b"], ["c"]], [["x"]])


def test_what_nobody_waits_for_is_not_searched_for(batcher: SearchBatcher) -> None:
    slow, left = Slow(), threading.Event()

    async def play() -> None:
        first = await held(batcher, slow)
        token = is_abandoned.set(left.is_set)
        [gone] = ask(batcher, slow, "gone")
        is_abandoned.reset(token)
        there, cancelled = ask(batcher, slow, "there", "cancelled")
        await waiting(batcher, 3)
        left.set()
        cancelled.cancel()
        await asyncio.sleep(0)
        slow.let_go(2)
        found = await asyncio.gather(first, gone, there, return_exceptions=True)
        assert isinstance(found[1], RequestAbandoned)
        assert found[2] == "there"

    run(play())
    assert slow.groups == [["first"], ["there"]]


def test_more_than_may_wait_is_refused_but_for_those_that_are_gone(
    batcher: SearchBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_batcher, "MOST_WAITING", 1)
    slow, left = Slow(), threading.Event()

    async def play() -> None:
        first = await held(batcher, slow)
        token = is_abandoned.set(left.is_set)
        [waits] = ask(batcher, slow, "waits")
        is_abandoned.reset(token)
        await waiting(batcher, 1)
        [refused] = ask(batcher, slow, "refused")
        with pytest.raises(EncoderOverloaded):
            await refused
        left.set()
        [later] = ask(batcher, slow, "later")
        with pytest.raises(RequestAbandoned):
            await waits
        slow.let_go(2)
        assert await asyncio.gather(first, later) == ["first", "later"]

    run(play())


@pytest.mark.parametrize(("how", "error"), [("broken", OSError), ("panic", RuntimeError)])
def test_what_makes_a_group_fail_fails_alone(batcher: SearchBatcher, how: str, error: type[Exception]) -> None:
    slow = Slow()

    async def play() -> None:
        first = await held(batcher, slow)
        searches = ask(batcher, slow, "a", how, "b")
        await waiting(batcher, 3)
        slow.let_go(5)
        found = await asyncio.gather(first, *searches, return_exceptions=True)
        assert (found[:2], found[3]) == (["first", "a"], "b")
        assert isinstance(found[2], error)
        slow.let_go()
        [following] = ask(batcher, slow, "next")
        assert await following == "next"

    run(play())
    assert slow.groups == [["first"], ["a", how, "b"], ["a"], [how], ["b"], ["next"]]


def test_waiting_counts_as_time_that_a_search_took(batcher: SearchBatcher) -> None:
    slow = Slow()

    async def play() -> None:
        first = await held(batcher, slow)
        request = SearchRequest((Term(text="late"),))
        late = asyncio.create_task(batcher.search(cast(Collection, slow), request, lambda found: found.took))
        await waiting(batcher, 1)
        await asyncio.sleep(0.05)
        slow.let_go(2)
        await first
        assert (await late).total >= 3 + 50

    run(play())


def test_what_is_logged_meanwhile_tells_of_a_request_that_is_answered(batcher: SearchBatcher) -> None:
    slow = Slow()

    async def play() -> None:
        token = request_id.set("mine")
        slow.let_go()
        await asyncio.gather(*ask(batcher, slow, "a"))
        request_id.reset(token)

    run(play())
    assert slow.request_ids == ["mine"]


def test_closing_waits_for_what_was_asked_and_refuses_the_rest() -> None:
    slow, batcher = Slow(), SearchBatcher(lambda *_: None, lambda *_: None, 1)

    async def play() -> None:
        first = await held(batcher, slow)
        waits = ask(batcher, slow, "waits")
        await waiting(batcher, 1)
        closed = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.05)
        assert not closed.done()
        [late] = ask(batcher, slow, "late")
        with pytest.raises(EncoderOverloaded):
            await late
        slow.let_go(2)
        assert await asyncio.gather(first, *waits) == ["first", "waits"]
        await closed

    run(play())


@pytest.mark.parametrize(
    ("options", "short"),
    [
        ({}, True),
        ({"limit": 60, "offset": 40}, True),
        ({"limit": 60, "offset": 41}, False),
        ({"mode": "hybrid"}, False),
        ({"fusion": "rrf"}, False),
        ({"explain": True}, False),
        ({"diversity": 0.5}, False),
        ({"facets": ("colour",)}, False),
        ({"group_by": "colour"}, False),
        ({"collapse_duplicates": 0.9}, False),
        ({"terms": (Term(text="red"), Term(item="a"), Term(vector=[1.0]))}, True),
        ({"terms": (Term(text="red"), Term(image=b""))}, False),
        ({"terms": (Term(text="red"),) * 4}, True),
        ({"terms": (Term(text="red"),) * 5}, False),
        ({"terms": (Term(text="r" * 600), Term(text="r" * 401))}, False),
    ],
)
def test_short_is_what_keeps_nobody_waiting(options: dict[str, Any], short: bool) -> None:
    assert is_short(SearchRequest(**{"terms": (Term(text="red"),), **options})) == short


def test_short_searches_of_the_api_go_together_and_no_others(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put(f"{ITEMS}/a", json={"text": "red"})
    asked: list[str | None] = []
    real = SearchBatcher.search

    async def note(self: SearchBatcher, collection: Collection, search: SearchRequest, finish: Any) -> Any:
        asked.append(search.terms[0].text)
        return await real(self, collection, search, finish)

    monkeypatch.setattr(SearchBatcher, "search", note)
    for body in ({"query": "red"}, {"query": "long", "limit": 101}, {"query": "filtered", "filter": {"size": 1}}):
        assert client.post(SEARCH, json=body).status_code == 200
    assert client.get(SEARCH, params={"q": "green"}).status_code == 200

    assert asked == ["red", "green"]
