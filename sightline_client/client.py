"""The client for programs that wait for each answer."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from sightline_client import calls
from sightline_client.call import Call, read_json
from sightline_client.errors import ConnectionFailed, IngestStopped, JobFailed, RequestRefused, SightlineError
from sightline_client.ingest import (
    IN_FLIGHT,
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


def _method(make: Callable[P, Call[T]]) -> Callable[Concatenate["Client", P], T]:
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(make(*args, **kwargs))

    return described(method, make)


class Client:
    """A Sightline server, as methods; threads may share it. Used as a context manager, or closed.

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
        self._http = httpx.Client(**http_options(url, api_key, timeout_s))
        self._retry = retry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

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

    def items(self, *, collection: str = "default", filter: JsonObject | None = None) -> Iterator[Item]:
        """All items of a collection, or those that match a filter, in the order in which they were first stored."""
        cursor = None
        while True:
            page = self.send(calls.item_page(collection, filter, cursor))
            yield from page.items
            if (cursor := page.next_cursor) is None:
                return

    def jobs(self, *, state: State | None = None, collection: str | None = None) -> Iterator[Job]:
        """All jobs, or those in a state or of a collection, newest first."""
        cursor = None
        while True:
            page = self.send(calls.job_page(cursor, state, collection))
            yield from page.jobs
            if (cursor := page.next_cursor) is None:
                return

    def flags(self, *, rule: str | None = None, collection: str = "default") -> Iterator[Flag]:
        """All flags of a collection's watch rules, or those of one, newest first."""
        cursor = None
        while True:
            page = self.send(calls.flag_page(collection, rule, cursor))
            yield from page.flags
            if (cursor := page.next_cursor) is None:
                return

    def follow(self, job_id: str) -> Iterator[Job]:
        """The job now, and again whenever it has changed, until it has ended; also across a restart of the server."""
        told = None
        while True:
            events = Events()
            with closing(self._answer(calls.job_events(job_id), stream=True)) as response:
                for data in _until_it_breaks(_cut(response, events.add)):
                    job: Job = read_json(Job, data)
                    if job != told:
                        yield job
                    if job.ended:
                        return
                    told = job
            time.sleep(self._retry.first_pause_s)

    def wait(self, job_id: str) -> Job:
        """Wait until a job has succeeded.

        Raises:
            JobFailed: It failed, or was cancelled.
        """
        [job] = deque(self.follow(job_id), maxlen=1)
        if job.state != "succeeded":
            raise JobFailed(job)
        return job

    def job_errors(self, job_id: str) -> Iterator[RowReport]:
        """The rows of a catalogue that a job could not store, or only in part, in order."""
        lines = Lines()
        with closing(self._answer(calls.job_errors(job_id), stream=True)) as response:
            for line in _cut(response, lines.add):
                yield read_json(RowReport, line)

    def ingest_items(
        self,
        items: Iterable[NewItem],
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
        tally, in_flight = Tally(on_progress, on_failure), deque[tuple[Batch, Future[Answers]]]()

        def settle_oldest() -> None:
            batch, answers = in_flight.popleft()
            try:
                tally.count(batch, answers.result())
            except SightlineError as error:
                raise IngestStopped(tally.report, error) from error

        with ThreadPoolExecutor(IN_FLIGHT, "sightline-ingest") as pool:
            for batch in _batches(items):
                while batch.must_wait([other for other, _ in in_flight]):
                    settle_oldest()
                in_flight.append((batch, pool.submit(self._run, storing(batch, collection))))
            while in_flight:
                settle_oldest()
        return tally.report

    def send(self, call: Call[T]) -> T:
        """Send a call, again where that may help, and read its answer."""
        return call.read(self._answer(call).content)

    def _answer(self, call: Call[T], *, stream: bool = False) -> httpx.Response:
        attempts = Attempts(self._retry, call)
        while True:
            try:
                with call.parts() as parts:
                    response = self._http.send(self._http.build_request(**parts), stream=stream)
                if attempts.are_over(response):
                    return response
                response.read()
                pause_s = attempts.after_refusal(response)
            except httpx.TransportError as error:
                pause_s = attempts.after_error(error)
            time.sleep(pause_s)

    def _run(self, plan: Plan) -> Answers:
        answers: Answers
        try:
            call = next(plan)
            while True:
                try:
                    call = plan.send(self.send(call))
                except RequestRefused as refusal:
                    call = plan.throw(refusal)
        except StopIteration as end:
            answers = end.value
        return answers


def _batches(items: Iterable[NewItem]) -> Iterator[Batch]:
    cutter = Cutter()
    for item in items:
        yield from cutter.add(item)
    yield from cutter.rest()


def _cut(response: httpx.Response, cut: Callable[[bytes], Iterator[str]]) -> Iterator[str]:
    """A stream, piece by piece; raises `ConnectionFailed` where it breaks off."""
    try:
        for piece in response.iter_bytes():
            yield from cut(piece)
    except httpx.TransportError as error:
        raise ConnectionFailed(f"the answer broke off: {error!r}") from error


def _until_it_breaks(events: Iterator[str]) -> Iterator[str]:
    with suppress(ConnectionFailed):
        yield from events
