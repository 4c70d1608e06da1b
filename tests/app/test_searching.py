"""`Searching`: what comes while others are answered is answered together, each with its own outcome."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import cast

import pytest

from app import searching
from app.searching import Searching
from indexer.collection import Collection
from indexer.errors import ItemNotFound
from indexer.search.searcher import is_short
from indexer.types import Plan, SearchOutcome, SearchRequest, SearchResult, Term, Took
from models.batching import is_abandoned
from models.errors import EncoderOverloaded, RequestAbandoned

WAIT_S = 10


def asking(text: str) -> SearchRequest:
    return SearchRequest((Term(text=text),))


def result(text: str) -> SearchResult:
    plan, took = Plan({}, None, 1, 0), Took(1.0, 1.0, 1.0, 3.0)
    return SearchResult([], 0, {}, 1, model=text, truncated=False, plan=plan, took=took)


class Slow:
    """Stands for a collection whose searches last until they are let go; a result's model is what was asked for."""

    name = "slow"

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.began, self.may_end = threading.Semaphore(0), threading.Semaphore(0)

    def search_batch(self, requests: Sequence[SearchRequest]) -> list[SearchOutcome]:
        texts = [request.terms[0].text or "" for request in requests]
        self.groups.append([*texts])
        self.began.release()
        assert self.may_end.acquire(timeout=WAIT_S)
        if "broken" in texts:
            raise OSError("the disk is gone")
        return [ItemNotFound("nothing of the kind") if text == "missing" else result(text) for text in texts]

    def let_go(self, groups: int = 1) -> None:
        self.may_end.release(groups)

    @property
    def itself(self) -> Collection:
        return cast(Collection, self)


@pytest.fixture
def observed() -> list[str]:
    return []


@pytest.fixture
def answers(observed: list[str]) -> Iterator[Searching]:
    """With one thread."""
    made = Searching(lambda name, requests, outcomes: observed.append(f"{name}: {requests[0].terms[0].text}"), 1)
    with closing(made):
        yield made


async def held(answers: Searching, slow: Slow) -> "asyncio.Task[SearchResult]":
    """A search that is being answered, so that what comes now waits."""
    first = asyncio.create_task(answers.answer_soon(slow.itself, asking("first")))
    assert await asyncio.to_thread(slow.began.acquire, timeout=WAIT_S)
    return first


async def started(*searches: "asyncio.Task[SearchResult]") -> None:
    await asyncio.sleep(0)  # each begins, and waits
    assert not any(search.done() for search in searches)


def run(play: Callable[[], object]) -> None:
    asyncio.run(asyncio.wait_for(play(), WAIT_S))  # type: ignore[arg-type]


def test_what_comes_meanwhile_is_answered_together(answers: Searching, observed: list[str]) -> None:
    slow = Slow()

    async def play() -> None:
        first = await held(answers, slow)
        others = [asyncio.create_task(answers.answer_soon(slow.itself, asking(text))) for text in ("a", "missing", "b")]
        await started(first, *others)
        slow.let_go(2)
        outcomes = await asyncio.gather(first, *others, return_exceptions=True)
        assert [one.model for one in outcomes if isinstance(one, SearchResult)] == ["first", "a", "b"]
        assert isinstance(outcomes[2], ItemNotFound)

    run(play)
    assert slow.groups == [["first"], ["a", "missing", "b"]]
    assert observed == ["slow: first", "slow: a", "slow: b"]


def test_each_thread_takes_its_share() -> None:
    slow = Slow()

    async def play(answers: Searching) -> None:
        asked = [asyncio.create_task(answers.answer_soon(slow.itself, asking(str(number)))) for number in range(2)]
        for _ in asked:
            assert await asyncio.to_thread(slow.began.acquire, timeout=WAIT_S)
        asked += [asyncio.create_task(answers.answer_soon(slow.itself, asking(str(number)))) for number in range(2, 6)]
        await started(*asked)
        slow.let_go(len(asked))
        assert [found.model for found in await asyncio.gather(*asked)] == [str(number) for number in range(6)]

    with closing(Searching(lambda *_: None, 2)) as answers:
        run(lambda: play(answers))
    assert slow.groups[:2] == [["0"], ["1"]], "side by side"
    assert sorted(text for group in slow.groups for text in group) == [str(number) for number in range(6)]


def test_groups_are_of_one_collection_and_not_too_large(answers: Searching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "MOST_TOGETHER", 2)
    one, other = Slow(), Slow()

    async def play() -> None:
        first = await held(answers, one)
        tasks = [
            asyncio.create_task(answers.answer_soon(of.itself, asking(text)))
            for of, text in ((one, "a"), (other, "x"), (one, "b"), (one, "c"))
        ]
        await started(first, *tasks)
        one.let_go(3)
        other.let_go()
        assert [found.model for found in await asyncio.gather(first, *tasks)] == ["first", "a", "x", "b", "c"]

    run(play)
    assert (one.groups, other.groups) == ([["first"], ["a", "b"], ["c"]], [["x"]])


def test_what_nobody_waits_for_is_not_searched_for(answers: Searching) -> None:
    slow, left = Slow(), threading.Event()

    async def play() -> None:
        first = await held(answers, slow)
        token = is_abandoned.set(left.is_set)
        gone = asyncio.create_task(answers.answer_soon(slow.itself, asking("gone")))
        is_abandoned.reset(token)
        there = asyncio.create_task(answers.answer_soon(slow.itself, asking("there")))
        cancelled = asyncio.create_task(answers.answer_soon(slow.itself, asking("cancelled")))
        await started(first, gone, there, cancelled)
        left.set()
        cancelled.cancel()
        slow.let_go(2)
        outcomes = await asyncio.gather(first, gone, there, cancelled, return_exceptions=True)
        assert isinstance(outcomes[1], RequestAbandoned)
        assert isinstance(outcomes[2], SearchResult)

    run(play)
    assert slow.groups == [["first"], ["there"]]


def test_more_than_may_wait_is_refused(answers: Searching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "MOST_WAITING", 1)
    slow = Slow()

    async def play() -> None:
        first = await held(answers, slow)
        waits = asyncio.create_task(answers.answer_soon(slow.itself, asking("waits")))
        await started(first, waits)
        with pytest.raises(EncoderOverloaded):
            await answers.answer_soon(slow.itself, asking("too many"))
        slow.let_go(2)
        assert (await waits).model == "waits"

    run(play)


def test_a_group_that_fails_is_told_to_all_and_the_next_is_answered(answers: Searching) -> None:
    slow = Slow()

    async def play() -> None:
        first = await held(answers, slow)
        tasks = [asyncio.create_task(answers.answer_soon(slow.itself, asking(text))) for text in ("broken", "beside")]
        await started(first, *tasks)
        slow.let_go(3)
        assert [type(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == [OSError, OSError]
        assert (await answers.answer_soon(slow.itself, asking("next"))).model == "next"

    run(play)


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
    ],
)
def test_short_is_what_keeps_nobody_waiting(options: dict[str, object], short: bool) -> None:
    assert is_short(SearchRequest(**{"terms": (Term(text="red"),), **options})) == short  # type: ignore[arg-type]
