"""The client for programs that run on asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing, suppress
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from sightline_client import calls
from sightline_client.call import Call, read_json
from sightline_client.errors import ConnectionFailed, IngestStopped, JobFailed, RequestRefused, SightlineError
from sightline_client.ingest import (
    Answers,
    Batch,
    Cutter,
    IngestReport,
    NoticeFailure,
    Plan,
    Tally,
    Watch,
    storing,
)
from sightline_client.inputs import NewItem
from sightline_client.lines import Events, Lines
from sightline_client.results import Flag, Item, Job, JsonObject, RowReport
from sightline_client.results.jobs import State
from sightline_client.retrying import DEFAULT_RETRY, Attempts, Retry
from sightline_client.server import TIMEOUT_S, described, http_options

P = ParamSpec("P")
T = TypeVar("T")


def _method(make: Callable[P, Call[T]]) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(make(*args, **kwargs))

    return described(method, make)


class AsyncClient:
    """A Sightline server, as coroutines. Used as an asynchronous context manager, or closed.

    Args:
        url: Of the server; `SIGHTLINE_URL` or this machine's port 8000 if left out.
        api_key: Its key; `SIGHTLINE_API_KEY` if left out.
        timeout_s: How long an answer may take.
        retry: How patient it is with a server that is busy or away.

    All methods raise `RequestRefused` where the server answers with a problem, `ConnectionFailed` where none answers.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        retry: Retry = DEFAULT_RETRY,
    ) -> None:
        self._http = httpx.AsyncClient(**http_options(url, api_key, timeout_s))
        self._retry = retry

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    ready = _method(calls.ready)
    models = _method(calls.models)
    model = _method(calls.model)
    collections = _method(calls.collections)
    collection = _method(calls.collection)
    put_collection = _method(calls.put_collection)
    delete_collection = _method(calls.delete_collection)
    put_item = _method(calls.put_item)
    put_items = _method(calls.put_items)
    item = _method(calls.item)
    image = _method(calls.image)
    delete_item = _method(calls.delete_item)
    delete_items = _method(calls.delete_items)
    select = _method(calls.select)
    put_rule = _method(calls.put_rule)
    rules = _method(calls.rules)
    rule = _method(calls.rule)
    delete_rule = _method(calls.delete_rule)
    search = _method(calls.search)
    search_batch = _method(calls.search_batch)
    explain = _method(calls.explain)
    embed = _method(calls.embed)
    classify = _method(calls.classify)
    ingest_source = _method(calls.ingest_source)
    ingest_file = _method(calls.ingest_file)
    job = _method(calls.job)
    cancel_job = _method(calls.cancel_job)
    reembed = _method(calls.reembed)
    generations = _method(calls.generations)
    activate_generation = _method(calls.activate_generation)
    set_canary = _method(calls.set_canary)
    drop_generation = _method(calls.drop_generation)

    async def items(self, *, collection: str = "default", filter: JsonObject | None = None) -> AsyncIterator[Item]:
        """All items of a collection, or those that match a filter, in the order in which they were first stored."""
        cursor = None
        while True:
            page = await self.send(calls.item_page(collection, filter, cursor))
            for item in page.items:
                yield item
            if (cursor := page.next_cursor) is None:
                return

    async def jobs(self, *, state: State | None = None, collection: str | None = None) -> AsyncIterator[Job]:
        """All jobs, or those in a state or of a collection, newest first."""
        cursor = None
        while True:
            page = await self.send(calls.job_page(cursor, state, collection))
            for job in page.jobs:
                yield job
            if (cursor := page.next_cursor) is None:
                return

    async def flags(self, *, rule: str | None = None, collection: str = "default") -> AsyncIterator[Flag]:
        """All flags of a collection's watch rules, or those of one, newest first."""
        cursor = None
        while True:
            page = await self.send(calls.flag_page(collection, rule, cursor))
            for flag in page.flags:
                yield flag
            if (cursor := page.next_cursor) is None:
                return

    async def follow(self, job_id: str) -> AsyncIterator[Job]:
        """The job now, and again whenever it has changed, until it has ended; also across a restart of the server."""
        told = None
        while True:
            events = Events()
            async with aclosing(await self._answer(calls.job_events(job_id), stream=True)) as response:
                async for data in _until_it_breaks(_cut(response, events.add)):
                    job: Job = read_json(Job, data)
                    if job != told:
                        yield job
                    if job.ended:
                        return
                    told = job
            await asyncio.sleep(self._retry.first_pause_s)

    async def wait(self, job_id: str) -> Job:
        """Wait until a job has succeeded.

        Raises:
            JobFailed: It failed, or was cancelled.
        """
        async for job in self.follow(job_id):
            last = job
        if last.state != "succeeded":
            raise JobFailed(last)
        return last

    async def job_errors(self, job_id: str) -> AsyncIterator[RowReport]:
        """The rows of a catalogue that a job could not store, or only in part, in order."""
        lines = Lines()
        async with aclosing(await self._answer(calls.job_errors(job_id), stream=True)) as response:
            async for line in _cut(response, lines.add):
                yield read_json(RowReport, line)

    async def ingest_items(
        self,
        items: Iterable[NewItem] | AsyncIterable[NewItem],
        *,
        collection: str = "default",
        on_progress: Watch | None = None,
        on_failure: NoticeFailure | None = None,
    ) -> IngestReport:
        """Store any number of items, in batches, of which no more than three are in memory.

        One that cannot be stored stops nothing. Of items with the same id the last wins. The same again embeds nothing.

        Args:
            on_progress: Called after each batch with the report so far.
            on_failure: Called for each item that was not stored; the report keeps the first 1,000.

        Raises:
            IngestStopped: The server was lost; the first `report.done` items were answered.
        """
        tally, in_flight = Tally(on_progress, on_failure), deque[tuple[Batch, asyncio.Task[Answers]]]()

        async def settle_oldest() -> None:
            batch, answers = in_flight.popleft()
            try:
                tally.count(batch, await answers)
            except SightlineError as error:
                raise IngestStopped(tally.report, error) from error

        try:
            async for batch in _batches(items):
                while batch.must_wait([other for other, _ in in_flight]):
                    await settle_oldest()
                in_flight.append((batch, asyncio.create_task(self._run(storing(batch, collection)))))
            while in_flight:
                await settle_oldest()
        finally:
            for _, answers in in_flight:
                answers.cancel()
            await asyncio.gather(*(answers for _, answers in in_flight), return_exceptions=True)
        return tally.report

    async def send(self, call: Call[T]) -> T:
        """Send a call, again where that may help, and read its answer."""
        return call.read((await self._answer(call)).content)

    async def _answer(self, call: Call[T], *, stream: bool = False) -> httpx.Response:
        attempts = Attempts(self._retry, call)
        while True:
            try:
                with call.parts() as parts:
                    response = await self._http.send(self._http.build_request(**parts), stream=stream)
                if attempts.are_over(response):
                    return response
                await response.aread()
                pause_s = attempts.after_refusal(response)
            except httpx.TransportError as error:
                pause_s = attempts.after_error(error)
            await asyncio.sleep(pause_s)

    async def _run(self, plan: Plan) -> Answers:
        answers: Answers
        try:
            call = next(plan)
            while True:
                try:
                    call = plan.send(await self.send(call))
                except RequestRefused as refusal:
                    call = plan.throw(refusal)
        except StopIteration as end:
            answers = end.value
        return answers


async def _batches(items: Iterable[NewItem] | AsyncIterable[NewItem]) -> AsyncIterator[Batch]:
    cutter = Cutter()
    async for item in _each(items):
        for batch in cutter.add(item):
            yield batch
    for batch in cutter.rest():
        yield batch


async def _each(items: Iterable[NewItem] | AsyncIterable[NewItem]) -> AsyncIterator[NewItem]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _cut(response: httpx.Response, cut: Callable[[bytes], Iterator[str]]) -> AsyncIterator[str]:
    """A stream, piece by piece; raises `ConnectionFailed` where it breaks off."""
    try:
        async for piece in response.aiter_bytes():
            for part in cut(piece):
                yield part
    except httpx.TransportError as error:
        raise ConnectionFailed(f"the answer broke off: {error!r}") from error


async def _until_it_breaks(events: AsyncIterator[str]) -> AsyncIterator[str]:
    with suppress(ConnectionFailed):
        async for event in events:
            yield event
