"""Any number of items: batched, bounded, every failed one accounted for."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline_client import (
    AsyncClient,
    FailedItem,
    IngestReport,
    IngestStopped,
    NewItem,
    NotFound,
    RequestRefused,
    ingest,
)
from tests.client.conftest import Connect
from tests.pictures import picture
from tests.servers import Request, answer, serve

ITEMS = "/v1/collections/default/items"


def counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    return report.done, report.created, report.updated, report.unchanged, report.failed


def test_every_item_is_accounted_for(sightline: Any, tmp_path: Path) -> None:
    def items() -> Iterator[NewItem]:
        for number in range(1, 301):
            yield NewItem(f"item-{number}", text=f"red {number}", metadata={"n": number})
        yield NewItem("item-1", text="red 1", metadata={"n": 1})
        yield NewItem("no picture", image=b"?")
        yield NewItem("nothing")
        yield NewItem("no file", image=tmp_path / "missing.png")
        yield NewItem("no number", text="red", metadata={"n": float("nan")})
        yield NewItem("no json", text="red", metadata={"n": object()})
        yield NewItem("half a character", text="\ud800")
        yield NewItem("i" * 257, text="refused as a whole")
        yield NewItem("last", image=picture("red"))

    told: list[int] = []
    failures: list[FailedItem] = []
    report = sightline.ingest_items(
        items(), on_progress=lambda report: told.append(report.done), on_failure=failures.append
    )

    assert counts(report) == (309, 301, 0, 1, 7)
    assert [(failure.row, failure.problem.type) for failure in failures] == [
        (302, "image-undecodable"),
        (303, "item-invalid"),
        (304, "image-unreadable"),
        (305, "item-unwritable"),
        (306, "item-unwritable"),
        (307, "item-unwritable"),
        (308, "invalid-request"),
    ]
    assert report.failures == failures
    assert told == sorted(told)
    assert told[-1] == 309
    assert len(list(sightline.items())) == 301


def test_of_items_with_the_same_id_the_last_wins(sightline: Any) -> None:
    """They come close together and far apart, so that they meet in a batch, and in two that could be sent at once."""
    rows = [NewItem(f"{number % 50}", text=f"version {number}") for number in range(130)]
    report = sightline.ingest_items(rows)

    assert counts(report) == (130, 50, 80, 0, 0)
    assert {item.id: item.text for item in sightline.items()} == {
        str(number % 50): f"version {number}" for number in range(80, 130)
    }


def test_no_more_is_read_than_is_sent(connect: Connect) -> None:
    read, ahead = 0, 0

    def items() -> Iterator[NewItem]:
        nonlocal read
        for number in range(2000):
            read += 1
            yield NewItem(str(number), text="red")

    def watch(report: IngestReport) -> None:
        nonlocal ahead
        ahead = max(ahead, read - report.done)

    with serve({ITEMS: stored}) as server:
        report = connect(server.url).ingest_items(items(), on_progress=watch)
    assert report.created == 2000
    assert 0 < ahead <= (ingest.IN_FLIGHT + 1) * ingest.BATCH_ITEMS


def test_batches_end_at_their_bytes_and_a_large_item_goes_alone(connect: Connect) -> None:
    sizes = [ingest.BATCH_BYTES // 3] * 4 + [2 * ingest.BATCH_BYTES] + [10] * 3
    with serve({ITEMS: stored}) as server:
        report = connect(server.url).ingest_items(NewItem(str(n), text="x" * size) for n, size in enumerate(sizes))
    assert report.created == len(sizes)
    assert sorted(len(json.loads(request.body)["items"]) for request in server.requests) == [1, 2, 2, 3]


def test_only_the_first_failures_are_kept(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "KEPT_FAILURES", 3)
    told: list[FailedItem] = []
    with serve({}) as server:
        broken = (NewItem(str(number), text="\ud800") for number in range(10))
        report = connect(server.url).ingest_items(broken, on_failure=told.append)
    assert (report.failed, len(report.failures), len(told)) == (10, 3, 10)
    assert server.requests == []


def test_a_server_that_is_lost_ends_it_with_what_was_answered(connect: Connect) -> None:
    def dies(request: Request, connection: socket.socket) -> bytes | None:
        first = json.loads(request.body)["items"][0]["id"]
        return stored(request, connection) if int(first) < 128 else None

    with serve({ITEMS: dies}) as server, pytest.raises(IngestStopped, match="after 128 items") as stopped:
        connect(server.url).ingest_items(NewItem(str(number), text="red") for number in range(1000))
    assert counts(stopped.value.report) == (128, 128, 0, 0, 0)


def test_a_collection_that_is_not_there_ends_it_at_once(sightline: Any) -> None:
    with pytest.raises(IngestStopped) as stopped:
        sightline.ingest_items([NewItem("a", text="red")], collection="missing")
    assert isinstance(stopped.value.__cause__, NotFound)
    assert stopped.value.report.done == 0


def test_what_the_items_raise_is_raised(sightline: Any) -> None:
    def items() -> Iterator[NewItem]:
        yield NewItem("a", text="red")
        raise LookupError("no more rows")

    with pytest.raises(LookupError, match="no more rows"):
        sightline.ingest_items(items())


def test_a_busy_server_is_waited_for(connect: Connect) -> None:
    answers = iter([answer(status=503, retry_after="0"), answer(status=429, retry_after="0")])
    with serve({ITEMS: lambda request, connection: next(answers, None) or stored(request, connection)}) as server:
        report = connect(server.url).ingest_items([NewItem("a", text="red")])
    assert counts(report) == (1, 1, 0, 0, 0)
    assert len(server.requests) == 3


def test_a_refused_key_is_no_failed_item(connect: Connect) -> None:
    with serve({ITEMS: answer(b"{}", status=401)}) as server, pytest.raises(IngestStopped) as stopped:
        connect(server.url).ingest_items([NewItem("a", text="red")])
    assert isinstance(stopped.value.__cause__, RequestRefused)


def test_items_may_come_asynchronously(server_url: str) -> None:
    async def items() -> AsyncIterator[NewItem]:
        for number in range(100):
            yield NewItem(str(number), text="red")

    async def send() -> IngestReport:
        async with AsyncClient(server_url) as sightline:
            return await sightline.ingest_items(items())

    assert counts(asyncio.run(send())) == (100, 100, 0, 0, 0)


def stored(request: Request, connection: socket.socket) -> bytes:
    """All items of a batch are new."""
    rest = {"status": "created", "modalities": ["text"], "alignment": None, "truncated": False, "flags": []}
    results = [{"id": item["id"], **rest} for item in json.loads(request.body)["items"]]
    return answer(json.dumps({"results": results}).encode())
